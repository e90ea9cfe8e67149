"""A read that fails leaves neither other sound nor a verdict on the file."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.corpus import read_faults
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.read_faults import decoded_for_sure
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected, Unopened
from conftest import RATE, sound

FORMATS = {  # in which libsndfile takes a header that it could not read for zeros
    "aiff": {"format": "AIFF", "subtype": "PCM_16"},
    "w64": {"format": "W64", "subtype": "PCM_16"},
    "caf": {"format": "CAF", "subtype": "ALAC_16"},
    "au": {"format": "AU", "subtype": "PCM_24"},
    "wav": {"format": "WAV", "subtype": "IMA_ADPCM"},
}


@pytest.fixture(params=FORMATS)
def recording(request: pytest.FixtureRequest, tmp_path: Path) -> Recording:
    path = tmp_path / f"x.{request.param}"
    soundfile.write(path, 0.5 * sound("knock", 1), RATE, **FORMATS[request.param])
    return Recording(path, path.name, "a")


class Failing(io.FileIO):
    """Whose reads from number `first` to `last` fail."""

    first, last, number, error = 0, 0, 0, errno.EIO

    def readinto(self, buffer: memoryview) -> int:
        Failing.number += 1
        if self.first <= self.number <= self.last:
            raise OSError(self.error, os.strerror(self.error))
        return super().readinto(buffer)


def failing(monkeypatch: pytest.MonkeyPatch, first: int, last: int, error: int = errno.EIO) -> None:
    for name, value in (("first", first), ("last", last), ("number", 0), ("error", error)):
        monkeypatch.setattr(Failing, name, value)
    monkeypatch.setattr(read_faults.io, "FileIO", Failing)


def test_a_read_that_fails_once_leaves_no_other_sound(recording: Recording, monkeypatch: pytest.MonkeyPatch):
    whole = decode(recording, RATE)
    failing(monkeypatch, 0, 0)
    decode(recording, RATE)
    reads = Failing.number
    assert reads > 1
    for number in range(1, reads + 1):
        failing(monkeypatch, number, number)
        with pytest.raises(Unopened, match="Input/output error") as told:
            decode(recording, RATE)
        assert told.value.code is Code.UNREADABLE
    failing(monkeypatch, 0, 0)
    np.testing.assert_array_equal(decode(recording, RATE).samples, whole.samples)


def test_a_shortage_while_reading_is_no_verdict(recording: Recording, monkeypatch: pytest.MonkeyPatch):
    for number in (1, 2, 3):
        failing(monkeypatch, number, 99, errno.ENOMEM)
        with pytest.raises(OSError, match="Cannot allocate memory"):
            decode(recording, RATE)


@pytest.fixture
def file(tmp_path: Path) -> Recording:
    (tmp_path / "x.flac").write_bytes(b"some bytes")
    return Recording(tmp_path / "x.flac", "x.flac", "a")


@pytest.mark.parametrize(
    "verdict",
    [
        *(Rejected(code, "libsndfile says so") for code in (Code.UNREADABLE, Code.TRUNCATED, Code.EMPTY)),
        Unopened(Code.UNREADABLE, "Input/output error"),
    ],
)
def test_a_verdict_that_has_passed_is_none(file: Recording, verdict: Rejected):
    told = [verdict]

    def decoded() -> str:
        if told:
            raise told.pop()
        return "sound"

    assert decoded_for_sure(file, decoded) == "sound"


def test_a_verdict_that_stays_is_the_files(file: Recording):
    told = [Rejected(Code.UNREADABLE, "the second"), Rejected(Code.UNREADABLE, "the first")]

    def decoded() -> None:
        raise told.pop()

    with pytest.raises(Rejected, match="the second"):
        decoded_for_sure(file, decoded)


@pytest.mark.parametrize(
    ("error", "raised"), [(errno.EIO, Unopened), (errno.ESTALE, Unopened), (errno.EMFILE, OSError)]
)
def test_what_the_system_says_goes_before_the_verdict(file: Recording, monkeypatch, error: int, raised: type):
    def fail(*x, **how):
        raise OSError(error, os.strerror(error))

    def decoded() -> None:
        raise Rejected(Code.TRUNCATED, "decoding stopped before the end")

    monkeypatch.setattr(read_faults, "open", fail, raising=False)
    with pytest.raises(raised, match=os.strerror(error)):
        decoded_for_sure(file, decoded)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("x.flac", Rejected(Code.TOO_LONG, "24 h")),
        ("x.flac", Unopened(Code.PERMISSION, "reading it is not permitted")),
        ("x.m4a", Rejected(Code.UNREADABLE, ".m4a is not read")),
        ("pipe", Rejected(Code.UNREADABLE, "it is a pipe")),
    ],
)
def test_other_verdicts_are_not_asked_for_twice(tmp_path: Path, name: str, verdict: Rejected):
    path = tmp_path / name
    os.mkfifo(path) if name == "pipe" else path.write_bytes(b"x")
    asked = []

    def decoded() -> None:
        asked.append(verdict)
        raise verdict

    with pytest.raises(Rejected, match=str(verdict)):
        decoded_for_sure(Recording(path, path.name, "a"), decoded)
    assert len(asked) == 1
