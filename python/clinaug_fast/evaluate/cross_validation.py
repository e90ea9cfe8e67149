"""Does an augmentation help? The same classifier, fold by fold, with and without generated or altered clips.

Takes a feature set, its folds and generated or augmented sets; leaves a folder with `evaluation.json` (settings and
fingerprints), the predictions of every cell (arm, fold, seed) and `scores.json`, computed from these predictions
alone. A killed evaluation goes on from the cells that are stored.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, product, starmap
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clinaug_fast.computing import as_torch_begins, chosen_device
from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import SettingsError
from clinaug_fast.evaluate.admission import admitted_rows, check_real
from clinaug_fast.evaluate.predictions import Cell, machinery, make_folders, read_predictions, write_predictions
from clinaug_fast.evaluate.scores import BASELINE, score
from clinaug_fast.evaluate.training import log_probabilities, train_classifier
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from clinaug_fast.json_files import as_json, read_versioned
from clinaug_fast.runs import (
    AnyPath,
    Progress,
    Silent,
    begun,
    claim,
    fingerprint,
    provenance,
    refuse_changed,
    write_text,
)
from clinaug_fast.seeds import derived_seed
from clinaug_fast.shown import counted

SCHEMA_VERSION = 2
UNEQUAL = 2.0  # times as many clips as another arm adds
IDENTITY = ("labels", "n_folds", "group_by", "settings")  # of evaluation.json: what its cells belong to
ABOUT = {  # what evaluation.json tells
    "labels": [str],
    "n_folds": int,
    "group_by": str,
    "settings": {"arms": dict, "seeds": int},
}


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` left."""

    out: Path
    scores: dict[str, Any]  # scores.json
    trained: int  # cells trained by this call; the others were stored


@as_torch_begins()
def evaluate(
    features: FeatureSet,
    folds: Folds,
    synthetic: Mapping[str, FeatureSet],
    out: AnyPath,
    config: ClassifierConfig,
    *,
    only_folds: Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> EvaluationResult:
    """Compare the arm `none`, the real clips of a fold's training part, with one arm for each set in `synthetic`.

    An arm draws its batches from the same real clips and all clips that its set has for the fold, for as many gradient
    steps and with the same seeds as `none`. `only_folds` trains these folds now; the scores cover every fold of which
    all cells are stored, so folds may be run one by one.

    Nothing is trained before every arm and fold has passed the checks. Raises LeakageError where a generator has seen
    a group that its fold tests, InputError for sets that do not fit together, NaN in a clip or an output folder made
    with other settings, SettingsError for an unusable arm name, fold or device, and where a classifier diverges.
    """
    out, device, progress = Path(out), chosen_device(device), progress or Silent()
    chosen = folds.chosen(only_folds)
    check_real(features, folds, chosen)
    admitted = admitted_rows(features, folds, synthetic, chosen)
    evaluation = _begin(out, features, folds, synthetic, config)
    _warn(features, folds, chosen, progress)
    for warning in (
        *_never_shown(features, folds, synthetic, admitted, chosen, config),
        *_lacking(features.labels, synthetic, admitted),
        *_unequal(admitted),
    ):
        progress.warn(warning)

    arms = [BASELINE, *synthetic]
    cells = [Cell(arm, fold, seed) for fold in chosen for arm in arms for seed in range(config.seeds)]
    missing = [cell for cell in cells if not cell.path(out).exists()]
    stored_on = _check_stored(out, arms, len(folds), config.seeds, evaluation, features.labels)
    _warn_of_other_machinery(stored_on, machinery(device) if missing else None, progress)
    if missing:
        make_folders(out, arms)
        progress.start("training classifiers, steps", len(missing) * config.steps)
    for (fold, arm), its_cells in groupby(missing, key=lambda cell: (cell.fold, cell.arm)):
        train, test = folds.rows(features, fold)
        clips, classes = features.clips(train), features.classes[train]
        if arm != BASELINE:
            rows = admitted[arm][fold]
            clips = np.concatenate([clips, synthetic[arm].clips(rows)])
            classes = np.concatenate([classes, synthetic[arm].classes[rows]])
        clips, classes, test_clips = (torch.from_numpy(array) for array in (clips, classes, features.clips(test)))
        for cell in its_cells:
            seed = classifier_seed(config.seed, cell)
            on_step = partial(progress.advance, note=f"{arm}, fold {fold}, seed {cell.seed}")
            model = train_classifier(clips, classes, len(features.labels), config, seed, device=device, on_step=on_step)
            predicted = log_probabilities(model, test_clips, device).numpy()
            if not np.isfinite(predicted).all():
                raise SettingsError(
                    f"the classifier of {arm}, fold {fold}, seed {cell.seed} diverged: its log-probabilities hold NaN "
                    f"or infinity. Lower --learning-rate ({config.learning_rate:g}) or --weight-decay "
                    f"({config.weight_decay:g}), in another output folder"
                )
            write_predictions(out, cell, evaluation, features, test, predicted, device, len(clips))
    return EvaluationResult(out, score_stored(out), len(missing))


def _check_stored(
    out: Path, arms: Sequence[str], n_folds: int, seeds: int, evaluation: str, labels: Sequence[str]
) -> list[str]:
    """Whatever will be scored in the end is as it was left; what each stored cell was made on."""
    return [
        read_predictions(out, cell, evaluation, labels).made_on
        for cell in starmap(Cell, product(arms, range(n_folds), range(seeds)))
        if cell.path(out).exists()
    ]


def classifier_seed(seed: int, cell: Cell) -> int:
    """The seed of a cell's classifier: the same in every arm, so that arms are compared in pairs."""
    return derived_seed("classifier", seed, cell.fold, cell.seed)


def score_stored(out: AnyPath) -> dict[str, Any]:
    """Score the stored predictions of an evaluation, every fold that is complete, and write `scores.json`."""
    out = Path(out)
    about = _read(out)
    labels, arms, seeds = about["labels"], [BASELINE, *about["settings"]["arms"]], about["settings"]["seeds"]

    def complete() -> list[int]:
        def is_complete(fold: int) -> bool:
            return all(Cell(arm, fold, seed).path(out).exists() for arm in arms for seed in range(seeds))

        return list(filter(is_complete, range(about["n_folds"])))

    evaluation, path, scored = _identity(about), out / "scores.json", None
    while scored != (scored := complete()):  # another process may have added a fold, and written before this one
        scores = score(
            lambda cell: read_predictions(out, cell, evaluation, labels), arms, scored, about["n_folds"], seeds, labels
        )
        scores |= {"group_by": about["group_by"]}
        text = as_json(scores)
        if not path.exists() or path.read_bytes() != text.encode():  # it may lie finished where nobody may write
            write_text(path, text)
    return scores


def _lacking(
    labels: Sequence[str], synthetic: Mapping[str, FeatureSet], admitted: Mapping[str, Mapping[int, np.ndarray]]
) -> Iterator[str]:
    """What to warn of: labels of which an arm has no clip."""
    for arm, by_fold in admitted.items():
        for fold, rows in by_fold.items():
            there = np.unique(synthetic[arm].classes[rows])
            missing = [repr(label) for number, label in enumerate(labels) if number not in there]
            if missing:
                yield (
                    f"{synthetic[arm].path} has no clip of {', '.join(missing)} for fold {fold}: the arm {arm!r} "
                    "trains on real clips alone there, and its labels are augmented unequally"
                )


def _unequal(admitted: Mapping[str, Mapping[int, np.ndarray]]) -> Iterator[str]:
    """What to warn of: arms of which one adds much more than another."""
    added = {arm: sum(map(len, by_fold.values())) for arm, by_fold in admitted.items()}
    if not added:
        return
    most, least = max(added, key=added.__getitem__), min(added, key=added.__getitem__)
    if added[most] > UNEQUAL * added[least]:
        yield (
            f"the arm {most!r} adds {counted(added[most], 'clip')} and {least!r} {added[least]}, so what tells them "
            "apart may be how many there are. Generate as many of each"
        )


def _never_shown(
    features: FeatureSet,
    folds: Folds,
    synthetic: Mapping[str, FeatureSet],
    admitted: Mapping[str, Mapping[int, np.ndarray]],
    chosen: Sequence[int],
    config: ClassifierConfig,
) -> Iterator[str]:
    """What to warn of: clips that no classifier is shown, where an arm or the corpus has more than the steps take."""
    n_labels, pools = len(features.labels), []
    for fold in chosen:
        real = np.bincount(features.classes[folds.rows(features, fold)[0]], minlength=n_labels)
        of_arm = {BASELINE: real} | {
            arm: real + np.bincount(synthetic[arm].classes[by_fold[fold]], minlength=n_labels)
            for arm, by_fold in admitted.items()
        }
        pools += [(int(n.max()), int(n.argmax()), arm, fold) for arm, n in of_arm.items()]
    n, label, arm, fold = max(pools, key=lambda pool: pool[0])
    most_real = max(pool[0] for pool in pools if pool[2] == BASELINE)
    taken = config.steps * config.batch_size // n_labels
    if n > taken:
        yield (
            f"a classifier is shown {taken} clips of a label, and the arm {arm!r} has {n} of "
            f"{features.labels[label]!r} in fold {fold}: some may never be shown, real ones among them. "
            f"{'Raise' if most_real > taken else 'Add fewer clips, or raise'} --steps to "
            f"{-(-n * n_labels // config.batch_size)}, in another output folder"
        )


def _warn(features: FeatureSet, folds: Folds, chosen: Sequence[int], progress: Progress) -> None:
    if folds.about["group_by"] != "subject":
        progress.warn(
            f"grouped by {folds.about['group_by']}: where the subject is not known, one patient may be on both sides "
            "of a fold, and scores are then too high. Give preprocess --subject-pattern, or a table with subjects"
        )
    if few := folds.few_tested(features, chosen):
        progress.warn(few)
    if uneven := folds.uneven():
        progress.warn(f"{uneven}. Each fold's score counts alike, and intervals are made for equal folds")


def _warn_of_other_machinery(stored_on: Sequence[str], here: str | None, progress: Progress) -> None:
    """Rounding differs between numbers of threads, devices, processors and versions of torch, and training enlarges it.

    here: what the cells that are missing will be made on; None where there are none."""
    counted = Counter(stored_on)
    usual = here or max(counted, key=counted.__getitem__)
    if elsewhere := [there for there in counted if there != usual]:
        first, *more = elsewhere
        made = [f"{counted[first]} of the {len(stored_on)} stored cells were made on {first}"]
        made += [f"{counted[there]} on {there}" for there in more]
        made += [f"the others are made on {usual}" if here else f"the others on {usual}"]
        by_options = any(_threads_of(there) != _threads_of(usual) for there in elsewhere)
        mend = ". Give --threads and --device as before to avoid it" if by_options else ""
        progress.warn(f"{', '.join(made)}: scores differ by rounding, as between seeds{mend}")


def _threads_of(machinery: str) -> str:
    """What options decide of it: threads and device."""
    return machinery.partition(" by torch")[0]


def _begin(
    out: Path, features: FeatureSet, folds: Folds, synthetic: Mapping[str, FeatureSet], config: ClassifierConfig
) -> str:
    """Write `evaluation.json`, or see that the one in `out` has the same settings; its identity."""
    settings = {
        "features": features.fingerprint,
        "folds": folds.fingerprint,
        "arms": {arm: generated.fingerprint for arm, generated in synthetic.items()},
        **config.model_dump(),
    }
    about = {
        "schema_version": SCHEMA_VERSION,
        "labels": features.labels,
        "n_folds": len(folds),
        "group_by": folds.about["group_by"],
        "settings": settings,
        "provenance": provenance() | {"torch": torch.__version__},
    }
    if not begun(out, "evaluation.json", "something else than an evaluation"):
        out.mkdir(parents=True, exist_ok=True)
        claim(out / "evaluation.json", as_json(about))  # or another process has just begun it
    stored = _read(out)
    refuse_changed(out, *(_flat(it) for it in (stored, about)))
    return _identity(stored)


def _flat(about: Mapping[str, Any]) -> dict[str, Any]:
    """A key a setting, so that a refusal names it."""
    return {key: about[key] for key in IDENTITY if key != "settings"} | about["settings"]


def _identity(about: Mapping[str, Any]) -> str:
    return fingerprint({key: about[key] for key in IDENTITY})


def _read(out: Path) -> dict[str, Any]:
    what = "an evaluation's evaluation.json (clinaug-fast evaluate makes one)"
    return read_versioned(out / "evaluation.json", what, SCHEMA_VERSION, "Evaluate anew, into another folder", ABOUT)
