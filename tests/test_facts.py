"""Corpus facts and the shortcut check, against numbers that are known beforehand."""

import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus import facts as module
from clinaug_fast.corpus.facts import FACTS_SCHEMA
from clinaug_fast.corpus.shortcut import (
    FOLDS,
    MAX_RECORDINGS,
    SHUFFLES,
    _deal,
    _shuffles,
    duration_and_level_shortcut,
)
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL


def table(*rows: dict) -> pa.Table:
    usual = {
        "subject": None,
        "site": None,
        "device": None,
        "seconds": 3600.0,
        "file_rate": 8000,
        "channels": 1,
        "peak": 0.5,
        "rms_db": -20.0,
    }
    usual |= {"clipped_share": 0.0, "silent_share": 0.0}
    named = ({"recording": f"r{k}", "square_sum": float(k), "file": k} for k in range(len(rows)))
    return pa.Table.from_pylist([name | usual | row for name, row in zip(named, rows, strict=True)], FACTS_SCHEMA)


def corpus_facts(recordings: pa.Table) -> dict:
    return module.corpus_facts(recordings, lambda rows: recordings.column("recording").take(rows).to_pylist())


def test_hours_rates_levels_and_silence() -> None:
    facts = corpus_facts(
        table(
            {"label": "a", "silent_share": 0.75},
            {"label": "a", "seconds": 7200.0, "file_rate": 44100, "channels": 2},
            {"label": "b", "seconds": 1800.0, "peak": 1.0, "clipped_share": 0.01, "rms_db": -np.inf},
        )
    )
    assert (facts["recordings"], facts["hours"]) == (3, 3.5)
    assert facts["by_label"]["a"] == {
        "recordings": 2,
        "hours": 3.0,
        "median_seconds": 5400.0,
        "median_rms_db": -20.0,
        "clipped_recordings": 0,
        "silent_share": 0.25,  # weighted by duration
    }
    assert facts["by_label"]["b"] == {
        "recordings": 1,
        "hours": 0.5,
        "median_seconds": 1800.0,
        "median_rms_db": -120.0,
        "clipped_recordings": 1,
        "silent_share": 0.0,
    }
    assert facts["silent_share"] == pytest.approx(0.75 / 3.5, abs=1e-4)
    assert facts["mostly_silent_recordings"] == 1
    assert facts["file_rates"] == {"8000": 2, "44100": 1}
    assert facts["channels"] == {"1": 2, "2": 1}
    assert facts["clipped_recordings"] == 1
    assert facts["clipped_share"]["max"] == pytest.approx(0.01)
    assert facts["rms_db"]["min"] == -120.0  # digital silence
    assert facts["seconds"] == {"min": 1800.0, "p5": 1980.0, "median": 3600.0, "p95": 6840.0, "max": 7200.0}
    json.dumps(facts, allow_nan=False)


def test_one_recording_has_facts_and_no_shortcut() -> None:
    facts = corpus_facts(table({"label": "a"}))
    assert facts["shortcut"]["macro_f1"] is None
    assert facts["shortcut"]["labels_left_out"] == ["a"]


def drawn(n: int, told_by: float, groups: np.ndarray | None = None, seed: int = 0) -> dict:
    """n recordings of 4 labels whose durations differ by `told_by` standard deviations from label to label."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 4
    seconds = 20.0 + told_by * classes + rng.standard_normal(n)
    rms_db, peak = rng.normal(-20.0, 3.0, n), rng.uniform(0.1, 1.0, n)
    groups = np.arange(n) if groups is None else groups
    return duration_and_level_shortcut(seconds, rms_db, peak, classes, groups, "abcd")


def test_durations_that_tell_the_label_are_warned_of() -> None:
    found = drawn(400, told_by=6.0)
    assert found["macro_f1"] > 0.9
    assert found["chance"] == 0.25
    assert found["warning"].startswith("duration alone predicts the label: macro-F1 0.98, chance 0.25. ")
    assert "what fills up short recordings may show it all the same" in found["warning"]


@pytest.mark.parametrize("seed", range(5))
def test_durations_that_tell_nothing_are_not(seed: int) -> None:
    found = drawn(400, told_by=0.0, seed=seed)
    assert found["macro_f1"] == pytest.approx(0.25, abs=0.1)
    assert found["warning"] is None


def test_luck_on_a_few_recordings_is_no_warning() -> None:
    assert all(drawn(8, told_by=0.0, seed=seed)["warning"] is None for seed in range(20))


def test_a_little_above_chance_is_no_warning_however_sure() -> None:
    found = drawn(400, told_by=0.5)
    assert 0.35 < found["macro_f1"] < 0.4
    assert found["warning"] is None


@pytest.mark.parametrize("n_subjects", [2, 6])
def test_a_level_set_by_the_label_is_seen_in_few_subjects_of_all_labels(n_subjects: int) -> None:
    rng = np.random.default_rng(0)
    classes, same = np.arange(160) % 4, np.ones(160)
    level = 6.0 * classes + 4.0 * rng.standard_normal(160)
    subject = np.arange(160) // 4 % n_subjects
    found = duration_and_level_shortcut(same, level, same, classes, subject, "abcd")
    assert found["recordings"] == 160
    assert "level alone predicts the label" in found["warning"]
    assert "bands without sound may show it all the same" in found["warning"]
    labels = rng.permutation(classes)  # nothing tells these
    assert duration_and_level_shortcut(same, level, same, labels, subject, "abcd")["warning"] is None


@pytest.mark.parametrize(("n_labels", "n_subjects"), [(2, 10), (3, 6), (5, 10)])
def test_a_duration_that_tells_the_label_is_seen_in_subjects_of_one_label(n_labels: int, n_subjects: int) -> None:
    subject = np.repeat(np.arange(n_subjects), 20)
    classes, rng = subject % n_labels, np.random.default_rng(0)
    seconds, level = 20.0 + 10.0 * classes + rng.standard_normal(len(classes)), rng.standard_normal((2, len(classes)))
    assert duration_and_level_shortcut(seconds, *level, classes, subject, "abcde"[:n_labels])["warning"]


def test_two_large_subjects_are_two_guesses() -> None:
    """Each with its own level, beside many of one recording."""
    warned = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        subject = np.concatenate([np.repeat([0, 1], 30), np.arange(2, 62)])
        level = rng.standard_normal(62)[subject] + 0.1 * rng.standard_normal(120)
        same = np.ones(120)
        warned += bool(duration_and_level_shortcut(same, level, level, subject % 2, subject, "ab")["warning"])
    assert warned <= 5


def test_few_subjects_of_one_label_each_are_no_evidence() -> None:
    """Six subjects of two labels: whatever tells the subjects tells the labels."""
    subject = np.repeat(np.arange(6), 20)
    level = 10.0 * (subject % 2) + 0.1 * np.random.default_rng(0).standard_normal(120)
    found = duration_and_level_shortcut(np.ones(120), level, np.ones(120), subject % 2, subject, "ab")
    assert found["macro_f1"] > 0.95
    assert found["warning"] is None


@pytest.mark.parametrize("seed", range(3))
def test_labels_are_shuffled_where_nothing_else_changes(seed: int) -> None:
    """Inside subjects of several labels; of one label they stay whole, and each fold keeps its number of them."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), 5)
    classes = np.where(groups < 20, groups % 3, np.arange(200) % 3)
    fold = _deal(classes, groups, rng)
    shuffled = list(_shuffles(classes, groups, fold, rng))
    assert len(shuffled) == SHUFFLES
    assert any((new[groups < 20] != classes[groups < 20]).any() for new in shuffled)
    assert any((new[groups >= 20] != classes[groups >= 20]).any() for new in shuffled)
    for new in shuffled:
        for group in range(40):
            counts = np.bincount(new[groups == group], minlength=3)
            assert (
                counts.max() == 5
                if group < 20
                else (counts == np.bincount(classes[groups == group], minlength=3)).all()
            )
        for k in range(FOLDS):
            assert (np.bincount(new[fold == k], minlength=3) == np.bincount(classes[fold == k], minlength=3)).all()


def test_a_subject_is_left_out_whole() -> None:
    """Each subject has its own level and one label: known subjects give the label away, new ones do not."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(40), 10)
    level = rng.normal(-20.0, 5.0, 40)[subject] + 0.001 * rng.standard_normal(400)
    same = np.ones(400)
    alone = duration_and_level_shortcut(same, level, same, subject % 4, np.arange(400), "abcd")
    grouped = duration_and_level_shortcut(same, level, same, subject % 4, subject, "abcd")
    assert alone["macro_f1"] > 0.8
    assert grouped["macro_f1"] < 0.5


def test_a_label_of_one_subject_is_left_out_and_named() -> None:
    groups = np.arange(400)
    groups[np.arange(400) % 4 == 3] = 1000
    found = drawn(400, told_by=6.0, groups=groups)
    assert found["labels_left_out"] == ["d"]
    assert found["chance"] == pytest.approx(1 / 3, abs=1e-3)
    assert found["macro_f1"] > 0.9


def test_two_subjects_of_every_label_can_be_judged() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = drawn(40, told_by=6.0, groups=np.arange(40) // 20)
    assert found["macro_f1"] > 0.8
    assert found["warning"]


def test_a_large_corpus_is_judged_by_an_even_draw() -> None:
    found = drawn(20000, told_by=6.0)
    assert found["recordings"] == MAX_RECORDINGS
    assert found["macro_f1"] > 0.9


@pytest.mark.parametrize("n_labels", [101, 260, 501])
def test_of_many_labels_a_draw_is_judged(n_labels: int) -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(10 * n_labels) % n_labels
    seconds, noise = 20.0 + 6.0 * classes + rng.standard_normal(len(classes)), rng.standard_normal((2, len(classes)))
    labels = [f"l{k}" for k in range(n_labels)]
    found = duration_and_level_shortcut(seconds, *noise, classes, np.arange(len(classes)), labels)
    assert (found["recordings"], found["chance"], found["labels_left_out"]) == (MAX_RECORDINGS, 0.01, [])
    assert found["by"]["duration"] > 0.5
    assert "duration alone predicts the label" in found["warning"]


def test_the_same_facts_give_the_same_bytes() -> None:
    rng = np.random.default_rng(1)
    rows = [{"label": "ab"[k % 2], "seconds": float(rng.uniform(1, 9)), "subject": f"s{k // 5}"} for k in range(60)]
    assert json.dumps(corpus_facts(table(*rows))) == json.dumps(corpus_facts(table(*rows)))


def test_a_known_subject_is_one_group_and_each_unknown_one_its_own() -> None:
    """Two recordings of one subject cannot be told apart from one; of unknown subjects they can."""
    rows = [{"label": label, "subject": f"s{label}"} for label in "aabb"]
    assert corpus_facts(table(*rows))["shortcut"]["labels_left_out"] == ["a", "b"]
    rows = [{"label": label} for label in "aabb"]
    assert corpus_facts(table(*rows))["shortcut"]["labels_left_out"] == []


def test_medians_are_medians_and_half_silent_is_not_mostly_silent() -> None:
    facts = corpus_facts(
        table(
            {"label": "a", "rms_db": -10.0, "silent_share": 0.5},
            {"label": "a", "rms_db": -20.0, "silent_share": 0.51},
            {"label": "a", "rms_db": -90.0, "seconds": 60.0},
        )
    )
    assert facts["by_label"]["a"]["median_rms_db"] == -20.0
    assert facts["by_label"]["a"]["median_seconds"] == 3600.0
    assert facts["mostly_silent_recordings"] == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_shortcut_check_deals_each_label_evenly(seed: int) -> None:
    classes = np.repeat([0, 0, 1, 2], 11)
    groups = np.array([f"{c}{k // 2}" for k, c in enumerate(classes)])  # of two or one
    fold = _deal(classes, groups, np.random.default_rng(seed))
    for label in range(3):
        dealt = [len(np.unique(groups[(classes == label) & (fold == k)])) for k in range(FOLDS)]
        assert max(dealt) - min(dealt) <= 1
    assert all(len(np.unique(fold[groups == group])) == 1 for group in groups)


def test_segments_of_one_file_are_one_group_where_no_subject_is_known() -> None:
    """As a split keeps them: their common level is no sign that level gives the label away."""
    rng = np.random.default_rng(4)
    rows = [
        {"label": label, "rms_db": level, "seconds": 1.0, "file": 100 * file}
        for file, (label, level) in enumerate(
            zip(rng.permutation(["a", "b"] * 30), rng.normal(-30, 8, 60), strict=True)
        )
        for _ in range(10)
    ]
    assert corpus_facts(table(*rows))["shortcut"]["warning"] is None
    alone = [row | {"file": number} for number, row in enumerate(rows)]
    assert corpus_facts(table(*alone))["shortcut"]["warning"] is not None


@pytest.mark.parametrize("key", [None, bytes(32)])
def test_segments_of_one_file_that_hold_the_same_are_not_parted(tmp_path: Path, monkeypatch, key: bytes | None) -> None:
    """A block may end inside a file, and a key scatters a file's segments over all of them."""
    monkeypatch.setattr("clinaug_fast.preprocess.blocks.BLOCK_RECORDINGS", 3)
    corpus, rate = tmp_path / "corpus", 8000
    corpus.mkdir()
    lines = ["path,label,start_s,end_s"]
    for number, label in enumerate(["a", "b"] * 3):
        draw = np.random.default_rng(number % 4)  # 4 holds what 0 holds, 5 what 1 does
        soundfile.write(corpus / f"{number}.wav", np.tile(draw.integers(-9000, 9000, rate), 2).astype(np.int16), rate)
        lines += [f"{number}.wav,{label},{second},{second + 1}" for second in range(2)]
    (corpus / "table.csv").write_text("\n".join(lines))
    preprocess(corpus / "table.csv", tmp_path / "out", MEL, ClipConfig(n_frames=32), deidentify_key=key)
    about = FeatureSet.open(tmp_path / "out").about
    assert len(about["shards"]) == 4
    copies = about["corpus_facts"]["copies"]
    assert (copies["sounds"], copies["recordings"]) == (4, 12)
    assert (copies["of_one_label_and_several_subjects"], copies["of_several_labels"]) == (2, 0)


def test_one_label_that_can_be_judged_is_none() -> None:
    classes, same = np.arange(40) % 2, np.ones(40)
    groups = np.where(classes == 0, np.arange(40), 1000)  # label b has one subject
    found = duration_and_level_shortcut(same, same, same, classes, groups, "ab")
    assert found["labels_left_out"] == ["b"]
    assert (found["recordings"], found["macro_f1"], found["chance"]) == (0, None, None)


def test_the_labels_that_are_judged_are_drawn_from_all() -> None:
    classes, rng = np.arange(2000) % 200, np.random.default_rng(0)
    seconds = 6.0 * np.maximum(classes - 100, 0) + rng.standard_normal(2000)  # the later half is told
    noise, labels = rng.standard_normal((2, 2000)), [f"l{k}" for k in range(200)]
    found = duration_and_level_shortcut(seconds, *noise, classes, np.arange(2000), labels)
    assert found["by"]["duration"] > 0.2


def test_what_is_well_above_chance_is_warned_of() -> None:
    found = drawn(400, told_by=1.0)
    assert 0.4 < found["macro_f1"] < 0.55
    assert found["warning"]


def test_a_warning_says_where_no_two_recordings_are_known_to_be_of_one_subject() -> None:
    told = "No two recordings are known to be of one subject"
    assert told in drawn(400, told_by=6.0)["warning"]
    assert told not in drawn(400, told_by=6.0, groups=np.arange(400) // 4)["warning"]


def test_a_peak_that_tells_the_label_is_a_level() -> None:
    classes, rng = np.arange(200) % 4, np.random.default_rng(0)
    seconds, rms_db = rng.standard_normal((2, 200))
    found = duration_and_level_shortcut(seconds, rms_db, 0.2 * (1 + classes), classes, np.arange(200), "abcd")
    assert found["by"]["level"] > 0.8
    assert found["warning"].startswith("level alone predicts")
