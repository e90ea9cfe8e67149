"""What a file may claim and hold: rates, lengths and sizes at which decoding says no, or takes another way."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus import audio
from clinaug_fast.corpus.audio import decode, open_audio, refuse_too_long
from clinaug_fast.corpus.containers import W64_DATA, W64_RIFF
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected
from conftest import MEL, sound

RATE = 8000
EXTRA = 17 << 20


def recording(path: Path) -> Recording:
    return Recording(path, path.name, "label")


def write(path: Path, rate: int = RATE) -> Path:
    soundfile.write(path, sound("hum", 0), rate, subtype="PCM_16")
    return path


@pytest.mark.parametrize("suffix", ["wav", "aiff", "flac"])
def test_a_rate_below_any_sound_is_rejected(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Rejected) as caught:
        open_audio(recording(write(tmp_path / f"x.{suffix}", 9)))
    assert (caught.value.code, caught.value.reason) == (
        Code.UNREADABLE,
        "its header tells 9 Hz; expected 10 or more",
    )
    assert len(decode(recording(write(tmp_path / f"x.{suffix}", 10)), 10).samples) == 9600


@pytest.mark.parametrize(("more", "long"), [(0.0, False), (0.4, False), (0.6, True), (1.0, True)])
def test_half_a_sample_over_the_longest_duration_is_rounding(tmp_path: Path, more: float, long: bool) -> None:
    limit = (9600 - more) / RATE
    if long:
        with pytest.raises(Rejected, match="Raise --max-duration") as caught:
            refuse_too_long(9600, RATE, limit)
        assert caught.value.code == Code.TOO_LONG
    else:
        refuse_too_long(9600, RATE, limit)
    taken = native.wav_log_mel([write(tmp_path / "x.wav")], MEL, ClipConfig(n_frames=32), max_seconds=limit)
    assert taken.not_taken == ({0: "too long"} if long else {})


@pytest.mark.parametrize(("over", "told"), [(1, "leaves its length open"), (0, "samples could be decoded")])
def test_more_samples_than_any_format_has_a_byte_are_no_length(tmp_path: Path, over: int, told: str) -> None:
    path = write(tmp_path / "x.flac")
    data = bytearray(path.read_bytes())
    declared = 8192 * len(data) + over
    data[21] = data[21] & 0xF0 | declared >> 32
    data[22:26] = struct.pack(">I", declared & 0xFFFFFFFF)
    path.write_bytes(data)
    with pytest.raises(Rejected) as caught:
        decode(recording(path), RATE)
    assert told in caught.value.reason


def with_picture(path: Path) -> Path:
    """A file that holds 17 MiB besides its samples, before them; as a hole, so that it takes no room."""
    data = path.read_bytes()
    with open(path, "wb") as file:
        if path.suffix == ".wav":
            file.write(data[:4] + struct.pack("<I", len(data) + EXTRA) + data[8:12] + b"JUNK")
            file.write(struct.pack("<I", EXTRA - 8))
            file.seek(EXTRA - 8, 1)
            file.write(data[12:])
        else:
            padding = (1 << 24) - 1  # the longest block
            file.write(data[:42])  # the marker and STREAMINFO, which is not the last block
            for _ in range(2):
                file.write(bytes([1]) + padding.to_bytes(3, "big"))
                file.seek(padding, 1)
            file.write(data[42:])
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_of_much_else_is_not_read_into_memory(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / f"x.{suffix}")
    expected = decode(recording(path), RATE).samples

    def whole(*_: object) -> None:
        raise AssertionError("read at once")

    monkeypatch.setattr(native, "read_wav", whole)
    monkeypatch.setattr(audio, "_read_flac", whole)
    with pytest.raises(AssertionError, match="read at once"):
        decode(recording(path), RATE, file=open_audio(recording(path)))
    with_picture(path)
    taken = decode(recording(path), RATE, file=open_audio(recording(path)))
    np.testing.assert_array_equal(taken.samples, expected)


def w64(sub_format: int, samples: np.ndarray) -> bytes:
    """Mono at RATE, of the extensible format, as ffmpeg writes it."""
    guid = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # behind each chunk's name
    of_sub_format = bytes.fromhex("000000001000800000aa00389b71")
    size, bits = samples.itemsize, 8 * samples.itemsize
    fmt = struct.pack("<HHIIHHHHIH", 0xFFFE, 1, RATE, RATE * size, size, bits, 22, bits, 4, sub_format) + of_sub_format
    body = b"wave" + guid + b"fmt " + guid + struct.pack("<Q", 24 + len(fmt)) + fmt
    body += W64_DATA + struct.pack("<Q", 24 + samples.nbytes) + samples.tobytes()
    return W64_RIFF + struct.pack("<Q", 24 + len(body)) + body


def test_a_w64_of_floats_is_not_taken_for_whole_numbers(tmp_path: Path) -> None:
    """libsndfile does not look at its sub-format, and floats read as int32 are loud noise."""
    whole = (sound("hum", 0) * 32767).astype("<i2")
    (tmp_path / "whole.w64").write_bytes(w64(1, whole))
    np.testing.assert_array_equal(decode(recording(tmp_path / "whole.w64"), RATE).samples, whole)
    for sub_format, samples in ((3, whole.astype("<f4") / 32768), (7, whole.astype("u1"))):
        (tmp_path / "other.w64").write_bytes(w64(sub_format, samples))
        with pytest.raises(
            Rejected, match=r"its samples are no PCM, for which W64 is taken\. Encode it as WAV"
        ) as caught:
            decode(recording(tmp_path / "other.w64"), RATE)
        assert caught.value.code == Code.UNREADABLE
