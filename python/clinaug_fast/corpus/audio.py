"""One recording decoded: mono samples at the contract's rate, or the reason why it cannot be used.

Takes a Recording; leaves a `Waveform`, or raises `Rejected` with a stable code. Three decoders, the same bits: plain
WAV is read by the extension; whole 16-bit FLAC files by miniaudio (dr_flac), in 0.6 of libsndfile's time, most of
what a FLAC corpus takes; all else is soundfile's, and so is every verdict but that on files that were cut. Resampling
is soxr's (HQ). PCM16 at the contract's rate stays int16, which the log-mel kernel takes as it is.
"""

import math
import os
import stat
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile
import soxr
from miniaudio import ffi
from miniaudio import lib as dr

from clinaug_fast import native
from clinaug_fast.corpus import containers, mpeg
from clinaug_fast.corpus.frames import RECENT_FILES, read_frames, stamp_of
from clinaug_fast.corpus.read_faults import WatchedFile
from clinaug_fast.corpus.recordings import FOREIGN_SUFFIXES, Recording
from clinaug_fast.corpus.segment_times import frames_of_segment
from clinaug_fast.corpus.verdicts import Code, Rejected, looked_at
from clinaug_fast.shown import counted

WAV_SUFFIXES = (".wav", ".wave")
# More than any format reaches (a FLAC frame of silence: 65535 samples in 12 bytes): the length is not a length.
MAX_SAMPLES_PER_BYTE = 8192
# What a file may hold besides its samples, pictures say; a longer one is not read into memory at once.
EXTRA_BYTES = 16 << 20
SYSTEM_ERROR, TRIALS = 2, 10  # of libsndfile
MOST_BYTES_PER_SAMPLE = 8  # of WAV
# Of those that libsndfile tells by their first bytes, or takes for samples without a header where they are named .au or
# .gsm. Of others nobody knows whether they are whole, and of SDS it writes what is wrong to stdout.
FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "NIST")
LOWEST_RATE = 10  # Hz; of less, no sound is left, and soxr's stream turns a few samples into millions at once
WAV_HEAD = struct.Struct("<4sI8sIHHIIHH")  # to the bits of a sample
BYTEWISE_WAV = (1, 3, 6, 7, 0xFFFE)  # PCM, float, A-law, mu-law, extensible; others pack several samples into a byte
# What formats of 8 bits make of full scale, which as float32 it is not.
LARGEST = {"PCM_U8": 127 / 128, "PCM_S8": 127 / 128, "ALAW": 32256 / 32768, "ULAW": 32124 / 32768}


@dataclass(frozen=True)
class Waveform:
    """A decoded recording."""

    samples: np.ndarray  # (T,) float32, or int16 of full scale 32768
    file_rate: int  # Hz, before resampling
    channels: int  # of the file
    level: native.Level  # of the file's samples, before mixing and resampling
    mono_power: float  # mean square of the channels' mean, before resampling
    resampling_s: float  # what resampling took, of the time to decode it


class Onward(soundfile.SoundFile):
    """Reads on from where it is. soundfile itself seeks after each read, and an MP3 decoder begins anew where it was
    sought, without what it took from the frames before: its first samples are then wrong."""

    behind: mpeg.Told | WatchedFile | None = None  # what it reads, where that is not the file itself

    def read(self, *how: Any, **options: Any) -> np.ndarray:
        """As soundfile's; raises Unopened where the system could not read."""
        try:
            return super().read(*how, **options)
        finally:
            if self.behind is not None:
                self.behind.refuse_failed_reads()

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        with suppress(soundfile.LibsndfileError):  # of what was read there is nothing to lose
            super().close()
        if self.behind is not None:
            self.behind.close()


@dataclass(frozen=True)
class AudioFile:
    """A file whose header can be taken at its word, open at its begin, and the part of it that is the recording."""

    sound: soundfile.SoundFile
    n_bytes: int
    start: int  # frames
    stop: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.sound.close()


def open_audio(recording: Recording) -> AudioFile:
    """Raises Rejected."""
    n_bytes = inspect(recording.path)
    try:
        sound = _opened(recording.path)
    except soundfile.LibsndfileError as error:
        if recording.suffix in FOREIGN_SUFFIXES:
            mend = "Convert it: ffmpeg -i OLD NEW.flac (a table has to name NEW.flac)"
            raise Rejected(Code.UNREADABLE, f"{recording.suffix} is not read. {mend}") from None
        raise _unreadable(error) from None
    except TypeError:  # soundfile wants to be told the rate of a file named .raw
        raise Rejected(Code.UNREADABLE, "it is named .raw: samples without a header. Encode it as WAV") from None
    try:
        if sound.format not in FORMATS:
            raise Rejected(Code.UNREADABLE, f"{sound.format_info} is not read. Encode it as WAV or FLAC")
        if _takes_for_pcm(sound):
            raise Rejected(Code.UNREADABLE, "its samples are no PCM, for which W64 is taken. Encode it as WAV or FLAC")
        if _takes_faults_for_zeros(sound) and not _is_tagged(recording.path):
            sound.close()
            with looked_at():
                watched = WatchedFile(recording.path)
            sound = _onward(watched)
        declared = sound.frames
        if sound.subtype.startswith("MPEG"):
            sound, declared = _counted(sound, recording.path)
        if sound.samplerate < LOWEST_RATE:
            raise Rejected(Code.UNREADABLE, f"its header tells {sound.samplerate} Hz; expected {LOWEST_RATE} or more")
        if sound.subtype.startswith("DWVW"):  # it cannot be sought in; nobody has tried cut files and segments of it
            raise Rejected(Code.UNREADABLE, "DWVW cannot be read. Encode it as WAV or FLAC")
        if declared > MAX_SAMPLES_PER_BYTE * n_bytes:
            raise Rejected(Code.UNREADABLE, "its header leaves its length open; encode it anew into a file")
        frames = frames_of_segment(recording.start_s, recording.end_s, declared, sound.samplerate)
        return AudioFile(sound, n_bytes, *frames)
    except Rejected:
        sound.close()
        raise


def _opened(path: Path | str) -> Onward:
    """Of the system's errors libsndfile tells that there was one: which, the system is asked, and if there is none any
    more, libsndfile once more."""
    name = os.fsencode(path)  # its folder's may be of another encoding
    for _ in range(TRIALS):
        try:
            return Onward(name)
        except soundfile.LibsndfileError as error:
            if error.code != SYSTEM_ERROR:
                raise
        with looked_at():
            open(path, "rb").close()
    return Onward(name)


def _unreadable(error: soundfile.LibsndfileError) -> Rejected:
    # libsndfile says so of a regular file, too, that is no MP3 though it is named so.
    told = "" if "does not exist" in error.error_string else f": {error.error_string}"
    return Rejected(Code.UNREADABLE, f"not audio that can be read{told}")


def _counted(sound: Onward, path: Path | str) -> tuple[Onward, int]:
    """An MPEG file and how many frames (samples of all channels) it holds, which libsndfile may only have guessed."""
    with looked_at():
        stream = _mpeg_stream(os.fspath(path), sound.format == "MP3", stamp_of(os.stat(path)))
        if stream is None and _has_free_rate(path):
            return sound, sound.frames
        if stream is None:
            raise Rejected(Code.UNREADABLE, "its frames cannot be counted. Encode it anew: ffmpeg -i OLD NEW.flac")
        if stream.lost:
            raise Rejected(Code.TRUNCATED, stream.lost)
        if stream.told is not None:
            return sound, sound.frames
        if stream.layer != 3:  # no header could tell it
            if stream.n_samples > sound.frames + stream.frame_samples:
                raise Rejected(Code.UNREADABLE, "its header leaves its length open; encode it anew into a file")
            return sound, min(sound.frames, stream.n_samples)
        told = mpeg.Told(path, stream)
    counted = _onward(told)
    sound.close()
    return counted, counted.frames


def _takes_for_pcm(sound: soundfile.SoundFile) -> bool:
    """Whether libsndfile, which does not look at the sub-format of a W64, takes other samples for whole numbers."""
    told = sound.extra_info
    return sound.format == "W64" and "WAVE_FORMAT_EXTENSIBLE" in told and "esf_field1 : 0x1\n" not in told


def _takes_faults_for_zeros(sound: soundfile.SoundFile) -> bool:
    """Whether a read that failed once in the header would leave other samples, as it does in those formats."""
    if sound.format in ("WAV", "WAVEX", "RF64"):
        return not sound.subtype.startswith(("PCM", "FLOAT", "DOUBLE", "ALAW", "ULAW", "MPEG"))
    return sound.format not in ("FLAC", "OGG", "MP3")


def _is_tagged(path: Path | str) -> bool:
    """Whether a tag (ID3) comes before the header, from behind which libsndfile seeks in files that it opens itself."""
    with looked_at(), open(path, "rb", buffering=0) as file:
        return file.read(len(mpeg.ID3)) == mpeg.ID3


def _onward(behind: mpeg.Told | WatchedFile) -> Onward:
    """What libsndfile reads through `behind`; raises Rejected."""
    try:
        sound = Onward(behind)
    except soundfile.LibsndfileError as error:
        behind.close()
        behind.refuse_failed_reads()
        raise _unreadable(error) from None
    sound.behind = behind
    try:
        behind.refuse_failed_reads()
    except BaseException:
        sound.close()
        raise
    return sound


def _has_free_rate(path: Path | str) -> bool:
    with open(path, "rb") as file:
        return mpeg.has_free_rate(file, 0)


@lru_cache(RECENT_FILES)
def _mpeg_stream(path: str, is_mp3: bool, stamp: tuple[int, ...]) -> mpeg.Stream | None:
    n_bytes = stamp[0]
    with open(path, "rb") as file:
        begin, stop = (0, n_bytes) if is_mp3 else containers.place_of_samples(file, n_bytes)
        return mpeg.count(file, begin, stop)


@lru_cache(RECENT_FILES)
def _cut(path: str, stamp: tuple[int, ...]) -> str | None:
    with open(path, "rb") as file:
        return containers.cut(file, stamp[0])


def decode(
    recording: Recording,
    sample_rate: int,
    min_seconds: float = 0.0,
    max_seconds: float = math.inf,
    file: AudioFile | None = None,
) -> Waveform:
    """Decode, mix the channels down to their mean, resample to `sample_rate` Hz and cut out the segment.

    file: the recording's, if it is open already; to open some formats takes half as long as to decode a short clip.

    Raises Rejected.
    """
    wav = ""
    if named_wav(recording.path) and (file is None or _little_else(file, MOST_BYTES_PER_SAMPLE)):
        wav = native.read_wav(recording.path, recording.start_s, recording.end_s)
    if isinstance(wav, str):
        with file or open_audio(recording) as source:
            refuse_too_long(source.stop - source.start, source.sound.samplerate, max_seconds)
            samples, rate = _samples(source), source.sound.samplerate
        channels = 1 if samples.ndim == 1 else samples.shape[1]
        level = finite_level(samples, source.sound.subtype)
        if samples.ndim == 2:
            samples = mixed(samples)
    else:
        samples, rate, channels, level = wav
        refuse_too_long(len(samples), rate, max_seconds)
    refuse_too_short(len(samples), rate, min_seconds)
    power = mono_power(samples, channels, level)
    begun = time.perf_counter()
    if rate != sample_rate:
        samples = soxr.resample(as_float(samples), rate, sample_rate, quality="HQ")
    return Waveform(samples, rate, channels, level, power, time.perf_counter() - begun)


def refuse_too_short(n_samples: int, rate: int, min_seconds: float) -> None:
    """As wav_log_mel does."""
    if n_samples < min_seconds * rate:
        raise Rejected(Code.TOO_SHORT, f"{n_samples / rate:.3f} s; expected at least {min_seconds:g} s")


def refuse_too_long(n_samples: int, rate: int, max_seconds: float) -> None:
    """As wav_log_mel does. Half a sample more is the limit's own rounding: hours are no whole numbers of samples."""
    if n_samples - 0.5 > max_seconds * rate:
        hours, limit = n_samples / rate / 3600, f"expected at most {max_seconds / 3600:g} h"
        told = f"{hours:.3f}" if hours >= 0.001 else f"{hours:.3g}"
        raise Rejected(Code.TOO_LONG, f"{told} h; {limit}. Raise --max-duration if it is right")


def finite_level(samples: np.ndarray, subtype: str) -> native.Level:
    """native.level; raises Rejected for NaN and infinity, which no sum of squares hides."""
    level = native.level(samples, LARGEST.get(subtype, native.CLIPPED_FROM))
    if not math.isfinite(level.square_sum):
        n = np.count_nonzero(~np.isfinite(samples))
        raise Rejected(Code.NON_FINITE, f"{counted(n, 'sample is', 'samples are')} NaN or infinite")
    if level.peak > native.LOUDEST:
        raise Rejected(Code.NON_FINITE, f"a sample is {level.peak:g}, full scale being 1: no level that sound has")
    return level


def named_wav(path: Path | str) -> bool:
    return os.fspath(path).lower().endswith(WAV_SUFFIXES)


def wav_rate(path: Path | str) -> int | None:
    """The sample rate in Hz of a WAV file that begins with its format and holds a byte or more a sample, whatever its
    name; None of any other, and of a rate below LOWEST_RATE."""
    try:
        if not os.path.isfile(path):  # to open a FIFO would wait for whoever writes into it
            return None
        with open(path, "rb") as file:
            head = file.read(WAV_HEAD.size)
    except OSError:
        return None
    if len(head) < WAV_HEAD.size:
        return None
    riff, _, wave, _, tag, _, rate, _, _, bits = WAV_HEAD.unpack(head)
    plain = (riff, wave) == (b"RIFF", b"WAVEfmt ") and tag in BYTEWISE_WAV and bits >= 8
    return rate if plain and rate >= LOWEST_RATE else None


def _little_else(file: AudioFile, sample_bytes: int) -> bool:
    """Whether a file can be read into memory at once: hardly more than its samples, of so many bytes at most."""
    return file.n_bytes <= sample_bytes * file.sound.frames * file.sound.channels + EXTRA_BYTES


def _samples(file: AudioFile) -> np.ndarray:
    """(T,) or (T, channels) int16 where the file holds PCM16, float32 otherwise."""
    sound, samples = file.sound, None
    whole = (file.start, file.stop, sound.format, sound.subtype) == (0, sound.frames, "FLAC", "PCM_16")
    if whole and _little_else(file, 2):
        samples = _read_flac(sound.name, file.n_bytes, sound)
    if samples is None:
        samples = read_frames(sound, file.start, file.stop)
    return samples


def _read_flac(path: Path | str, n_bytes: int, header: soundfile.SoundFile) -> np.ndarray | None:
    """(T,) or (T, channels) int16; None where anything is odd: dr_flac leaves frames of a wrong checksum out, and the
    file, which libsndfile still has open, may be gone.

    By the C functions that miniaudio wraps, straight into an array: its own copies take a fourteenth more.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            encoded = file.read(n_bytes)
    except OSError:
        return None
    flac = dr.ma_dr_flac_open_memory(encoded, len(encoded), ffi.NULL)
    if flac == ffi.NULL:
        return None
    try:
        if (flac.sampleRate, flac.channels) != (header.samplerate, header.channels):
            return None
        samples = np.empty(header.frames if header.channels == 1 else (header.frames, header.channels), np.int16)
        into = ffi.from_buffer("short[]", samples)
        decoded = dr.ma_dr_flac_read_pcm_frames_s16(flac, header.frames, into)
        return samples if decoded == flac.totalPCMFrameCount == header.frames else None
    finally:
        dr.ma_dr_flac_close(flac)


def mixed(samples: np.ndarray) -> np.ndarray:
    """(T, channels) -> (T,) float32, the mean; channel by channel, since numpy's mean over two columns is slow."""
    total = as_float(samples[:, 0])
    for channel in range(1, samples.shape[1]):
        total = total + as_float(samples[:, channel])
    return total / np.float32(samples.shape[1])


def mono_power(mono: np.ndarray, channels: int, level: native.Level) -> float:
    """Mean square of the channels' mean; level: of the channels themselves. As wav_log_mel has it."""
    if not len(mono):
        return 0.0
    return level.square_sum / level.n if channels == 1 else float(native.window_energy(mono[None])[0])


def as_float(samples: np.ndarray) -> np.ndarray:
    return samples * np.float32(2.0**-15) if samples.dtype == np.int16 else samples


def inspect(path: Path | str) -> int:
    """The file's size in bytes; rejects one that cannot be opened, is empty or was cut."""
    with looked_at():
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):  # to open a FIFO would wait for whoever writes into it
            raise Rejected(Code.UNREADABLE, "it is a pipe, a device or a folder; expected a file")
        if not about.st_size:
            raise Rejected(Code.EMPTY, "the file has no bytes")
        reason = _cut(os.fspath(path), stamp_of(about))
    if reason:
        raise Rejected(Code.TRUNCATED, reason)
    return about.st_size
