"""Recordings to clips: decode, cut into windows of one length, leave the quiet ones out, log-mel.

Takes a batch of recordings; leaves a verdict on each, in order, and hands the clips on as they come, so that a
recording of any length needs little memory. Plain WAV files of the contract's rate go through one native call.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, MelConfig
from clinaug_fast.data.audio import Code, Rejected, decode
from clinaug_fast.data.corpus import Recording
from clinaug_fast.data.long_recording import COPIES, LongRecording, open_long
from clinaug_fast.data.memory import Budget

WAV_SUFFIXES = (".wav", ".wave")
WAV_BYTES = 4 << 20  # larger WAV files are decoded under the memory budget
SMALL_WAV_BYTES = 1 << 20  # is no long recording, so nobody looks whether it is
MEL_BYTES = 8 << 20  # of log-mels made at once


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

    @property
    def clip_shape(self) -> tuple[int, int]:
        return self.mel.n_mels, self.clip.n_frames


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording that was used."""

    numbers: list[int]  # its windows' places in the recording; quiet ones are left out
    n_windows: int  # with the quiet ones
    rate: int  # Hz, the file's
    channels: int
    n_samples: int  # a channel, at the file's rate
    level: native.Level


@dataclass
class Seconds:
    """Where the time went; differs from run to run, so it enters no file of the result."""

    decode: float = 0.0
    resample: float = 0.0
    mel: float = 0.0
    write: float = 0.0
    audio: float = 0.0  # decoded


@dataclass
class ClipSink:
    """Where the clips of a batch go: `emit` takes (n, n_mels, n_frames) and never waits, `settle` may, between two
    recordings. A long recording is emitted in pieces, before it is known which of its windows are quiet, between
    `begin_long` (which may wait) and `end_long` (None: it was rejected)."""

    emit: Callable[[np.ndarray], None]
    settle: Callable[[], None]
    begin_long: Callable[[], None]
    end_long: Callable[[np.ndarray | None], None]
    seconds: Seconds = field(default_factory=Seconds)


def clips_of_batch(
    recordings: list[Recording], n_bytes: list[int | None], settings: ClipSettings, sink: ClipSink, budget: Budget
) -> list[Kept | Rejected]:
    """The clips of some recordings into the sink, in order; a verdict on each."""
    plain = [
        number
        for number, (recording, size) in enumerate(zip(recordings, n_bytes, strict=True))
        if recording.relative.lower().endswith(WAV_SUFFIXES) and 0 < (size or 0) <= WAV_BYTES and not recording.refused
    ]
    batch, taken = None, {}
    if plain:
        paths = [recordings[number].path for number in plain]
        times = [(recordings[number].start_s, recordings[number].end_s) for number in plain]
        batch = native.wav_log_mel(paths, settings.mel, settings.clip, times)
        taken = {number: file for number, file in zip(plain, batch.files, strict=True) if not file.not_taken}
        sink.seconds.decode += batch.read_ns / 1e9
        sink.seconds.mel += batch.mel_ns / 1e9
    verdicts: list[Kept | Rejected] = []
    row = sent = 0  # of the native batch's clips: those of the recordings so far, those in the sink
    for number, recording in enumerate(recordings):
        file = taken.get(number)
        if file is not None and file.n_samples <= settings.max_seconds * file.rate:
            row += len(file.numbers)
            sink.seconds.audio += file.n_samples / file.rate
            verdicts.append(Kept(*file[1:]))
            continue
        if sent < row:
            sink.emit(batch.mels[sent:row])
        row += len(file.numbers) if file is not None else 0
        sent = row
        try:
            verdicts.append(clips_of(recording, n_bytes[number] or 0, settings, sink, budget))
        except Rejected as reason:
            verdicts.append(reason)
        sink.settle()
    if sent < row:
        sink.emit(batch.mels[sent:row])
    return verdicts


def too_long(seconds: float, settings: ClipSettings) -> Rejected:
    limit = f"expected at most {settings.max_seconds / 3600:g} h"
    return Rejected(Code.TOO_LONG, f"{seconds / 3600:.3f} h; {limit}. Raise --max-duration if it is right")


def clips_of(recording: Recording, n_bytes: int, settings: ClipSettings, sink: ClipSink, budget: Budget) -> Kept:
    """The clips of one recording into the sink; raises Rejected."""
    if recording.refused:
        raise Rejected(Code.NAME, recording.refused)
    mel = settings.mel
    if recording.relative.lower().endswith(WAV_SUFFIXES) and n_bytes <= SMALL_WAV_BYTES:
        return _whole(recording, 2 * COPIES * n_bytes, settings, sink, budget)
    opened = open_long(recording, mel.sample_rate, settings.clip_shape[0] * settings.clip_shape[1] / settings.stride)
    if opened is None:
        return _whole(recording, 0, settings, sink, budget)
    with opened:
        if opened.seconds > settings.max_seconds:
            raise too_long(opened.seconds, settings)
        if opened.is_long:
            return _long(opened, settings, sink, budget)
    return _whole(recording, opened.working_bytes, settings, sink, budget)


def _whole(recording: Recording, needed: int, settings: ClipSettings, sink: ClipSink, budget: Budget) -> Kept:
    with budget.hold(needed):
        begun = time.perf_counter()
        waveform = decode(recording, settings.mel.sample_rate, settings.clip.min_seconds)
        n_samples = waveform.level.n // waveform.channels
        seconds = n_samples / waveform.file_rate
        if seconds > settings.max_seconds:
            raise too_long(seconds, settings)
        sink.seconds.decode += time.perf_counter() - begun
        sink.seconds.audio += seconds
        windows = cut(waveform.samples, settings.length, settings.stride, settings.clip.short)
        loud = native.loud(native.window_energy(windows), settings.clip.quiet_db)
        _mels(windows if len(loud) == len(windows) else windows[loud], settings, sink)
    return Kept(loud.tolist(), len(windows), waveform.file_rate, waveform.channels, n_samples, waveform.level)


def _mels(windows: np.ndarray, settings: ClipSettings, sink: ClipSink) -> None:
    at_once = max(1, MEL_BYTES // (4 * settings.clip_shape[0] * settings.clip_shape[1]))
    for first in range(0, len(windows), at_once):
        begun = time.perf_counter()
        mels = native.log_mel(windows[first : first + at_once], settings.mel)
        sink.seconds.mel += time.perf_counter() - begun
        sink.emit(mels)


def _long(opened: LongRecording, settings: ClipSettings, sink: ClipSink, budget: Budget) -> Kept:
    """As `clips_of`, in pieces; the windows are exactly those of decoding it whole."""
    if opened.n_samples < settings.clip.min_seconds * opened.rate:
        raise Rejected(Code.TOO_SHORT, f"{opened.seconds:.3f} s; expected at least {settings.clip.min_seconds:g} s")
    length, stride = settings.length, settings.stride
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
        sink.end_long(loud)
    return Kept(loud.tolist(), len(energy), opened.rate, opened.channels, opened.n_samples, opened.level)


def cut(samples: np.ndarray, length: int, stride: int, short: str) -> np.ndarray:
    """(T,) -> (n, length): windows every `stride` samples, a view; what is left at the end is dropped.

    A waveform shorter than one window gives one: padded with zeros behind (`short` pad) or repeated (tile).
    """
    if len(samples) < length:
        padded = np.zeros(length, samples.dtype)
        padded[: len(samples)] = samples
        samples = np.resize(samples, length) if short == "tile" else padded
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::stride]
