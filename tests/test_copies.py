"""Copies of a recording under other names are found by what is measured anyway, and told where a split parts them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus.copies import MEASURED, copies, same_sound, warning
from clinaug_fast.features.card import CARD
from clinaug_fast.features.feature_set import feature_set_fingerprint
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, SUBJECT_PATTERN, Recorder

CLIP = ClipConfig(n_frames=32)


def measured(*square_sums: float, **others: list[float]) -> dict[str, np.ndarray]:
    n = len(square_sums)
    return {name: np.array(others.get(name, [1.0] * n)) for name in MEASURED} | {"square_sum": np.array(square_sums)}


def groups(found: list[np.ndarray]) -> list[list[int]]:
    return [rows.tolist() for rows in found]


def test_rows_that_agree_in_all_are_one_sound() -> None:
    assert groups(same_sound(measured(3.0, 1.0, 3.0, 2.0, 1.0, 3.0))) == [[1, 4], [0, 2, 5]]
    assert same_sound(measured(1.0, 2.0, 3.0)) == same_sound(measured(1.0)) == []


@pytest.mark.parametrize("name", ["seconds", "file_rate", "channels", "peak", "silent_share"])
def test_rows_that_differ_in_anything_are_not(name: str) -> None:
    assert same_sound(measured(5.0, 5.0, **{name: [1.0, 2.0]})) == []


def test_sums_that_others_come_near_may_agree_by_chance() -> None:
    step = 2.0**-30
    assert groups(same_sound(measured(5.0, 5.0, 5.0 + 2000 * step, 5.0 - 2000 * step))) == [[0, 1]]
    for near in (5.0 + 900 * step, 5.0 - 900 * step):
        assert same_sound(measured(5.0, 5.0, near)) == []
    rng = np.random.default_rng(0)
    whispers = rng.integers(-1, 2, (300, 24_000))
    sums = np.sum(whispers.astype(float) ** 2, axis=1) * step
    assert len(set(sums)) < 290
    assert same_sound(measured(*sums)) == []


def test_digital_silence_is_nobodys_copy() -> None:
    assert same_sound(measured(0.0, 0.0, 0.0)) == []


def found_of(labels: str, subjects: str, square_sums: list[float]) -> dict:
    names = np.array([f"r{k}" for k in range(len(labels))])
    of_label, of_subject = (np.array([ord(c) for c in text]) for text in (labels, subjects))
    return copies(measured(*square_sums), of_label, of_subject, lambda rows: names[rows].tolist())


def test_what_a_split_may_part_comes_first() -> None:
    found = found_of("aabbbabb", "xxyzyxyy", [1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 5.0])
    assert found == {
        "recordings": 6,
        "sounds": 3,
        "of_several_labels": 1,
        "of_one_label_and_several_subjects": 1,
        "examples": [["r4", "r5"], ["r2", "r3"], ["r0", "r1"]],
    }
    assert warning(found) == (
        "6 recordings hold the same sound as another, as far as length, level and silence tell, such as r4 and r5; "
        "sounds under more than one label: 1; sounds "
        "of one label that a split may both train on and test on: 1. Take the copies out, or name one subject for them"
    )


def test_copies_that_stay_together_are_told_and_not_warned_of() -> None:
    found = found_of("aaab", "xxyz", [1.0, 1.0, 2.0, 3.0])
    assert (found["recordings"], found["examples"]) == (2, [["r0", "r1"]])
    assert warning(found) is None
    told = warning(found_of("aab", "xyz", [1.0, 1.0, 2.0]))
    assert "; sounds of one label that a split may both train on and test on: 1. Take" in told
    assert "under more than one label" not in told
    assert warning(found_of("ab", "xy", [1.0, 2.0])) is None


def test_an_example_shows_what_it_is_told_for() -> None:
    assert found_of("aaab", "xyzx", [1.0] * 4)["examples"] == [["r0", "r3"]]
    assert found_of("aaaa", "xxyx", [1.0] * 4)["examples"] == [["r0", "r2"]]


@pytest.fixture
def corpus(tiny_corpus: Path, tmp_path: Path) -> Path:
    """With a copy under another subject, one as FLAC under another label, and one of the same subject."""
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    shutil.copy(corpus / "hum/p0_0.wav", corpus / "hum/p9_9.wav")
    shutil.copy(corpus / "hum/p1_0.wav", corpus / "hum/p1_9.wav")
    samples, rate = soundfile.read(corpus / "hiss/p2_0.wav", dtype="int16")
    soundfile.write(corpus / "knock/p2_9.flac", samples, rate)
    return corpus


def preprocessed(corpus: Path, out: Path, key: bytes | None = None) -> tuple[dict, str]:
    """The facts on copies, and the one warning of them."""
    heard = Recorder()
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, deidentify_key=key, progress=heard)
    (told,) = [text for text in heard.warnings if "same sound" in text]
    return json.loads((out / "features.json").read_text())["corpus_facts"]["copies"], told


def test_preprocess_finds_them(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    found, told = preprocessed(corpus, out)
    assert (found["recordings"], found["sounds"]) == (6, 3)
    assert (found["of_several_labels"], found["of_one_label_and_several_subjects"]) == (1, 1)
    assert found["examples"][0] == ["hiss/p2_0.wav", "knock/p2_9.flac"]
    assert found["examples"][1] == ["hum/p0_0.wav", "hum/p9_9.wav"]
    assert "hiss/p2_0.wav and knock/p2_9.flac" in told
    assert "6 recordings hold the same samples" in (out / CARD).read_text()
    assert preprocessed(corpus, out) == (found, told)  # of a set that stands, too


def test_names_are_hashed_under_a_key(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found, told = preprocessed(corpus, out, b"k" * 32)
    ids = {name.split("#")[0] for name in pq.read_table(out / "index.parquet").column("id").to_pylist()}
    assert {name for pair in found["examples"] for name in pair} <= ids
    assert "p2_" not in json.dumps(found) + told + (out / CARD).read_text()


def test_names_come_from_the_right_block(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess(corpus, tmp_path / "one", MEL, CLIP, subject_pattern=SUBJECT_PATTERN)
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    (corpus / "hiss/p0_1.wav").write_bytes(b"no audio")
    preprocess(corpus, tmp_path / "many", MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    one, many = (json.loads((tmp_path / f"{name}/features.json").read_text()) for name in ("one", "many"))
    assert len(many["shards"]) > 3
    assert one["corpus_facts"]["copies"] == many["corpus_facts"]["copies"]


def test_a_set_of_an_older_build_is_told_nothing(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN)
    about = json.loads((out / "features.json").read_text())
    del about["corpus_facts"]["copies"]
    about["fingerprint"] = feature_set_fingerprint(about, out / "index.parquet")
    (out / "features.json").write_text(json.dumps(about))
    heard = Recorder()
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, progress=heard)
    assert not [text for text in heard.warnings if "same sound" in text]
