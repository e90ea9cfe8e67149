"""Segments of one file that a table names: those of two patients share no sound.

Else the same sound could be trained on and tested, and no split by subject would tell.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast.errors import InputError

ROUNDING_S = 1e-6  # of times that were computed


def refuse_shared_sound(recordings: pa.Table, root: Path) -> None:
    """recordings: of RECORDINGS_SCHEMA, paths from `root` on. Raises InputError naming two of different subjects that
    overlap, whatever links their paths lead through."""
    if all(recordings.column(name).null_count == len(recordings) for name in ("start_s", "end_s")):
        return  # whole files, each once
    known = recordings.filter(pc.is_valid(recordings.column("subject")))
    path = _files(known.column("path").to_pylist(), root)
    subject = pc.rank(known.column("subject"), tiebreaker="dense").to_pylist()
    start = known.column("start_s").fill_null(0.0).to_pylist()
    end = known.column("end_s").fill_null(np.inf).to_pylist()
    file = last = -1  # of a file the row that ends last: another that reaches as far would have been refused with it
    for row in np.lexsort((start, path)).tolist():
        if path[row] != file:
            file, last = path[row], row
            continue
        if subject[last] != subject[row] and end[last] > start[row] + ROUNDING_S:
            _refuse(known.slice(last, 1).to_pylist()[0], known.slice(row, 1).to_pylist()[0])
        last = row if end[row] > end[last] else last


def _files(paths: list[str], root: Path) -> list[int]:
    """A number for each path, the same for the same file."""
    real, numbers, of_path = lru_cache(os.path.realpath), {}, {}
    for path in dict.fromkeys(paths):
        folder, name = os.path.split(root / path)
        there = os.path.join(real(folder), name)
        there = os.path.realpath(there) if os.path.islink(there) else there
        of_path[path] = numbers.setdefault(there, len(numbers))
    return [of_path[path] for path in paths]


def _refuse(one: dict, two: dict) -> None:
    raise InputError(
        f"{one['id']} of subject {one['subject']!r} and {two['id']} of subject {two['subject']!r} share sound; "
        "expected segments of different subjects to lie apart, as the same sound could be trained on and tested. "
        "Correct the table"
    )
