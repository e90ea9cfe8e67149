"""From stored predictions to scores: macro-F1 by window and by recording, folds compared with folds.

Takes nothing but predictions, so that scores can be recomputed without training. Seeds are averaged inside a fold
before folds are compared: a second seed is the same patients again, not more patients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from clinaug_fast.errors import InputError

SCHEMA_VERSION = 1
BASELINE = "none"
DIGITS = 6  # of every number in scores.json


@dataclass(frozen=True)
class Predictions:
    """What one classifier said of n test units, clips ("windows") or whole recordings."""

    recordings: np.ndarray  # (n,) str
    classes: np.ndarray  # (n,) int64: the truth, class numbers
    log_probabilities: np.ndarray  # (n, n_labels) float32

    def by_recording(self) -> "Predictions":
        """One row a recording, in sorted order: the mean of the log-probabilities of its windows."""
        names, first, owner = np.unique(self.recordings, return_index=True, return_inverse=True)
        mixed = self.classes != self.classes[first][owner]
        if mixed.any():
            raise InputError(
                f"the recording {self.recordings[mixed][0]!r} has clips of several labels; expected one label a "
                "recording, for its windows vote together. Cut it into one file a label and preprocess again"
            )
        sums = np.zeros((len(names), self.log_probabilities.shape[1]))
        np.add.at(sums, owner, self.log_probabilities)
        return Predictions(names, self.classes[first], sums / np.bincount(owner)[:, None])

    def f1(self) -> np.ndarray:
        """(n_labels,) F1 of each label, 0 where it was neither present nor predicted."""
        labels, predicted = self._labels_and_predicted()
        return f1_score(self.classes, predicted, labels=labels, average=None, zero_division=0)

    def confusion(self) -> np.ndarray:
        """(n_labels, n_labels) counts: a row a true label, a column a predicted one."""
        labels, predicted = self._labels_and_predicted()
        return confusion_matrix(self.classes, predicted, labels=labels)

    def _labels_and_predicted(self) -> tuple[np.ndarray, np.ndarray]:
        return np.arange(self.log_probabilities.shape[1]), self.log_probabilities.argmax(axis=1)


def score(
    predictions: Callable[[str, int, int], Predictions],
    arms: Sequence[str],
    folds: Sequence[int],
    seeds: int,
    labels: Sequence[str],
) -> dict[str, Any]:
    """The content of scores.json. `predictions(arm, fold, seed)` reads one cell; `arms` include the baseline.

    Macro-F1 is the plain mean of the F1 of all labels, in [0, 1]. `sd` is the sample standard deviation over folds,
    null for a single one. `difference` is the arm minus the baseline, fold by fold.
    """
    scores: dict[str, Any] = {}
    for arm in arms:
        cells = [[predictions(arm, fold, seed) for seed in range(seeds)] for fold in folds]
        by_recording = [[cell.by_recording() for cell in row] for row in cells]
        scores[arm] = {"window": _score_unit(cells, labels), "recording": _score_unit(by_recording, labels)}
    for arm in arms:
        for unit, ours in scores[arm].items():
            if arm != BASELINE:
                baseline = scores[BASELINE][unit]
                by_fold = np.subtract(ours["macro_f1"]["by_fold"], baseline["macro_f1"]["by_fold"])
                ours["difference"] = _over_folds(by_fold)
    return {
        "schema_version": SCHEMA_VERSION,
        "labels": list(labels),
        "folds": list(folds),
        "seeds": seeds,
        "arms": _rounded(scores),
    }


def _score_unit(cells: list[list[Predictions]], labels: Sequence[str]) -> dict[str, Any]:
    """Scores of one arm by one unit; `cells` is folds x seeds."""
    f1 = np.array([[cell.f1() for cell in row] for row in cells])  # (folds, seeds, labels)
    confusion = np.array([[cell.confusion() for cell in row] for row in cells])  # (folds, seeds, labels, labels)
    by_fold_and_seed = f1.mean(axis=2)
    return {
        "tested": sum(len(row[0].classes) for row in cells),
        "macro_f1": _over_folds(by_fold_and_seed.mean(axis=1)) | {"by_fold_and_seed": by_fold_and_seed.tolist()},
        "f1_by_label": dict(zip(labels, f1.mean(axis=(0, 1)).tolist(), strict=True)),
        # Summed over folds, mean over seeds: a row adds up to the units of that label.
        "confusion": confusion.mean(axis=1).sum(axis=0).tolist(),
    }


def _over_folds(values: np.ndarray) -> dict[str, Any]:
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"by_fold": values.tolist(), "mean": float(values.mean()), "sd": sd}


def _rounded(value: Any) -> Any:
    """Every float in nested dicts and lists to DIGITS."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
