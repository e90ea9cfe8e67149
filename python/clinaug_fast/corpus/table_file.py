"""A table of recordings as somebody saved it, with the doubt that spreadsheets deserve.

Takes a CSV or Parquet file; leaves its known columns in their types, and the names of the others. What may be meant
otherwise than it is read is refused.
"""

import csv
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from clinaug_fast.corpus.segment_times import in_seconds
from clinaug_fast.errors import InputError, is_shortage

TABLE_SUFFIXES = (".csv", ".parquet")
COLUMNS = {
    "path": pa.string(),
    "label": pa.string(),
    "subject": pa.string(),
    "site": pa.string(),
    "device": pa.string(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
}
WITH_TIMES = ("", "s", "sec", "seconds", "ms", "time", "times")  # behind their names
OTHER_NAMES = {  # of columns, in small letters and digits alone
    "label": ("labels",),
    "subject": ("subjects", "subjectid", "subjectno", "subjectnumber"),
    "start_s": tuple(
        f"{name}{unit}"
        for name in ("start", "starts", "begin", "begins", "beginning", "tstart", "tmin", "onset", "onsets")
        for unit in WITH_TIMES
    ),
    "end_s": tuple(
        f"{name}{unit}"
        for name in ("end", "ends", "stop", "stops", "tend", "tstop", "tmax", "offset", "offsets")
        for unit in WITH_TIMES
    ),
}
SUFFIX = re.compile(r"\.\w{2,5}$")
LINE_BREAK = re.compile(r"\r\n|\r|\n")
LARGEST_CELL = 1 << 30  # characters
AS_UTF_8 = "Save it as CSV in UTF-8, comma-separated (Excel: 'CSV UTF-8')"
SEPARATORS = (",", ";", "\t")  # Excel writes what the system's region has
OTHER_COLUMNS = re.compile(r"Expected (\d+) columns, got (\d+): ?(.*)")  # as Arrow says it
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
READ_AT_ONCE = 1 << 20  # bytes
NO_THREADS = pa.csv.ReadOptions(use_threads=False)


def read_table(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    """The known columns, blank text being null, and the names of the others. A subject 007 stays text and a label NA
    stays a label."""
    is_csv = path.suffix.lower() == ".csv"
    try:
        table = _read_csv(path) if is_csv else _read_parquet(path)
        table.validate(full=True)
        names = table.column_names
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if is_shortage(error) or (isinstance(error, OSError) and error.errno is not None):
            raise
        mend = AS_UTF_8 if is_csv else "Check its format"
        if ragged := OTHER_COLUMNS.search(str(error)):
            mend = _mend_of_ragged(*ragged.groups())
        raise InputError(f"{path} cannot be read as a table: {error}. {mend}") from None
    if twice := [name for name in COLUMNS if names.count(name) > 1]:
        raise InputError(f"{path} has {' and '.join(twice)} more than once; expected each column once. Drop the others")
    unused = tuple(name for name in names if name not in COLUMNS)
    _refuse_nearly_known(path, table)
    if missing := [name for name in ("path", "label") if name not in names]:
        raise InputError(
            f"{path} has the columns {', '.join(names)}; expected path and label, and maybe subject, site, device, "
            f"start_s, end_s, all named in the first row. Add {' and '.join(missing)}"
        )
    table = table.select([name for name in COLUMNS if name in names])
    for at, name in enumerate(table.column_names):  # pandas' word for nothing, which would be the subject "nan"
        if pa.types.is_floating(table.schema.field(name).type) and COLUMNS[name] == pa.string():
            table = table.set_column(at, name, _without_nan(table.column(name)))
    try:
        table = table.cast(pa.schema([(name, COLUMNS[name]) for name in table.column_names]))
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as a table: {error}. Check the types of its columns") from None
    for at, name in enumerate(table.column_names):
        if COLUMNS[name] == pa.string() and name != "path":  # which may end in a space
            table = table.set_column(at, name, _without_blanks(table.column(name)))
    return table, unused


def first_row(path: Path) -> int:
    """The number of a table's first recording, as spreadsheets count, but for empty lines: the names of a CSV's columns
    are in row 1."""
    return 2 if path.suffix.lower() == ".csv" else 1


def _read_parquet(path: Path) -> pa.Table:
    # Without Arrow's threads: where none can be had it would wait for them, and no signal would end it.
    return pa.parquet.read_table(path, use_threads=False, pre_buffer=False)


def _read_csv(path: Path) -> pa.Table:
    types = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(COLUMNS, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    with open(path, "rb") as file:
        begin, has_quotes = file.read(2), False
        while not has_quotes and (part := file.read(READ_AT_ONCE)):
            has_quotes = b'"' in part
    if begin in UTF_16:
        raise InputError(f"{path} is in UTF-16. {AS_UTF_8}")
    separator = _separator(path)
    n_rows = _count_rows(path, separator) if has_quotes or b'"' in begin else None
    # A line break in quotes would end a block of rows.
    in_blocks = pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    table = pa.csv.read_csv(path, NO_THREADS, in_blocks, types)
    if n_rows not in (None, table.num_rows):
        raise InputError(f'{path} has {n_rows} rows by one reader, {table.num_rows} by another. Close or remove each "')
    return in_seconds(path, table, separator)


def _mend_of_ragged(expected: str, found: str, row: str) -> str:
    """What to do about a row of another number of cells."""
    if int(found) < int(expected):
        return "Give each row a cell for each column of the first row, an empty one where nothing is to be said"
    if {"path", "label"} <= {cell.strip(' "').lower() for cell in re.split(f"[{''.join(SEPARATORS)}]", row)}:
        return "Remove the lines above the names of the columns"
    return "Put a cell that holds what separates columns in double quotes, or remove what stands behind the last one"


def _separator(path: Path) -> str:
    """Of the columns: the one by which the first row names the most that are known."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if (line := file.readline(READ_AT_ONCE)).startswith("sep="):
            line = line.rstrip("\r\n")
            raise InputError(
                f"{path} begins with the line {line!r}, which Excel alone takes for no row. Remove the line"
            )
        headers = {}
        for by in SEPARATORS:
            file.seek(0)
            try:
                headers[by] = next(filter(None, csv.reader(file, delimiter=by)), [])
            except csv.Error:  # a cell of more than csv takes
                headers[by] = []
    if {"path", "label"} <= {*headers[","]}:
        return ","
    return max(SEPARATORS, key=lambda by: (len({*headers[by]} & {*COLUMNS}), len(headers[by])))


def _count_rows(path: Path, separator: str) -> int:
    """Below the header. InputError for a quote that was left open: Arrow reads on to the next one, however many
    recordings lie between."""
    n, header, has_suffix = -1, [], True
    most = csv.field_size_limit(LARGEST_CELL)  # of this process
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, strict=True, delimiter=separator)
        try:
            for row in filter(None, reader):
                n += 1
                header = header or row
                at = header.index("path") if "path" in header else 0
                if n == 1:
                    has_suffix = at < len(row) and SUFFIX.search(row[at]) is not None
                for name, cell in zip(header, row, strict=False):
                    _, *lines = LINE_BREAK.split(cell)
                    if lines and COLUMNS.get(name) == pa.string():
                        raise csv.Error(f"its {name} goes over several lines")
                    if any(_looks_like_a_row(line.split(separator), len(header), at, has_suffix) for line in lines):
                        raise csv.Error("a line inside its quotes looks like a row of its own")
        except csv.Error as error:
            where = f"line {reader.line_num} of {path}"
            raise InputError(f"{where} is no row: {error}. Close or remove its quote, or the line break") from None
        finally:
            csv.field_size_limit(most)
    return max(n, 0)


def _looks_like_a_row(cells: list[str], n_columns: int, at: int, has_suffix: bool) -> bool:
    return len(cells) >= n_columns and (not has_suffix or SUFFIX.search(cells[at].strip(' "')) is not None)


def _refuse_nearly_known(path: Path, table: pa.Table) -> None:
    """A start or a Subject that is passed over gives other audio its label, or a patient to both sides of a split."""
    renamed: dict[str, str] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        if field.name in COLUMNS:
            continue
        plain = field.name.strip().lower()
        meant = next((known for known in COLUMNS if plain in (known, known.removesuffix("_s"))), None)
        plain = re.sub("[^a-z0-9]", "", plain)
        for known in COLUMNS:  # beside what is not seen, say
            if plain == known.replace("_", "") and known not in table.column_names:
                meant = known
        for known, others in OTHER_NAMES.items():
            is_text = COLUMNS[known] == pa.string()
            if plain in others and known not in table.column_names and (is_text or _has_numbers(column)):
                meant = known
        if meant is not None:
            renamed.setdefault(meant, field.name)
    if renamed:
        them, columns = ("it", "the column") if len(renamed) == 1 else ("them", "the columns")
        has, expected = (" and ".join(map(repr, some)) for some in (renamed.values(), renamed))
        raise InputError(f"{path} has {columns} {has}; expected {expected}. Rename {them}, or take {them} out")


def _has_numbers(column: pa.ChunkedArray) -> bool:
    """Seconds, of which some may be NA or have a decimal comma; a date is none."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        column = column.cast(pa.string())
    if pa.types.is_string(column.type):
        return bool(pc.any(pc.match_substring_regex(column, r"^\s*[0-9]+([.,][0-9]+)?\s*$")).as_py())
    return pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _without_blanks(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Null where there is white space alone, as where there is nothing."""
    blank = pc.equal(pc.utf8_trim_whitespace(column), "")
    return pc.if_else(pc.fill_null(blank, False), pa.scalar(None, pa.string()), column)
