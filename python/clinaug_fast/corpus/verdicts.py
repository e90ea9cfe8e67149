"""What is said of a recording that cannot be used: a code, by which such are counted, and a reason for a person."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from clinaug_fast.errors import is_shortage


class Code(StrEnum):
    """Why a recording is rejected."""

    MISSING = "MISSING"  # no such file
    PERMISSION = "PERMISSION"  # it may not be read
    EMPTY = "EMPTY"  # no bytes or no samples, in the file or in the segment
    UNREADABLE = "UNREADABLE"  # no audio that soundfile knows
    TRUNCATED = "TRUNCATED"  # less audio than the file, or the segment, declares; or a header that was never finished
    NON_FINITE = "NON_FINITE"  # NaN, infinity, or a number that no sound has, in a float file
    TOO_SHORT = "TOO_SHORT"  # shorter than clip.min_seconds
    TOO_LONG = "TOO_LONG"  # longer than the limit of the run, maybe a decode bomb
    NAME = "NAME"  # the file's name is not UTF-8


class Rejected(Exception):  # noqa: N818 - a verdict on one file, caught by preprocess
    """This recording cannot be used; the others can."""

    def __init__(self, code: Code, reason: str):
        super().__init__(reason)
        self.code, self.reason = code, reason

    def alone(self) -> "Rejected":
        """The same verdict, to be kept: as it was raised, it holds on to what it came through, the samples among it."""
        return type(self)(self.code, self.reason)


class Unopened(Rejected):
    """The file could not be looked at, which may be for want of a disk that is mounted elsewhere."""


@contextmanager
def looked_at() -> Iterator[None]:
    """What the system says of a file that cannot be looked at, as a verdict."""
    try:
        yield
    except FileNotFoundError:
        raise Unopened(Code.MISSING, "no such file") from None
    except PermissionError:
        raise Unopened(Code.PERMISSION, "reading it is not permitted") from None
    except OSError as error:
        if is_shortage(error):
            raise
        raise Unopened(Code.UNREADABLE, error.strerror or str(error)) from None
