"""Scores, against numbers worked out by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.evaluate.predictions import Cell, Predictions
from clinaug_fast.evaluate.scores import score
from clinaug_fast.evaluate.statistics import corrected_interval


def predictions(recordings: str, classes: list[int], probabilities: list[list[float]]) -> Predictions:
    return Predictions(np.array(list(recordings), dtype=object), np.array(classes), np.log(np.array(probabilities)))


def certain(classes: list[int], predicted: list[int], n_labels: int = 2) -> Predictions:
    """One window a recording, predicted with confidence."""
    names = [f"r{i:03}" for i in range(len(classes))]
    log_probabilities = np.where(np.eye(n_labels)[predicted] == 1, -0.01, -9.0)
    return Predictions(np.array(names, dtype=object), np.array(classes), log_probabilities)


def score_cells(cells: dict[Cell, Predictions], labels: list[str]) -> dict:
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    folds = sorted({cell.fold for cell in cells})
    return score(cells.__getitem__, arms, folds, max(folds) + 2, len({cell.seed for cell in cells}), labels)


def test_windows_of_a_recording_vote_by_their_mean_log_probability():
    # Recording a (class 0): two windows lean to 1, one is sure of 0 and wins. b (class 1): right in both windows.
    cell = predictions("abaab", [0, 1, 0, 0, 1], [[0.4, 0.6], [0.3, 0.7], [0.999, 0.001], [0.4, 0.6], [0.2, 0.8]])
    votes = cell.by_recording()
    assert votes.recordings.tolist() == ["a", "b"]
    assert votes.classes.tolist() == [0, 1]
    expected = (2 * np.log([0.4, 0.6]) + np.log([0.999, 0.001])) / 3
    np.testing.assert_allclose(votes.log_probabilities[0], expected)

    none = score_cells({Cell("none", 0, 0): cell}, ["quiet", "loud"])["arms"]["none"]
    assert none["recording"]["macro_f1"]["mean"] == 1.0
    assert none["recording"]["confusion"] == [[1.0, 0.0], [0.0, 1.0]]
    # By window: quiet has precision 1, recall 1/3, F1 1/2; loud precision 2/4, recall 1, F1 2/3.
    assert none["window"]["f1_by_label"] == {"quiet": 0.5, "loud": 0.666667}
    assert none["window"]["macro_f1"]["mean"] == round((1 / 2 + 2 / 3) / 2, 6)
    assert none["window"]["confusion"] == [[1.0, 2.0], [0.0, 2.0]]
    assert (none["window"]["tested"], none["recording"]["tested"]) == (5, 2)


def test_the_interval_of_a_difference_is_that_of_the_corrected_t():
    cells = {}
    for fold, right in enumerate((10, 8, 9)):
        cells[Cell("none", fold, 0)] = certain([0, 1] * 10, [0, 1] * 7 + [1, 0] * 3)
        cells[Cell("se", fold, 0)] = certain([0, 1] * 10, [0, 1] * right + [1, 0] * (10 - right))
    scores = score_cells(cells, ["a", "b"])  # three of the four folds of a split
    difference = scores["arms"]["se"]["window"]["difference"]
    assert difference["by_fold"] == pytest.approx([0.3, 0.1, 0.2], abs=1e-6)
    half = 4.302653 * 0.1 * np.sqrt(1 / 3 + 1 / 3)  # t of 2 degrees of freedom, as tables have it
    assert difference["interval"] == pytest.approx([0.2 - half, 0.2 + half], abs=1e-6)
    one = score_cells({cell: it for cell, it in cells.items() if cell.fold == 0}, ["a", "b"])
    assert one["arms"]["se"]["window"]["difference"]["interval"] is None
    alike = {cell: cells[Cell(cell.arm, 0, 0)] for cell in cells}  # no spread, which is no certainty
    assert score_cells(alike, ["a", "b"])["arms"]["se"]["window"]["difference"]["interval"] is None
    assert corrected_interval(np.array([0.3, 0.1 + 0.2]), 2) is None  # alike but for rounding


def test_seeds_are_averaged_inside_a_fold_before_folds_are_compared():
    right, wrong, half = certain([0, 1], [0, 1]), certain([0, 1], [1, 0]), certain([0, 1], [0, 0])
    f1_half = (2 / 3 + 0) / 2  # label 0: precision 1/2, recall 1; label 1 is never predicted
    cells = {
        Cell("none", 0, 0): right,
        Cell("none", 0, 1): wrong,
        Cell("none", 3, 0): half,
        Cell("none", 3, 1): half,
        Cell("se", 0, 0): right,
        Cell("se", 0, 1): right,
        Cell("se", 3, 0): half,
        Cell("se", 3, 1): wrong,
    }
    scores = score_cells(cells, ["a", "b"])
    assert (scores["folds"], scores["seeds"]) == ([0, 3], 2)
    none, se = (scores["arms"][arm]["recording"] for arm in ("none", "se"))
    assert none["macro_f1"]["by_fold_and_seed"] == [[1.0, 0.0], [0.333333, 0.333333]]
    assert none["macro_f1"]["by_fold"] == [0.5, 0.333333]
    assert none["macro_f1"]["mean"] == pytest.approx((0.5 + f1_half) / 2, abs=1e-6)
    assert none["macro_f1"]["sd"] == pytest.approx((0.5 - f1_half) / np.sqrt(2), abs=1e-6)
    assert "difference" not in none
    differences = [0.5, f1_half / 2 - f1_half]
    assert se["difference"]["by_fold"] == pytest.approx(differences, abs=1e-6)
    assert se["difference"]["mean"] == pytest.approx(sum(differences) / 2, abs=1e-6)
    assert se["difference"]["sd"] == pytest.approx((differences[0] - differences[1]) / np.sqrt(2), abs=1e-6)
    assert none["confusion"] == [[1.5, 0.5], [1.5, 0.5]]  # over both folds, mean over seeds


def test_f1_by_label_is_the_mean_over_all_seeds():
    cells = {Cell("none", 0, 0): certain([0, 1], [0, 1]), Cell("none", 0, 1): certain([0, 1], [1, 0])}
    scores = score_cells(cells, ["a", "b"])
    assert scores["arms"]["none"]["window"]["f1_by_label"] == {"a": 0.5, "b": 0.5}


def test_a_label_that_is_never_predicted_counts_as_zero():
    scores = score_cells({Cell("none", 0, 0): certain([0, 1, 2], [0, 1, 1], n_labels=3)}, ["a", "b", "c"])
    none = scores["arms"]["none"]["window"]
    assert none["f1_by_label"] == {"a": 1.0, "b": 0.666667, "c": 0.0}
    assert none["macro_f1"] == {"mean": 0.555556, "sd": None, "by_fold": [0.555556], "by_fold_and_seed": [[0.555556]]}


@given(data=st.data(), n_labels=st.integers(2, 5))
def test_every_score_agrees_with_counting(data, n_labels):
    n = data.draw(st.integers(n_labels, 30))
    numbers = st.lists(st.integers(0, n_labels - 1), min_size=n, max_size=n)
    truth, predicted = data.draw(numbers), data.draw(numbers)
    labels = [f"label {i}" for i in range(n_labels)]
    scores = score_cells({Cell("none", 0, 0): certain(truth, predicted, n_labels)}, labels)
    none = scores["arms"]["none"]["recording"]

    pairs = list(zip(truth, predicted, strict=True))
    f1 = []
    for label in range(n_labels):
        hits = sum(t == p == label for t, p in pairs)
        misses = sum((t == label) != (p == label) for t, p in pairs)
        f1.append(2 * hits / (2 * hits + misses) if hits else 0.0)
    assert list(none["f1_by_label"].values()) == pytest.approx(f1, abs=1e-6)
    assert none["macro_f1"]["mean"] == pytest.approx(sum(f1) / n_labels, abs=1e-6)
    assert none["confusion"] == [[pairs.count((t, p)) for p in range(n_labels)] for t in range(n_labels)]
    assert none["tested"] == n
    assert json.loads(json.dumps(scores)) == scores


def test_a_row_of_the_confusion_adds_up_to_what_was_tested_of_its_label():
    cells = {Cell("none", f, s): certain([0, 1, 1], [0, 1, (f + s) % 2]) for f in range(3) for s in range(2)}
    none = score_cells(cells, ["a", "b"])["arms"]["none"]["window"]
    assert np.sum(none["confusion"], axis=1).tolist() == [3.0, 6.0]
    assert none["tested"] == 9


def test_two_folds_and_small_differences_have_an_interval():
    half = 12.7062 * 0.0005 / np.sqrt(2) * np.sqrt(1 / 2 + 1)  # t of one degree of freedom
    assert corrected_interval(np.array([0.2, 0.2005]), 2) == pytest.approx((0.20025 - half, 0.20025 + half), abs=1e-7)
