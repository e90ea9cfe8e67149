"""A corpus as a table of recordings: where the flow begins.

Takes a folder of audio (sub-folder = label) or a table (CSV or Parquet, one row a recording or a segment of one).
Leaves its recordings in a fixed order, as columns so that a hundred thousand of them weigh little, and a fingerprint;
opens no audio file.
"""

import errno
import os
import posixpath
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast import native
from clinaug_fast.corpus.segment_times import refuse_half_of_a_segment
from clinaug_fast.corpus.spellings import as_a_person, as_it_is_seen, refuse_two_spellings
from clinaug_fast.corpus.table_file import COLUMNS, TABLE_SUFFIXES, first_row, read_table
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.runs import AnyPath, fingerprint
from clinaug_fast.shown import shown

AUDIO_SUFFIXES = frozenset(
    (
        *(".wav", ".wave", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"),
        *(".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".sph"),
    )
)
# Sound, too, which nothing here reads: it is rejected, not passed by.
FOREIGN_SUFFIXES = frozenset((".m4a", ".m4b", ".aac", ".webm", ".weba", ".mka", ".wma", ".amr", ".ac3"))

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

    @property
    def suffix(self) -> str:
        """Of the file, in lower case: .wav"""
        return posixpath.splitext(self.relative)[1].lower()


@dataclass(frozen=True)
class Corpus:
    """The recordings sorted by id, and what was seen but is none of them."""

    path: Path
    root: Path  # the folder that the recordings' paths start at
    table: pa.Table  # RECORDINGS_SCHEMA
    ignored: dict[str, int]  # files by suffix that are not audio
    unlabelled: list[str]  # audio outside any label's sub-folder
    left_out: list[str]  # folders: hidden ones, and links to those that were listed already
    dead_links: list[str]  # that may have been to folders
    unused: tuple[str, ...] = ()  # columns of the table that are not asked for
    same_folders: tuple[str, ...] = ()  # where all audio lies deeper, and in folders of the same names under each label

    def __len__(self) -> int:
        return self.table.num_rows

    @property
    def recordings(self) -> list[Recording]:
        return recordings_of(self.table, self.root)

    @property
    def labels(self) -> list[str]:
        return sorted(pc.unique(self.table.column("label")).to_pylist())

    @cached_property
    def fingerprint(self) -> str:
        """Over every recording's fields and its file's size in bytes; the audio itself is not read."""
        parts = (self.table.slice(first, ROWS_AT_ONCE) for first in range(0, len(self), ROWS_AT_ONCE))
        return fingerprint([fingerprint(*_content(part)) for part in parts])


def _content(rows: pa.Table) -> Iterator[bytes]:
    """What a table says by columns, whatever lies behind their nulls: which rows are null, lengths, values."""
    for column in rows.itercolumns():
        yield np.packbits(column.is_null().to_numpy()).tobytes()
        if pa.types.is_string(column.type):
            yield pc.fill_null(pc.binary_length(column), 0).to_numpy().tobytes()
            yield b"".join(_text(chunk) for chunk in column.chunks)
            continue
        yield pc.fill_null(column, 0).to_numpy().tobytes()


def _text(strings: pa.StringArray) -> bytes:
    """Strings end to end."""
    if strings.null_count:
        strings = strings.fill_null("")
    offsets = np.frombuffer(strings.buffers()[1], np.int32)[strings.offset :][: len(strings) + 1]
    return strings.buffers()[2][offsets[0] : offsets[-1]].to_pybytes() if strings.buffers()[2] else b""


def recordings_of(table: pa.Table, root: Path) -> list[Recording]:
    """The rows of a table of RECORDINGS_SCHEMA as objects."""
    names = (*COLUMNS, "refused")
    columns = (table.column(name).to_pylist() for name in names)
    root = os.fspath(root)
    return [Recording(f"{root}/{path}", path, *rest) for path, *rest in zip(*columns, strict=True)]


def _id(relative: str, start_s: float | None, end_s: float | None) -> str:
    if not start_s and end_s is None:
        return relative
    return f"{relative}@{start_s or 0.0}-{'end' if end_s is None else end_s}"


def _table(columns: dict[str, pa.Array | None]) -> pa.Table:
    """RECORDINGS_SCHEMA of columns that are sorted by id; those left out are null, and share their memory."""
    nulls = {kind: pa.nulls(len(columns["id"]), kind) for kind in (pa.string(), pa.float64())}
    arrays = [
        nulls[field.type] if columns.get(field.name) is None else columns[field.name] for field in RECORDINGS_SCHEMA
    ]
    return pa.table(arrays, schema=RECORDINGS_SCHEMA)


def _sizes(paths: Iterable[str], root: Path) -> pa.Array:
    """Bytes of each file; null of one that is gone, leads nowhere or is not for us, as native.list_audio has it: the
    decoder will say why. OSError where the disk fails, which is no property of the corpus."""

    def size(path: str) -> int | None:
        try:
            return os.stat(f"{root}/{path}").st_size
        except OSError as error:
            if native.is_of_the_name(error):
                return None
            raise

    return pa.array(map(size, paths), pa.int64())


def read_corpus(path: AnyPath, subject_pattern: str | None = None, threads: int = 1) -> Corpus:
    """Read a folder or a table. `subject_pattern` is a regex searched in each recording's relative path; its group
    named `subject`, or else its first, is the subject. `threads` look at the files' sizes.

    Raises InputError for a corpus without audio or with a single label, and where the pattern does not match;
    SettingsError for a pattern that is no regex, has no group, or stands beside a table's subjects.
    """
    path = Path(path)
    pattern = None if subject_pattern is None else _compiled(subject_pattern)
    if path.is_dir():
        corpus = _read_folder(path, pattern, threads)
    elif path.suffix.lower() in TABLE_SUFFIXES and path.is_file():
        corpus = _read_table(path, pattern)
    else:
        if not path.exists():
            raise InputError(f"{path} does not exist; expected a corpus. Check the path")
        what = "is neither a folder nor a .csv or .parquet table; expected a corpus"
        raise InputError(f"{path} {what}. Check the path, or save the table as CSV")
    labels = corpus.labels
    if len(labels) == 1:
        one = f"{labels[0]!r}{_and_dead(corpus.dead_links)}"
        table = ", or, where no folders tell the labels, give a table with the columns path and label"
        others = f"Add the others{table if path.is_dir() else ''}"
        raise InputError(f"{path} has one label, {one}; expected two or more to tell apart. {others}")
    refuse_two_spellings(path, "label", labels, as_it_is_seen)
    subjects = pc.unique(corpus.table.column("subject")).to_pylist()
    refuse_two_spellings(path, "subject", subjects, as_a_person)
    return corpus


def some_of(names: Sequence[str]) -> str:
    """The first of them, as a sentence tells them."""
    return ", ".join(map(shown, names[:5])) + (" ..." if len(names) > 5 else "")


def _and_dead(links: Sequence[str]) -> str:
    return f"; links that lead nowhere: {some_of(links)}" if links else ""


def _read_folder(root: Path, pattern: re.Pattern[str] | None, threads: int) -> Corpus:
    """All by columns: a Python object for each of a hundred thousand files would outweigh the rest of the run."""
    try:
        found = native.list_audio(root, sorted(AUDIO_SUFFIXES | FOREIGN_SUFFIXES), threads)
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        raise InputError(f"{error}. Make the folder readable, or move it out of the corpus") from None
    ignored: Counter[str] = Counter()
    for suffix, n in found.ignored.items():
        ignored[_writable(suffix).lower() or "no suffix"] += n
    unlabelled = [_writable(name) for name in found.unlabelled]
    left_out, dead = ([_writable(name) for name in names] for names in (found.left_out, found.dead_links))
    if not found.labels:
        raise InputError(
            f"{root} has no audio in sub-folders ({len(unlabelled)} audio and {ignored.total()} other files seen"
            f"{_and_dead(dead)}); expected LABEL/FILE with {', '.join(sorted(AUDIO_SUFFIXES))}. Sort the files into "
            "one folder a label, or give a table with the columns path and label"
        )
    paths, refused = _names(found)
    columns = {"id": paths, "path": paths, "refused": refused, "subject": _subjects(pattern, paths, refused)}
    columns["bytes"] = pa.array(found.bytes, mask=found.bytes < 0)
    labels = pa.array([_writable(os.fsdecode(label)) for label, _ in found.labels])
    numbers = np.repeat(np.arange(len(labels), dtype=np.int32), [n for _, n in found.labels])
    columns["label"] = labels.take(pa.array(numbers))
    same = _same_folders(paths, numbers) if pattern is None else ()
    table = _without_originals(_table(columns), ignored)
    ignored = dict(sorted(ignored.items()))
    return Corpus(root, root, table, ignored, unlabelled, left_out, dead, same_folders=same)


def named(paths: pa.ChunkedArray, suffixes: Iterable[str]) -> np.ndarray:
    """(n,) bool: whether each ends in one of the suffixes, in capitals or not."""
    return pc.match_substring_regex(paths, f"(?i)({'|'.join(map(re.escape, suffixes))})$").to_numpy()


def _without_originals(table: pa.Table, ignored: Counter[str]) -> pa.Table:
    """Files that are not read and have one of the same name beside them that is, converted from them: ignored."""
    paths = table.column("path")
    is_foreign = named(paths, FOREIGN_SUFFIXES)
    if not is_foreign.any():
        return table
    read = {posixpath.splitext(path)[0] for path in paths.filter(pa.array(~is_foreign)).to_pylist()}
    stays = np.ones(len(table), bool)
    for row in np.flatnonzero(is_foreign).tolist():
        stem, suffix = posixpath.splitext(paths[row].as_py())
        if stem in read:
            stays[row] = False
            ignored[suffix.lower()] += 1
    return table.filter(pa.array(stays))


def _same_folders(paths: pa.Array, labels: np.ndarray) -> tuple[str, ...]:
    """The sub-folders of each label where all labels have the same ones and all recordings lie there; else none."""
    if paths[0].as_py().count("/") < 2:
        return ()
    parts = pc.split_pattern(paths, "/", max_splits=2)
    if pc.min(pc.list_value_length(parts)).as_py() < 3:
        return ()
    coded = pc.list_element(parts, 1).dictionary_encode()
    names, n_labels = coded.dictionary.to_pylist(), int(labels[-1]) + 1
    pairs = np.unique(labels.astype(np.int64) * len(names) + coded.indices.to_numpy())
    return tuple(sorted(names)) if len(pairs) == n_labels * len(names) and n_labels > 1 else ()


def _names(found: native.Listing) -> tuple[pa.Array, pa.Array | None]:
    """The paths as text, and why some are refused; None where none is."""
    n = len(found.offsets) - 1
    paths = pa.StringArray.from_buffers(n, pa.py_buffer(found.offsets), pa.py_buffer(found.names))
    try:
        paths.validate(full=True)
        return paths, None
    except pa.ArrowInvalid:
        raw = [os.fsdecode(name) for name in paths.cast(pa.binary()).to_pylist()]
    named = [_writable(name) for name in raw]
    reason = "its name is not UTF-8 (the bytes are escaped here); rename it"
    return pa.array(named), pa.array([None if a == b else reason for a, b in zip(raw, named, strict=True)], pa.string())


def _writable(name: str) -> str:
    """The name as it can be written. Python keeps undecodable bytes as lone surrogates."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _read_table(path: Path, pattern: re.Pattern[str] | None) -> Corpus:
    table, unused = read_table(path)
    if pattern and "subject" in table.column_names:
        raise SettingsError(f"{path} has a subject column, and a subject pattern is given. Drop one of the two")
    columns: dict[str, list] = {name: [] for name in ("id", *COLUMNS)}
    seen: dict[str, int] = {}  # the row of each id
    outside: dict[str, str] = {}  # files that lie there: the path that each was given
    root, real = os.path.realpath(path.parent), lru_cache(os.path.realpath)
    for number, row in enumerate(_rows(table), start=first_row(path)):
        if not any(row.values()):  # as spreadsheets end
            continue
        where = f"row {number} of {path}"
        if not row["path"] or not row["label"] or "\0" in row["path"]:
            has = " and ".join(f"the {name} {row[name]!r}" if row[name] else f"no {name}" for name in ("path", "label"))
            raise InputError(f"{where} has {has}. Correct it")
        start_s, end_s = row.get("start_s"), row.get("end_s")
        if not 0.0 <= (start_s or 0.0) < (sys.maxsize if end_s is None else end_s) <= sys.maxsize:
            told = f"{row['path']!r}: it goes from {start_s} to {end_s} s"
            raise InputError(f"{where} has {told}; expected 0 <= start_s < end_s. Correct it")
        relative = _inside(row.pop("path"), root, real)
        if relative.startswith("../"):  # a link out there is no part of the corpus
            folder, name = posixpath.split(posixpath.join(root, relative))
            there = posixpath.join(real(folder), name)
            if (other := outside.setdefault(there, relative)) != relative:
                raise InputError(f"{where} names {relative}, which is the file {other}. Give it one path")
        row["subject"] = _subject(pattern, relative) or row.get("subject")
        row |= {"path": relative, "id": _id(relative, start_s, end_s)}
        if row["id"] in seen:
            label = columns["label"][columns["id"].index(row["id"])]
            raise InputError(f"{where} repeats row {_repeated(row, seen[row['id']], label, unused)}")
        seen[row["id"]] = number
        for name, column in columns.items():
            column.append(row.get(name))
    if not seen:
        raise InputError(f"{path} has no rows; expected one a recording. Fill the table")
    refuse_half_of_a_segment(path, columns, some_of(unused))
    columns["start_s"] = [start_s or None for start_s in columns["start_s"]]
    order = sorted(range(len(seen)), key=columns["id"].__getitem__)
    arrays = {
        name: pa.array([column[row] for row in order], COLUMNS.get(name, pa.string()))
        for name, column in columns.items()
    }
    arrays["bytes"] = _sizes((columns["path"][row] for row in order), path.parent)
    return Corpus(path, path.parent, _table(arrays), {}, [], [], [], unused)


def _rows(table: pa.Table) -> Iterator[dict]:
    """Some at once: all, as objects, would take ten times the table's memory."""
    for some in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from some.to_pylist()


def _repeated(row: dict, first: int, label: str, unused: Sequence[str]) -> str:
    said = f"{first}: {row['id']}"
    if row["label"] != label:
        said += f", with the label {row['label']!r} in place of {label!r}; expected one label a recording"
    said += ". Remove one of them"
    if unused:
        said += f", or tell segments by columns named start_s and end_s; not used are {some_of(unused)}"
    return said


def _inside(path: str, root: str, real: Callable[[str], str]) -> str:
    """The path from `root`, the table's folder without links, on, and maybe out of it: one for each file, however it is
    given, unless by a link inside the corpus."""
    # Behind a name `..` leads on from where a link leads; before the first it leads up from `root`, which is none.
    below = re.sub(r"^(\.{1,2}/+)+", "", path)
    if posixpath.isabs(path) or "/../" in f"/{below}":
        path = posixpath.join(root, path)
        path = posixpath.join(real(posixpath.dirname(path)), posixpath.basename(path))
    return posixpath.relpath(posixpath.join(root, path), root)


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


def _subjects(pattern: re.Pattern[str] | None, paths: pa.Array, refused: pa.Array | None) -> pa.Array | None:
    """None of a refused path, which is not its file's name."""
    if pattern is None:
        return None
    if refused is not None:
        paths = pc.if_else(refused.is_valid(), pa.scalar(None, pa.string()), paths)
    parts = (paths.slice(first, ROWS_AT_ONCE).to_pylist() for first in range(0, len(paths), ROWS_AT_ONCE))
    return pa.concat_arrays(
        [pa.array([path and _subject(pattern, path) for path in part], pa.string()) for part in parts]
    )


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
