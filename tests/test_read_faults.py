"""A read that fails leaves neither other sound nor a verdict on the file."""

import contextlib
import errno
import io
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from clinaug_fast.audit import flat_sound
from clinaug_fast.audit.sources import audit
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus import read_faults
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.read_faults import WatchedFile, decoded_for_sure
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected, Unopened
from clinaug_fast.preprocess import clips
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, RATE, files, sound

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


@pytest.fixture(autouse=True)
def reads_as_before() -> Iterator[None]:
    yield
    WatchedFile.__bases__ = (io.FileIO,)


def failing(monkeypatch: pytest.MonkeyPatch, first: int, last: int, error: int = errno.EIO) -> None:
    for name, value in (("first", first), ("last", last), ("number", 0), ("error", error)):
        monkeypatch.setattr(Failing, name, value)
    WatchedFile.__bases__ = (Failing,)


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


def test_files_are_closed_whatever_becomes_of_them(recording: Recording, monkeypatch: pytest.MonkeyPatch):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(6):
        failing(monkeypatch, number, number)
        with contextlib.suppress(Rejected):
            decode(recording, RATE)
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_header_that_leads_before_the_file_leads_nowhere(recording: Recording):
    with contextlib.closing(WatchedFile(recording.path)) as file:
        assert (file.seek(3), file.seek(-5), file.seek(-99, os.SEEK_CUR)) == (3, 3, 3)


@pytest.mark.parametrize("suffix", ["aiff", "au"])
def test_a_tag_before_the_header_hides_no_sound(tmp_path: Path, suffix: str):
    plain, tagged = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    soundfile.write(plain, sound("knock", 1), RATE, subtype="PCM_16")
    tagged.write_bytes(b"ID3\3\0\0\0\0\x08\0" + bytes(1024) + plain.read_bytes())
    expected = decode(Recording(plain, plain.name, "a"), RATE).samples
    np.testing.assert_array_equal(decode(Recording(tagged, tagged.name, "a"), RATE).samples, expected)


def test_many_rejected_segments_of_a_file_read_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, opened = tmp_path / "x.flac", []
    soundfile.write(path, sound("knock", 1), RATE)

    def counted(*x: object, **how: object) -> object:
        opened.append(x)
        return open(*x, **how)

    monkeypatch.setattr(read_faults, "open", counted, raising=False)
    for number in range(20):
        segment = Recording(path, path.name, "a", start_s=50.0 + number)
        with pytest.raises(Rejected, match="has no samples"):
            decoded_for_sure(segment, partial(decode, segment, RATE))
    assert len(opened) == 1


def doubted_once(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    """The first call of each recording is rejected, as if a read had failed."""
    real, seen = getattr(module, name), set()

    def doubted(recording: Recording, *x: object) -> object:
        if recording.relative not in seen:
            seen.add(recording.relative)
            raise Rejected(Code.TRUNCATED, "decoding stopped before the end")
        return real(recording, *x)

    monkeypatch.setattr(module, name, doubted)


@pytest.fixture
def flac_corpus(tmp_path: Path) -> Path:
    for label in ("hum", "knock"):
        (tmp_path / "corpus" / label).mkdir(parents=True)
        for take in range(2):
            soundfile.write(tmp_path / "corpus" / label / f"{take}.flac", sound(label, take), RATE)
    return tmp_path / "corpus"


def test_preprocess_asks_twice(flac_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = preprocess(flac_corpus, tmp_path / "expected", MEL, ClipConfig(n_frames=32)).out
    doubted_once(monkeypatch, clips, "clips_of")
    assert files(preprocess(flac_corpus, tmp_path / "out", MEL, ClipConfig(n_frames=32)).out) == files(expected)


def test_audit_asks_twice(flac_corpus: Path, monkeypatch: pytest.MonkeyPatch):
    doubted_once(monkeypatch, flat_sound, "_read_flat")
    assert not audit(flac_corpus).not_compared


def test_a_file_is_read_through_to_its_end(file: Recording, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_faults, "BLOCK_BYTES", 4)
    blocks = []

    class Counting(io.FileIO):
        def read(self, size: int = -1) -> bytes:
            blocks.append(super().read(size))
            return blocks[-1]

    monkeypatch.setattr(read_faults, "open", lambda path, *mode, **how: Counting(path), raising=False)

    def decoded() -> None:
        raise Rejected(Code.UNREADABLE, "libsndfile says so")

    with pytest.raises(Rejected, match="libsndfile says so"):
        decoded_for_sure(file, decoded)
    assert b"".join(blocks) == b"some bytes"
