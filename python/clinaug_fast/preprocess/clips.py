"""Recordings to clips: decode, cut into windows of one length, leave the quiet ones out, log-mel.

Takes a batch of recordings; leaves a verdict on each, in order, and hands the clips on as they come, so that a
recording of any length needs little memory. Plain WAV files of the contract's rate go through one native call.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, MelConfig
from clinaug_fast.corpus.audio import (
    WAV_SUFFIXES,
    AudioFile,
    decode,
    named_wav,
    refuse_too_long,
    refuse_too_short,
    wav_rate,
)
from clinaug_fast.corpus.long_recording import LongRecording, fits_a_piece, open_long, values_per_sample, working_bytes
from clinaug_fast.corpus.read_faults import decoded_for_sure
from clinaug_fast.corpus.recordings import Recording, named, recordings_of
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.preprocess.double_buffer import DoubleBuffer
from clinaug_fast.preprocess.memory import Budget

WAV_BYTES = native.LARGE_WAV_BYTES  # larger WAV files are decoded under the memory budget
WAV_CLIP_BYTES = 8 << 20  # so are those of more log-mels, of clips that overlap
MEL_BYTES = 8 << 20  # of log-mels made at once

Segment = tuple[float | None, float | None]  # start and end in seconds; None: the file's own


@dataclass(frozen=True)
class ClipSettings:
    """What the clips of a recording follow from."""

    mel: MelConfig
    clip: ClipConfig
    max_seconds: float

    @property
    def length(self) -> int:
        """Samples of a window."""
        return self.mel.n_samples(self.clip.n_frames)

    @property
    def stride(self) -> int:
        """Samples between the starts of windows."""
        return self.clip.stride_frames * self.mel.hop_length

    def unused_s(self, measured: np.ndarray) -> float:
        """Seconds of kept recordings (of native.MEASURED) that lie in no window."""
        steps = np.maximum(measured["windows"] - 1, 0) * min(self.stride, self.length)
        used = (steps + self.length) / self.mel.sample_rate
        return float(np.sum(np.maximum(measured["samples"] / measured["rate"] - used, 0.0)))

    @property
    def clip_shape(self) -> tuple[int, int]:
        return self.mel.n_mels, self.clip.n_frames


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that was used."""

    numbers: np.ndarray  # (n,) int64: its windows' places in the recording; quiet ones are left out
    n_windows: int  # with the quiet ones
    rate: int  # Hz, the file's
    channels: int
    n_samples: int  # a channel, at the file's rate
    level: native.Level
    mono_power: float

    @property
    def measured(self) -> tuple[float, ...]:
        """The fields of native.MEASURED."""
        _, peak, clipped, square_sum, silent = self.level
        sizes = (len(self.numbers), self.n_windows, self.rate, self.channels, self.n_samples)
        return *sizes, peak, clipped, square_sum, silent, self.mono_power


class Verdicts:
    """What became of a block's recordings, by columns: no Python object for each that was used. Batches fill in their
    own rows, several at once."""

    def __init__(self, n: int):
        self.measured = np.zeros(n, native.MEASURED)  # zeros where rejected
        self.rejected: dict[int, Rejected] = {}  # by row


@dataclass
class Seconds:
    """Where the time went; differs from run to run, so it enters no file of the result."""

    decode: float = 0.0
    resample: float = 0.0
    mel: float = 0.0
    write: float = 0.0
    audio: float = 0.0  # of the recordings that were used

    def add(self, more: "Seconds") -> None:
        self.decode += more.decode
        self.resample += more.resample
        self.mel += more.mel
        self.write += more.write
        self.audio += more.audio


@dataclass
class ClipSink:
    """Where the clips of a batch go: `emit` takes (n, n_mels, n_frames) and never waits, `settle` may, between two
    recordings. A long recording is emitted in pieces, before it is known which of its windows are quiet, between
    `begin_long` (which may wait) and `end_long` (None: it was rejected). With a `device` the log-mels are made there,
    in larger batches, and come as late as its `flush`."""

    emit: Callable[[np.ndarray], None]
    settle: Callable[[], None]
    begin_long: Callable[[], None]
    end_long: Callable[[np.ndarray | None], None]
    seconds: Seconds = field(default_factory=Seconds)
    device: DoubleBuffer | None = None


@dataclass(frozen=True)
class Recordings:
    """The recordings of a block, and what is known of them before any is opened: made once, since a batch would find
    Arrow and numpy cold each time."""

    rows: pa.Table  # of RECORDINGS_SCHEMA
    root: Path
    paths: list[str]  # of the files
    segments: list[Segment] | None  # None: all are whole files
    n_bytes: np.ndarray  # (n,) of each recording's file, 0 where it is not known
    n_clips: np.ndarray  # (n,) of each, were it a whole file of PCM16 at the contract's rate
    plain: list[bool]  # maybe a plain WAV file

    @classmethod
    def of(cls, rows: pa.Table, root: Path, settings: ClipSettings) -> "Recordings":
        paths, n_bytes = rows.column("path"), rows.column("bytes").fill_null(0).to_numpy()
        segments = None
        if any(rows.column(name).null_count < len(rows) for name in ("start_s", "end_s")):
            segments = list(zip(*(rows.column(name).to_pylist() for name in ("start_s", "end_s")), strict=True))
        refused = rows.column("refused").is_valid().to_numpy()
        n_clips = np.maximum(1, 1 + (n_bytes // 2 - settings.length) // settings.stride)
        clip_bytes = 4 * settings.clip_shape[0] * settings.clip_shape[1] * n_clips
        small = (n_bytes <= WAV_BYTES) & ((clip_bytes <= WAV_CLIP_BYTES) | (n_clips == 1))
        plain = (named(paths, WAV_SUFFIXES) & (n_bytes > 0) & small & ~refused).tolist()
        return cls(rows, root, [f"{root}/{path}" for path in paths.to_pylist()], segments, n_bytes, n_clips, plain)

    @cached_property
    def described(self) -> list[Recording]:
        """All of them, since few of the files or nearly all are not plain."""
        return recordings_of(self.rows, self.root)


def clips_of_batch(
    recordings: Recordings, batch: range, settings: ClipSettings, sink: ClipSink, verdicts: Verdicts, budget: Budget
) -> list[np.ndarray]:
    """The clips of some recordings into the sink, in order; a verdict on each. Returns the places of the clips' windows
    in their recordings, (n_clips,) int64 in all."""
    plain = [row for row in batch if recordings.plain[row]] if sink.device is None else []
    made = _native_batch(recordings, plain, settings, sink)
    taken = set(plain).difference(plain[place] for place in made.not_taken)
    left = [row for row in batch if row not in taken]
    verdicts.measured[plain if left else slice(batch.start, batch.stop)] = made.measured
    numbers, sent = [], 0  # sent: of the native batch's clips

    def send(stop: int) -> None:
        if sent < stop:
            sink.emit(made.mels[sent:stop])
            numbers.append(made.numbers[sent:stop])

    if left:
        ends = np.cumsum(verdicts.measured["clips"][batch.start : batch.stop])  # those of `left` have none yet
    for row in left:
        stop = int(ends[row - batch.start])
        send(stop)
        sent = stop
        try:
            recording = recordings.described[row]
            kept = decoded_for_sure(recording, partial(clips_of, recording, settings, sink, budget))
            verdicts.measured[row] = kept.measured
            numbers.append(kept.numbers)
        except Rejected as reason:
            verdicts.rejected[row] = reason.alone()
        sink.settle()
    send(len(made.mels))
    flush(sink)
    return numbers


def _native_batch(recordings: Recordings, rows: list[int], settings: ClipSettings, sink: ClipSink) -> native.WavBatch:
    if not rows:
        nothing = np.empty((0, *settings.clip_shape), np.float32)
        return native.WavBatch(nothing, np.empty(0, native.MEASURED), np.empty(0, np.int64), {}, 0, 0)
    paths = [recordings.paths[row] for row in rows]
    segments = recordings.segments and [recordings.segments[row] for row in rows]
    batch = native.wav_log_mel(paths, settings.mel, settings.clip, segments, settings.max_seconds)
    sink.seconds.decode += batch.read_ns / 1e9
    sink.seconds.mel += batch.mel_ns / 1e9
    return batch


def clips_of(recording: Recording, settings: ClipSettings, sink: ClipSink, budget: Budget) -> Kept:
    """The clips of one recording into the sink; raises Rejected."""
    if recording.refused:
        raise Rejected(Code.NAME, recording.refused)
    n_mels, n_frames = settings.clip_shape
    sample_rate, clip_values = settings.mel.sample_rate, n_mels * n_frames / settings.stride
    if named_wav(recording.relative) and (rate := wav_rate(recording.path)):  # if small, decoded without a closer look
        n_values = _size_now(recording.path) * values_per_sample(1, rate, sample_rate, clip_values)  # a byte a sample
        if fits_a_piece(n_values):
            return _whole(recording, working_bytes(n_values), settings, sink, budget)
    opened = open_long(recording, sample_rate, clip_values)
    with opened.file:
        refuse_too_long(opened.n_samples, opened.rate, settings.max_seconds)
        if opened.is_long:
            return _long(opened, settings, sink, budget)
        return _whole(recording, opened.working_bytes, settings, sink, budget, opened.file)


def _size_now(path: Path | str) -> int:
    """In bytes; a file may have grown since it was listed. 0 where it is gone, which whoever opens it will tell."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _whole(
    recording: Recording,
    needed: int,
    settings: ClipSettings,
    sink: ClipSink,
    budget: Budget,
    file: AudioFile | None = None,
) -> Kept:
    with budget.hold(needed):
        begun = time.perf_counter()
        rate, limits = settings.mel.sample_rate, (settings.clip.min_seconds, settings.max_seconds)
        waveform = decode(recording, rate, *limits, file)
        sink.seconds.decode += time.perf_counter() - begun - waveform.resampling_s
        sink.seconds.resample += waveform.resampling_s
        windows = cut(waveform.samples, settings.length, settings.stride, settings.clip.short)
        loud = native.loud_windows(windows, settings.clip.quiet_db)
        _mels(windows, settings, sink, None if len(loud) == len(windows) else loud)
    n_samples, sizes = waveform.level.n // waveform.channels, (len(windows), waveform.file_rate, waveform.channels)
    return Kept(loud, *sizes, n_samples, waveform.level, waveform.mono_power)


def flush(sink: ClipSink) -> None:
    """Have the device, if there is one, emit what it was given."""
    if sink.device is not None:
        begun = time.perf_counter()
        sink.device.flush()
        sink.seconds.mel += time.perf_counter() - begun


def _mels(windows: np.ndarray, settings: ClipSettings, sink: ClipSink, rows: np.ndarray | None = None) -> None:
    """The log-mels of the windows, or of some `rows` of them, into the sink, some at once."""
    n = len(windows) if rows is None else len(rows)
    n_mels, n_frames = settings.clip_shape
    copied = 0 if rows is None else settings.length  # samples of each, also where windows overlap
    at_once = max(1, MEL_BYTES // (4 * max(n_mels * n_frames, copied)))
    for first in range(0, n, at_once):
        begun = time.perf_counter()
        part = slice(first, first + at_once)
        some = windows[part] if rows is None else windows[rows[part]]
        if sink.device is not None:
            sink.device.push(some)
            sink.seconds.mel += time.perf_counter() - begun
            continue
        mels = native.log_mel(some, settings.mel)
        sink.seconds.mel += time.perf_counter() - begun
        sink.emit(mels)


def _long(opened: LongRecording, settings: ClipSettings, sink: ClipSink, budget: Budget) -> Kept:
    """As `clips_of`, in pieces; the windows are exactly those of decoding it whole."""
    refuse_too_short(opened.n_samples, opened.rate, settings.clip.min_seconds)
    length, stride = settings.length, settings.stride
    flush(sink)
    sink.begin_long()
    loud = None
    try:
        with budget.hold(opened.working_bytes):
            energies: list[np.ndarray] = []
            rest, skip = None, 0  # samples that the next window may need; samples until it starts
            for samples in opened.pieces(sink.seconds):
                rest = samples if rest is None or not len(rest) else np.concatenate([rest, samples])
                rest, skip = rest[skip:], max(0, skip - len(rest))
                if len(rest) < length:
                    continue
                windows = cut(rest, length, stride, settings.clip.short)
                energies.append(native.window_energy(windows))
                _mels(windows, settings, sink)
                begin = len(windows) * stride
                rest, skip = rest[begin:].copy(), max(0, begin - len(rest))
            if not energies:  # windows longer than the recording
                windows = cut(rest, length, stride, settings.clip.short)
                energies.append(native.window_energy(windows))
                _mels(windows, settings, sink)
        energy = np.concatenate(energies)
        loud = native.loud(energy, settings.clip.quiet_db)
    finally:
        flush(sink)
        sink.end_long(loud)
    sizes = (len(energy), opened.rate, opened.channels, opened.n_samples)
    return Kept(loud, *sizes, opened.level, opened.mono_power)


def cut(samples: np.ndarray, length: int, stride: int, short: str) -> np.ndarray:
    """(T,) -> (n, length): windows every `stride` samples, a view; what is left at the end is dropped.

    A waveform shorter than one window gives one: padded with zeros behind (`short` pad) or repeated (tile).
    """
    if len(samples) < length:
        padded = np.zeros(length, samples.dtype)
        padded[: len(samples)] = samples
        samples = np.resize(samples, length) if short == "tile" else padded
    n, (step,) = 1 + (len(samples) - length) // stride, samples.strides
    return np.ndarray((n, length), samples.dtype, samples, strides=(stride * step, step))
