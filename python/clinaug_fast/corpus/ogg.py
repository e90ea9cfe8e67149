"""Why an OGG file, Vorbis or Opus, would lose sound: page by page, since libsndfile leaves damaged pages out, and reads
no further than the first of streams that were joined, without a word."""

import struct
import zlib
from typing import BinaryIO

PAGE = b"OggS\0"  # how one begins: its version is zero
# Flags, where its sound ends, stream, number, checksum and how many lengths follow.
HEADER = struct.Struct("<5xBqIIIB")
FIRST = 2  # flag of a stream's first page
LARGEST = HEADER.size + 255 + 255 * 255  # bytes of a page
LOOKED_AT = 1 << 16  # bytes
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def lost(file: BinaryIO, n_bytes: int) -> str | None:
    """Why a file of `n_bytes` that begins with a page is not whole; None where nothing says so.

    A file cut between two pages is taken as it is, since not every recorder marks the last one. What follows a whole
    page and begins none, tags say, does no harm.
    """
    begin, has_sound, numbers = 0, False, dict[int, int]()
    while begin is not None and begin < n_bytes:
        file.seek(begin)
        header = file.read(HEADER.size)
        if not header.startswith(PAGE[: len(header)]):
            begin = _next_page(file, begin)
            continue
        cut = f"its last page, at byte {begin}, is not whole"
        if len(header) < HEADER.size:
            return cut
        flags, ends_at, stream, number, checksum, n_lengths = HEADER.unpack(header)
        lengths = file.read(n_lengths)
        size = HEADER.size + n_lengths + sum(lengths)
        if len(lengths) < n_lengths or begin + size > n_bytes:
            return cut
        if _checksum(header[:22] + bytes(4) + header[26:] + lengths + file.read(sum(lengths))) != checksum:
            return f"its page at byte {begin} is not whole: its checksum is wrong"
        if flags & FIRST and has_sound:
            mend = "Encode it anew: ffmpeg -i OLD NEW.flac"
            return f"at byte {begin} another stream begins, and only the first would be read. {mend}"
        # Streams that are recorded from a broadcast have gaps between their headers and their sound.
        if has_sound and number != numbers.get(stream, number - 1) + 1:
            return f"before its page at byte {begin} others are missing: it has the number {number}"
        numbers[stream] = number
        has_sound = has_sound or ends_at > 0
        begin += size
    return None


def samples_of_last_page(file: BinaryIO, n_bytes: int) -> int | None:
    """How many samples the last page of a Vorbis file adds; None where what is near the end does not tell."""
    file.seek(max(0, n_bytes - 3 * LARGEST))
    tail = file.read()
    ends, streams = list[int](), set[int]()
    begin = tail.find(PAGE)
    while begin >= 0:
        header = tail[begin : begin + HEADER.size]
        if len(header) == HEADER.size:
            _, ends_at, stream, _, checksum, n_lengths = HEADER.unpack(header)
            sound = begin + HEADER.size + n_lengths
            page = tail[begin : sound + sum(tail[begin + HEADER.size : sound])]
            if _checksum(page[:22] + bytes(4) + page[26:]) == checksum:  # or its name stands in the sound of another
                streams.add(stream)
                if ends_at >= 0 and ends[-1:] != [ends_at]:  # sound ends on it
                    ends.append(ends_at)
        begin = tail.find(PAGE, begin + 1)
    return ends[-1] - ends[-2] if len(ends) > 1 and len(streams) == 1 else None


def _next_page(file: BinaryIO, begin: int) -> int | None:
    """The place of the next page behind `begin`, or of what may be the begin of one that was cut; None for none."""
    while True:
        file.seek(begin + 1)
        behind = file.read(LOOKED_AT)
        if (at := behind.find(PAGE)) >= 0:
            return begin + 1 + at
        if len(behind) < LOOKED_AT:
            return None
        begin += len(behind) - len(PAGE)


def _checksum(page: bytes) -> int:
    """CRC-32 of the polynomial that zlib has too, with the bits of each byte in the other order, begun with zero."""
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(MIRRORED), "big")
