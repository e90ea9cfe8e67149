"""How good are generated clips, whatever a classifier makes of them: near to real ones, varied, and no copies.

Takes a feature set, its folds and generated or augmented sets; leaves a folder with `quality.json` and, for each set, a
picture of the clips that are nearest to one real recording alone. Every fold compares with its own test part, which
neither the generator nor the embedder has seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clinaug_fast.computing import as_torch_begins, chosen_device
from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.evaluate.admission import admitted_rows, check_real
from clinaug_fast.evaluate.distances import refuse_without_torchmetrics
from clinaug_fast.evaluate.fold_quality import PAIRS, REAL, FoldQuality, fold_quality
from clinaug_fast.evaluate.scores import over_folds, rounded
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from clinaug_fast.features.pictures import save_real_above
from clinaug_fast.json_files import read_versioned, write_json
from clinaug_fast.runs import (
    AnyPath,
    Progress,
    Silent,
    atomic_folder,
    made_once,
    own_fingerprint,
    provenance,
    refuse_changed,
)

SCHEMA_VERSION = 3
FEW = 2  # times fewer clips than there could be
ABOUT = {
    "settings": dict,
    "near_limit": float,
    "compared": [int],
    "real": dict,
    "arms": dict,
    "fingerprint": str,
}  # what quality.json tells
NEAR = 0.01  # the share of real test clips that count as near copies, by which the limit is set
TWIN = 0.05  # a ratio below which a real clip is a copy itself


@dataclass(frozen=True)
class QualityResult:
    """What `quality` left."""

    out: Path
    about: dict[str, Any]  # quality.json
    already_done: bool  # the same was there before


@as_torch_begins()
def quality(
    features: FeatureSet,
    folds: Folds,
    synthetic: Mapping[str, FeatureSet],
    out: AnyPath,
    config: ClassifierConfig,
    *,
    only_folds: Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> QualityResult:
    """Measure each set in `synthetic` beside real clips, fold by fold, and write `out`.

    frechet, kernel: `frechet_distance` and `kernel_distance_by_label` to the fold's test part, in the embedding of a
    ResNet-18 trained on half of the groups of the fold's training part; the mean of both halves. The real row is the
    other half's, which the embedder has not seen, as it has not the test part; of augmented sets the copies of the
    other half are taken. Clips that repeat what the embedder has seen come out farther than they are. As many clips
    of a label are drawn from each as all of them have.
    spread: `relative_spread` to the training part; below 1 where clips are more alike than real ones. The real row is
    the test part's.
    near_copies: the share of clips whose ratio to the training part (`nearest`) is below a limit, averaged over labels.
    The real row is the test part's: the limit is what all but 1 % of the test clips of all folds reach, each label
    counting alike, and without those that have a twin in the training part.

    Raises LeakageError where a generator has seen a group that its fold tests, InputError for sets that do not fit
    together or are too small to compare or an `out` that was made otherwise, SettingsError for an unusable arm name,
    fold or device, no arm, or without torchmetrics.
    """
    out, device, progress = Path(out), chosen_device(device), progress or Silent()
    refuse_without_torchmetrics()
    if not synthetic:
        raise SettingsError("no generated or augmented set is given; expected one or more. Name it with --synthetic")
    if REAL in synthetic:
        raise SettingsError(f"a set is named {REAL!r}, which is what sets are compared with. Name it otherwise")
    chosen = folds.chosen(only_folds)
    check_real(features, folds, chosen)
    admitted = admitted_rows(features, folds, synthetic, chosen)
    if (grouped_by := folds.about["group_by"]) != "subject":
        progress.warn(
            f"grouped by {grouped_by}: where the subject is not known, real clips of one patient may be "
            "on both sides of a fold, and look as near to each other as copies do: fewer copies are told. Give "
            "preprocess --subject-pattern, or a table with subjects"
        )
    settings = {
        "features": features.fingerprint,
        "folds": folds.fingerprint,
        "arms": {arm: made.fingerprint for arm, made in synthetic.items()},
        "tested": chosen,
        **config.model_dump(exclude={"seeds"}),
    }

    def make() -> QualityResult:
        with atomic_folder(out) as draft:
            found = []
            for fold in chosen:
                rows = {arm: by_fold[fold] for arm, by_fold in admitted.items()}
                found.append(fold_quality(features, folds, synthetic, rows, fold, config, device, progress))
            summary = _summary(found, progress, grouped_by.replace(", else ", " or "))
            about = {"schema_version": SCHEMA_VERSION, "settings": settings, **summary}
            about["fingerprint"] = own_fingerprint(about)
            _draw_what_lacks(draft, features, synthetic, about["arms"])
            write_json(draft / "quality.json", about | {"provenance": provenance() | {"torch": torch.__version__}})
        return QualityResult(out, about, already_done=False)

    return made_once(out / "quality.json", make, lambda: _standing(out, settings, features, synthetic))


def _standing(
    out: Path, settings: Mapping[str, Any], features: FeatureSet, synthetic: Mapping[str, FeatureSet]
) -> QualityResult:
    what = "a quality.json (clinaug-fast quality makes one)"
    about = read_versioned(out / "quality.json", what, SCHEMA_VERSION, "Measure anew, into another folder", ABOUT)
    if about["fingerprint"] != own_fingerprint(about):
        raise InputError(
            f"{out / 'quality.json'} was changed after it was made. Restore it, or measure anew, into another folder"
        )
    refuse_changed(out, about["settings"], settings)
    _draw_what_lacks(out, features, synthetic, about["arms"])
    return QualityResult(out, about, already_done=True)


def _summary(found: Sequence[FoldQuality], progress: Progress, unit: str) -> dict[str, Any]:
    limit = _limit(found, progress, unit)
    sets = {}
    for name in found[0].ratios:
        measures = {
            "frechet": [fold.distances[name]["frechet"] for fold in found],
            "kernel": [fold.distances[name]["kernel"] for fold in found],
            "spread": [fold.spread[name] for fold in found],
            "near_copies": [_share_below(limit, fold.ratios[name], fold.classes[name]) for fold in found],
        }
        sets[name] = {measure: over_folds(np.array(values)) for measure, values in measures.items()}
        sets[name]["clips"] = sum(len(fold.ratios[name]) for fold in found)
    for name in found[0].pairs:
        pairs = sorted((pair for fold in found for pair in fold.pairs[name]), key=lambda pair: -pair["ratio"])
        lowest = {pair["real"]: pair for pair in pairs}  # of each original, the last
        sets[name]["closest"] = sorted(lowest.values(), key=lambda pair: pair["ratio"])[:PAIRS]
    real, compared, possible = sets.pop(REAL), [fold.compared for fold in found], [fold.possible for fold in found]
    if FEW * sum(compared) < sum(possible):
        with_one = {arm: sum(fold.with_one[arm] for fold in found) for arm in sets}
        fewest = min(with_one, key=with_one.__getitem__)
        progress.warn(
            f"the Fréchet distances{' of all sets' if len(sets) > 1 else ''} rest on {sum(compared)} clips of each, of "
            f"{sum(possible)} that there could be, as {fewest!r} has no more of each label: of so few they come out "
            f"larger. Generate more of it{', or leave it out' if len(sets) > 1 else ''}"
        )
    return rounded({"near_limit": limit, "compared": compared, "real": real, "arms": sets})


def _limit(found: Sequence[FoldQuality], progress: Progress, unit: str) -> float:
    """The ratio that NEAR of the test clips are below, each label counting alike; unit: what a split keeps together."""
    ratios = np.concatenate([fold.ratios[REAL] for fold in found])
    classes = np.concatenate([fold.classes[REAL] for fold in found])
    alone = ratios >= TWIN
    if not alone.all():
        progress.warn(
            f"{np.count_nonzero(~alone)} of {len(alone)} test clips have a twin in the training part of their fold, "
            f"under another {unit}: clinaug-fast audit finds which"
        )
    if not alone.any():
        return TWIN
    ratios, classes = ratios[alone], classes[alone]
    order, weights = np.argsort(ratios, kind="stable"), 1.0 / np.bincount(classes)[classes]
    below = np.cumsum(weights[order]) / weights.sum()
    return float(ratios[order][np.searchsorted(below, NEAR, side="right")])


def _share_below(limit: float, ratios: np.ndarray, classes: np.ndarray) -> float:
    """The mean over labels."""
    return float(np.mean([np.mean(ratios[classes == label] < limit) for label in np.unique(classes)]))


def _draw_what_lacks(
    folder: Path, features: FeatureSet, synthetic: Mapping[str, FeatureSet], arms: Mapping[str, Any]
) -> None:
    for arm, measured in arms.items():
        path = folder / "closest" / arm / "pairs.png"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _draw(features, synthetic[arm], measured["closest"], path)


def _draw(features: FeatureSet, synthetic: FeatureSet, pairs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A column a pair: the real clip, and below it the one that is near to it alone, with the labels of both, where
    they differ, and how near it is."""

    def clips(of: FeatureSet, key: str) -> list[np.ndarray]:
        place = {name: row for row, name in enumerate(of.column("id"))}
        return [of.clips([place[pair[key]]]) for pair in pairs]

    real, made = (dict(zip(of.column("id"), of.column("label"), strict=True)) for of in (features, synthetic))
    titles = []
    for pair in pairs:
        above, below = real[pair["real"]], made[pair["id"]]
        titles.append(f"ratio {pair['ratio']:.2f}, {above if above == below else f'{above} above {below}'}")
    kind = synthetic.lineage["kind"]
    save_real_above(path, clips(features, "real"), clips(synthetic, "id"), titles, features.mel, kind)
