"""The numpy face of the extension: checks, allocates, calls. Imports no torch, so that workers start fast.

Takes waveforms as arrays or plain WAV files, leaves log-mels as arrays. The same kernels as torch operators are in
`clinaug_fast.ops`.
"""

import builtins
import json
import math
import os
import platform
import re
import reprlib
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from clinaug_fast import _native
from clinaug_fast.config import ClipConfig, MelConfig
from clinaug_fast.errors import SettingsError

IN_DTYPES = ("float32", "float64", "int16")
OUT_DTYPES = ("float32", "float64", "float16")
OVERLAP_WORK = 10_000  # steps to look whether two arrays share memory
_DTYPE_NAMES = {np.dtype(name): name for name in IN_DTYPES + OUT_DTYPES}  # numpy makes up a dtype's name at each call
_MADE_OF = {np.dtype(name): np.dtype("float64" if name == "float64" else "float32") for name in IN_DTYPES}

try:  # what the single precision kernels run on: CLINAUG_ISA, or the fastest that this processor has
    INSTRUCTION_SET: str = _native.find_instruction_set(os.environ.get("CLINAUG_ISA", ""))
except ValueError as error:
    raise SettingsError(str(error)) from None

LOUDEST: float = _native.loudest  # a float sample that may still be sound: of any more, sums and filters overflow
CLIPPED_FROM: float = _native.clipped_from  # the size of a sample at full scale
LARGE_WAV_BYTES: int = _native.large_wav_bytes  # of a file: `wav_log_mel` leaves larger ones alone
SEGMENT_OVERHANG_S: float = _native.segment_overhang_s  # that a segment may end behind its file, where it is cut

# Counts up where a change changes bits, of the kernels, of what is decoded or rejected, or of what is measured of a
# recording.
BITS = 12


def arithmetic(instruction_set: str, compiler: str) -> str:
    """Where it is the same, feature sets are the same to the bit: compiled by g++, AVX2 and AVX-512 round alike; other
    compilers, and builds for debugging, fuse other products into sums, maybe others for each of the two."""
    is_known = re.fullmatch(r"GNU [0-9.]+", compiler) is not None
    name = f"baseline {platform.machine()}"
    if instruction_set != "baseline":
        name = "x86-64-v3" if is_known else instruction_set
    return f"{name} {BITS}" if is_known else f"{name} {compiler} {BITS}"


ARITHMETIC: str = arithmetic(INSTRUCTION_SET, _native.compiler)


@lru_cache(maxsize=64)
def plan_of(contract: str, instruction_set: str = INSTRUCTION_SET) -> "_native.LogMelPlan":
    """The tables of a `MelConfig.contract`; computed once, safe to use from many threads."""
    return _native.LogMelPlan(json.loads(contract), instruction_set)


def plan(config: MelConfig, instruction_set: str = INSTRUCTION_SET) -> "_native.LogMelPlan":
    """The tables of a contract."""
    return plan_of(config.contract, instruction_set)  # a string remembers its hash, settings do not


def allowed_threads() -> int:
    """Threads this process may use: its CPU affinity, and SLURM_CPUS_PER_TASK where that is smaller."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(allowed, int(slurm))) if slurm.isdecimal() else allowed


def log_mel(x: np.ndarray, config: MelConfig, *, out: np.ndarray | None = None, threads: int = 1) -> np.ndarray:
    """Log-mel of one waveform or a batch: ``log(max(M |STFT(x)|^power, floor))``.

    x: (T,) or (B, T), float32, float64 or int16 (scaled by 1/32768), any strides of whole elements.
    out: (n_mels, n_frames) or (B, n_mels, n_frames), float32, float64 or float16, any strides; made (float64 for
        float64 x, float32 otherwise) if not given. float64 on either side computes in double precision, all
        else in single precision, with pre-emphasis or double precision for the frames that need it: within 2e-4 dB
        on recordings, 5e-4 dB on the worst of many hostile signals.
    threads: at most this many, and no more than `allowed_threads()`; the result does not depend on it.

    A clip of 256 frames or more, or of 32 or more whose spectrum is far from level, is glanced at first, at one of 32
    frames, but at least 2 and at most 16: where many of these need pre-emphasis or double precision, all of it is
    computed so at once, sooner than twice. A clip's bits depend on the clip alone, not on its batch.

    A mel band without a bin is its floor; `LogMel` and `preprocess` refuse such contracts, this does not.
    n_frames is `config.n_frames(T)`; T = 0 has none. Reflection past the far edge mirrors again, as numpy.pad does.
    A NaN or infinity makes exactly the frames whose window holds it NaN or infinite.
    Returns `out`. Raises TypeError or ValueError naming what was given and what is expected.
    """
    if not isinstance(x, np.ndarray) or _DTYPE_NAMES.get(x.dtype) not in IN_DTYPES:
        raise TypeError(f"x is {_kind(x)}; expected a numpy array of {', '.join(IN_DTYPES)}. Convert it with astype")
    if hasattr(x, "mask"):  # not by numpy.ma, whose import, late as it is, a forked child may not survive
        raise TypeError("x is a masked array; expected a plain one. Fill it with .filled(0)")
    if x.ndim not in (1, 2):
        raise ValueError(f"x has shape {x.shape}; expected (T,) or (B, T). Mix channels down or flatten the batch")
    if not isinstance(config, MelConfig):
        raise TypeError(f"config is {_kind(config)}; expected a MelConfig")
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise SettingsError(f"threads is {threads!r}; expected a whole number, at least 1")
    tables = plan(config)
    shape = (*x.shape[:-1], *tables.shape(x.shape[-1]))
    if out is None:
        out = np.empty(shape, _MADE_OF[x.dtype])
    elif not isinstance(out, np.ndarray) or _DTYPE_NAMES.get(out.dtype) not in OUT_DTYPES:
        raise TypeError(f"out is {_kind(out)}; expected a numpy array of {', '.join(OUT_DTYPES)}")
    elif x.dtype == np.float64 and out.dtype == np.float16:
        raise TypeError(
            "out is an array of float16; expected float32 or float64 for x of float64. Convert x to float32"
        )
    elif out.shape != shape:
        raise ValueError(f"out has shape {out.shape}; expected {shape} for x of shape {x.shape}")
    elif not out.flags.writeable:
        raise ValueError("out is read-only; expected a writable array")
    elif _overlap(x, out):
        raise ValueError("out overlaps x, which is read until the end; expected memory of its own")
    threads = min(threads, allowed_threads()) if threads > 1 else threads
    tables.run(x, out, threads)
    return out


def _overlap(x: np.ndarray, out: np.ndarray) -> bool:
    """Rows of both may take turns in one buffer."""
    try:
        return np.may_share_memory(x, out) and np.shares_memory(x, out, max_work=OVERLAP_WORK)
    except np.exceptions.TooHardError:
        return True


def refuse_narrow_names() -> None:
    """SettingsError where Python takes file names to be in another encoding than UTF-8, which the listing of a corpus
    gives: recordings whose names have other letters would not be found."""
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        raise SettingsError(
            f"the locale says that file names are in {encoding}; expected utf-8, or files would not be found by their "
            "names. Set PYTHONUTF8=1"
        )


class Level(NamedTuple):
    """How loud samples are, of all channels, full scale being 1; levels of pieces add up."""

    n: int  # samples
    peak: float  # max |x|
    clipped: int  # |x| >= 1 - 2^-15, or than a coarser format's largest number
    square_sum: float  # of x^2
    silent: int  # |x| < 1e-3 (-60 dBFS)

    def __add__(self, other: "Level") -> "Level":
        return Level(
            self.n + other.n,
            max(self.peak, other.peak),
            self.clipped + other.clipped,
            self.square_sum + other.square_sum,
            self.silent + other.silent,
        )


class Wav(NamedTuple):
    """A plain WAV file, or a part of it."""

    samples: np.ndarray  # (T,) mono: int16 of a mono PCM16 file, float32 otherwise
    rate: int  # Hz
    channels: int
    level: Level  # before mixing


# What is measured of a recording before resampling: WavClips in csrc/audio/wav_log_mel.hpp.
MEASURED = np.dtype(
    [
        ("clips", "<i8"),
        ("windows", "<i8"),  # with the quiet ones
        ("rate", "<i8"),  # Hz, the file's
        ("channels", "<i8"),
        ("samples", "<i8"),  # a channel, at the file's rate
        ("peak", "<f8"),  # from here on as in Level
        ("clipped", "<i8"),
        ("square_sum", "<f8"),
        ("silent", "<i8"),
        ("mono_power", "<f8"),  # mean of x^2 of the channels' mean
    ]
)


class WavBatch(NamedTuple):
    """The clips of some files."""

    mels: np.ndarray  # (n_clips, n_mels, n_frames) float32, file after file
    measured: np.ndarray  # (n_files,) MEASURED, in the order given; zeros for a file that was not taken
    numbers: np.ndarray  # (n_clips,) int64: the place of each clip's window in its recording
    not_taken: dict[int, str]  # why some of the files, by their place, are left to `corpus.audio.decode`
    read_ns: int  # spent up to the windows
    mel_ns: int  # spent in log_mel


def wav_log_mel(
    paths: Sequence[str | os.PathLike],
    mel: MelConfig,
    clip: ClipConfig,
    segments: Sequence[tuple[float | None, float | None]] | None = None,
    max_seconds: float = math.inf,
) -> WavBatch:
    """Plain WAV files to the log-mels of their clips, on one thread and without the interpreter lock.

    Each file is read, mixed down and cut as `corpus.audio.decode` and `preprocess.clips` do it, to the same bits.
    segments: start and end of each recording in its file, in seconds; None for the file's own.

    A file is not taken, and no verdict on it is meant, where it is not plain (see csrc/audio/wav.hpp), where its rate
    is not the contract's, where it is shorter than clip.min_seconds or longer than max_seconds, holds a NaN or cannot
    be read, and where only a part of a large file is wanted. Files are held in memory whole, one at a time.
    """
    _refuse_text("paths", paths)
    length, stride = mel.n_samples(clip.n_frames), clip.stride_frames * mel.hop_length
    tile, ratio = clip.short == "tile", quiet_ratio(clip.quiet_db)
    times = None if segments is None else list(segments)
    mels, measured, numbers, *rest = _native.wav_log_mel(
        plan(mel), list(paths), times, length, stride, tile, clip.min_seconds, max_seconds, ratio
    )
    mels = np.asarray(mels).reshape(-1, mel.n_mels, clip.n_frames)
    return WavBatch(mels, np.frombuffer(measured, MEASURED), np.asarray(numbers), *rest)


class Listing(NamedTuple):
    """The audio files of a folder as columns, in the order of their names' bytes."""

    names: np.ndarray  # (total,) uint8: posix paths inside the folder, end to end
    offsets: np.ndarray  # (n + 1,) int32: where each begins, and the end
    bytes: np.ndarray  # (n,) int64: the file's size; -1 where the file system does not tell
    labels: list[tuple[builtins.bytes, int]]  # top folders in order, and how many of the files lie in each
    unlabelled: list[str]  # audio outside any top folder, in no other field
    ignored: dict[str, int]  # files that are not audio by suffix, "" for none
    left_out: list[str]  # folders that begin with a dot, and links to a folder that was listed already
    dead_links: list[str]  # links that lead nowhere and are not named as audio: folders, maybe, of a share not mounted


def list_audio(root: str | os.PathLike, suffixes: Sequence[str], threads: int = 1) -> Listing:
    """The files below `root` whose names end in one of `suffixes` (lower case, ASCII case ignored) and do not begin
    with a dot. Folders that begin with a dot are left out; linked folders are followed, each real one once.

    Undecodable names are text as `os.fsdecode` gives it. Raises OSError for a folder that cannot be listed.
    """
    _refuse_text("suffixes", suffixes)
    names, offsets, n_bytes, *rest = _native.list_audio(root, list(suffixes), threads)
    return Listing(np.asarray(names).view(np.uint8), np.asarray(offsets), np.asarray(n_bytes), *rest)


def is_of_the_name(error: OSError) -> bool:
    """Whether a file cannot be looked at for its name's sake: gone, no link to anything, not for us. `list_audio` lists
    it then, without a size; all else, a disk that fails, say, is no property of a corpus."""
    return _native.is_of_the_name(error.errno or 0)


def start_writing(descriptor: int, first: int, n_bytes: int) -> None:
    """Have the system begin to write these bytes of an open file to disk, and wait for nothing; a later fsync is short.
    Does nothing where the system cannot be asked."""
    _native.start_writing(descriptor, first, n_bytes)


def let_go(descriptor: int, first: int, n_bytes: int) -> None:
    """Have the system's cache let go of these bytes of an open file, in whole pages, as far as they are on disk: who
    reads them next reads the disk. Does nothing where the system cannot be asked."""
    _native.let_go(descriptor, first, n_bytes)


def reserve(descriptor: int, first: int, n_bytes: int) -> None:
    """Have the file system set these bytes of an open file aside, in one piece if it can; the file's size stays, and
    truncating it gives back what lies behind its end. Does nothing where that is not possible."""
    _native.reserve(descriptor, first, n_bytes)


def read_wav(path: str | os.PathLike, start_s: float | None = None, end_s: float | None = None) -> Wav | str:
    """A plain WAV file, or the part from `start_s` to `end_s`, mixed down to mono; a string says why it is not one.

    Not plain as in `wav_log_mel`, but of any rate and any length above 0.
    """
    result = _native.read_wav(path, start_s, end_s)
    if isinstance(result, str):
        return result
    samples, rate, channels, of_file = result
    return Wav(np.asarray(samples), rate, channels, Level(*of_file))


def level(samples: np.ndarray, clipped_from: float = CLIPPED_FROM) -> Level:
    """The level of (T,) or (T, channels) int16 or float32 samples, any strides.

    clipped_from: the size of float32 samples that counts as clipped, 1 - 2^-15 as of int16; less where they come from
    a format that knows no number as large.
    """
    return Level(*_native.level(np.ascontiguousarray(samples).reshape(-1), clipped_from))


def window_energy(windows: np.ndarray) -> np.ndarray:
    """(n, length) int16 or float32, any strides -> (n,) float64: the mean square of each window, full scale being 1."""
    energy = np.empty(len(windows))
    _native.window_energy(windows, energy)
    return energy


def loud(energy: np.ndarray, quiet_db: float) -> np.ndarray:
    """Numbers of a recording's windows at most `quiet_db` below the loudest, by `window_energy`; all in silence."""
    return np.flatnonzero(energy >= energy.max() * quiet_ratio(quiet_db))


def loud_windows(windows: np.ndarray, quiet_db: float) -> np.ndarray:
    """`loud` of (n, length) int16 or float32 windows, any strides; a single one is loud without being measured."""
    return np.arange(1) if len(windows) == 1 else loud(window_energy(windows), quiet_db)


def quiet_ratio(quiet_db: float) -> float:
    """The fraction of the loudest window's energy below which a window is quiet."""
    return 10.0 ** (-quiet_db / 10.0)


def _refuse_text(name: str, values: object) -> None:
    """Each letter would be taken for one of them."""
    if isinstance(values, str | bytes | os.PathLike):
        raise TypeError(f"{name} is {values!r}; expected several, such as [{values!r}]")


def _kind(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else reprlib.repr(value)
