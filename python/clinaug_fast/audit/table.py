"""The audited corpus as a table that `preprocess` takes, its subjects keeping each source together."""

import csv
import io
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.audit.sources import Audit
from clinaug_fast.corpus.table_file import COLUMNS, TABLE_SUFFIXES
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.runs import AnyPath, atomic_file, try_to_write, write_text
from clinaug_fast.shown import shown


def refuse_target(table: AnyPath) -> None:
    """Before hours go into what could not be written."""
    table = Path(table)
    if table.suffix.lower() not in TABLE_SUFFIXES:
        raise SettingsError(f"the table is {table}; expected a name that ends in {' or '.join(TABLE_SUFFIXES)}")
    if os.path.lexists(table):
        raise InputError(f"{table} exists; expected a new table. Name another, or remove it")
    if not table.parent.is_dir():
        raise InputError(f"{table.parent} is no folder; expected one for the table. Make it")
    try_to_write(table)


class LeftOut(NamedTuple):
    """Ids of recordings that are not in the table, since `preprocess` would refuse it."""

    unnamed: list[str]  # of files whose names are not UTF-8 or go over several lines, or whose label is blank
    over_lines: list[str]  # whose label, subject, site or device goes over several lines, in a CSV table


def write_subjects(found: Audit, table: AnyPath) -> LeftOut:
    """Write the table. InputError where nothing could be in it."""
    table = Path(table)
    columns = found.table()
    ids, paths = found.corpus.table.column("id").to_pylist(), columns.column("path").to_pylist()
    refused = found.corpus.table.column("refused").is_valid().to_numpy()
    unnamed = refused | np.array(["\n" in path or "\r" in path for path in paths], bool)
    unnamed |= pc.equal(pc.utf8_trim_whitespace(columns.column("label")), "").to_numpy()  # for a table, none
    over_lines = np.zeros(len(ids), bool)
    if table.suffix.lower() == ".csv":
        for name in (name for name, kind in COLUMNS.items() if kind == pa.string()):
            over_lines |= pc.match_substring_regex(columns.column(name), "[\n\r]").fill_null(False).to_numpy()
        over_lines &= ~unnamed
    folder = os.path.realpath(table.parent)
    if unnamed.all():
        raise InputError(
            f"no table can name the recordings, such as {shown(ids[0])}; expected UTF-8 in one line. Rename them"
        )
    if (unnamed | over_lines).all():
        lost = shown(ids[int(over_lines.argmax())])
        raise InputError(
            f"{table} could hold no recording, such as {lost}: a label, subject, site or device goes over several "
            "lines; expected one. Name a .parquet table, or correct them"
        )
    # Without links first: a `..` behind one leads on from where it leads.
    real = lru_cache(os.path.realpath)
    full = [os.path.join(found.corpus.root, path) for path in paths]
    paths = [
        os.path.relpath(os.path.join(real(os.path.dirname(path)), os.path.basename(path)), folder) for path in full
    ]
    columns = columns.set_column(0, "path", pa.array(paths, pa.string())).filter(pa.array(~(unnamed | over_lines)))
    # Several segments that begin with their file are told from rows that have lost their begin.
    start_s, has_end = columns.column("start_s"), columns.column("end_s").is_valid()
    at = columns.column_names.index("start_s")
    columns = columns.set_column(at, "start_s", pc.if_else(has_end, start_s.fill_null(0.0), start_s))
    # Columns that say nothing would only be in a reader's way.
    columns = columns.select([name for name in columns.column_names if columns.column(name).null_count < len(columns)])
    if table.suffix.lower() == ".csv":
        write_text(table, _csv(columns))
    else:
        with atomic_file(table) as draft:
            pq.write_table(columns, draft)
    return LeftOut(*([ids[row] for row in np.flatnonzero(these)] for these in (unnamed, over_lines)))


def _csv(columns: pa.Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns.column_names)
    writer.writerows(zip(*(column.to_pylist() for column in columns.itercolumns()), strict=True))
    return text.getvalue()
