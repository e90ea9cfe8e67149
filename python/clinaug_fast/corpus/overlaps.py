"""Segments of one file that a table names: those of two patients share no sound.

Else the same sound could be trained on and tested, and no split by subject would tell.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast.errors import InputError

ROUNDING_S = 1e-6  # of times that were computed


def refuse_shared_sound(recordings: pa.Table) -> None:
    """recordings: of RECORDINGS_SCHEMA. Raises InputError naming two of different subjects that overlap."""
    if all(recordings.column(name).null_count == len(recordings) for name in ("start_s", "end_s")):
        return  # whole files, each once
    known = recordings.filter(pc.is_valid(recordings.column("subject"))).sort_by("path")
    paths = known.column("path").to_numpy()
    first = np.flatnonzero(np.append(True, paths[1:] != paths[:-1])) if len(paths) else np.empty(0, np.int64)
    for begin, end in zip(first, np.append(first, len(paths))[1:], strict=True):
        if end - begin > 1:
            _refuse_shared_in_one(known.slice(begin, end - begin).to_pylist())


def _refuse_shared_in_one(rows: list[dict]) -> None:
    last: dict[str, dict] = {}  # of each subject, the segment that ends last
    for row in sorted(rows, key=_start):
        for subject, other in last.items():
            if subject != row["subject"] and _end(other) > _start(row) + ROUNDING_S:
                raise InputError(
                    f"{other['id']} of subject {subject!r} and {row['id']} of subject {row['subject']!r} share sound; "
                    "expected segments of different subjects to lie apart, as the same sound could be trained on and "
                    "tested. Correct the table"
                )
        last[row["subject"]] = max(last.get(row["subject"], row), row, key=_end)


def _start(row: dict) -> float:
    return row["start_s"] or 0.0


def _end(row: dict) -> float:
    return np.inf if row["end_s"] is None else row["end_s"]
