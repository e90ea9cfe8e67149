"""Reads that fail, of which libsndfile tells nobody: it takes one for the end of the file, or for a header of zeros.

A verdict on a file should be the file's alone, and a disk or share that failed once should not leave other sound.
"""

import io
import os
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from clinaug_fast.corpus.frames import RECENT_FILES, stamp_of
from clinaug_fast.corpus.recordings import FOREIGN_SUFFIXES, Recording
from clinaug_fast.corpus.verdicts import Code, Rejected, looked_at
from clinaug_fast.errors import InputError
from clinaug_fast.shown import shown

BLOCK_BYTES = 1 << 20
DOUBTFUL = (Code.UNREADABLE, Code.TRUNCATED, Code.EMPTY)  # what a read that fails is told as, or taken for

Made = TypeVar("Made")


def refuse_lost_folder(path: str) -> None:
    """Of a file that the listing saw and that cannot be looked at: InputError where its folder is gone, too. A disk or
    share that has gone is no verdict on its files."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise InputError(
            f"{shown(folder)} is gone since the corpus was listed, maybe with its disk; expected it to stay. Bring it "
            "back and run the same command again"
        )


class WatchedFile(io.FileIO):
    """A file for libsndfile to read, which remembers what a read failed by."""

    _error: OSError | None = None

    def refuse_failed_reads(self) -> None:
        """Raises Unopened, or OSError for a shortage."""
        if self._error is not None:
            with looked_at():
                raise self._error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:  # before the begin, as broken headers ask for; libsndfile looks where it is
            return self.tell()

    def readinto(self, buffer: memoryview) -> int:
        try:
            return super().readinto(buffer)
        except OSError as error:
            self._error = self._error or error
            return 0

    def read(self, size: int = -1) -> bytes:
        return io.RawIOBase.read(self, size)  # by readinto, which FileIO's goes round


def decoded_for_sure(recording: Recording, decoded: Callable[[], Made]) -> Made:
    """`decoded()`; where it rejects the recording once more, after reading its file through: what the system says of
    that goes before any verdict, and what has passed by then leaves none. Raises Rejected."""
    try:
        return decoded()
    except Rejected as verdict:
        if verdict.code not in DOUBTFUL or recording.suffix in FOREIGN_SUFFIXES or not os.path.isfile(recording.path):
            raise
    with looked_at():
        _read_through(os.fspath(recording.path), stamp_of(os.stat(recording.path)))
    return decoded()


@lru_cache(RECENT_FILES)
def _read_through(path: str, stamp: tuple[int, ...]) -> None:
    """Once, however many segments of the file are rejected. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        while file.read(BLOCK_BYTES):
            pass
