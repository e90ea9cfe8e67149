"""Windows to log-mels by way of a device that works on one buffer while the other is filled.

Takes windows of any recordings, one after another; hands their log-mels on in the same order. What a buffer is on its
device is said by a `Lane`: `preprocess.cuda` has the one of a GPU.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

LANES = 2  # one that is filled and one that is worked on
LANE_BYTES = 8 << 20  # of windows, and at most as much again of log-mels


class Lane(Protocol):
    """A buffer in host memory with its counterpart on a device."""

    def windows(self, dtype: np.dtype) -> np.ndarray:
        """(capacity, length) int16 or float32: the host memory, to be filled from the first row on."""

    def start(self, n: int, dtype: np.dtype) -> None:
        """Begin the log-mels of the first n windows, and wait for nothing."""

    def finish(self) -> np.ndarray:
        """Wait for them: (n, n_mels, n_frames) float32, which hold until the next `start`."""


def lane_capacity(length: int, clip_shape: tuple[int, int]) -> int:
    """Windows that a lane holds."""
    return max(1, LANE_BYTES // (4 * max(length, clip_shape[0] * clip_shape[1])))


class DoubleBuffer:
    """Some lanes in turn, used by one thread."""

    def __init__(self, lanes: Sequence[Lane], emit: Callable[[np.ndarray], None]):
        """emit: takes the (n, n_mels, n_frames) log-mels, in the order of the windows; may keep them."""
        self._emit = emit
        self._idle, self._busy = deque(lanes), deque[Lane]()
        self._filled = 0  # windows in the lane that is being filled, the first of the idle
        self._dtype = np.dtype(np.int16)

    def push(self, windows: np.ndarray) -> None:
        """(n, length) int16 or float32, any strides; copied before this returns."""
        if windows.dtype != self._dtype:
            self._send()
            self._dtype = windows.dtype
        while len(windows):
            if not self._idle:
                self._collect()
            room = self._idle[0].windows(self._dtype)[self._filled :]
            n = min(len(room), len(windows))
            room[:n] = windows[:n]
            self._filled += n
            windows = windows[n:]
            if n == len(room):
                self._send()

    def flush(self) -> None:
        """Emit all that was pushed."""
        self._send()
        while self._busy:
            self._collect()

    def drop(self) -> None:
        """Forget what was pushed and not emitted: the run has failed."""
        self._filled = 0
        while self._busy:
            lane = self._busy.popleft()
            self._idle.append(lane)
            lane.finish()

    def _send(self) -> None:
        n, self._filled = self._filled, 0  # first: where the device fails, nothing is sent again
        if n:
            lane = self._idle.popleft()
            self._busy.append(lane)
            lane.start(n, self._dtype)

    def _collect(self) -> None:
        lane = self._busy.popleft()
        self._idle.append(lane)
        self._emit(lane.finish().copy())
