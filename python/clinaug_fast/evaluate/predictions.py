"""What a classifier said of its test clips, kept on disk: one Parquet file a cell (arm, fold, seed).

Training leaves these files and nothing else; every score is computed from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from clinaug_fast.data.feature_set import FeatureSet
from clinaug_fast.errors import InputError
from clinaug_fast.runs import atomic_file

CELL_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the test clip
        pa.field("recording", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("log_probabilities", pa.list_(pa.float32()), nullable=False),  # in the order of the labels
    ]
)


@dataclass(frozen=True)
class Predictions:
    """What one classifier said of n test units: clips ("windows") or whole recordings."""

    recordings: np.ndarray  # (n,) str
    classes: np.ndarray  # (n,) int64, the truth
    log_probabilities: np.ndarray  # (n, n_labels)

    def by_recording(self) -> "Predictions":
        """One row a recording, sorted by name: the mean of the log-probabilities of its windows.

        A recording with clips of several labels (a table of its segments) has one row a label.
        """
        _, number = np.unique(self.recordings, return_inverse=True)
        keys = np.stack([number, self.classes])
        _, first, owner = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        owner = owner.ravel()
        sums = np.zeros((len(first), self.log_probabilities.shape[1]))
        np.add.at(sums, owner, self.log_probabilities)
        return Predictions(self.recordings[first], self.classes[first], sums / np.bincount(owner)[:, None])


@dataclass(frozen=True)
class Cell:
    """One classifier of an evaluation."""

    arm: str
    fold: int
    seed: int

    def path(self, out: Path) -> Path:
        return out / "cells" / self.arm / f"fold_{self.fold}_seed_{self.seed}.parquet"


def write_predictions(path: Path, features: FeatureSet, rows: np.ndarray, log_probabilities: np.ndarray) -> None:
    """Store float32 `log_probabilities` (n, n_labels) of the clips `rows`; the file appears whole."""
    columns = {name: features.column(name)[rows] for name in ("id", "recording", "label")}
    table = pa.table(columns | {"log_probabilities": list(log_probabilities)}, schema=CELL_SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as draft:
        pq.write_table(table, draft)


def read_predictions(path: Path, labels: Sequence[str]) -> Predictions:
    """The stored cell, by window. InputError where the file is not whole."""
    try:
        table = pq.read_table(path, schema=CELL_SCHEMA)
        classes = [labels.index(label) for label in table["label"].to_pylist()]
        log_probabilities = np.array(table["log_probabilities"].to_pylist(), np.float32).reshape(-1, len(labels))
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise InputError(f"{path} cannot be read: {error}. Remove it and evaluate again") from None
    return Predictions(np.array(table["recording"].to_pylist(), dtype=object), np.array(classes), log_probabilities)
