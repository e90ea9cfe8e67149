"""Folders that appear whole: atomic writes, fingerprints and provenance for everything a stage leaves on disk.

A stage builds its output under a hidden name beside the final one and renames it when it is complete, so a
reader never meets half a folder and a killed process leaves nothing that looks like a result. Before the rename all of
it is flushed to disk, so that after a power loss there is a whole folder or none. Files hold no time stamp: the same
inputs and seed give the same bytes.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from clinaug_fast.errors import InputError


class Progress(Protocol):
    """How a stage tells how far it is. `cli.console` draws it; a library caller may pass `Silent()`."""

    def start(self, title: str, total: int) -> None:
        """Begin a phase of `total` steps; ends the phase before."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` is a short state such as a loss."""

    def warn(self, text: str) -> None:
        """One sentence that the user should read."""


class Silent:
    """A Progress that shows nothing."""

    def start(self, title: str, total: int) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text, so it can be hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(*parts: Any) -> str:
    """Sixteen hex digits of BLAKE2b over the parts (bytes as they are, anything else as canonical JSON)."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        data = part if isinstance(part, bytes) else canonical_json(part).encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def fingerprint_file(path: Path) -> str:
    """The same digest over a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole, with this text in UTF-8."""
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`write_text` of indented JSON with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: Path, what: str) -> Any:
    """The JSON in `path`; `what` names the file's role in the error ("a feature set's features.json").

    NaN, infinities and halves of characters, which Python takes but `write_json` never wrote, are refused as damage.
    """
    with _reading(path, what):
        return _parsed(path.read_text(encoding="utf-8"))


def read_json_lines(path: Path, what: str, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One object a line, each with these fields as in `read_record`; InputError for another, and for none at all."""
    with _reading(path, what):
        rows = [_parsed(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for row in rows or [None]:
        _with_fields(path, what, row, fields)
    return rows


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; expected {what}. Check the path, or run the stage before") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {what}: {error}. Restore the file or make it anew") from None


def _parsed(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"it holds {constant}")

    value = json.loads(text, parse_constant=refuse)
    canonical_json(value).encode()
    return value


def read_record(path: Path, what: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`read_json` of an object with these fields, each of its type; in place of a type there may be a mapping, with
    its own fields, or a list of one type, whose items are all of that type.

    Raises InputError with the first that is missing or of another type.
    """
    return _with_fields(path, what, read_json(path, what), fields)


def read_versioned(path: Path, what: str, version: int, mend: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`read_record` of an object that must be of this schema version; `mend` says what to do where it is not."""
    about = read_record(path, what, {})
    if about.get("schema_version") != version:
        raise InputError(f"{path} is not of schema version {version}. {mend}")
    return _with_fields(path, what, about, fields)


def _with_fields(path: Path, what: str, about: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    if (misfit := _misfit(about, fields)) is not None:
        raise InputError(f"{path} is not {what}: {misfit}. Restore the file or make it anew")
    return about


def _misfit(about: Any, fields: Mapping[str, Any]) -> str | None:
    if not isinstance(about, dict):
        return "it holds nothing" if about is None else f"it holds {about!r}"
    for name, kind in fields.items():
        value = about.get(name)
        if isinstance(kind, Mapping):
            if (misfit := _misfit(value, kind)) is not None:
                return f"in its {name}, {misfit}"
        elif not _is_of(value, kind):
            return f"its {name} is {value!r}"
    return None


def _is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is_of(item, kind[0]) for item in value)
    return isinstance(value, kind) and not isinstance(value, bool)  # of JSON; Python counts true as an int


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A name beside `path` for a draft that is flushed to disk and becomes `path` when the block ends well, and
    vanishes when it does not. What a killed process of this machine left for the same `path` is removed first."""
    draft = _draft_of(path)
    try:
        yield draft
        flush(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """A draft folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    `out` must not exist. Drafts that a killed process of this machine left for the same `out` are removed first.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(out):  # a link to nothing does
        raise InputError(f"{out} exists already; expected a new folder. Name another, or remove it first")
    draft = _draft_of(out)
    draft.mkdir()
    try:
        yield draft
        put_in_place(draft, out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def put_in_place(draft: Path, out: Path) -> None:
    """Rename a finished folder, all of it being on disk before and the rename after."""
    with ThreadPoolExecutor(4) as pool:  # each waits for the disk
        for _ in pool.map(flush, [*draft.rglob("*"), draft]):
            pass
    os.rename(draft, out)
    flush(out.parent)


def flush(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def _draft_of(path: Path) -> Path:
    """A hidden name beside `path` that no other process or machine has, free of what a killed process left there."""
    ours = f".{path.name}.{platform.node()}."
    left = re.compile(re.escape(ours) + r"(\d+)\.draft")
    for other in path.parent.iterdir():
        match = left.fullmatch(other.name)
        if match is None or (int(match[1]) != os.getpid() and _alive(int(match[1]))):
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:
            other.unlink(missing_ok=True)
    return path.with_name(f"{ours}{os.getpid()}.draft")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def refuse_changed(
    out: Path, stored: Mapping[str, Any], asked: Mapping[str, Any], instead: str = "name another output folder"
) -> None:
    """Refuse to go on in `out` when it was made with other settings, naming each that differs; `instead`: what else
    there is to do."""
    keys = sorted(key for key in {*stored, *asked} if stored.get(key) != asked.get(key))
    if keys:
        listed = "; ".join(f"{key} is {stored.get(key)!r} there, {asked.get(key)!r} asked" for key in keys)
        raise InputError(f"{out} was made with other settings: {listed}. Repeat the old settings, or {instead}")


def provenance() -> dict[str, str]:
    """The versions that can change a number: ours, Python's and the machine's kind."""
    return {
        "clinaug_fast": version("clinaug-fast"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
