"""What evaluate and split say of a test part of few patients: a patient of many recordings is still one patient."""

from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.errors import InputError
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import make_folds
from conftest import Recorder
from test_cross_validation import CONFIG, LABELS, MEL, SIZE, stripes

ONE_STEP = CONFIG.with_changes(steps=1, seeds=1)


def write(path: Path, recordings_of: list[int], unknown: int = 0) -> FeatureSet:
    """As many recordings of each subject, half of them of each label; those of the last `unknown` have no subject."""
    rng = np.random.default_rng(0)
    with new_feature_set(path, MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for subject, count in enumerate(recordings_of):
            for k in range(count):
                name, label = f"{subject}-{k}.wav", LABELS[k % 2]
                known = f"s{subject}" if subject < len(recordings_of) - unknown else None
                writer.add(stripes(label, rng), id=name, recording=name, subject=known, label=label, start_s=0.0)
    return FeatureSet.open(path)


def warned(features: FeatureSet, n_folds: int, out: Path) -> list[str]:
    told = Recorder()
    evaluate(features, make_folds(features, n_folds), {}, out, ONE_STEP, progress=told)
    *others, unseen = told.warnings
    assert unseen.startswith(
        f"a classifier is shown {ONE_STEP.batch_size // 2} clips of a label, and the arm 'none' has "
    )
    return others


def test_many_recordings_of_one_patient_are_one_patient(tmp_path: Path) -> None:
    (told,) = warned(write(tmp_path / "set", [20, 20, 20]), 3, tmp_path / "out")
    assert told.startswith(
        "few test subjects: 1 of 'across' in fold 0, 1 of 'along' in fold 0, 1 of 'across' in fold 1"
    )
    assert "however many recordings it has. Use fewer folds or record more" in told


def test_two_folds_cannot_be_fewer(tmp_path: Path) -> None:
    (told,) = warned(write(tmp_path / "set", [4] * 6), 2, tmp_path / "out")
    assert told.endswith("however many recordings it has. Record more")


def test_folds_of_very_different_size_are_told_where_the_interval_is(tmp_path: Path) -> None:
    few, uneven = warned(write(tmp_path / "set", [40, 4, 4]), 3, tmp_path / "out")
    assert few.startswith("few test subjects")
    assert uneven.endswith(". Each fold's score counts alike, and intervals are made for equal folds")
    assert "tests 40 recordings and fold" in uneven


@pytest.mark.parametrize(("n_subjects", "told"), [(8, True), (10, False)])
def test_five_tested_subjects_are_not_few(tmp_path: Path, n_subjects: int, told: bool) -> None:
    features = write(tmp_path / "set", [2] * n_subjects)
    sentence = make_folds(features, 2).few_tested(features, [0, 1])
    assert (sentence is not None) == told


@pytest.mark.parametrize(("n_folds", "more"), [(2, ""), (3, " and 1 more;")])
def test_of_many_labels_of_few_subjects_five_are_named(tmp_path: Path, n_folds: int, more: str) -> None:
    features = write(tmp_path / "set", [2] * 6)
    sentence = make_folds(features, n_folds).few_tested(features, range(n_folds))
    assert sentence.count(" of '") == min(2 * n_folds, 5)
    assert (more or "in fold 1; ") in sentence


@pytest.mark.parametrize(
    ("unknown", "told", "give"),
    [
        (
            1,
            "each patient together who is known, else each recording: the subject of 4 of 24",
            "a table whose subject ",
        ),
        (
            6,
            "each recording together, not each patient: the subject of 24 of 24",
            "--subject-pattern, or a table with ",
        ),
    ],
)
def test_split_counts_the_recordings_without_a_subject(cli, tmp_path: Path, unknown: int, told: str, give: str) -> None:
    write(tmp_path / "set", [4] * 6, unknown)
    result = cli("split", tmp_path / "set", "--folds", 2)
    assert f"the folds keep {told} is not known. Give preprocess {give}" in result.stderr


def test_a_fold_that_tests_one_of_two_labels_is_refused(tmp_path) -> None:
    features = write(tmp_path / "set", [2] * 4, unknown=4)
    folds = make_folds(features, 2)
    folds.about["folds"][1]["test_groups"] = ["recording:0-0.wav"]
    with pytest.raises(InputError, match="fold 1 has no clip of 'along' in its test part"):
        evaluate(features, folds, {}, tmp_path / "out", ONE_STEP, only_folds=[1])
