"""The times of a table's segments: read as numbers only where they can be meant in one way, and refused where they are
half of what tells one segment of a file from another.

Takes the cells of a CSV file, or the begin and end of each row; leaves seconds, and frames.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast import native
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.errors import InputError
from clinaug_fast.shown import shown

TIMES = ("start_s", "end_s")
MAYBE_THOUSANDS = re.compile(r"[1-9]\d{0,2},\d{3}")


def in_seconds(path: Path, table: pa.Table, separator: str) -> pa.Table:
    """The table of a CSV file with its times, which are texts, as float64; InputError for the first that is no number.

    A comma is decimal where columns are separated by something else, as spreadsheets have both of the system's region,
    but not beside points, nor where each may as well stand behind thousands.
    """
    at = [number for number, name in enumerate(table.column_names) if name in TIMES]
    cells = {number: pc.utf8_trim_whitespace(table.column(number)) for number in at}
    different = {text for column in cells.values() for text in pc.drop_null(pc.unique(column)).to_pylist()}
    if with_comma := {text for text in different if "," in text}:
        maybe_thousands = all(MAYBE_THOUSANDS.fullmatch(text) for text in with_comma)
        if separator == "," or maybe_thousands or any("." in text for text in different):
            _refuse(path, table.column_names, cells, with_comma)
    for number, column in cells.items():
        filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), pc.replace_substring(column, ",", "."))
        try:
            seconds = pc.cast(filled, pa.float64())
        except pa.ArrowInvalid:
            wrong = {text for text in different if not _is_number(text.replace(",", "."))}
            _refuse(path, table.column_names, cells, wrong)
        table = table.set_column(number, table.column_names[number], seconds)
    return table


def _is_number(text: str) -> bool:
    try:
        pa.scalar(text).cast(pa.float64())
    except pa.ArrowInvalid:
        return text == ""
    return True


def _refuse(path: Path, names: Sequence[str], cells: dict[int, pa.ChunkedArray], wrong: set[str]) -> None:
    """InputError for the first row that has one of these."""
    first = {}
    for number, column in cells.items():
        is_wrong = pc.is_in(column, pa.array(sorted(wrong), pa.string())).to_numpy()
        if is_wrong.any():
            first[number] = int(np.argmax(is_wrong))
    number = min(first, key=first.__getitem__)
    row, cell = first[number], cells[number][first[number]].as_py()
    row += 2  # the names of the columns are in row 1
    what = "a decimal comma, or one behind thousands" if "," in cell else "no number"
    raise InputError(
        f"{path} cannot be read as a table: in row {row} its {names[number]} is {cell!r}, {what}; "
        "expected seconds with a decimal point, such as 12.5. Correct it, and others like it"
    )


def refuse_half_of_a_segment(path: Path, columns: Mapping[str, Sequence], unused: str) -> None:
    """columns: path, label, start_s and end_s of each row, None where nothing is told. InputError where several rows of
    a file last to its end, or from its begin, for want of a time, and so share sound: under two labels, or since no row
    of the table has that time. `unused`: the columns that may have told it."""
    for name, reach in (("start_s", "begin where it does"), ("end_s", "last to its end")):
        labels = defaultdict(list)
        for file, label, time in zip(columns["path"], columns["label"], columns[name], strict=True):
            if time is None:
                labels[file].append(label)
        none_has_it = all(time is None for time in columns[name])
        for file, theirs in labels.items():
            if len({*theirs}) > 1 or (none_has_it and len(theirs) > 1):
                told = f"; not used are {unused}" if unused else ""
                raise InputError(
                    f"{path} gives {len(theirs)} rows of {shown(file)} no {name}, so that all {reach} and share sound"
                    f"{told}. Give each its {name}: seconds from the file's begin"
                )


def frames_of_segment(start_s: float | None, end_s: float | None, declared: int, rate: int) -> tuple[int, int]:
    """The frames [start, stop) of a recording in its file of `declared` frames; raises Rejected."""
    start = round((start_s or 0.0) * rate)
    stop = declared if end_s is None else min(declared, round(end_s * rate))
    mend = ". Correct the table, whose times are seconds"
    if start >= stop:
        part = f"the segment from {start_s:g} s" if start_s is not None else f"the segment to {end_s or 0.0:g} s"
        if not declared or start_s is end_s is None:
            part, mend = "the file", ""
        raise Rejected(Code.EMPTY, f"{part} has no samples; the file holds {declared / rate:.3f} s{mend}")
    if end_s is not None and end_s > declared / rate + native.SEGMENT_OVERHANG_S:
        ends = f"the segment ends at {end_s:g} s, the file at {declared / rate:.3f} s"
        raise Rejected(Code.TRUNCATED, f"{ends}{mend}")
    return start, stop
