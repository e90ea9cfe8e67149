"""Do duration and level alone give the label away? Then a classifier can score well without listening.

Takes three numbers a recording; leaves a cross-validated macro-F1 beside chance, and a warning where it is far above.
Nearest neighbours in numpy, not a forest: importing scikit-learn takes longer than preprocessing a thousand files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

NEIGHBOURS = 5
FOLDS = 5
MAX_RECORDINGS = 500  # a larger corpus is judged by a draw of this many, even over the labels
MAX_LABELS = MAX_RECORDINGS // FOLDS  # so that of each label there is one in each fold
FAR_ABOVE_CHANCE = 0.15
# Neighbours are misled by numbers that tell nothing, so each is tried alone too.
TRIED = {"duration": [0], "level": [1, 2], "both": [0, 1, 2]}


def duration_and_level_shortcut(
    seconds: np.ndarray,
    rms_db: np.ndarray,
    peak: np.ndarray,
    classes: np.ndarray,
    groups: np.ndarray,
    labels: Sequence[str],
) -> dict[str, Any]:
    """Macro-F1 of predicting `classes`, numbers of `labels`, from the three before, (n,) each, with whole `groups` left
    out; a fixed seed.

    Of more than MAX_LABELS labels that many are drawn. Chance is 1 / labels: the macro-F1 of guessing at the labels'
    own frequencies. Labels of a single group cannot be cross-validated and are left out; `macro_f1` is None where
    fewer than two remain, else the largest of `by`.
    """
    rng = np.random.default_rng(0)
    owned = np.array([len(np.unique(groups[classes == c])) for c in range(len(labels))])
    judged = np.flatnonzero(owned >= 2)
    about: dict[str, Any] = {"labels_left_out": [labels[c] for c in np.flatnonzero(owned < 2)]}
    if len(judged) < 2:
        return about | {"recordings": 0, "by": {}, "macro_f1": None, "chance": None, "warning": None}
    if len(judged) > MAX_LABELS:
        judged = np.sort(rng.permutation(judged)[:MAX_LABELS])
    rows = np.sort(
        np.concatenate([rng.permutation(np.flatnonzero(classes == c))[: MAX_RECORDINGS // len(judged)] for c in judged])
    )
    features = np.stack([_ranks(values[rows]) for values in (seconds, rms_db, peak)])
    classes, groups = classes[rows], groups[rows]
    fold = _deal(classes, groups, rng)
    by = {}
    for name, some in TRIED.items():
        predicted = _cross_validated(features[some], classes, fold)
        by[name] = float(np.mean([_f1(classes == c, predicted == c) for c in judged]))
    macro_f1, chance = max(by.values()), 1.0 / len(judged)
    return about | {
        "recordings": len(rows),
        "by": {name: round(value, 3) for name, value in by.items()},
        "macro_f1": round(macro_f1, 3),
        "chance": round(chance, 3),
        "warning": _warning(macro_f1, chance, len(np.unique(groups))),
    }


def _warning(macro_f1: float, chance: float, n_groups: int) -> str | None:
    by_luck = 3.0 * np.sqrt(chance * (1.0 - chance) / n_groups)  # three standard errors of guessing
    if macro_f1 - chance < max(FAR_ABOVE_CHANCE, by_luck):
        return None
    return (
        f"duration and level alone predict the label: macro-F1 {round(macro_f1, 3):.2f}, chance {chance:.2f}. "
        "Fix the length, normalise the level of each clip, and distrust a classifier that does little better"
    )


def _cross_validated(features: np.ndarray, classes: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(n,) the majority among the nearest recordings of other folds, with all that are as near as the last of them."""
    predicted = np.empty_like(classes)
    by_class = np.argsort(classes, kind="stable")
    for k in range(FOLDS):
        train, test = by_class[fold[by_class] != k], np.flatnonzero(fold == k)
        distance = sum(np.abs(values[test, None] - values[train]) for values in features)
        last = min(NEIGHBOURS, len(train)) - 1
        near = distance <= np.partition(distance, last, axis=1)[:, last, None]
        present, first = np.unique(classes[train], return_index=True)
        votes = np.add.reduceat(near, first, axis=1, dtype=np.int32)
        predicted[test] = present[votes.argmax(axis=1)]
    return predicted


def _deal(classes: np.ndarray, groups: np.ndarray, rng: Any) -> np.ndarray:
    """(n,) fold numbers: whole groups in random order, dealt label by label so that each fold has its share of each."""
    names, first, of_row = np.unique(groups, return_index=True, return_inverse=True)
    order = np.lexsort([rng.permutation(len(names)), classes[first]])
    fold = np.empty(len(names), np.int64)
    fold[order] = np.arange(len(names)) % FOLDS
    return fold[of_row]


def _ranks(values: np.ndarray) -> np.ndarray:
    """(n,) int32 from 0 on: equal values have equal ranks, and the units do not matter. numpy partitions 32 bits much
    sooner than 16."""
    return np.searchsorted(np.sort(values), values).astype(np.int32)


def _f1(true: np.ndarray, predicted: np.ndarray) -> float:
    hits = np.count_nonzero(true & predicted)
    return 2.0 * hits / (np.count_nonzero(true) + np.count_nonzero(predicted))
