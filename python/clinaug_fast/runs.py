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
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar

from clinaug_fast.errors import InputError

_PROCESS = secrets.token_hex(4)  # beside its number, which in a container each process may have
_DRAFTS = count()
Made = TypeVar("Made")
AnyPath = str | os.PathLike[str]


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


def own_fingerprint(about: Mapping[str, Any]) -> str:
    """Of what a JSON file tells, but for `fingerprint`, which it becomes, and `provenance`."""
    return fingerprint({name: value for name, value in about.items() if name not in ("fingerprint", "provenance")})


def regular(path: Path) -> Path:
    """The same path; InputError where it is a pipe or a device, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is a pipe or a device; expected a file. Put the file there")
    return path


@contextlib.contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """What the system says of an open file comes without its name: OSError with this one, where it has none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # pyarrow's has a text alone
            raise OSError(f"{path}: {error}") from None
        if error.filename is None:
            error.filename = os.fspath(path)
        raise


def fingerprint_file(path: Path) -> str:
    """The same digest over a file's bytes, read in blocks."""
    with naming(path), open(regular(path), "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole, with this text in UTF-8."""
    with atomic_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_in_draft(path: Path, text: str) -> None:
    """Write a file of a folder that is flushed to disk as a whole before it appears, with this text in UTF-8."""
    with naming(path):
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A name beside `path` for a draft that is flushed to disk and becomes `path` when the block ends well, and
    vanishes when it does not. What a killed process of this machine left for the same `path` is removed first."""
    draft = new_draft(path)
    try:
        with naming(path):
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
        raise InputError(f"{out} exists already; expected a new folder. Name another")
    draft = new_draft(out)
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
        for _ in pool.map(flush, _all_in(draft)):
            pass
    os.rename(draft, out)
    flush(out.parent)


def _all_in(folder: Path) -> Iterator[Path]:
    """With itself. OSError where it cannot be told, where `Path.rglob` passes over it."""

    def refuse(error: OSError) -> None:
        raise error

    for root, folders, files in os.walk(folder, onerror=refuse):
        yield from (Path(root, name) for name in (*folders, *files))
    yield folder


def names(folder: Path) -> list[str]:
    """What a folder holds, in order; nothing where it is not there. OSError where that cannot be told: `Path.glob`
    takes such a folder for an empty one."""
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def flush(path: Path) -> None:
    """Wait until a file's bytes, or the names in a folder, are on disk."""
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot flush a folder
                raise
        finally:
            os.close(descriptor)


def try_to_write(path: Path) -> None:
    """OSError where `path` could not be written: its folder cannot be, or the name is too long."""
    draft = new_draft(path)
    draft.touch()
    draft.unlink()


def new_draft(path: Path) -> Path:
    """A hidden name beside `path` that no other thread, process or machine has."""
    sweep(path)
    return path.with_name(f"{_drafts_of(path)}{os.getpid()}-{_PROCESS}-{next(_DRAFTS)}.draft")


def _drafts_of(path: Path) -> str:
    return f".{path.name}.{where_pids_count()}."


def sweep(path: Path) -> None:
    """Remove the drafts of `path` that killed processes of this machine left, where that is permitted."""
    left = re.compile(re.escape(_drafts_of(path)) + r"(\d+)(?:-([0-9a-f]+)-\d+)?\.draft")
    try:
        matches = [match for match in map(left.fullmatch, names(path.parent)) if match]
    except OSError:
        return
    for match in matches:
        if match[2] == _PROCESS if int(match[1]) == os.getpid() else _alive(int(match[1])):
            continue
        other = path.with_name(match[0])
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                other.unlink()


@cache
def where_pids_count() -> str:
    """The machine and, on Linux, the namespace in which a number means one process: containers of one name have their
    own, and none can tell whether a process of another lives."""
    try:
        return f"{platform.node()}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return platform.node()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim(path: Path, text: str, mode: int = 0o666) -> bool:
    """Write a file that appears whole and is on disk then, unless it is there or another process is first: False, and
    nothing is written. `mode`: its rights, as far as the umask goes."""
    draft = new_draft(path)
    if path.exists():
        return False
    try:
        made = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with naming(path), open(made, "w", encoding="utf-8") as file:
            file.write(text)
        flush(draft)
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            if path.exists():
                return False
            os.replace(draft, path)  # a file system without links: of two at one instant the last one wins
        flush(path.parent)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def made_meanwhile(error: Exception, mark: Path) -> bool:
    """Whether `atomic_folder` failed because another process has put the folder in place, which holds `mark`."""
    there = isinstance(error, InputError) or (
        isinstance(error, OSError) and error.errno in (errno.EEXIST, errno.ENOTEMPTY)
    )
    return there and mark.exists()


def made_once(mark: Path, make: Callable[[], Made], standing: Callable[[], Made]) -> Made:
    """`make()`, which leaves a folder that holds `mark`; or `standing()` where it is there or comes meanwhile."""
    if mark.exists():
        return standing()
    try:
        return make()
    except (InputError, OSError) as error:
        if not made_meanwhile(error, mark):
            raise
    return standing()


def refuse_dead_link(out: Path) -> None:
    """InputError where `out` is a link that leads nowhere."""
    if out.is_symlink() and not out.exists():
        raise InputError(f"{out} is a link to {out.readlink()}, which is not there. Remove it, or name another")


def refuse_file(out: Path) -> None:
    """InputError where `out`, a folder to be, is a file or leads nowhere."""
    refuse_dead_link(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected a new folder. Name another")


def begun(out: Path, mark: str, others: str) -> bool:
    """Whether `out`, a folder that is filled bit by bit, was begun: it holds the file `mark`, which comes first.
    InputError where it holds `others` ("other things than a run")."""
    refuse_file(out)
    used = out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir())
    if (out / mark).exists():  # asked after the listing: another process may begin at the same time
        sweep(out / mark)
        return True
    if used:
        raise InputError(f"{out} holds {others}; expected a new folder. Name another")
    return False


def refuse_changed(
    out: Path, stored: Mapping[str, Any], asked: Mapping[str, Any], instead: str = "name another output folder"
) -> None:
    """Refuse to go on in `out` when it was made with other settings, naming each that differs; `instead`: what else
    there is to do."""
    keys = sorted(key for key in {*stored, *asked} if stored.get(key) != asked.get(key))
    if keys:
        listed = "; ".join(_difference(key, stored.get(key), asked.get(key)) for key in keys)
        raise InputError(f"{out} was made with other settings: {listed}. Repeat the old settings, or {instead}")


def _difference(key: str, there: Any, asked: Any) -> str:
    if isinstance(there, Mapping) and isinstance(asked, Mapping) and there.keys() != asked.keys():
        there, asked = (", ".join(named) or "none" for named in (there, asked))  # names of arms, say, tell it
    return f"{key} is {there!r} there, {asked!r} asked"


@cache
def _our_version() -> str:
    return version("clinaug-fast")  # reads a file


def provenance() -> dict[str, str]:
    """The versions that can change a number: ours, Python's and the machine's kind."""
    return {
        "clinaug_fast": _our_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
