"""`clinaug-fast mel diff` and `mel bands`."""

import json
from collections.abc import Callable

from typer.testing import Result

from clinaug_fast.cli.mel import _spread
from clinaug_fast.features.feature_set import FeatureSet


def test_one_contract_ends_in_0(cli: Callable[..., Result], tiny_features: FeatureSet) -> None:
    result = cli("mel", "diff", tiny_features.path, tiny_features.path / "features.json")
    assert result.exit_code == 0
    assert "one contract" in result.stdout


def test_two_contracts_end_in_3_with_their_fields(cli: Callable[..., Result], tiny_features: FeatureSet) -> None:
    result = cli("mel", "diff", tiny_features.path, "torchaudio", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["exit_code"], told["equal"]) == (3, 3, False)
    assert told["fields"]["mel_scale"] == ["slaney", "htk"]
    assert 0 < told["median_db"] <= told["largest_db"]
    assert len(told["by_band"]) == 32
    text = cli("mel", "diff", tiny_features.path, "torchaudio").stdout
    assert "mel_scale" in text
    assert "both in dB here" in text
    assert "interpolated" in cli("mel", "diff", tiny_features.path, "heart").stdout


def test_bands_advise(cli: Callable[..., Result]) -> None:
    told = json.loads(cli("mel", "bands", "heart", "--n-mels", "160", "--json").stdout)
    assert told["largest_n_mels"] < 160
    assert told["smallest_n_fft"] > 512
    assert told["empty_bands"] == [row["band"] for row in told["bands"] if row["fft_bins"] == 0] != []
    fits = json.loads(cli("mel", "bands", "heart", "--n-mels", told["largest_n_mels"], "--json").stdout)
    assert fits["empty_bands"] == []
    text = cli("mel", "bands", "heart", "--n-mels", "160").stdout
    assert "empty" in text
    assert str(told["largest_n_mels"]) in text


def test_the_band_with_the_largest_difference_is_among_those_that_are_listed(cli: Callable[..., Result]) -> None:
    told = json.loads(cli("mel", "diff", "surgical", "librosa", "--json").stdout)
    largest = max(told["by_band"], key=lambda band: band["largest_db"])
    number = told["by_band"].index(largest)
    lines = cli("mel", "diff", "surgical", "librosa").stdout.splitlines()
    rows = {int(words[0]): words[1:] for line in lines if (words := line.split())[:1] and words[0].isdigit()}
    assert number not in _spread(len(told["by_band"]))  # which a list of evenly spread bands would leave out
    assert set(rows) == {*_spread(len(told["by_band"])), number}
    assert rows[number][-1] == f"{told['largest_db']:.2f}"
    assert list(rows) == sorted(rows)
    assert "--json lists every band" in lines[-1]


def test_bands_name_the_largest_size_that_train_takes(cli: Callable[..., Result]) -> None:
    assert "at n_fft 512: 124 (for train, a multiple of 16: 112)" in cli("mel", "bands", "heart").stdout
    assert "for train" not in cli("mel", "bands", "heart", "--n-fft", "32", "--n-mels", "4").stdout


def test_bands_of_a_feature_set_with_other_sizes(cli: Callable[..., Result], tiny_features: FeatureSet) -> None:
    """Lengths and the upper edge stored with the set give way to the sizes that are asked for."""
    told = json.loads(
        cli("mel", "bands", tiny_features.path, "--n-fft", "128", "--sample-rate", "4000", "--json").stdout
    )
    assert "4000 Hz, n_fft 128, hop 32" in told["mel"]
    assert "0-2000 Hz" in told["mel"]


def test_bands_of_one_band(cli: Callable[..., Result]) -> None:
    assert cli("mel", "bands", "--n-mels", "1").exit_code == 0


def test_a_folder_of_a_presets_name_is_not_the_preset(cli: Callable[..., Result], tmp_path, monkeypatch) -> None:
    (tmp_path / "heart/normal").mkdir(parents=True)  # a corpus
    monkeypatch.chdir(tmp_path)
    assert cli("mel", "bands", "heart").exit_code == 0
    (tmp_path / "heart/features.json").write_text("{}")
    assert "has no mel contract" in cli("mel", "bands", "heart").stderr


def test_an_unknown_name_ends_in_3(cli: Callable[..., Result]) -> None:
    assert cli("mel", "bands", "nosuch").exit_code == 3
    assert cli("mel", "diff", "heart", "nosuch").exit_code == 3
    assert cli("mel", "bands", "heart", "--n-mels", "0").exit_code == 2
