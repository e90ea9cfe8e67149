"""Frames of MPEG audio by the letter of the standard, ISO 11172-3 and 13818-3, byte by byte."""

import errno
import io
import struct
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.corpus import mpeg
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.verdicts import Rejected, Unopened
from test_mpeg import BIT_RATES, DELAY, counted, encoded, recording, untold
from test_read_faults import Failing, failing, reads_as_before  # noqa: F401

FRAME = b"\xff\xfb\x94\xc4".ljust(384, b"\0")  # MPEG 1, layer III, 128 kilobits at 48 kHz
OTHER = b"\xff\xfb\x90\xc4".ljust(417, b"\0")  # at 44.1 kHz
HOLE = bytes(3000)
BYTES = {  # of frames at 32 and 16 kHz, by version and layer: 12, 144 or 72 a kilobit and kilohertz
    (3, 1): (48, 96, 144, 192, 240, 288, 336, 384, 432, 480, 528, 576, 624, 672),
    (3, 2): (144, 216, 252, 288, 360, 432, 504, 576, 720, 864, 1008, 1152, 1440, 1728),
    (3, 3): (144, 180, 216, 252, 288, 360, 432, 504, 576, 720, 864, 1008, 1152, 1440),
    (2, 1): (96, 144, 168, 192, 240, 288, 336, 384, 432, 480, 528, 576, 672, 768),
    (2, 2): (72, 144, 216, 288, 360, 432, 504, 576, 720, 864, 1008, 1152, 1296, 1440),
    (2, 3): (36, 72, 108, 144, 180, 216, 252, 288, 360, 432, 504, 576, 648, 720),
}
BYTES |= {(0, layer): tuple(2 * n for n in BYTES[2, layer]) for layer in (1, 2, 3)}  # MPEG 2.5, at 8 kHz
SAMPLES = {1: (384, 384), 2: (1152, 1152), 3: (576, 1152)}  # of MPEG 1, the latter


@pytest.mark.parametrize("kind", sorted(BYTES))
@pytest.mark.parametrize("is_checked", [False, True])
@pytest.mark.parametrize("is_private", [False, True])
def test_a_frame_of_every_bit_rate_has_the_standards_size(kind: tuple[int, int], is_checked: bool, is_private: bool):
    version, layer = kind
    for place, n_bytes in enumerate(BYTES[kind], start=1):
        second = 0xE0 | version << 3 | (4 - layer) << 1 | (not is_checked)
        data = 3 * bytes([0xFF, second, place << 4 | 2 << 2 | is_private, 0xC0]).ljust(n_bytes, b"\0")
        stream = counted(data)
        assert (stream.layer, stream.n_frames, stream.stop, stream.lost) == (layer, 3, len(data), None)
        assert stream.frame_samples == SAMPLES[layer][version == 3]
        assert counted(b"\0" + data).begin == 1  # where it is looked for


def test_bytes_that_no_frame_begins_with_are_none():
    """Without all bits of the sync word, of the version, layer and rate that are reserved."""
    for header in (b"\xff\x9b\x94\xc4", b"\xff\xdb\x94\xc4", b"\xff\xeb\x94\xc4", b"\xff\xf9\x94\xc4"):
        assert counted(4 * header.ljust(384, b"\0")) is None
    assert counted(4 * b"\xff\xfb\x9c\xc4".ljust(384, b"\0")) is None


def test_a_rate_is_free_where_frames_tell_none_and_what_is_too_short_is_no_frame():
    def free(data: bytes) -> bool:
        return mpeg.has_free_rate(io.BytesIO(data), 0)

    assert free(b"\xff\xfb\x04\xc4")
    assert free(b"ID3\4\0\0\0\0\0\1.\xff\xfb\x04\xc4")
    assert not any(map(free, (FRAME, b"\xff\xfb\x0c\xc4", b"\xff\xfb", b"")))
    assert counted(b"\xff\xfb") is None


def test_frames_behind_the_end_of_what_is_counted_are_none_of_its():
    """Of a chunk in a WAV file, say: its last frame stands alone behind a hole."""
    data = 10 * FRAME + HOLE + 3 * FRAME
    for n, n_frames in ((0, 10), (1, 10), (2, 12), (3, 13)):
        stream = mpeg.count(io.BytesIO(data), 0, 10 * len(FRAME) + len(HOLE) + n * len(FRAME))
        assert (stream.n_frames, stream.lost is None) == (n_frames, n < 2)


def test_a_file_of_one_frame_is_a_stream():
    assert (counted(FRAME).n_frames, counted(FRAME).lost) == (1, None)


def test_frames_behind_a_hole_are_found_wherever_they_begin():
    """The last two of a stream, across what is looked at at once."""
    for n in (1, 3000, *range(mpeg.LOOKED_AT - 4, mpeg.LOOKED_AT + 3)):
        stream = counted(10 * FRAME + bytes(n) + 2 * FRAME)
        assert (stream.n_frames, stream.lost) == (12, f"from byte 3840 to {3840 + n} it holds no frames")


def test_two_frames_that_chance_has_made_begin_no_stream():
    stream = counted(b"\0" + 2 * OTHER + 10 * FRAME)
    assert (stream.begin, stream.n_frames) == (1 + 2 * 417, 10)


def test_frames_of_another_kind_are_told_by_the_byte_that_they_begin_at():
    for between in (b"", HOLE):
        at = 10 * len(FRAME) + len(between)
        assert counted(10 * FRAME + between + 10 * OTHER).lost.startswith(f"at byte {at} frames of another kind begin")


@pytest.mark.parametrize("at", [4 + 9, 4 + 17, 4 + 32, 4 + 2 + 9, 4 + 2 + 17, 4 + 2 + 32])
@pytest.mark.parametrize("name", [b"Xing", b"Info"])
def test_a_header_is_found_behind_any_side_information(at: int, name: bytes):
    tag = FRAME[:at] + name + struct.pack(">II", 0xF, 10)
    stream = counted(tag.ljust(384, b"\0") + 10 * FRAME)
    assert (stream.begin, stream.told, stream.n_frames, stream.lost) == (384, 10, 10, None)


def test_a_header_that_tells_bytes_alone_tells_no_frames():
    tag = FRAME[:36] + b"Xing" + struct.pack(">II", 2, 11 * 384)
    stream = counted(tag.ljust(384, b"\0") + 10 * FRAME)
    assert (stream.begin, stream.told, stream.n_frames, stream.lost) == (384, None, 10, None)


def test_a_frame_too_small_for_a_header_is_sound():
    """Of layer I, 32 kilobits at 32 kHz: 48 bytes, of which its last ten read like the begin of one."""
    frame = b"\xff\xff\x18\xc0".ljust(38, b"\0") + b"Info\0\0\0\1\0\0"
    assert (counted(5 * frame).n_frames, counted(5 * frame).told) == (5, None)


def test_tags_are_passed_over_however_large_they_are():
    """By their size alone: one holds what reads like frames, another stands behind one with a footer."""
    size, body = bytes([0, 5, 0, 0]), 5 * (1 << 14)  # seven bits a byte: 81920 bytes
    tag = b"ID3\x04\0\0" + size + (body // 417 * OTHER).ljust(body, b"\0")
    footed = b"ID3\x04\0\x10" + size + bytes(body) + b"3DI\x04\0\x10" + size
    for before in (tag, footed + tag, tag + footed, footed + footed):
        stream = counted(before + 10 * FRAME)
        assert (stream.begin, stream.n_frames, stream.lost) == (len(before), 10, None)
        stream = counted(10 * FRAME + before + FRAME)
        assert (stream.n_frames, stream.lost) == (11, None)


@pytest.mark.parametrize("bit_rate", BIT_RATES)
@pytest.mark.parametrize("size", [0, 100])
def test_a_tag_behind_the_frame_that_tells_the_length_hides_no_sound(bit_rate: str, size: int, tmp_path: Path):
    """libsndfile takes no header from a frame that no other follows, and guesses."""
    data = encoded(bit_rate=bit_rate)
    begin = counted(data).begin
    tag = b"ID3\x04\0\0" + bytes([0, 0, 0, size]) + bytes(size)
    found = decode(recording(tmp_path / "x.mp3", data[:begin] + tag + data[begin:]), 44100).samples
    np.testing.assert_array_equal(found, decode(recording(tmp_path / "y.mp3", data[begin:]), 44100).samples)


@pytest.mark.parametrize("bit_rate", BIT_RATES)
def test_what_a_frame_before_a_tag_tells_counts_for_nothing(bit_rate: str, tmp_path: Path):
    data, tag = encoded(bit_rate=bit_rate), b"ID3\x04\0\0\0\0\0\x64" + bytes(100)
    begin = counted(data).begin
    teller, whole = data[:begin], decode(recording(tmp_path / "whole.mp3", data), 44100).samples
    for before in (teller + tag, 3 * (teller + tag), tag + teller + 2 * tag):
        found = decode(recording(tmp_path / "again.mp3", before + data), 44100).samples
        np.testing.assert_array_equal(found, whole)
        with pytest.raises(Rejected, match=r"its last frame, at byte \d+, is not whole"):
            decode(recording(tmp_path / "cut.mp3", before + data[begin:-50]), 44100)


@pytest.mark.parametrize("rate", [22050, 24000])
@pytest.mark.parametrize("channels", [1, 2])
def test_small_frames_have_no_room_for_a_header_and_are_read_whole(tmp_path: Path, rate: int, channels: int):
    """Of 8 kilobits: 26 and 24 bytes, of which a header takes up to 33."""
    data = untold(encoded(rate, channels))
    assert len(decode(recording(tmp_path / "x.mp3", data), rate).samples) == counted(data).n_samples - DELAY
    with mpeg.Told(tmp_path / "x.mp3", counted(data)) as told:
        head = told.read(4)
        assert head[1] & 1  # without a checksum, as there is none
        assert counted(told.seek(0) or told.readall()).begin >= mpeg.TAG_BYTES


def test_a_told_file_that_is_closed_leaves_none_open(tmp_path: Path):
    (tmp_path / "x.mp3").write_bytes(10 * FRAME)
    with mpeg.Told(tmp_path / "x.mp3", counted(10 * FRAME)) as told:
        file = told._file
    assert file.closed


def test_a_read_that_fails_leaves_no_other_sound_of_a_file_that_tells_no_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mp3 = recording(tmp_path / "x.mp3", untold(encoded(seconds=1.0)))
    whole = decode(mp3, 44100).samples
    failing(monkeypatch, 0, 0)
    decode(mp3, 44100)
    reads = Failing.number
    assert reads > 2
    for number in (1, 2, reads // 2, reads):
        failing(monkeypatch, number, number, errno.EIO)
        with pytest.raises(Unopened, match="Input/output error"):
            decode(mp3, 44100)
    failing(monkeypatch, 0, 0)
    np.testing.assert_array_equal(decode(mp3, 44100).samples, whole)
