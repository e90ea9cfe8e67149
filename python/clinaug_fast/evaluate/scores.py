"""From predictions to scores: macro-F1 by window and by recording, each arm against the arm `none`.

Takes the predictions of every cell; leaves the content of `scores.json`. Seeds are averaged inside a fold before
folds are compared: a second seed is the same patients again, not more patients.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from clinaug_fast.evaluate.predictions import Cell, Predictions
from clinaug_fast.evaluate.statistics import corrected_interval

SCHEMA_VERSION = 2
BASELINE = "none"
DIGITS = 6  # of every number in scores.json


def score(
    read: Callable[[Cell], Predictions],
    arms: Sequence[str],
    folds: Sequence[int],
    n_folds: int,
    seeds: int,
    labels: Sequence[str],
) -> dict[str, Any]:
    """The scores of `arms`, `none` among them, over `folds` of the split's `n_folds`: for each arm one dict by "window"
    and one by "recording".

    Macro-F1 is the plain mean of the F1 of all labels, in [0, 1]; a label that is neither present nor predicted
    counts 0. `sd` is the sample standard deviation over folds, null for one fold. `difference` is the arm minus
    `none`, fold by fold, with the `interval` of its mean (see `corrected_interval`; null for one fold, and where all
    folds differ alike): chance in the patients, in the classifiers and in the generators, of which each fold has its
    own. `confusion` has a row a true and a column a predicted label, summed over folds and averaged over seeds, so that
    a row adds up to the tested units of its label. `trained_on` has the clips, real and added, of each arm's folds;
    null where an older build trained.
    """
    scores: dict[str, dict[str, Any]] = {}
    trained_on: dict[str, list[int | None]] = {}
    for arm in arms:
        windows = [[read(Cell(arm, fold, seed)) for seed in range(seeds)] for fold in folds]
        trained_on[arm] = [row[0].trained_on for row in windows]
        recordings = [[cell.by_recording() for cell in row] for row in windows]
        scores[arm] = {"window": _score_unit(windows, labels), "recording": _score_unit(recordings, labels)}
    for arm in set(arms) - {BASELINE}:
        for unit, ours in scores[arm].items():
            baseline = scores[BASELINE][unit]["macro_f1"]["by_fold"]
            difference = np.subtract(ours["macro_f1"]["by_fold"], baseline)
            ours["difference"] = over_folds(difference) | {"interval": corrected_interval(difference, n_folds)}
    return {
        "schema_version": SCHEMA_VERSION,
        "labels": list(labels),
        "folds": list(folds),
        "n_folds": n_folds,
        "seeds": seeds,
        "arms": rounded(scores),
        "trained_on": trained_on,
    }


def _score_unit(cells: list[list[Predictions]], labels: Sequence[str]) -> dict[str, Any]:
    """The scores of one arm by one unit; `cells` is folds x seeds."""
    numbers = np.arange(len(labels))
    f1 = np.empty((len(cells), len(cells[0]), len(labels)))  # folds, seeds, labels
    confusion = np.zeros((len(labels), len(labels)))
    for fold, row in enumerate(cells):
        for seed, cell in enumerate(row):
            predicted = cell.log_probabilities.argmax(axis=1)
            f1[fold, seed] = f1_score(cell.classes, predicted, labels=numbers, average=None, zero_division=0)
            confusion += confusion_matrix(cell.classes, predicted, labels=numbers) / len(row)
    macro_f1 = f1.mean(axis=2)
    return {
        "tested": sum(len(row[0].classes) for row in cells),
        "macro_f1": over_folds(macro_f1.mean(axis=1)) | {"by_fold_and_seed": macro_f1.tolist()},
        "f1_by_label": dict(zip(labels, f1.mean(axis=(0, 1)).tolist(), strict=True)),
        "confusion": confusion.tolist(),
    }


def over_folds(values: np.ndarray) -> dict[str, Any]:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": float(values.mean()), "sd": sd, "by_fold": values.tolist()}


def rounded(value: Any) -> Any:
    """Every float in nested dicts and lists, to DIGITS."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
