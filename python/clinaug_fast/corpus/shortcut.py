"""Do duration and level alone give the label away? Then a classifier can score well without listening.

Takes three numbers a recording; leaves a cross-validated macro-F1 beside chance, and a warning where it is far above
it and above what luck gives.
Nearest neighbours in numpy, not a forest: importing scikit-learn takes longer than preprocessing a thousand files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NEIGHBOURS = 5
FOLDS = 5
MAX_RECORDINGS = 500  # a larger corpus is judged by a draw of this many, even over the labels
MAX_LABELS = MAX_RECORDINGS // FOLDS  # so that of each label there is one in each fold
FAR_ABOVE_CHANCE = 0.15
# Of the labels; by luck one corpus in a hundred does better than all of them, where a subject's labels come in no runs.
SHUFFLES = 99
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
    rows = np.flatnonzero(np.isin(classes, judged))
    if len(rows) > MAX_RECORDINGS:
        each = MAX_RECORDINGS // len(judged)
        rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(classes == c))[:each] for c in judged]))
    features = np.stack([_ranks(values[rows]) for values in (seconds, rms_db, peak)])
    classes, groups = classes[rows], groups[rows]
    fold, classes = _deal(classes, groups, rng), np.searchsorted(judged, classes)
    near = {name: _near(features[some], fold) for name, some in TRIED.items()}
    by = {name: _macro_f1(pairs, classes, len(judged)) for name, pairs in near.items()}
    macro_f1, chance = max(by.values()), 1.0 / len(judged)
    # Three standard errors of guessing, were each subject one guess; where they have several labels, fewer are enough.
    _, sizes = np.unique(groups, return_counts=True)
    guessing = 3.0 * np.sqrt(chance * (1.0 - chance) * np.sum(sizes**2)) / len(groups)
    is_far = macro_f1 >= chance + FAR_ABOVE_CHANCE and (
        macro_f1 >= chance + guessing
        or all(
            max(_macro_f1(pairs, shuffled, len(judged)) for pairs in near.values()) < macro_f1
            for shuffled in _shuffles(classes, groups, fold, rng)
        )
    )
    return about | {
        "recordings": len(rows),
        "by": {name: round(value, 3) for name, value in by.items()},
        "macro_f1": round(macro_f1, 3),
        "chance": round(chance, 3),
        "warning": _warning(by, chance, len(sizes) == len(groups)) if is_far else None,
    }


def _warning(by: Mapping[str, float], chance: float, one_by_one: bool) -> str:
    shows = {"duration": "what fills up short recordings", "level": "bands without sound"}
    telling = [name for name in shows if by[name] >= chance + FAR_ABOVE_CHANCE] or list(shows)
    verb, them = ("predicts", "it") if len(telling) == 1 else ("predict", "them")
    return (
        f"{' and '.join(telling)} alone {verb} the label: macro-F1 {round(max(by.values()), 3):.2f}, chance "
        f"{chance:.2f}. "
        + ("No two recordings are known to be of one subject; if some are, this is too high. " if one_by_one else "")
        + f"evaluate's classifier is not told {them}, but {' and '.join(shows[name] for name in telling)} may show "
        f"{them} all the same; trust no score that is little above this one"
    )


@dataclass(frozen=True)
class _Near:
    """Pairs (place, neighbour): the nearest recordings of other folds, with all that are as near as the last of them.

    Recordings of one fold that agree in all that is compared are at one place: where all last as long, few are asked.
    """

    place: np.ndarray  # (n_pairs,)
    neighbour: np.ndarray  # (n_pairs,) a recording
    place_of: np.ndarray  # (n,) of each recording


def _near(features: np.ndarray, fold: np.ndarray) -> _Near:
    """features: (n_features, n) ranks."""
    keys = fold
    for values in features:
        keys = keys * len(fold) + values
    _, first, place_of = np.unique(keys, return_index=True, return_inverse=True)
    pairs = []
    for k in range(FOLDS):
        train, places = np.flatnonzero(fold != k), np.flatnonzero(fold[first] == k)
        distance = sum(np.abs(values[first[places], None] - values[train]) for values in features)
        last = min(NEIGHBOURS, len(train)) - 1
        near = np.flatnonzero(distance <= np.partition(distance, last, axis=1)[:, last, None])
        at, neighbour = np.divmod(near, len(train))
        pairs.append((places[at], train[neighbour]))
    place, neighbour = map(np.concatenate, zip(*pairs, strict=True))
    return _Near(place, neighbour, place_of)


def _macro_f1(near: _Near, classes: np.ndarray, n_classes: int) -> float:
    """Of predicting each recording's class by the majority of those near it."""
    n_places = near.place_of.max() + 1
    votes = np.bincount(near.place * n_classes + classes[near.neighbour], minlength=n_places * n_classes)
    predicted = votes.reshape(n_places, n_classes).argmax(axis=1)[near.place_of]
    hits = np.bincount(classes[predicted == classes], minlength=n_classes)
    named = np.bincount(classes, minlength=n_classes) + np.bincount(predicted, minlength=n_classes)
    return float(np.mean(2.0 * hits / named))


def _shuffles(classes: np.ndarray, groups: np.ndarray, fold: np.ndarray, rng: Any) -> Iterator[np.ndarray]:
    """What `classes` could as well be if nothing predicted them: dealt anew inside each group of several, and over the
    groups of one, inside each fold, so that each keeps its share (a restricted permutation test)."""
    _, of_row = np.unique(groups, return_inverse=True)
    pairs = np.unique(np.stack([of_row, classes]), axis=1)
    of_one = np.bincount(pairs[0]) == 1
    unit = np.where(of_one[of_row], of_row, len(of_one) + np.arange(len(classes)))  # what has one class
    _, first, unit_of_row = np.unique(unit, return_index=True, return_inverse=True)
    block = np.where(of_one[of_row], fold, FOLDS + of_row)[first]  # where they are dealt anew
    in_blocks, dealt = np.argsort(block, kind="stable"), classes[first]
    for _ in range(SHUFFLES):
        anew = np.empty_like(dealt)
        anew[in_blocks] = dealt[np.lexsort([rng.random(len(dealt)), block])]
        yield anew[unit_of_row]


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
