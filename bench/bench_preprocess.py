"""Corpus to features: `preprocess` against what people use today, and against the floors below it.

Builds three corpora in a temporary folder, checks that ours and the peer agree, and lets them take turns with the page
cache warm, on one core: ours, which has a turn on two as well; auvux-dsp fed by soundfile, a .npy a recording; lhotse
in an environment of its own; the decoders alone; the bytes alone. A peer that is not installed is named and left out.

`python -m bench.bench_preprocess --help` tells the options.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import miniaudio
import numpy as np
import soundfile
import soxr

from bench.interleave import processor
from clinaug_fast import MelConfig
from clinaug_fast.config import ClipConfig
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.preprocess.receipt import peak_memory_bytes

AGREEMENT_DB = 0.01
HAS_AUVUX = find_spec("auvux") is not None
DISTINCT = 20  # recordings with a sound of their own; the others are copies
LABELS = ("even", "odd")
# What a corpus holds matters: frames with bands far below their loudest are computed in double precision too.
FALLING, WHITE = "a tone in noise that falls by 6 dB an octave, as rooms and bodies sound", "white noise"


@dataclass(frozen=True)
class Kind:
    """A corpus, and the features that are wanted of it; its clips leave at most 1 % of the frames out."""

    name: str
    files: int
    seconds: float
    rate: int
    channels: int
    suffix: str
    mel: MelConfig
    clip: ClipConfig
    signal: str = FALLING


EIGHT_KHZ = MelConfig(sample_rate=8000, n_fft=512, hop_length=128, n_mels=64, log="db")
CD = MelConfig(sample_rate=44100, n_fft=2048, hop_length=512, n_mels=64, log="db")
SHORT_WHITE = Kind("2.4 s WAV, 8 kHz", 5000, 2.4, 8000, 1, "wav", EIGHT_KHZ, ClipConfig(n_frames=150), WHITE)
KINDS = (
    Kind("2.4 s WAV, 8 kHz", 5000, 2.4, 8000, 1, "wav", EIGHT_KHZ, ClipConfig(n_frames=150)),
    SHORT_WHITE,
    Kind("60 s FLAC, 44.1 kHz", 60, 60.0, 44100, 1, "flac", CD, ClipConfig(n_frames=64)),
    Kind("60 s FLAC, 44.1 kHz", 60, 60.0, 44100, 1, "flac", CD, ClipConfig(n_frames=64), WHITE),
    Kind("10 s WAV, 16 kHz stereo to 8 kHz", 500, 10.0, 16000, 2, "wav", EIGHT_KHZ, ClipConfig(n_frames=104)),
)


def build(folder: Path, kind: Kind, files: int) -> list[Path]:
    """LABEL/NUMBER.wav or .flac, PCM16, with the kind's signal."""
    for label in LABELS:
        (folder / label).mkdir(parents=True)
    paths = [folder / LABELS[i % 2] / f"{i:06d}.{kind.suffix}" for i in range(files)]
    t = np.arange(round(kind.seconds * kind.rate)) / kind.rate
    for i, path in enumerate(paths[:DISTINCT]):
        rng = np.random.default_rng(i)
        samples = rng.standard_normal((len(t), kind.channels))
        if kind.signal == FALLING:
            samples = np.cumsum(samples, axis=0)
            samples -= np.linspace(samples[0], samples[-1], len(t))
        samples *= 0.4 / abs(samples).max()
        if kind.signal == FALLING:
            samples += 0.1 * np.sin(2 * np.pi * rng.uniform(200, 2000) * t)[:, None]
        soundfile.write(path, samples, kind.rate, "PCM_16")
    for i, path in enumerate(paths[DISTINCT:]):
        shutil.copyfile(paths[i % DISTINCT], path)
    return sorted(paths)


def read_mono(path: Path, rate: int) -> np.ndarray:
    """The peer's waveform: float32, the mean of the channels, resampled by soxr."""
    samples, file_rate = soundfile.read(path, dtype="float32")
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    return samples if file_rate == rate else soxr.resample(samples, file_rate, rate, quality="HQ")


def auvux_mel(mel: MelConfig) -> Callable[[np.ndarray], np.ndarray]:
    sizes = {"sr": mel.sample_rate, "n_fft": mel.n_fft, "hop_length": mel.hop_length, "n_mels": mel.n_mels}
    return import_module("auvux.dsp").MelSpectrogram(**sizes, pad_mode="reflect", output="db")


def ours(corpus: Path, kind: Kind, threads: int) -> Callable[[Path], object]:
    return lambda out: preprocess(corpus, out, kind.mel, kind.clip, threads=threads)


def on(cores: Sequence[int], call: Callable[[Path], object]) -> Callable[[Path], object]:
    """The call on these cores, as the threads that it starts."""

    def there(out: Path) -> None:
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        call(out)
        os.sched_setaffinity(0, before)

    return there


def each(work: Callable[[Path], object], paths: Sequence[Path]) -> Callable[[Path], object]:
    """`work` on every file."""

    def call(_: Path) -> None:
        for path in paths:
            work(path)

    return call


def auvux(paths: Sequence[Path], kind: Kind) -> Callable[[Path], object]:
    mel = auvux_mel(kind.mel)

    def call(out: Path) -> None:
        out.mkdir()
        for path in paths:
            np.save(out / path.stem, mel(read_mono(path, kind.mel.sample_rate)))

    return call


@contextmanager
def lhotse(python: str, corpus: Path, kind: Kind) -> Iterator[Callable[[Path], object]]:
    """A process that waits for the name of an output folder; it runs on the cores that this one may use."""
    mel = kind.mel
    sizes = [str(size) for size in (mel.sample_rate, mel.n_fft, mel.hop_length, mel.n_mels)]
    command = [python, Path(__file__).with_name("peer_lhotse.py"), corpus, *sizes]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def wait_for(word: str) -> None:
            for line in process.stdout:
                if line.strip() == word:
                    return
            raise RuntimeError(f"lhotse ended with code {process.wait()} before it was {word}")

        def call(out: Path) -> None:
            process.stdin.write(f"{out}\n")
            process.stdin.flush()
            wait_for("done")

        wait_for("ready")
        yield call
        process.stdin.close()


def check(corpus: Path, paths: Sequence[Path], kind: Kind, scratch: Path) -> None:
    """Ours is complete, and its first and last recordings are what the peer makes of the same windows."""
    ours(corpus, kind, 1)(scratch / "check")
    features = FeatureSet.open(scratch / "check")
    length = kind.mel.n_samples(kind.clip.n_frames)
    samples = read_mono(paths[0], kind.mel.sample_rate)
    stride = kind.clip.stride_frames * kind.mel.hop_length
    a_file = 1 + (len(samples) - length) // stride
    assert len(features) == a_file * len(paths), f"{len(features)} clips; expected {a_file} of each of {len(paths)}"
    if not HAS_AUVUX:
        shutil.rmtree(scratch / "check")
        return
    mel = auvux_mel(kind.mel)
    for path, first in ((paths[0], 0), (paths[-1], len(features) - a_file)):
        samples = read_mono(path, kind.mel.sample_rate)
        for k in range(a_file):
            expected = mel(np.ascontiguousarray(samples[k * stride : k * stride + length]))
            difference = np.abs(features.clips([first + k])[0] - expected).max()
            assert difference < AGREEMENT_DB, f"{path}: clip {k} differs from auvux-dsp by {difference} dB"
    shutil.rmtree(scratch / "check")


def take_turns(
    contenders: Mapping[str, Callable[[Path], object]], scratch: Path, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each, a call a round after one to warm up; each call gets a new folder, removed untimed."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, call in contenders.items():
            out = scratch / f"out{number}"
            os.sync()  # what the one before left to be written is not this one's to wait for
            begun = time.perf_counter()
            call(out)
            if number:
                seconds[name].append(time.perf_counter() - begun)
            for leftover in scratch.glob(f"{out.name}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    return seconds


def compare(kind: Kind, files: int, cores: Sequence[int], rounds: int, lhotse_python: str | None) -> None:
    """One table: everybody on the first core, and ours on two where there are two."""
    os.sched_setaffinity(0, cores[:1])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as processes:
        scratch, corpus = Path(folder), Path(folder) / "corpus"
        paths = build(corpus, kind, files)
        check(corpus, paths, kind, scratch)
        contenders = {"ours": ours(corpus, kind, 1)}
        if len(cores) > 1:
            contenders["ours, two cores"] = on(cores[:2], ours(corpus, kind, 2))
        if HAS_AUVUX:
            contenders["auvux-dsp"] = auvux(paths, kind)
        contenders["soundfile int16 alone"] = each(lambda path: soundfile.read(path, dtype="int16"), paths)
        contenders["the bytes alone"] = each(Path.read_bytes, paths)
        if kind.suffix == "flac":
            contenders["miniaudio alone"] = each(lambda path: miniaudio.flac_read_s16(path.read_bytes()), paths)
        if lhotse_python:
            contenders["lhotse"] = processes.enter_context(lhotse(lhotse_python, corpus, kind))
        seconds = take_turns(contenders, scratch, rounds)
    print(f"\n{files} files of {kind.name}, one core: {kind.signal}")
    print(f"{'':<24}{'files/s':>10}{'x ours':>9}")
    for name, times in seconds.items():
        ratio = statistics.median(t / o for t, o in zip(times, seconds["ours"], strict=True))
        print(f"{name:<24}{files / statistics.median(times):>10.0f}{ratio:>9.2f}")
    if len(cores) > 1:
        gains = [one / two for one, two in zip(seconds["ours"], seconds["ours, two cores"], strict=True)]
        print(f"two cores {statistics.median(gains):.2f} x one core")


def flatness(largest: int, rounds: int) -> None:
    """From 1000 files up, links to a few sounds, in a process of its own: files a second, the time in user mode, in
    which the kernel's copying into ever more page cache has no part, and the peak memory."""
    kind = SHORT_WHITE
    print(f"\n{kind.name}, one core: {kind.signal}")
    print(f"{'files':>8}{'files/s':>10}{'user us/file':>14}{'peak MiB':>10}")
    files = 1000
    while files <= largest:
        with tempfile.TemporaryDirectory() as folder:
            corpus, warm = Path(folder) / "corpus", Path(folder) / "warm"
            build(warm, kind, 2 * DISTINCT)
            sounds = build(corpus, kind, 2 * DISTINCT)
            for i in range(len(sounds), files):
                os.link(sounds[i % len(sounds)], corpus / LABELS[i % 2] / f"{i:06d}.wav")
            code = f"from bench.bench_preprocess import alone; print(*alone({folder!r}, {rounds}))"
            result = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
            seconds, user_seconds, peak_mib = map(float, result.stdout.split())
            print(f"{files:>8}{files / seconds:>10.0f}{1e6 * user_seconds / files:>14.0f}{peak_mib:>10.0f}")
        files *= 10


def alone(folder: str, rounds: int) -> tuple[float, float, float]:
    """Seconds of a run, its median; those in user mode, their mean; and this process's peak memory in MiB."""
    kind = SHORT_WHITE
    ours(Path(folder) / "warm", kind, 1)(Path(folder) / "warm-features")
    begun = os.times().user
    seconds = take_turns({"ours": ours(Path(folder) / "corpus", kind, 1)}, Path(folder), rounds)["ours"]
    user = (os.times().user - begun) / (rounds + 1)
    return statistics.median(seconds), user, peak_memory_bytes() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of each corpus's files (default 1)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--lhotse", metavar="PYTHON", help="an interpreter whose environment has lhotse and torch")
    parser.add_argument(
        "--flatness", type=int, metavar="FILES", help="also 1000 files, ten times as many, ... to FILES"
    )
    options = parser.parse_args()
    if not options.scale > 0.0:
        parser.error(f"--scale is {options.scale}; expected more than 0")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; expected 1 or more")
    if options.flatness is not None and options.flatness < 1000:
        parser.error(f"--flatness is {options.flatness}; expected 1000 or more")
    if options.lhotse and not shutil.which(options.lhotse):
        parser.error(f"--lhotse is {options.lhotse!r}, which is no program; expected an interpreter")
    cores = sorted(os.sched_getaffinity(0))
    print(f"corpus to features, {processor()}, medians of {options.rounds} rounds, page cache warm")
    if not HAS_AUVUX:
        print("auvux-dsp is left out: it is not installed, and nothing is checked against it")
    if not options.lhotse:
        print("lhotse is left out: name its interpreter with --lhotse")
    for kind in KINDS:
        compare(kind, max(2, round(kind.files * options.scale)), cores, options.rounds, options.lhotse)
    os.sched_setaffinity(0, cores[:1])
    if options.flatness:
        flatness(options.flatness, options.rounds)


if __name__ == "__main__":
    main()
