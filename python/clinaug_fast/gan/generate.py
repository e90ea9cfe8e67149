"""Generated clips as a feature set: for each trained fold, as many of each label as asked, with their lineage.

Takes a RUN folder and the feature set and folds it was trained on; leaves a feature set whose index says for which
fold each clip may be used, and `real_above_generated.png`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clinaug_fast.computing import as_torch_begins
from clinaug_fast.config import whole_number
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds
from clinaug_fast.features.lineage import generated_lineage
from clinaug_fast.features.pictures import CLIPS_A_LABEL, save_real_above, to_show
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.run_folder import Run
from clinaug_fast.runs import AnyPath, Progress, Silent, made_once, refuse_changed
from clinaug_fast.seeds import derived_seed

BATCH = 64
MOST_PER_LABEL = 100_000  # a million clips of ten labels are 16 GB
PICTURE = "real_above_generated.png"


@dataclass(frozen=True)
class GenerateResult:
    """What `generate` left."""

    features: FeatureSet  # the generated clips
    picture: Path
    already_done: bool  # the same set was there before


@as_torch_begins()
def generate(
    run: AnyPath,
    features: FeatureSet,
    folds: Folds,
    out: AnyPath,
    *,
    n_per_label: int | None = None,
    only_folds: Sequence[int] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> GenerateResult:
    """Write `n_per_label` clips of each label and fold to `out`; None: as many as the fold's training part has.

    Clips are in the log-mel units of `features`. The same run, seed, machine and number of threads give the same bytes;
    a set that was made so before is left as it is. InputError where folds of the run are missing, the run is of other
    features or folds, or `out` was made otherwise; SettingsError for an unusable number or fold.
    """
    out, progress, trained = Path(out), progress or Silent(), Run.open(run)
    seed = whole_number("seed", seed, least=0)
    if n_per_label is not None:
        n_per_label = whole_number("n_per_label", n_per_label)
        if not 1 <= n_per_label <= MOST_PER_LABEL:
            raise SettingsError(f"n_per_label is {n_per_label}; expected 1 to {MOST_PER_LABEL}")
    trained.check(features, folds)
    chosen = folds.chosen(only_folds)
    lineage = generated_lineage(features, folds, trained.fingerprint, chosen)
    _refuse_missing(trained, chosen, len(folds))
    lineage |= {"generators": {str(fold): trained.digest(fold) for fold in chosen}}
    lineage |= {"seed": seed, "n_per_label": n_per_label}

    def make() -> GenerateResult:
        _make(trained, features, folds, out, lineage, chosen, progress)
        return GenerateResult(FeatureSet.open(out), out / PICTURE, already_done=False)

    return made_once(out / "features.json", make, lambda: _standing(run, features, folds, out, lineage, chosen[0]))


def _standing(
    run: Path, features: FeatureSet, folds: Folds, out: Path, lineage: Mapping[str, Any], fold: int
) -> GenerateResult:
    """What is at `out`, which an earlier or another process made; InputError where it was made otherwise."""
    made = FeatureSet.open(out)
    made.refuse_all_but("generated")
    refuse_changed(out, _settings(made.lineage), _settings(lineage))
    if made.lineage.get("generators") != lineage["generators"]:
        raise InputError(
            f"{run} was trained anew after {out} was made of it; expected the same weights. Name another output folder"
        )
    made.refuse_lost_shards()
    if not (out / PICTURE).exists():
        _draw_again(made, features, folds, fold, lineage["seed"])
    return GenerateResult(made, out / PICTURE, already_done=True)


def _make(
    trained: Run,
    features: FeatureSet,
    folds: Folds,
    out: Path,
    lineage: Mapping[str, Any],
    chosen: Sequence[int],
    progress: Progress,
) -> None:
    n_per_label, seed = lineage["n_per_label"], lineage["seed"]
    counts = {}
    for fold in chosen:
        real = np.bincount(features.classes[folds.rows(features, fold)[0]], minlength=len(features.labels))
        counts[fold] = [n_per_label or int(n) for n in real]
    progress.start("generating, clips", sum(map(sum, counts.values())))
    shown = []
    with new_feature_set(out, features.mel, features.clip_shape[1], features.labels, lineage) as writer:
        for fold in chosen:
            generator, scaling = trained.generator(fold)
            for number, label in enumerate(features.labels):
                rng = torch.Generator().manual_seed(derived_seed("generated clips", seed, fold, number))
                made = 0
                for unit in _draw(generator, number, counts[fold][number], rng):
                    clips = scaling.to_log_mel(unit)
                    _refuse_diverged(clips, trained, fold)
                    for i, clip in enumerate(clips, made):
                        name = f"fold{fold}/{label}/{i:05d}"
                        writer.add(clip, id=name, recording=name, label=label, start_s=0.0, fold=fold)
                    if fold == chosen[0] and not made:
                        shown.append(clips[:CLIPS_A_LABEL].copy())  # of a view, the others would stay too
                    made += len(clips)
                    progress.advance(len(clips))
        real = _some_real_clips(features, folds, chosen[0], seed)
        save_real_above(writer.folder / PICTURE, real, shown, features.labels, features.mel)


def _draw_again(made: FeatureSet, features: FeatureSet, folds: Folds, fold: int, seed: int) -> None:
    """The picture of a set that has lost it."""
    of_fold = made.column("fold") == fold
    rows = (np.flatnonzero(of_fold & (made.classes == number)) for number in range(len(made.labels)))
    shown = [made.clips(some[:CLIPS_A_LABEL]) for some in rows]
    real = _some_real_clips(features, folds, fold, seed)
    save_real_above(made.path / PICTURE, real, shown, features.labels, features.mel)


def _refuse_missing(run: Run, chosen: Sequence[int], n_folds: int) -> None:
    missing = [fold for fold in chosen if not run.folder(fold).exists()]
    if not missing:
        return
    there = [fold for fold in range(n_folds) if run.folder(fold).exists()]
    instead = f", or ask for what is there: {' '.join(f'--fold {fold}' for fold in there)}" if there else ""
    raise InputError(
        f"{run.path} has no generator for fold {' and fold '.join(map(str, missing))}; its split has {n_folds}. "
        f"Finish it with clinaug-fast train{instead}"
    )


def _refuse_diverged(clips: np.ndarray, run: Run, fold: int) -> None:
    if not np.isfinite(clips).all():
        raise InputError(
            f"the generator of fold {fold} in {run.path} gives NaN or infinity; expected numbers. Its training has "
            "diverged: train a new run, with lower rates"
        )


def _settings(lineage: Mapping[str, Any]) -> dict[str, Any]:
    """What the bytes of a generated set depend on, as a refusal names it."""
    keys = ("kind", "features", "folds", "run", "seed", "n_per_label")
    return {key: lineage.get(key) for key in keys} | {"fold": sorted(map(int, lineage.get("trained_on_groups", {})))}


def _draw(generator: Generator, number: int, n: int, rng: torch.Generator) -> Iterator[np.ndarray]:
    """n clips of one label, some at a time: (k, n_mels, n_frames) float32 in (-1, 1)."""
    for part in torch.randn(n, generator.latent_dim, generator=rng).split(BATCH):
        with torch.inference_mode():
            clips = generator(part, torch.full((len(part),), number))
        yield clips.squeeze(1).numpy()


def _some_real_clips(features: FeatureSet, folds: Folds, fold: int, seed: int) -> list[np.ndarray]:
    """For each label a few training clips of the fold, of different recordings as far as there are."""
    train, _ = folds.rows(features, fold)
    recordings, rng = features.column("recording"), np.random.default_rng([seed, fold])
    picked = []
    for number in range(len(features.labels)):
        rows = rng.permutation(train[features.classes[train] == number])
        picked.append(features.clips(rows[to_show(recordings[rows])]))
    return picked
