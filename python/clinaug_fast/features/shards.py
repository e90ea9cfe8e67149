"""A shard: a `.npy` file of clips, hashed while it grows.

Takes clips as they come, also back; leaves the bytes that numpy.save would write, and their digest.
"""

import hashlib
import io
import math
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import xxhash

from clinaug_fast import native
from clinaug_fast.runs import naming, regular

NPY_HEADER_BYTES = 128  # numpy leaves room in it for any number of rows
ON_THEIR_WAY_BYTES = 8 << 20  # clips that the system is asked to write at once
RESERVED_BYTES = 32 << 20  # of disk, ahead of the clips: a shard then lies in few pieces


def fingerprint_shard(path: Path) -> str:
    """Sixteen hex digits of XXH3 over a `.npy` file, its header last: so a shard is hashed while it grows.

    XXH3 finds damage, not malice, and costs a sixth of BLAKE2b, which took as long as the log-mels themselves.
    """
    with naming(path), open(regular(path), "rb") as file:
        header = file.read(NPY_HEADER_BYTES)
        digest: Any = hashlib.file_digest(file, xxhash.xxh3_64)
    digest.update(header)
    return digest.hexdigest()


class Shard:
    """A `.npy` file of clips that grows while it is written: its header has a fixed size and is corrected last."""

    def __init__(self, file: BinaryIO, clip_shape: tuple[int, int], expected: int, cached: float = math.inf):
        """expected: clips, a guess; to reserve less than what comes costs little, but to give back what was too much
        may wait for the disk.
        cached: bytes that the system's cache may keep of it; where it outgrows them, all leave as they reach the disk.
        """
        self._file = file
        self._clip_shape = clip_shape
        self._clip_bytes = 4 * clip_shape[0] * clip_shape[1]
        self.expected_bytes = NPY_HEADER_BYTES + expected * self._clip_bytes
        self._cached = cached
        self.rows = 0
        self._sent = 0  # bytes, from the front, that the system was asked to write
        self._reserved = 0  # bytes, from the front
        self._hash: Any = xxhash.xxh3_64()  # of the clips so far; None: some were taken back
        self._held = False
        with naming(file.name):
            file.write(bytes(NPY_HEADER_BYTES))

    def append(self, clips: np.ndarray) -> None:
        """(n, n_mels, n_frames) float32, C order."""
        self.rows += len(clips)
        with naming(self._file.name):
            self._reserve()
            self._file.write(clips.data)
            self._send(ON_THEIR_WAY_BYTES)
        if self._hash is not None:
            self._hash.update(clips.data)

    def _reserve(self) -> None:
        while self._reserved < self._end:
            left = self.expected_bytes - self._reserved
            ahead = min(left, RESERVED_BYTES) if left > 0 else RESERVED_BYTES
            native.reserve(self._file.fileno(), self._reserved, ahead)
            self._reserved += ahead

    @property
    def _end(self) -> int:
        return NPY_HEADER_BYTES + self.rows * self._clip_bytes

    def _send(self, at_least: int) -> None:
        """Have the system begin to write what has come since the last time: so nobody waits long for it at the end."""
        if self._end - self._sent >= at_least:
            self._file.flush()
            native.start_writing(self._file.fileno(), self._sent, self._end - self._sent)
            if self._sent > self._cached and not self._held and self._hash is not None:  # it will not be read again
                native.let_go(self._file.fileno(), NPY_HEADER_BYTES, self._sent - NPY_HEADER_BYTES)
            self._sent = self._end

    def hold(self) -> None:
        """Clips that come from now on may be taken back, by `keep`."""
        self._held = True

    def keep(self, first: int, numbers: np.ndarray) -> None:
        """Of the clips from row `first` on, leave only these (ascending) numbers, moved together; ends `hold`."""
        with naming(self._file.name):
            self._keep(first, numbers)

    def _keep(self, first: int, numbers: np.ndarray) -> None:
        self._held = False
        for to, number in enumerate(numbers.tolist()):
            if to != number:
                self._file.seek(NPY_HEADER_BYTES + (first + number) * self._clip_bytes)
                clip = self._file.read(self._clip_bytes)
                self._file.seek(NPY_HEADER_BYTES + (first + to) * self._clip_bytes)
                self._file.write(clip)
        if self.rows == first + len(numbers):
            return
        self._hash = None
        self.rows = first + len(numbers)
        self._sent = min(self._sent, NPY_HEADER_BYTES + first * self._clip_bytes)
        self._file.seek(self._end)
        self._give_back()

    def _give_back(self) -> None:
        """What was reserved behind the last clip."""
        if self._reserved > self._end:
            self._file.truncate(self._end)
            self._reserved = self._end

    def finish(self) -> str:
        """Write the header; returns the digest of the whole file, as `fingerprint_shard` gives it."""
        with naming(self._file.name):
            return self._finish()

    def _finish(self) -> str:
        header = io.BytesIO()
        shape = (self.rows, *self._clip_shape)
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
        if self._hash is None:
            self._file.seek(NPY_HEADER_BYTES)
            self._hash = hashlib.file_digest(self._file, xxhash.xxh3_64)
        self._hash.update(header.getbuffer())
        self._file.seek(0)
        self._file.write(header.getbuffer())
        self._give_back()
        self._send(1)
        return self._hash.hexdigest()
