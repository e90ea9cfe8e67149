"""A recording too long for memory, decoded in pieces: the samples are exactly those that `audio.decode` gives.

A piece has a fixed size, so nothing depends on the memory at hand; soxr's stream gives the bits of soxr on the whole.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import soxr

from clinaug_fast.corpus.audio import AudioFile, as_float, finite_level, mixed, mono_power, open_audio
from clinaug_fast.corpus.frames import read_frames
from clinaug_fast.corpus.recordings import Recording

PIECE_VALUES = 1 << 22  # samples of all channels, in the file or resampled: 16 MiB of float32
COPIES = 5  # of a piece, at most, that live at once: read, mixed, resampled, joined, scaled


def values_per_sample(channels: int, file_rate: int, sample_rate: int, clip_values: float) -> int:
    """Values that a sample (of all channels) of a file stands for, at its widest: read, resampled or as log-mels.

    clip_values: of the log-mels made of one sample at `sample_rate`; many where clips overlap.
    """
    return max(channels, math.ceil(sample_rate / file_rate * max(1.0, clip_values)))


def fits_a_piece(n_values: int) -> bool:
    return n_values <= PIECE_VALUES


def working_bytes(n_values: int) -> int:
    """Memory to hold while a recording of so many values is worked on."""
    return 4 * COPIES * min(n_values, PIECE_VALUES)


def open_long(recording: Recording, sample_rate: int, clip_values: float) -> "LongRecording":
    """Raises Rejected; see `values_per_sample` for `clip_values`."""
    return LongRecording(open_audio(recording), sample_rate, clip_values)


class LongRecording:
    """An open audio file, or a segment of it."""

    def __init__(self, file: AudioFile, sample_rate: int, clip_values: float):
        self.file, self._sound, self._sample_rate = file, file.sound, sample_rate
        self.rate, self.channels = file.sound.samplerate, file.sound.channels
        self.n_samples = file.stop - file.start  # a channel
        self.level: Any = None  # of the pieces so far
        self._mono_sum = 0.0  # of squares
        self._width = values_per_sample(self.channels, self.rate, sample_rate, clip_values)

    @property
    def is_long(self) -> bool:
        return not fits_a_piece(self.n_samples * self._width)

    @property
    def mono_power(self) -> float:
        """Mean square of the channels' mean, once all pieces were taken."""
        return self._mono_sum / max(1, self.n_samples)

    @property
    def working_bytes(self) -> int:
        return working_bytes(self.n_samples * self._width)

    def pieces(self, seconds: Any) -> Iterator[np.ndarray]:
        """(T,) mono samples at the contract's rate, piece by piece; `seconds` (clips.Seconds) learns the time taken."""
        size = PIECE_VALUES // self._width
        stream = None
        if self.rate != self._sample_rate:
            stream = soxr.ResampleStream(self.rate, self._sample_rate, 1, dtype="float32", quality="HQ")
        done = 0
        while done < self.n_samples:
            begun = time.perf_counter()
            start = self.file.start + done
            samples = read_frames(self._sound, start, min(start + size, self.file.stop), there=done > 0)
            done += len(samples)
            level = finite_level(samples, self._sound.subtype)
            self.level = level if self.level is None else self.level + level
            if samples.ndim == 2:
                samples = mixed(samples)
            self._mono_sum += mono_power(samples, self.channels, level) * len(samples)
            decoded = time.perf_counter()
            seconds.decode += decoded - begun
            if stream is not None:
                samples = stream.resample_chunk(as_float(samples), last=done == self.n_samples)
                seconds.resample += time.perf_counter() - decoded
            yield samples
