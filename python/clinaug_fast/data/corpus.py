"""A corpus as a table of recordings: where the flow begins.

Takes a folder of audio (sub-folder = label) or a table (CSV or Parquet, one row a recording or a segment of one).
Leaves its recordings in a fixed order, as columns so that a hundred thousand of them weigh little, and a fingerprint;
opens no audio file.
"""

import os
import posixpath
import re
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.runs import fingerprint

AUDIO_SUFFIXES = frozenset(
    (
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aiff",
        ".aif",
        ".aifc",
        ".au",
        ".caf",
        ".w64",
        ".rf64",
    )
)
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


RECORDINGS_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # unique: the path, and the segment where there is one
        *(pa.field(name, kind) for name, kind in COLUMNS.items()),  # path: posix, inside the corpus
        pa.field("bytes", pa.int64()),  # of the file; null where there is none
        pa.field("refused", pa.string()),  # why it cannot be a recording, whatever it holds
    ]
)
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Recording:
    """One audio file of the corpus, or the segment of one from `start_s` to `end_s` seconds."""

    path: Path | str  # of the file; text where there are many, since a Path costs as much as reading the file
    relative: str  # posix path inside the corpus
    label: str
    subject: str | None = None
    site: str | None = None
    device: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    refused: str | None = None

    @property
    def id(self) -> str:
        """Unique in the corpus."""
        return _id(self.relative, self.start_s, self.end_s)


@dataclass(frozen=True)
class Corpus:
    """The recordings sorted by id, and what was seen but is none of them."""

    path: Path
    root: Path  # the folder that the recordings' paths start at
    table: pa.Table  # RECORDINGS_SCHEMA
    ignored: dict[str, int]  # files by suffix that are not audio
    unlabelled: list[str]  # audio outside any label's sub-folder

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def recordings(self) -> list[Recording]:
        return recordings_of(self.table, self.root)

    @cached_property
    def fingerprint(self) -> str:
        """Over every recording's fields and its file's size in bytes; the audio itself is not read."""
        return fingerprint([fingerprint(part.to_pydict()) for part in self.table.to_batches(ROWS_AT_ONCE)])


def recordings_of(table: pa.Table, root: Path) -> list[Recording]:
    """The rows of a table of RECORDINGS_SCHEMA as objects."""
    names = (*COLUMNS, "refused")
    columns = (table.column(name).to_pylist() for name in names)
    root = os.fspath(root)
    return [Recording(f"{root}/{path}", path, *rest) for path, *rest in zip(*columns, strict=True)]


def _id(relative: str, start_s: float | None, end_s: float | None) -> str:
    if start_s is None and end_s is None:
        return relative
    return f"{relative}@{start_s or 0.0}-{'end' if end_s is None else end_s}"


def _bytes(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None  # the decoder will say why


def _table(columns: dict[str, list], root: Path) -> pa.Table:
    """RECORDINGS_SCHEMA of columns that are sorted by id; those left out are null."""
    root = os.fspath(root)
    columns |= {"bytes": [_bytes(f"{root}/{path}") for path in columns["path"]]}
    arrays = []
    for field in RECORDINGS_SCHEMA:
        same = columns.get(field.name) is columns["id"] and arrays
        column = columns.get(field.name, [None] * len(columns["id"]))
        arrays.append(arrays[0] if same else pa.array(column, field.type))
    return pa.table(arrays, schema=RECORDINGS_SCHEMA)


def read_corpus(path: Path, subject_pattern: str | None = None) -> Corpus:
    """Read a folder or a table. `subject_pattern` is a regex searched in each recording's relative path; its group
    named `subject`, or else its first, is the subject.

    Raises InputError for a corpus without audio or with a single label, and where the pattern does not match.
    """
    path = Path(path)
    pattern = None if subject_pattern is None else _compiled(subject_pattern)
    if path.is_dir():
        corpus = _read_folder(path, pattern)
    elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        corpus = _read_table(path, pattern)
    else:
        what = "is neither a folder nor a .csv or .parquet table" if path.exists() else "does not exist"
        raise InputError(f"{path} {what}; expected a corpus. Check the path")
    labels = pc.unique(corpus.table.column("label")).to_pylist()
    if len(labels) == 1:
        raise InputError(f"{path} has one label, {labels[0]!r}; expected two or more to tell apart. Add the others")
    return corpus


def _read_folder(root: Path, pattern: re.Pattern[str] | None) -> Corpus:
    unlabelled, ignored = [], Counter()
    paths, labels, subjects, refused = [], [], [], []
    for name in sorted(_files(root)):
        relative, reason = _writable(name)
        suffix = posixpath.splitext(relative)[1].lower()
        if suffix not in AUDIO_SUFFIXES or posixpath.basename(relative).startswith("."):
            ignored[suffix or "no suffix"] += 1
        elif "/" not in relative:
            unlabelled.append(relative)
        else:
            paths.append(relative)
            labels.append(sys.intern(relative.split("/", 1)[0]))
            subjects.append(_subject(pattern, relative))
            refused.append(reason)
    if not paths:
        raise InputError(
            f"{root} has no audio in sub-folders ({len(unlabelled)} audio and {ignored.total()} other files seen); "
            f"expected LABEL/FILE with {', '.join(sorted(AUDIO_SUFFIXES))}. Sort the files into one folder a label, "
            "or give a table with the columns path and label"
        )
    columns = {"id": paths, "path": paths, "label": labels, "subject": subjects, "refused": refused}
    return Corpus(root, root, _table(columns, root), dict(sorted(ignored.items())), unlabelled)


def _files(root: Path) -> list[str]:
    """Posix paths inside `root`, through linked folders, each real folder once."""
    found, visited = [], set()
    for folder, subfolders, names in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        inside = Path(folder).relative_to(root).as_posix()
        found += names if inside == "." else [f"{inside}/{name}" for name in names]
    return found


def _raise(error: OSError) -> None:
    raise InputError(f"{error}. Make the folder readable, or move it out of the corpus") from None


def _writable(name: str) -> tuple[str, str | None]:
    """The name as it can be written, and why it is refused. Python keeps undecodable bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        escaped = os.fsencode(name).decode("utf-8", "backslashreplace")
        return escaped, "its name is not UTF-8 (the bytes are escaped here); rename it"
    return name, None


def _read_table(path: Path, pattern: re.Pattern[str] | None) -> Corpus:
    table = _typed(path)
    if pattern and "subject" in table.column_names:
        raise SettingsError(f"{path} has a subject column, and a subject pattern is given. Drop one of the two")
    columns: dict[str, list] = {name: [] for name in ("id", *COLUMNS)}
    seen: dict[str, int] = {}  # the row of each id
    for number, row in enumerate(table.to_pylist(), start=1):
        where = f"row {number} of {path}"
        if not row["path"] or not row["label"]:
            raise InputError(f"{where} has the path {row['path']!r} and the label {row['label']!r}. Fill both in")
        row |= {name: row.get(name) or None for name in ("subject", "site", "device")}
        start_s, end_s = row.get("start_s"), row.get("end_s")
        if not 0.0 <= (start_s or 0.0) < (sys.maxsize if end_s is None else end_s) <= sys.maxsize:
            raise InputError(f"{where} goes from {start_s} to {end_s} s; expected 0 <= start_s < end_s. Correct it")
        relative = posixpath.normpath(row.pop("path"))
        row["subject"] = _subject(pattern, relative) or row["subject"]
        row |= {"path": relative, "id": _id(relative, start_s, end_s)}
        if row["id"] in seen:
            raise InputError(f"{where} repeats row {seen[row['id']]}: {row['id']}. Remove one of them")
        seen[row["id"]] = number
        for name, column in columns.items():
            column.append(row.get(name))
    if not seen:
        raise InputError(f"{path} has no rows; expected one a recording. Fill the table")
    order = sorted(range(len(seen)), key=columns["id"].__getitem__)
    columns = {name: [column[row] for row in order] for name, column in columns.items()}
    return Corpus(path, path.parent, _table(columns, path.parent), {}, [])


def _typed(path: Path) -> pa.Table:
    """The table's known columns in their types. A subject 007 stays text and a label NA stays a label."""
    try:
        if path.suffix.lower() == ".csv":
            types = pa.csv.ConvertOptions(
                column_types=COLUMNS, strings_can_be_null=True, quoted_strings_can_be_null=True, null_values=[""]
            )
            table = pa.csv.read_csv(path, convert_options=types)
        else:
            table = pa.parquet.read_table(path)
        missing = [name for name in ("path", "label") if name not in table.column_names]
        if missing:
            raise InputError(
                f"{path} has the columns {', '.join(table.column_names)}; expected path and label, comma-separated, "
                f"and maybe subject, site, device, start_s, end_s. Add {' and '.join(missing)}"
            )
        table = table.select([name for name in COLUMNS if name in table.column_names])
        return table.cast(pa.schema([(name, COLUMNS[name]) for name in table.column_names]))
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as a table: {error}. Check its format and encoding") from None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"the subject pattern {pattern!r} is no regular expression: {error}. Correct it") from None
    if not compiled.groups:
        raise SettingsError(
            f"the subject pattern {pattern!r} has no group; expected the subject in parentheses, such as '/(P[0-9]+)_'"
        )
    return compiled


def _subject(pattern: re.Pattern[str] | None, relative: str) -> str | None:
    if pattern is None:
        return None
    match = pattern.search(relative)
    subject = match and match["subject" if "subject" in pattern.groupindex else 1]
    if not subject:
        raise InputError(
            f"the subject pattern {pattern.pattern!r} finds no subject in {relative!r}; expected one in every path. "
            "Correct the pattern, rename the file, or give a table with a subject column"
        )
    return subject
