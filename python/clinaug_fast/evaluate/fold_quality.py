"""The quality of generated clips in one fold: how far from its test part, how varied, how near to single real clips."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold
from torch import Tensor

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError
from clinaug_fast.evaluate.classifier import ResNet18
from clinaug_fast.evaluate.distances import frechet_distance, kernel_distance_by_label
from clinaug_fast.evaluate.nearest import Nearest, nearest, relative_spread
from clinaug_fast.evaluate.training import TEST_BATCH, train_classifier
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from clinaug_fast.features.lineage import original_id
from clinaug_fast.runs import Progress
from clinaug_fast.seeds import derived_seed

REAL = "real"  # beside the arms: the real clips that a measure compares them with
HALVES = 2
PAIRS = 6  # nearest clips of a set that are told


@dataclass(frozen=True)
class Part:
    """Clips (n, n_mels, n_frames) float32, their classes (n,) int64 and origins (n,) int64, which copies of one clip
    share; `stream` names what is drawn of them."""

    clips: np.ndarray
    classes: np.ndarray
    origins: np.ndarray
    stream: str

    def of(self, rows: np.ndarray) -> "Part":
        return Part(self.clips[rows], self.classes[rows], self.origins[rows], self.stream)


@dataclass(frozen=True)
class FoldQuality:
    """What was measured in one fold, by set, REAL among them."""

    distances: dict[str, dict[str, float]]  # frechet, kernel: the mean of both halves
    spread: dict[str, float]
    classes: dict[str, np.ndarray]  # of every clip that was looked at for copies
    ratios: dict[str, np.ndarray]  # of `nearest`, of the same clips
    pairs: dict[str, list[dict[str, Any]]]  # of the arms: the nearest clips
    compared: int = 0  # clips of each set that a distance rests on, in the smaller half
    possible: int = 0  # so many if the arms had enough,
    with_one: dict[str, int] = field(default_factory=dict)  # and with one arm alone


def fold_quality(
    features: FeatureSet,
    folds: Folds,
    synthetic: Mapping[str, FeatureSet],
    admitted: Mapping[str, np.ndarray],
    fold: int,
    config: ClassifierConfig,
    device: torch.device,
    progress: Progress,
) -> FoldQuality:
    """Measures of the real clips and of each set in `synthetic`, its rows `admitted` to the fold; see `quality`.

    Raises InputError where the fold trains on one group alone, or no label has two clips in every set and part.
    """
    train, test = folds.rows(features, fold)
    groups, real_ids = features.groups[train], features.column("id")[train]
    if len(set(groups)) < HALVES:
        raise InputError(
            f"fold {fold} trains on {groups[0]!r} alone; expected {HALVES} groups or more, or a copy cannot be told. "
            "Split into fewer folds, or record more"
        )
    training, tested = (
        Part(features.clips(rows), features.classes[rows], np.arange(len(rows)), stream)
        for rows, stream in ((train, "training part"), (test, "test part"))
    )
    arms, ids, augmented = {}, {}, []
    for arm, made in synthetic.items():
        rows = admitted[arm]
        ids[arm], origins = made.column("id")[rows], np.arange(len(rows))
        if made.lineage["kind"] == "augmented":
            augmented.append(arm)
            at = {name: row for row, name in enumerate(real_ids)}
            origins = np.array([at[original_id(name)] for name in ids[arm]])
        arms[arm] = Part(made.clips(rows), made.classes[rows], origins, made.fingerprint)

    _refuse_nothing_to_compare(_counts_in_all([training, tested, *arms.values()], len(features.labels)), fold)
    shown, counts, of_real = [], [], []
    for seen, unseen in _halves(training.classes, groups, derived_seed("halves", config.seed, fold)):
        sets = {REAL: training.of(unseen), **arms}
        for arm in augmented:
            sets[arm] = arms[arm].of(np.isin(arms[arm].origins, unseen))
        shown.append((training.of(seen), sets))
        counts.append(_counts_in_all([tested, *sets.values()], len(features.labels)))
        of_real.append(_counts_in_all([tested, sets[REAL]], len(features.labels)))
    counts, of_real = _of_both(counts, fold), _of_both(of_real, fold)
    if few := [label for label, n in zip(features.labels, counts[0], strict=True) if n < 2]:
        progress.warn(
            f"fold {fold} is compared without the clips of {', '.join(map(repr, few))}: a set, the test part or half "
            "of the training part has fewer than two of them"
        )
    progress.start(f"fold {fold}: training embedders, steps", HALVES * config.steps)
    by_half = []
    for half, ((seen, sets), n_of_label) in enumerate(zip(shown, counts, strict=True)):
        seed = derived_seed("embedder", config.seed, fold, half)
        on_step = partial(progress.advance, note=f"half {half + 1}")
        clips, classes = torch.from_numpy(seen.clips), torch.from_numpy(seen.classes)
        model = train_classifier(clips, classes, len(features.labels), config, seed, device=device, on_step=on_step)
        by_half.append(_distances(model, tested, sets, n_of_label, seed, device))
    distances = {
        name: {measure: float(np.mean([half[name][measure] for half in by_half])) for measure in measures}
        for name, measures in by_half[0].items()
    }
    looked_at = {REAL: tested, **arms}
    progress.start(f"fold {fold}: looking for copies, clips", sum(len(part.clips) for part in looked_at.values()))
    copied = {
        name: nearest(part.clips, training.clips, groups, on_clips=progress.advance) for name, part in looked_at.items()
    }
    pairs = {
        arm: [
            {
                "id": ids[arm][at],
                "real": real_ids[found.rows[at]],
                "fold": fold,
                "ratio": ratio,
                "distance_db": distance,
            }
            for at, ratio, distance in _closest(found, features.mel.unit_db)
        ]
        for arm, found in copied.items()
        if arm != REAL
    }
    return FoldQuality(
        distances=distances,
        compared=min(map(_n_drawn, counts)),
        possible=min(map(_n_drawn, of_real)),
        with_one={
            arm: min(
                _n_drawn(np.minimum(n_real, np.bincount(sets[arm].classes, minlength=len(features.labels))))
                for n_real, (_, sets) in zip(of_real, shown, strict=True)
            )
            for arm in synthetic
        },
        spread={
            name: relative_spread(part.clips, part.classes, training.clips, training.classes)
            for name, part in looked_at.items()
        },
        classes={name: part.classes for name, part in looked_at.items()},
        ratios={name: found.ratios for name, found in copied.items()},
        pairs=pairs,
    )


def _halves(classes: np.ndarray, groups: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(what an embedder is trained on, the rest), each once: halves of the groups, labels as even as can be."""
    splitter = StratifiedGroupKFold(HALVES, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels with one clip
        yield from splitter.split(classes, classes, groups)


def _counts_in_all(parts: Sequence[Part], n_labels: int) -> np.ndarray:
    """(n_labels,) how many clips of each label all parts have."""
    return np.min([np.bincount(part.classes, minlength=n_labels) for part in parts], axis=0)


def _of_both(counts: Sequence[np.ndarray], fold: int) -> list[np.ndarray]:
    """Without labels of which one half has too few: a mean over halves is of the same labels in each."""
    fewer = np.min(counts, axis=0)
    _refuse_nothing_to_compare(fewer, fold)
    return [np.where(fewer >= 2, n, 0) for n in counts]


def _refuse_nothing_to_compare(n_of_label: np.ndarray, fold: int) -> None:
    """InputError where no label has two clips."""
    if n_of_label.max() < 2:
        raise InputError(
            f"fold {fold} has no label of which its test part, half of its training part and every set have two clips; "
            "expected one or more. Generate more, or use fewer folds"
        )


def _n_drawn(n_of_label: np.ndarray) -> int:
    """Of a set whose labels have two clips or more in all sets."""
    return int(n_of_label[n_of_label >= 2].sum())


def _distances(
    model: ResNet18,
    tested: Part,
    sets: Mapping[str, Part],
    n_of_label: np.ndarray,
    seed: int,
    device: torch.device,
) -> dict[str, dict[str, float]]:
    """frechet and kernel of each of `sets`, of so many clips of each label that has two or more."""

    real = drawn(tested, n_of_label, seed)
    embedded = _embedded(model, real.clips, device)
    found = {}
    for name, part in sets.items():
        other = _embedded(model, drawn(part, n_of_label, seed).clips, device)
        found[name] = {
            "frechet": frechet_distance(embedded, other),
            "kernel": kernel_distance_by_label(embedded, other, real.classes),
        }
    return found


def drawn(part: Part, n_of_label: np.ndarray, seed: int) -> Part:
    """So many clips of each label that has two or more. A second copy of a clip comes after the first of all others:
    copies lie together, and a set of fewer originals lies farther from everything."""
    rng, rows = np.random.default_rng(derived_seed(f"clips of {part.stream}", seed)), []
    for label, n in enumerate(n_of_label):
        if n >= 2:
            order = rng.permutation(np.flatnonzero(part.classes == label))
            rows.append(order[np.argsort(_seen_before(part.origins[order]), kind="stable")][:n])
    return part.of(np.concatenate(rows))


def _seen_before(origins: np.ndarray) -> np.ndarray:
    """(n,) int64: how often each came before."""
    order = np.argsort(origins, kind="stable")
    _, first, counts = np.unique(origins[order], return_index=True, return_counts=True)
    seen = np.empty_like(order)
    seen[order] = np.arange(len(order)) - np.repeat(first, counts)
    return seen


@torch.inference_mode()
def _embedded(model: ResNet18, clips: np.ndarray, device: torch.device) -> Tensor:
    """(n, 8 width) on the CPU."""
    parts = torch.from_numpy(clips).split(TEST_BATCH)
    return torch.cat([model.embed(part.unsqueeze(1).to(device)).cpu() for part in parts])


def _closest(copied: Nearest, unit_db: float) -> Iterator[tuple[int, float, float]]:
    """(place, ratio, distance in dB) of PAIRS clips at most, the lowest ratio first, each of another original."""
    order = np.argsort(copied.ratios, kind="stable")
    _, first = np.unique(copied.rows[order], return_index=True)
    for at in order[np.sort(first)][:PAIRS].tolist():
        yield at, float(copied.ratios[at]), float(copied.distances[at] * unit_db)
