"""What becomes of several channels in one: told where they cancel, and where the file's format tells the label."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.corpus import long_recording
from conftest import MEL_OPTIONS, RATE, sound, write_corpus

CHANNELS = {
    "one": lambda x: x,
    "twice": lambda x: np.stack([x, x], axis=1),
    "left alone": lambda x: np.stack([x, 0 * x], axis=1),
    "turned": lambda x: np.stack([x, -x], axis=1),
    "nearly turned": lambda x: np.stack([x, -0.9 * x], axis=1),
    "of four": lambda x: np.stack([x, -x, x, -x], axis=1),
    "silence": lambda x: np.stack([0 * x, 0 * x], axis=1),
}


def corpus_of(folder: Path, channels: str, suffix: str = ".wav", rate: int = RATE) -> Path:
    """The tiny corpus, its hum with such channels."""
    corpus = write_corpus(folder)
    for take, path in enumerate(sorted((corpus / "hum").iterdir())):
        x = CHANNELS[channels](0.3 * sound("hum", take, rate))
        path.unlink()
        soundfile.write(path.with_suffix(suffix), x, rate, "PCM_16")
    return corpus


def facts_of(cli, corpus: Path, out: Path) -> tuple[dict, str]:
    done = cli("preprocess", corpus, out, *MEL_OPTIONS, "--n-frames", 32, "-j", 1)
    assert done.exit_code == 0, done.stderr
    return json.loads((out / "features.json").read_text())["corpus_facts"], done.stderr


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_channels_that_cancel_are_told(cli, tmp_path: Path, channels: str, suffix: str) -> None:
    facts, stderr = facts_of(cli, corpus_of(tmp_path / "corpus", channels, suffix), tmp_path / "out")
    cancels = channels in ("turned", "nearly turned", "of four")
    assert facts["cancelled"] == ({"hum": 6} if cancels else {})
    told = "warning: 6 of 18 recordings lose more than 20 dB where the channels are mixed, as these cancel each other"
    assert (f"{told} (hum 6): next to nothing" in stderr) is cancels
    card = (tmp_path / "out/README.md").read_text()
    assert ("Of 6 recordings next to nothing is left where the channels are mixed: hum 6." in card) is cancels


def test_one_of_many_channels_is_not_told_but_one_recording_that_cancels_is(cli, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    first, second = sorted((corpus / "hum").iterdir())[:2]
    rng = np.random.default_rng(0)
    soundfile.write(first, 0.1 * rng.standard_normal((RATE, 250)), RATE, "PCM_16")  # each of its own: -24 dB
    x = 0.3 * sound("hum", 1)
    soundfile.write(second, np.stack([x, -x], axis=1), RATE, "PCM_16")
    facts, stderr = facts_of(cli, corpus, tmp_path / "out")
    assert facts["cancelled"] == {"hum": 1}
    assert "1 of 18 recordings loses more than 20 dB" in stderr
    assert "next to nothing is left for its clips" in stderr


def test_the_level_is_that_of_the_mixture_whatever_reads_it(cli, tmp_path: Path, monkeypatch) -> None:
    """Natively, through libsndfile, resampled, and piece by piece."""
    levels = {}
    for name, suffix, rate in (("native", ".wav", RATE), ("other", ".flac", RATE), ("resampled", ".wav", 2 * RATE)):
        corpus = corpus_of(tmp_path / name, "left alone", suffix, rate)
        levels[name] = facts_of(cli, corpus, tmp_path / f"{name}.out")[0]["by_label"]["hum"]["median_rms_db"]
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 2 * 1000)
    levels["pieces"] = facts_of(cli, tmp_path / "other", tmp_path / "pieces.out")[0]["by_label"]["hum"]["median_rms_db"]
    alone = facts_of(cli, corpus_of(tmp_path / "one", "one"), tmp_path / "one.out")[0]
    assert levels["native"] == levels["other"] == pytest.approx(levels["pieces"], abs=1e-3)
    assert levels["native"] == pytest.approx(alone["by_label"]["hum"]["median_rms_db"] - 6.02, abs=0.01)
    assert levels["resampled"] == pytest.approx(levels["native"], abs=0.5)


@pytest.mark.parametrize(("channels", "rate"), [("one", 2 * RATE), ("twice", RATE), ("one", RATE)])
def test_a_label_of_a_format_of_its_own_is_told(cli, tmp_path: Path, channels: str, rate: int) -> None:
    corpus = corpus_of(tmp_path / "corpus", channels, rate=rate)
    facts, stderr = facts_of(cli, corpus, tmp_path / "out")
    format_ = {"one": f"{rate} Hz, 1 channel", "twice": f"{rate} Hz, 2 channels"}[channels]
    assert facts["formats"]["by_label"]["hum"]["named"] == {format_: 6}
    assert facts["formats"]["by_label"]["hiss"]["named"] == {f"{RATE} Hz, 1 channel": 6}
    is_told = "the label 'hum' is told by the format alone, right of 100% of its subjects and 100% of the others"
    assert (f"{is_told} ('{format_}' has 6 of its 6, 0 of the others' 12)" in stderr) is (
        format_ != f"{RATE} Hz, 1 channel"
    )
    card = (tmp_path / "out/README.md").read_text()
    one = format_ == f"{RATE} Hz, 1 channel"
    assert ("All recordings have one sample rate and number of channels." in card) is one
    assert (f"hum: 6 from {format_}" in card) is not one


def test_each_label_has_its_own_count_of_what_cancels(cli, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    for label, n in (("hiss", 1), ("knock", 2)):
        for take, path in enumerate(sorted((corpus / label).iterdir())[:n]):
            x = 0.3 * sound(label, take)
            soundfile.write(path, np.stack([x, -x], axis=1), RATE, "PCM_16")
    facts, stderr = facts_of(cli, corpus, tmp_path / "out")
    assert facts["cancelled"] == {"hiss": 1, "knock": 2}
    assert "as these cancel each other (hiss 1, knock 2): next to nothing" in stderr
