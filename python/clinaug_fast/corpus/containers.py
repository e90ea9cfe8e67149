"""Whether a file was cut: what its container declares against the bytes that it holds.

libsndfile takes what is there of a cut WAV, AIFF, AU, CAF, W64 or OGG file without a word; of FLAC it tells. MPEG audio
is counted when it is open (`mpeg`).
"""

import math
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from clinaug_fast.corpus import ogg

# Sizes of samples that ffmpeg, others and sox leave in WAV, and sox in AIFF (as many whole frames as 0x7F000000 bytes
# hold, and 8), when they write to a pipe.
OPEN_SIZES = frozenset((0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, *range(0x7F000000 - 255, 0x7F000000 + 9)))
OPEN_FROM = 1 << 62  # of W64; ffmpeg leaves 2^63 less the header
FEW_BYTES = 1024  # behind the samples: a size that is wrong by a header's length, or what nobody knows
LOOKED_AT = 1 << 16  # bytes
W64_RIFF = bytes.fromhex("72696666 2e91cf11 a5d628db04c10000")
W64_DATA = bytes.fromhex("64617461 f3acd311 8cd100c04f8edb8a")
TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # how those begin that some programs put behind everything
LAST_CHUNKS = (b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"JUNK")  # known, though one may be cut itself
MOST_CHUNKS = 10_000  # looked at: a file of nothing but empty ones is no recording


@dataclass(frozen=True)
class Chunks:
    """Of a container: its chunks are a name, a size and so many bytes, one after the other."""

    begin: int  # of the first, in bytes
    header: struct.Struct  # of a chunk: (name, size)
    samples: bytes  # the name of the chunk that holds them
    alignment: int  # of the chunks
    counts_header: bool = False  # in its size

    def padded(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment


WAV = Chunks(12, struct.Struct("<4sI"), b"data", 2)
BIG_ENDIAN_WAV = Chunks(12, struct.Struct(">4sI"), b"data", 2)
AIFF = Chunks(12, struct.Struct(">4sI"), b"SSND", 2)
CAF = Chunks(8, struct.Struct(">4sq"), b"data", 1)
AU = Chunks(0, struct.Struct(">4sI"), b"", 1)  # it has none
W64 = Chunks(40, struct.Struct("<16sQ"), W64_DATA, 8, counts_header=True)


def cut(file: BinaryIO, n_bytes: int) -> str | None:
    """Why a file of `n_bytes`, open at its begin, must have been cut; None where nothing says so.

    A file whose header leaves the size open, as after a pipe, is taken as it is.
    """
    head = file.read(16)
    if head[:4] == b"OggS":
        return ogg.lost(file, n_bytes)
    if head[:4] in (b".snd", b"dns."):
        chunks = AU
        begin, declared = struct.unpack(">II" if head[:1] == b"." else "<II", head[4:12].ljust(8, b"\0"))
        held = n_bytes - begin
        file.seek(begin)
    elif chunks := _chunks_of(head):
        declared, held = _sample_bytes(file, n_bytes, chunks)
    elif head[:7] == b"NIST_1A":
        declared, held = _nist_bytes(head + file.read(LOOKED_AT), n_bytes)
        return f"the header declares {declared} bytes of samples, the file holds {held}" if declared > held else None
    else:
        return None
    if more := _undeclared(file, declared, held, chunks):
        mend = "Write it anew, WAV by sox --ignore-length OLD.wav NEW.flac"
        return (
            f"the header declares {declared} bytes of samples, {more} more follow them: it was never finished, or "
            f"the recording is too long for it, or they are something else. {mend}"
        )
    if _is_open(declared) or declared <= held:
        return None
    return f"the header declares {declared} bytes of samples, the file holds {max(held, 0)}"


def _nist_bytes(head: bytes, n_bytes: int) -> tuple[int, int]:
    """(declared, held); (0, 0) where the header of a SPHERE file tells no numbers."""
    size = head[8:16].strip()
    if not size.isdigit():
        return 0, 0
    head = head[: int(size)]
    fields = dict(re.findall(rb"(?m)^(\w+) -(?:i|s[0-9]+) ([0-9]{1,15})\s", head))
    if re.search(rb"-s[0-9]+ [au]law\b", head):
        fields.setdefault(b"sample_n_bytes", b"1")
    sizes = [fields.get(name) for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if None in sizes or b"shorten" in head:  # which is packed, and nothing reads
        return 0, 0
    return math.prod(map(int, sizes)), max(0, n_bytes - int(size))


def place_of_samples(file: BinaryIO, n_bytes: int) -> tuple[int, int]:
    """The bytes [begin, stop) of the samples in a file of chunks; (0, 0) where none are found."""
    file.seek(0)
    if (chunks := _chunks_of(file.read(16))) is None:
        return 0, 0
    declared, held = _sample_bytes(file, n_bytes, chunks)
    begin = n_bytes - held
    return begin, begin + min(declared, held)


def _chunks_of(head: bytes) -> Chunks | None:
    match head[:4], head[8:12]:
        case (b"RIFF" | b"RF64" | b"BW64", b"WAVE"):
            return WAV
        case (b"RIFX", b"WAVE"):
            return BIG_ENDIAN_WAV
        case (b"FORM", b"AIFF" | b"AIFC"):
            return AIFF
        case (b"caff", _):
            return CAF
    return W64 if head == W64_RIFF else None


def _sample_bytes(file: BinaryIO, n_bytes: int, chunks: Chunks) -> tuple[int, int]:
    """(declared, held); (0, 0) where no chunk of samples is found."""
    large = None  # RF64 keeps the size of a large chunk in an earlier one
    for name, size in islice(_walk(file, n_bytes, chunks), MOST_CHUNKS):
        if name == b"ds64":
            large = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
        elif name == chunks.samples:
            return large if large is not None and size == 0xFFFFFFFF else size, n_bytes - file.tell()
    return 0, 0


def _undeclared(file: BinaryIO, declared: int, held: int, chunks: Chunks) -> int:
    """How many bytes that are no chunk and no tag follow the declared samples, at which `file` stands; 0 where they are
    few.

    A recorder that was switched off leaves a header that declares no samples; one that wrote 4 GiB and more, only what
    was over. Zeros behind samples are room that was reserved, or ones, as flash memory has them.
    """
    more = held - declared
    if _is_open(declared) or more < chunks.header.size or more <= min(declared, FEW_BYTES):
        return 0
    if more >= 1 << 32 and chunks.header.size == 8:  # whatever it is, no 32 bits could tell that it is there
        return more
    file.seek(declared, os.SEEK_CUR)
    behind = file.read(LOOKED_AT)
    if any(_begins_a_chunk(behind[at:], more, chunks) for at in {0, chunks.padded(declared) - declared}):
        return 0
    file.seek(max(0, more - LOOKED_AT - len(behind)), os.SEEK_CUR)
    is_room = declared and any(set(behind + file.read(LOOKED_AT)) == {erased} for erased in (0x00, 0xFF))
    return 0 if is_room else more


def _begins_a_chunk(behind: bytes, left: int, chunks: Chunks) -> bool:
    """Or a tag, or nothing; `left`: bytes that a chunk may take. One sound in fifty has letters for a name."""
    if not behind or behind.startswith(TAGS):
        return True
    if len(behind) < chunks.header.size or not chunks.samples:
        return False
    name, size = chunks.header.unpack_from(behind)
    if name in LAST_CHUNKS:
        return True
    return name[:4].isascii() and name[:4].decode().isprintable() and size <= left


def _is_open(declared: int) -> bool:
    return declared in OPEN_SIZES or declared >= OPEN_FROM


def _walk(file: BinaryIO, n_bytes: int, chunks: Chunks) -> Iterator[tuple[bytes, int]]:
    """(name, size) of each chunk, `file` standing behind its header."""
    begin = chunks.begin
    while begin + chunks.header.size <= n_bytes:
        file.seek(begin)
        header = file.read(chunks.header.size)
        if len(header) < chunks.header.size:  # it has shrunk since its size was asked for
            return
        name, size = chunks.header.unpack(header)
        if chunks.counts_header:
            size -= chunks.header.size
        if size < 0:
            return
        yield name, size
        begin += chunks.header.size + chunks.padded(size)
