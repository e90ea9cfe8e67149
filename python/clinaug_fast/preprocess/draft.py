"""The draft of an output folder: work in progress that survives its process, for one process at a time.

`.OUT.draft` beside OUT holds `settings.json`, what is being made (`set/`, which becomes OUT by a rename), a lock that
goes when its process goes, however that ends, and `work-DIGEST`, where blocks are made before they are put in place. A
Dask task may outlive its run: it finds no such folder in a run with other settings, and can put nothing in place there.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

from clinaug_fast.errors import InputError
from clinaug_fast.json_files import read_json, read_record, write_json
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.parts import MERGED
from clinaug_fast.runs import fingerprint, flush, names, put_in_place, refuse_changed, refuse_dead_link
from clinaug_fast.shown import shown

SETTINGS = "a draft's settings.json"
LOCK = "lock"
OTHER_EACH_TIME = 100  # that a file gets another number each time it is asked is the file system's way then
LONGEST_NAME = 255 - len(".receipt.json")  # of what is made, in bytes


class Draft:
    """A draft that this process holds; `open_draft` makes one."""

    def __init__(self, out: Path, folder: Path, settings: Mapping[str, Any]):
        self.out, self.folder = out, folder
        self.set = folder / "set"
        self._work = folder / f"work-{fingerprint(settings)}"

    def files(self, sidecars_stay: bool) -> BlockFiles:
        """Where the blocks go. The sidecars of a part stay with it; those of a whole set go with the draft."""
        whole, folder = self.set.absolute(), self.folder.absolute()  # a Dask worker starts elsewhere
        files = BlockFiles(whole / "shards", (whole if sidecars_stay else folder) / "blocks", self._work.absolute())
        files.make_folders()
        for place in (files.sidecars, self.set):
            for left in names(place):
                if left.startswith("."):  # by a process that was killed
                    os.unlink(place / left)
        return files

    @contextlib.contextmanager
    def flushing(self) -> Iterator[None]:
        """Have the disk take the shards while the rest is made; `publish` sees to all of it."""
        with ThreadPoolExecutor(1) as pool:
            shards = self.set / "shards"
            flushed = pool.map(flush, [shards / name for name in names(shards)])
            yield
            for _ in flushed:  # a failed write may be told once only, to whoever asks first
                pass

    def publish(self) -> None:
        """The set is whole: flush it to disk and put it in its place. `remove` sees to the rest."""
        put_in_place(self.set, self.out)

    def add(self, path: Path, value: Any) -> None:
        """Put JSON in or beside what was published. It is made in the draft, where a killed process leaves no trace."""
        made = self.folder / "added.json"
        write_json(made, value)
        os.replace(made, path)

    def remove(self) -> None:
        _remove(self.folder)


def _remove(folder: Path) -> None:
    """The lock last: whoever takes it next may fill the folder at once, which then stays. The settings before it: they
    tell whose the rest is, should this be killed."""
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.is_file(follow_symlinks=False)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != LOCK:
                os.unlink(entry)
        os.unlink(folder / LOCK)
        os.rmdir(folder)


@contextlib.contextmanager
def open_draft(out: Path, settings: Mapping[str, Any]) -> Iterator[Draft | None]:
    """The draft of `out`, new or as it was left; None where `out` is there, maybe since a moment.

    Raises InputError where another process works on it, and where it was made with other settings, naming each; a draft
    without a single finished block holds nobody to its settings.
    """
    refuse_dead_link(out)
    if (length := len(os.fsencode(out.name))) > LONGEST_NAME:
        raise InputError(
            f"the name {shown(out.name)} has {length} bytes; expected at most {LONGEST_NAME}, since files beside it "
            "are named after it. Choose a shorter one"
        )
    folder = draft_of(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(out, folder)
    try:
        if out.exists():
            _remove(folder)
            yield None
            return
        _end_work(folder)
        stored = folder / "settings.json"
        if stored.exists() and _has_blocks(folder):
            again = "run clinaug-fast merge again, which has moved shards there"
            before = read_record(stored, SETTINGS, {})
            refuse_changed(folder, before, settings, again if before.get("shard") == MERGED else f"remove {folder}")
        elif not _says(stored, settings):
            for left in {"set", "blocks"} & set(names(folder)):  # a block that was being put in place
                shutil.rmtree(folder / left, ignore_errors=True)
            write_json(stored, settings)
        yield Draft(out, folder, settings)
    finally:
        with contextlib.suppress(OSError):  # where it cannot be told, all stays
            if not _has_blocks(folder):  # nothing to go on from
                _remove(folder)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_UN)  # or a child that was forked meanwhile would keep it
        os.close(lock)
        with contextlib.suppress(OSError):  # there, or not empty; shares and FUSE keep an open file's folder
            os.rmdir(folder)


def _says(stored: Path, settings: Mapping[str, Any]) -> bool:
    with contextlib.suppress(InputError):
        return fingerprint(read_json(stored, SETTINGS)) == fingerprint(settings)
    return False


def is_of_merge(folder: Path) -> bool:
    """Whether a draft holds what a merge has moved."""
    with contextlib.suppress(InputError):
        return read_record(folder / "settings.json", SETTINGS, {}).get("shard") == MERGED
    return False


def _end_work(folder: Path) -> None:
    """Whoever is still at work here, for a run that has ended, puts nothing in place from now on."""
    for name in names(folder):
        if name.startswith("work-"):
            os.rename(folder / name, folder / f"ended-{secrets.token_hex(8)}")  # at once, which removing is not
    for name in names(folder):
        if name.startswith("ended-"):
            shutil.rmtree(folder / name, ignore_errors=True)


def _has_blocks(folder: Path) -> bool:
    """Something to go on from, or what a merge has moved of a first block."""
    sidecars = [*names(folder / "blocks"), *names(folder / "set/blocks")]
    if any(name.endswith(".json") for name in sidecars):
        return True
    return any(name.endswith(".npy") for name in names(folder / "set/shards")) and is_of_merge(folder)


def remove_left(out: Path) -> None:
    """Remove the draft of a finished `out` whose process was killed just before it could."""
    if draft_of(out).exists():
        with contextlib.suppress(InputError), open_draft(out, {}):
            pass


def with_a_name(out: Path) -> Path:
    """The same folder by a path that ends in its name, which `.` and `..` do not."""
    return out if out.name not in ("", "..") else out.resolve()


def draft_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.draft")


def _lock(out: Path, folder: Path) -> int:
    """An open file that is locked for as long as this process lives."""
    for tried in count():
        with contextlib.suppress(FileExistsError):  # which mkdir's own exist_ok looks at, when it may be gone again
            folder.mkdir()
        path = folder / LOCK
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:  # its process has just finished and removed the folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.stat(path).st_ino == os.fstat(lock).st_ino or tried >= OTHER_EACH_TIME:
                return lock
        except BlockingIOError:
            os.close(lock)
            raise InputError(
                f"another process is making {out}; expected one at a time. Wait for it, or name another output folder"
            ) from None
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):  # no locks here: nobody is kept out
                return lock
            os.close(lock)
            error.filename = os.fspath(path)
            raise
        os.close(lock)
