"""mel diff and the band advisor: analytic anchors, and every name that stands for a contract."""

import json
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast import native
from clinaug_fast.config import PRESETS, MelConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.mel import advise_bands, band_edges_hz, empty_bands, filter_bank
from clinaug_fast.mel_diff import compare, mel_diff, read_mel, reference_signal

SMALL = MelConfig(sample_rate=8000, n_fft=512, hop_length=128, n_mels=32)


def test_a_contract_does_not_differ_from_itself() -> None:
    found = compare(SMALL, SMALL)
    assert found.equal
    assert found.fields == {}
    assert (found.largest_db, found.median_db) == (0.0, 0.0)


@pytest.mark.parametrize("log", ["db", "log10"])
def test_another_logarithm_is_no_difference_in_db(log: str) -> None:
    found = compare(SMALL, SMALL.with_changes(log=log))
    assert found.fields == {"log": ("ln", log)}
    assert not found.equal
    assert found.largest_db < 1e-5


def test_magnitudes_and_powers_are_both_in_db_of_the_sound() -> None:
    """In a band of one bin of weight w, 10 log10 w|X|^2 and 20 log10 w|X| are a constant apart."""
    one_bin = MelConfig(sample_rate=8000, n_fft=64, hop_length=64, n_mels=1, f_min=130, f_max=370, norm="none")
    found = compare(one_bin, one_bin.with_changes(power=1, floor=1e-5))
    assert advise_bands(one_bin).bins.tolist() == [1]
    loud = found.a_db > -90
    constant = (found.a_db - found.b_db)[loud]
    assert np.ptp(constant) < 1e-4


def test_the_norm_is_the_width_of_the_bands() -> None:
    """slaney divides by half the band's width in Hz, so above the floor the bands differ by 10 log10 of it."""
    found = compare(SMALL, SMALL.with_changes(norm="none", floor=1e-30))
    band = found.by_band[5]
    half_width = (band_edges_hz(SMALL)[7] - band_edges_hz(SMALL)[5]) / 2
    assert band["median_db"] == pytest.approx(10 * np.log10(half_width), abs=0.01)


def test_bands_of_another_number_are_interpolated() -> None:
    found = compare(SMALL, SMALL.with_changes(n_mels=40))
    assert found.by_band is None
    assert found.a_db.shape == found.b_db.shape == (32, SMALL.n_frames(4 * 8000))
    assert 0 < found.median_db < 5


def test_rates_and_hops_meet_at_the_same_times() -> None:
    """The same bands from twice the rate: frames at the same times tell nearly the same."""
    double = SMALL.with_changes(sample_rate=16000, n_fft=1024, hop_length=256, f_max=4000.0)
    found = compare(SMALL.with_changes(f_max=3600.0), double.with_changes(f_max=3600.0))
    # |X|^2 of twice as many samples is four times as large: 6.02 dB.
    assert found.median_db == pytest.approx(20 * np.log10(2), abs=0.1)


def test_the_signal_is_the_same_every_time_and_has_silence() -> None:
    a, b = reference_signal(8000, 4.0), reference_signal(8000, 4.0)
    assert np.array_equal(a, b)
    assert np.count_nonzero(a == 0.0) == pytest.approx(len(a) / 4, abs=2)
    assert native.log_mel(a, SMALL).min(axis=1) == pytest.approx(np.log(SMALL.floor), abs=1e-5)


def test_empty_bands_are_refused() -> None:
    with pytest.raises(SettingsError, match="empty"):
        compare(SMALL, SMALL.with_changes(n_mels=400))


def test_names_of_contracts(tiny_features: FeatureSet, tmp_path: Path) -> None:
    path = tiny_features.path
    assert read_mel(str(path)) == read_mel(str(path / "features.json")) == tiny_features.mel
    assert read_mel("heart") == PRESETS["heart"].mel
    assert read_mel("librosa") == MelConfig(like="librosa")
    assert read_mel("librosa", SMALL).n_mels == 32
    for content in ("[]", '{"mel": 3}'):
        (tmp_path / "features.json").write_text(content)
        with pytest.raises(InputError, match="no mel contract"):
            read_mel(str(tmp_path))
    with pytest.raises(InputError, match="one of librosa"):
        read_mel("nosuch")


@pytest.mark.parametrize("order", [1, -1])
def test_a_library_takes_the_sizes_of_the_other(order: int) -> None:
    found = mel_diff(*("heart", "librosa")[::order])
    assert set(found.fields) == {"pad_mode", "log"}
    found = mel_diff(*("librosa", "torchaudio")[::order])
    assert set(found.fields) == {"mel_scale", "norm", "pad_mode"}


@pytest.mark.parametrize("changes", [{"power": 1}, {"center": False}, {"window": "hamming"}])
def test_a_library_has_its_own_spectra(tmp_path: Path, changes: dict) -> None:
    other = MelConfig(like="librosa", sample_rate=8000, n_fft=512, n_mels=32, **changes)
    (tmp_path / "features.json").write_text(json.dumps({"mel": other.model_dump()}))
    found = mel_diff(str(tmp_path), "librosa")
    assert set(found.fields) == set(changes)
    assert not found.equal


def test_a_contract_that_is_none_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text(json.dumps({"mel": MelConfig().model_dump() | {"bogus": 1}}))
    with pytest.raises(InputError, match=r"has a mel contract that is none: bogus is not a setting"):
        read_mel(str(tmp_path))


def test_a_diff_can_be_written_as_json() -> None:
    assert len(json.loads(json.dumps(compare(SMALL, SMALL.with_changes(mel_scale="htk")).by_band))) == 32


@pytest.mark.parametrize(
    "config", [SMALL, PRESETS["heart"].mel, PRESETS["surgical"].mel, SMALL.with_changes(n_mels=200, mel_scale="htk")]
)
def test_advice_is_the_edge_between_empty_and_not(config: MelConfig) -> None:
    advice = advise_bands(config)
    assert np.flatnonzero(advice.bins == 0).tolist() == empty_bands(config)
    largest = advice.largest_n_mels
    assert empty_bands(config.with_changes(n_mels=largest)) == []
    assert all(empty_bands(config.with_changes(n_mels=n)) for n in range(largest + 1, min(1024, largest + 40)))
    sizes = {"win_length": 1, "hop_length": 1}
    assert empty_bands(config.with_changes(n_fft=advice.smallest_n_fft, **sizes)) == []
    assert empty_bands(config.with_changes(n_fft=advice.smallest_n_fft // 2, **sizes))


def test_bins_are_counted_as_the_filter_bank_has_them() -> None:
    assert advise_bands(SMALL).bins.tolist() == np.count_nonzero(filter_bank(SMALL), axis=1).tolist()


def test_frames_are_compared_where_they_are_in_time() -> None:
    """Uncentred frames are those of a centred contract, n_fft / 2 later."""
    found = compare(SMALL.with_changes(n_fft=1024), SMALL.with_changes(n_fft=1024, center=False))
    assert found.fields == {"center": (True, False)}
    inside = slice(4, -4)
    np.testing.assert_allclose(found.a_db[:, inside], found.b_db[:, inside], atol=1e-4)


def test_frames_are_compared_with_the_nearest_and_in_little_memory() -> None:
    """A frame a sample: a table of all pairs of times would take gigabytes."""
    close = SMALL.with_changes(hop_length=1)
    found = compare(close, SMALL)
    assert found.b_db.shape == found.a_db.shape
    np.testing.assert_array_equal(
        found.b_db[:, :-64:128], compare(SMALL, SMALL).a_db[:, : found.b_db[:, :-64:128].shape[1]]
    )
    np.testing.assert_array_equal(found.b_db[:, 64:200], np.repeat(found.b_db[:, [0, 128, 256]], [1, 128, 7], axis=1))


def test_bands_are_told_by_their_centres_under_either_contract() -> None:
    htk = SMALL.with_changes(mel_scale="htk")
    centres = zip(band_edges_hz(SMALL)[1:-1], band_edges_hz(htk)[1:-1], strict=True)
    for band, a_and_b in zip(compare(SMALL, htk).by_band, centres, strict=True):
        assert (band["a_hz"], band["b_hz"]) == pytest.approx(a_and_b, abs=0.01)


def test_either_contract_is_refused_for_empty_bands() -> None:
    empty = SMALL.with_changes(n_fft=64, hop_length=64, n_mels=40)
    for a, b in ((empty, SMALL), (SMALL, empty)):
        with pytest.raises(SettingsError, match="empty"):
            compare(a, b)


def test_a_file_that_is_called_as_a_preset_comes_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "heart").write_text(json.dumps({"mel": SMALL.model_dump()}))
    assert read_mel("heart") == SMALL


@pytest.mark.parametrize("first", [True, False])
def test_the_signal_has_what_the_higher_rate_can_hear(first: bool) -> None:
    wide = SMALL.with_changes(sample_rate=16000, f_max=8000.0)
    found = compare(wide, SMALL) if first else compare(SMALL, wide)
    assert (found.a_db if first else found.b_db)[-4:].max() > -40  # 5 kHz and above
