"""What is told of a corpus and of a set before anybody trains on it: labels that are none, sizes, rates, lost paths."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import Result

from clinaug_fast.config import PRESETS, MelConfig
from clinaug_fast.corpus.misread import warn_of_misreading
from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.mel import empty_bands
from clinaug_fast.preprocess.judgement import (
    _settings_for,
    _warn_of_short_recordings,
    warn_of_odd_clips,
)
from conftest import MEL, MEL_OPTIONS, write_corpus

Cli = Callable[..., Result]
PARTS = "look like the parts of a corpus. If they are, give a table with the columns path and label"


class Warnings(list):
    """A Progress that remembers."""

    warn = list.append


def told_of_labels(folder: Path, *labels: str) -> Warnings:
    (folder / "table.csv").write_text("path,label\n" + "".join(f"{k}.wav,{name}\n" for k, name in enumerate(labels)))
    warnings = Warnings()
    warn_of_misreading(read_corpus(folder / "table.csv"), warnings)
    return warnings


@pytest.mark.parametrize(
    "labels",
    [
        ("train", "test"),
        ("Training", "validation", "Testing"),
        ("fold1", "fold2", "fold3"),
        ("fold_0", "fold-1", "fold 10"),
        ("20200413", "20200414"),
        ("training-a", "training-b", "training-f"),
        ("dev", "eval"),
        ("split0", "part1"),
    ],
)
def test_labels_that_look_like_parts_of_a_corpus_are_told(tmp_path: Path, labels: tuple[str, ...]):
    (warning,) = told_of_labels(tmp_path, *labels)
    assert warning == f"the labels {', '.join(sorted(labels))} {PARTS}"


@pytest.mark.parametrize(
    "labels",
    [
        ("ventricular", "atrial"),
        ("partial", "complete"),
        ("development", "regression"),
        ("testis", "ovary"),
        ("partial", "testis"),
        ("train", "cough"),  # of traffic
        ("fold1", "normal"),
        ("1", "2"),
        ("2020", "2021"),
        ("hiss", "hum"),
    ],
)
def test_other_labels_are_not(tmp_path: Path, labels: tuple[str, ...]):
    assert told_of_labels(tmp_path, *labels) == []


@pytest.mark.parametrize("name", ["nan", "NaN", "NA", "unknown", "-"])
def test_a_label_that_means_nothing_is_told(tmp_path: Path, name: str):
    (warning,) = told_of_labels(tmp_path, "cough", name)
    assert warning.startswith(f"the label {name!r} is taken for a label. If it means that the label is not known, take")
    assert told_of_labels(tmp_path, "cough", "nanny") == []


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((124, 64), "--n-mels 112"),
        ((64, 100), "--n-frames 96"),
        ((124, 5), "--n-mels 112 and --n-frames 16"),
        ((8, 64), "--n-mels 16"),
        ((64, 64), None),
        ((112, 16), None),
    ],
)
def test_clips_that_train_does_not_take_are_told(shape: tuple[int, int], advice: str | None):
    warnings = Warnings()
    warn_of_odd_clips(MelConfig(sample_rate=44100, n_mels=shape[0]), shape[1], warnings)
    told = (
        f"clips of {shape[0]} mels x {shape[1]} frames are none for clinaug-fast train, which takes multiples of 16. "
    )
    assert warnings == ([] if advice is None else [f"{told}If they are to be trained on, give {advice}"])


def test_clips_that_train_does_not_take_are_told_by_preprocess(cli: Cli, tiny_corpus: Path, tmp_path: Path):
    options = (*MEL_OPTIONS, "--n-frames", "32", "--quiet")
    result = cli("preprocess", tiny_corpus, tmp_path / "odd", *options, "--n-mels", "31")
    assert result.exit_code == 0
    assert "warning: clips of 31 mels x 32 frames are none for clinaug-fast train" in result.stderr
    assert "give --n-mels 16" in result.stderr
    assert "none for clinaug-fast train" not in cli("preprocess", tiny_corpus, tmp_path / "even", *options).stderr


def settings_in(advice: str) -> dict[str, float]:
    """The options that a sentence names, as fields of a contract."""
    named = re.findall(r"--([a-z-]+) ([0-9.]+\b)", advice)
    return {name.replace("-", "_"): float(value) if "." in value else int(value) for name, value in named}


@pytest.mark.parametrize(
    ("preset", "rate"),
    [("heart", rate) for rate in (500, 1000, 3000, 4000, 6000, 7999)]
    + [("surgical", rate) for rate in (1000, 4000, 8000, 11025, 16000, 22050, 32000)],
)
def test_the_advice_for_low_rates_keeps_the_length_of_a_frame(preset: str, rate: int):
    mel = PRESETS[preset].mel
    advised = settings_in(_settings_for(rate, mel))
    assert advised.keys() - {"n_mels"} == {"sample_rate", "f_max", "n_fft", "hop_length"}
    config = MelConfig(**{"f_min": mel.f_min, "n_mels": mel.n_mels} | advised)
    assert not empty_bands(config)
    assert config.n_mels % 16 == 0
    assert (config.sample_rate, config.f_max) == (rate, rate / 2)
    for before, after in ((mel.n_fft, config.n_fft), (mel.hop_length, config.hop_length)):
        assert 2**-0.51 < (after / rate) / (before / mel.sample_rate) < 2**0.51
    assert config.n_fft & (config.n_fft - 1) == 0


def test_the_advice_for_low_rates_is_told_and_taken(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus", rate=4000)
    result = cli("preprocess", corpus, tmp_path / "first", *MEL_OPTIONS, "--n-frames", "32", "--quiet")
    advice = "Try --sample-rate 4000 --f-max 2000 --n-fft 128 --hop-length 32, or another --preset"
    assert advice in result.stderr
    again = (*MEL_OPTIONS, *advice.removeprefix("Try ").split(",")[0].split())  # the last one counts
    result = cli("preprocess", corpus, tmp_path / "second", "--n-frames", "32", "--quiet", *again)
    assert result.exit_code == 0
    assert "were sampled below" not in result.stderr


@pytest.mark.parametrize(
    ("median_s", "advice"), [(1.2, ". Try --n-frames 144"), (0.05, ". Try --n-frames 16"), (9.0, None)]
)
def test_shorter_clips_are_advised_where_there_are_shorter_ones(median_s: float, advice: str | None):
    about = {"n_frames": 320, "clip": {"short": "tile"}, "corpus_facts": {"seconds": {"median": median_s}}}
    warnings = Warnings()
    _warn_of_short_recordings(about, MEL, warnings)
    assert [warning.endswith(advice) for warning in warnings] == [True] * (advice is not None)


def test_clips_that_are_as_short_as_can_be_are_not_advised_to_be_shorter():
    about = {"n_frames": 16, "clip": {"short": "tile"}, "corpus_facts": {"seconds": {"median": 0.01}}}
    warnings = Warnings()
    _warn_of_short_recordings(about, MEL, warnings)
    (warning,) = warnings
    assert warning.endswith("most of what a clip holds is no sound of its own")


@pytest.mark.parametrize(("between", "told"), [("\\", ", with / between folders"), ("/", "")])
def test_a_table_whose_paths_all_lead_nowhere_is_to_be_corrected(cli: Cli, tmp_path: Path, between: str, told: str):
    corpus = write_corpus(tmp_path / "corpus")
    folder = "" if between == "\\" else "wrong/"
    names = [f"{folder}{label}{between}p{k}_0.wav,{label}" for label in ("hiss", "hum") for k in range(3)]
    (corpus / "table.csv").write_text("\n".join(["path,label", *names]))
    result = cli("preprocess", corpus / "table.csv", tmp_path / "out", *MEL_OPTIONS, "--quiet")
    assert result.exit_code == 4
    assert "all 6 recordings of" in result.stderr
    cure = "no such file. Correct the table's paths, which start at its folder and are spelled as the files are"
    assert result.stderr.rstrip().endswith(cure + told)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("subjects", "told"),
    [
        (
            ("p1", ""),
            "the subject of 1 of 2 recordings is not known, so clips of one patient may land on both sides of a "
            "split. Fill in the subject column where it is empty\n",
        ),
        (
            ("", ""),
            "the subject of 2 of 2 recordings is not known, so clips of one patient may land on both sides of a "
            "split. Give --subject-pattern, or a table with a subject column; clinaug-fast audit finds what is alike\n",
        ),
        (("p1", "p2"), ""),
    ],
)
def test_a_table_with_subjects_is_to_be_filled(cli: Cli, tmp_path: Path, subjects: tuple[str, str], told: str):
    rows = [f"{label}.wav,{label},{subject}" for label, subject in zip("ab", subjects, strict=True)]
    for label in "ab":
        soundfile.write(tmp_path / f"{label}.wav", np.sin(np.arange(16000) * ord(label)), 8000)
    (tmp_path / "table.csv").write_text("\n".join(["path,label,subject", *rows]))
    result = cli("preprocess", tmp_path / "table.csv", tmp_path / "out", *MEL_OPTIONS, "--n-frames", 32)
    assert told in result.stderr
    assert ("is not known" in result.stderr) == bool(told)


def test_files_that_are_there_are_to_be_repaired(cli: Cli, tmp_path: Path):
    for label in ("a", "b"):
        (tmp_path / "corpus" / label).mkdir(parents=True)
        (tmp_path / "corpus" / label / "x.wav").write_bytes(b"no sound")
    result = cli("preprocess", tmp_path / "corpus", tmp_path / "out", *MEL_OPTIONS, "--quiet")
    assert result.exit_code == 4
    assert result.stderr.rstrip().endswith(". Repair the files")


def test_a_path_among_others_that_leads_nowhere_is_to_be_corrected(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    rows = [f"{label}/p{k}_0.wav,{label}" for label in ("hiss", "hum") for k in range(3)]
    (corpus / "table.csv").write_text("\n".join(["path,label", "hiss/lost.wav,hiss", *rows]))
    result = cli("preprocess", corpus / "table.csv", tmp_path / "out", *MEL_OPTIONS, "--quiet")
    assert result.exit_code == 4
    assert "(1 MISSING)" in result.stderr
    assert "Correct the paths that lead nowhere and name a new output folder, or raise --max-bad" in result.stderr


def test_segments_that_are_too_short_are_not_to_be_repaired(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    rows = [f"{label}/p{k}_0.wav,{label},0,{end}" for label in ("hiss", "hum") for k in range(3) for end in (0.05, 1)]
    (corpus / "table.csv").write_text("\n".join(["path,label,start_s,end_s", *rows]))
    result = cli("preprocess", corpus / "table.csv", tmp_path / "out", *MEL_OPTIONS, "--min-seconds", "0.1", "--quiet")
    assert result.exit_code == 4
    assert "6 of 12 recordings were rejected (6 TOO_SHORT)" in result.stderr
    assert "Lower --min-seconds and name a new output folder, or raise --max-bad" in result.stderr


@pytest.mark.parametrize(("preset", "rate"), [("heart", 100), ("heart", 300), ("surgical", 40), ("surgical", 600)])
def test_the_advice_for_the_lowest_rates_is_not_refused(preset: str, rate: int):
    mel, advice = PRESETS[preset].mel, _settings_for(rate, PRESETS[preset].mel)
    if advice != "another --preset":
        assert not empty_bands(MelConfig(**{"f_min": mel.f_min, "n_mels": mel.n_mels} | settings_in(advice)))


def test_a_rate_below_the_lowest_band_gets_no_settings():
    assert _settings_for(4000, PRESETS["surgical"].mel.with_changes(f_min=2000.0)) == "another --preset"
