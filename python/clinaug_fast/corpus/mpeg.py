"""How much sound MPEG audio holds, counted frame by frame.

libsndfile believes the Xing header of an MP3 file. Where there is none it guesses from the bit rate of the first frame,
which of a rate that varies is often half of the truth, and reads no further.
"""

import io
import os
import re
import struct
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import BinaryIO

from clinaug_fast.corpus.read_faults import WatchedFile

MPEG_1 = 3  # as a frame's header has it
RATES = {MPEG_1: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
KILOBITS = {  # a second, by layer: of MPEG 1, and of 2 and 2.5
    1: (tuple(range(32, 449, 32)), (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)),
    2: ((32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384), _LOW),
    3: ((32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320), _LOW),
}
ID3 = b"ID3"
ID3_HEADER = struct.Struct("3s2xB4s")  # flags and size
LOOKED_AT = 1 << 16  # bytes
TAG_BYTES = 64  # of a frame that has room for a Xing header behind its side information
TAG_AT = (4 + 9, 4 + 17, 4 + 32, 4 + 2 + 9, 4 + 2 + 17, 4 + 2 + 32)  # by version, channels and checksum
VBRI_AT = 4 + 32
# How a frame may begin, each byte with what no header has left out, so that erased memory, ones alone, holds none.
STARTS = re.compile(rb"(?s)(?=(\xff[\xe2-\xe7\xf2-\xff][\x10-\xef]))")


@dataclass(frozen=True)
class Stream:
    """Frames of one version, layer and rate."""

    begin: int  # byte of the first that holds sound
    stop: int  # behind the last
    header: bytes  # of one
    n_frames: int
    frame_samples: int  # a channel
    told: int | None  # how many frames, by the file's Xing header
    lost: str | None  # why they cannot be all

    @property
    def layer(self) -> int:
        return 4 - (self.header[1] >> 1 & 3)

    @property
    def n_samples(self) -> int:
        """A channel."""
        return self.n_frames * self.frame_samples


def has_free_rate(file: BinaryIO, begin: int) -> bool:
    """Whether frames begin, behind tags, that do not tell their size. All are of one, and libsndfile guesses right."""
    header = _at(file, _behind_tags(file, begin), 4)
    return len(header) > 2 and header[2] < 0x10 and _kind(header[:2] + bytes([header[2] | 0x10])) is not None


def count(file: BinaryIO, begin: int, stop: int) -> Stream | None:
    """The frames from one byte of a file to another, which may begin behind tags and up to LOOKED_AT bytes of something
    else; None where none with sound begins, and of free bit rates (`has_free_rate`)."""
    told_in_vain = True
    while told_in_vain:
        if (begin := _first_frame(file, _behind_tags(file, begin), stop)) is None:
            return None
        header = _at(file, begin, 4)
        frame_samples, sizes = _kind(header)
        first = _at(file, begin, sizes[header[:3]])
        is_tag, told = _tag(first)
        if is_tag:
            begin += len(first)
        told_in_vain = is_tag and _behind_tags(file, begin) != begin  # libsndfile looks for another behind the tags
    at, n_frames, lost = begin, 0, None
    file.seek(at)
    while at < stop:
        if size := sizes.get(file.read(3)):
            if at + size > stop:
                lost = lost or f"its last frame, at byte {at}, is not whole"
                break
            n_frames += 1
            at += size
            file.seek(at)
        else:
            behind = _behind_tags(file, at)
            if behind == at:
                behind = _next_frame(file, at, stop, sizes)
                if behind is None:
                    break
                lost = lost or f"from byte {at} to {behind} it holds no frames"
            at = behind
            file.seek(at)
    if not n_frames:
        return None
    mend = "Encode it anew: ffmpeg -i OLD NEW.flac"
    if told is not None:  # some count the frame that tells it
        lost = None
        if abs(n_frames - told) > 1:
            lost = f"its header tells {told} frames, the file holds {n_frames}"
            if n_frames > told:
                lost += f", of which the others would not be read. {mend}"
    other = _next_frame(file, at, stop) if lost is None else None  # what else follows the last one does no harm
    if other is not None:
        lost = f"at byte {other} frames of another kind begin, which would not be read. {mend}"
    return Stream(begin, at, header, n_frames, frame_samples, told, lost)


class Told(io.RawIOBase):
    """The frames of an MP3 file behind a Xing header that tells how many they are; to be read like a file."""

    def __init__(self, path: Path | str, stream: Stream):
        super().__init__()
        self._file, self._begin, self._header = WatchedFile(path), stream.begin, _xing_frame(stream)
        self._n_bytes = len(self._header) + stream.stop - stream.begin
        self._at = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._n_bytes}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        n_bytes = min(len(buffer), max(0, self._n_bytes - self._at))
        data = self._header[self._at : self._at + n_bytes]
        if len(data) < n_bytes:
            data += _at(self._file, self._begin + self._at + len(data) - len(self._header), n_bytes - len(data))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def refuse_failed_reads(self) -> None:
        self._file.refuse_failed_reads()

    def close(self) -> None:
        self._file.close()
        super().close()


def _kind(header: bytes) -> tuple[int, dict[bytes, int]] | None:
    """Of the stream that begins with this frame: samples of a frame, and its bytes by the first three of them."""
    if len(header) < 3 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    kind = _kind_of(header[1] & 0xFE, header[2] >> 2 & 3)
    return kind if kind and header[:3] in kind[1] else None


@cache
def _kind_of(second: int, number: int) -> tuple[int, dict[bytes, int]] | None:
    """By a header's second byte, and the number of its rate."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    if version not in RATES or layer not in KILOBITS or number == 3:
        return None
    rate = RATES[version][number]
    frame_samples = 384 if layer == 1 else 576 if layer == 3 and version != MPEG_1 else 1152
    slot = 4 if layer == 1 else 1  # bytes; a frame is padded by one
    sizes = {}
    for place, kilobits in enumerate(KILOBITS[layer][version != MPEG_1], start=1):
        slots = frame_samples // 8 // slot * 1000 * kilobits // rate
        for padded, private, unchecked in product((0, 1), repeat=3):
            start = (0xFF, second | unchecked, place << 4 | number << 2 | padded << 1 | private)
            sizes[bytes(start)] = slot * (slots + padded)
    return frame_samples, sizes


def _tag(frame: bytes) -> tuple[bool, int | None]:
    """Whether a frame holds no sound but a header of Xing or Fraunhofer, and how many frames it tells libsndfile, which
    takes no notice of the latter."""
    for at in TAG_AT:
        if frame[at : at + 4] in (b"Xing", b"Info") and len(frame) >= at + 12:
            flags, n_frames = struct.unpack_from(">II", frame, at + 4)
            return True, n_frames if flags & 1 and n_frames else None
    return frame[VBRI_AT : VBRI_AT + 4] == b"VBRI", None


def _xing_frame(stream: Stream) -> bytes:
    _, sizes = _kind(stream.header) or (0, {})
    unchecked = {start: size for start, size in sizes.items() if start[1] & 1 and size >= TAG_BYTES}
    start = min(unchecked, key=lambda start: unchecked[start])
    is_mono = stream.header[3] >> 6 == 3
    side_bytes = (17 if is_mono else 32) if stream.header[1] >> 3 & 3 == MPEG_1 else (9 if is_mono else 17)
    frame = start + stream.header[3:4] + bytes(side_bytes) + b"Xing" + struct.pack(">II", 1, stream.n_frames)
    return frame.ljust(unchecked[start], b"\0")


def _behind_tags(file: BinaryIO, at: int) -> int:
    """Behind the ID3v2 tags that begin at a byte, which may hold pictures."""
    while len(head := _at(file, at, ID3_HEADER.size)) == ID3_HEADER.size and head.startswith(ID3):
        _, flags, size = ID3_HEADER.unpack(head)
        has_footer = flags & 0x10
        at += ID3_HEADER.size * (2 if has_footer else 1) + sum(byte << 7 * i for i, byte in enumerate(size[::-1]))
    return at


def _first_frame(file: BinaryIO, at: int, stop: int) -> int | None:
    header = _at(file, at, 4)
    if (kind := _kind(header)) is not None:
        behind = at + kind[1][header[:3]]
        if behind >= stop or _at(file, behind, 3) in kind[1] or _behind_tags(file, behind) > behind:
            return at
    elif has_free_rate(file, at):
        return None
    return _next_frame(file, at + 1, min(stop, at + LOOKED_AT))


def _next_frame(file: BinaryIO, at: int, stop: int, sizes: dict[bytes, int] | None = None) -> int | None:
    """Where from a byte on a frame begins that another of its kind follows; without `sizes` one of any kind that two
    follow, since there are many."""
    n_following = 1 if sizes else 2
    while at < stop:
        behind = _at(file, at, LOOKED_AT)
        for found in STARTS.finditer(behind):
            kind = sizes or (_kind(found[1]) or (0, {}))[1]
            if found[1] in kind and _has_followers(file, at + found.start(), stop, kind, n_following):
                return at + found.start()
        if len(behind) < LOOKED_AT:
            return None
        at += len(behind) - 2
    return None


def _has_followers(file: BinaryIO, at: int, stop: int, sizes: dict[bytes, int], n: int) -> bool:
    for _ in range(n):
        at += sizes[_at(file, at, 3)]
        if at >= stop or _at(file, at, 3) not in sizes:
            return False
    return True


def _at(file: BinaryIO | io.RawIOBase, begin: int, n_bytes: int) -> bytes:
    file.seek(begin)
    return file.read(n_bytes)
