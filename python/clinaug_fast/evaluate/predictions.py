"""What a classifier said of its test clips, kept on disk: one Parquet file a cell (arm, fold, seed).

Training leaves these files and nothing else; every score is computed from them.
"""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from clinaug_fast.errors import InputError, SettingsError, cannot_be_read
from clinaug_fast.features.feature_set import NO_THREADS, FeatureSet, heard_as_one
from clinaug_fast.runs import atomic_file, fingerprint, regular
from clinaug_fast.shown import counted

GPU = "cuda"  # how the `machinery` of one begins
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
    """What one classifier said of n test units: clips ("windows") or whole recordings.

    A recording is what `preprocess` counts as one: a file, or the segment of one that a row of a table names.
    """

    recordings: np.ndarray  # (n,) str
    classes: np.ndarray  # (n,) int64, the truth
    log_probabilities: np.ndarray  # (n, n_labels)
    made_on: str = "unknown"  # the classifier's `machinery`
    trained_on: int | None = None  # clips, real and added; None of an older build

    def by_recording(self) -> "Predictions":
        """One row a recording, sorted by name: the mean of the log-probabilities of its windows."""
        names, first, owner = np.unique(self.recordings, return_index=True, return_inverse=True)
        sums = np.zeros((len(names), self.log_probabilities.shape[1]))
        np.add.at(sums, owner, self.log_probabilities)
        return Predictions(
            names, self.classes[first], sums / np.bincount(owner)[:, None], self.made_on, self.trained_on
        )


@dataclass(frozen=True)
class Cell:
    """One classifier of an evaluation."""

    arm: str
    fold: int
    seed: int

    def path(self, out: Path) -> Path:
        return out / "cells" / self.arm / f"fold_{self.fold}_seed_{self.seed}.parquet"


def make_folders(out: Path, arms: Iterable[str]) -> None:
    """Where the cells of each arm will lie; SettingsError for a name that the disk does not take."""
    for arm in arms:
        folder = Cell(arm, 0, 0).path(out).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG):
                raise
            raise SettingsError(
                f"an arm is named {arm!r}, of which this disk makes no folder ({error.strerror}: {folder}). Name it "
                "otherwise"
            ) from None


def write_predictions(
    out: Path,
    cell: Cell,
    evaluation: str,
    features: FeatureSet,
    rows: np.ndarray,
    log_probabilities: np.ndarray,
    device: torch.device,
    trained_on: int | None = None,
) -> None:
    """Store float32 `log_probabilities` (n, n_labels) of the clips `rows`; the file appears whole.

    It says what cell it is, of which evaluation (its identity), on what it was made, and from how many clips.
    """
    columns = {name: features.column(name)[rows] for name in ("id", "recording", "label")}
    table = pa.table(columns | {"log_probabilities": list(log_probabilities)}, schema=CELL_SCHEMA)
    made_on = machinery(device)
    made = {"made_on": made_on, "arithmetic": _arithmetic(made_on)}
    made |= {} if trained_on is None else {"trained_on": str(trained_on)}
    table = table.replace_schema_metadata(_about(cell, evaluation, table) | made)
    with atomic_file(cell.path(out)) as draft:
        pq.write_table(table, draft)


def machinery(device: torch.device) -> str:
    """What rounding depends on besides `_arithmetic`, as a cell tells it."""
    if device.type == "cuda":
        return f"{GPU} {torch.cuda.get_device_name(device)}"
    return f"{counted(torch.get_num_threads(), 'thread')} of the CPU"


def _arithmetic(made_on: str) -> str:
    """What rounding depends on in processor and library, of what was made on such `machinery`."""
    of_cpu = "" if made_on.startswith(GPU) else f" on {torch.backends.cpu.get_cpu_capability()}"
    return f"torch {torch.__version__}{of_cpu}"


def read_predictions(out: Path, cell: Cell, evaluation: str, labels: Sequence[str]) -> Predictions:
    """The stored cell, by window. InputError where the file is not whole, or is that of another cell or evaluation."""
    path = regular(cell.path(out))
    try:
        about = pq.read_metadata(path).metadata or {}
        table = pq.read_table(path, schema=CELL_SCHEMA, **NO_THREADS)
        table.validate(full=True)
        number = {label: at for at, label in enumerate(labels)}
        of_each = table["label"].to_pylist()
        if foreign := set(of_each) - number.keys():
            raise ValueError(f"it has the label {min(foreign, key=str)!r}, which the others have not")
        if set(pc.unique(pc.list_value_length(table["log_probabilities"])).to_pylist()) - {len(labels)}:
            raise ValueError(f"its rows are not of {len(labels)} log-probabilities")
        classes = [number[label] for label in of_each]
        log_probabilities = _values(table).reshape(len(classes), len(labels))
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise cannot_be_read(path, error, "Remove it and evaluate again") from None
    expected = _about(cell, evaluation, table)
    told = {name: about.get(name.encode(), b"").decode("utf-8", "replace") for name in expected}
    made_on, arithmetic = (about.get(key, b"unknown").decode("utf-8", "replace") for key in (b"made_on", b"arithmetic"))
    if arithmetic not in ("unknown", _arithmetic(made_on)):
        made_on += f" by {arithmetic}"
    trained_on = about.get(b"trained_on", b"").decode("ascii", "replace")
    if told != expected:
        raise InputError(f"{path} is {told}; expected {expected}. Remove it and evaluate again")
    n_clips = int(trained_on) if trained_on.isdecimal() else None
    recordings = np.array(heard_as_one(table["id"], table["recording"]).to_pylist(), dtype=object)
    return Predictions(recordings, np.array(classes, np.int64), log_probabilities, made_on, n_clips)


def _values(table: pa.Table) -> np.ndarray:
    """All log-probabilities of a cell, one after the other."""
    values = table["log_probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(values, np.float32)


def _about(cell: Cell, evaluation: str, table: pa.Table) -> dict[str, str]:
    """What a cell's file tells of itself; `content` names its rows, whatever became of the file that holds them."""
    texts = (table[name].to_pylist() for name in ("id", "recording", "label"))
    content = fingerprint(*texts, _values(table).tobytes())
    where = {"arm": cell.arm, "fold": str(cell.fold), "seed": str(cell.seed)}
    return where | {"evaluation": evaluation, "content": content}
