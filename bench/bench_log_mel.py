"""log_mel, float32, one thread, a minute of noise: ours on every instruction set against what people use today.

The yardsticks: auvux-dsp, asrfront (its one contract), librosa, kaldi-native-fbank, the torch.stft pipeline, and FFTW's
patiently planned real transform of every frame with neither window nor mel ("bare rfft"). A peer that is not installed
is named and left out. Those with our conventions must agree with us before they are timed. Then the growth with n_fft,
two threads against one, and short clips against the long recording.
"""

import os
from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np
import torch

from bench.interleave import interleaved, processor
from clinaug_fast import MelConfig, _native, native, ops

CONTRACTS = [
    MelConfig(sample_rate=44100, n_fft=2048, hop_length=512, n_mels=64, log="db"),
    MelConfig(sample_rate=8000, n_fft=512, hop_length=128, n_mels=64, log="db"),
    MelConfig(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, log="db"),
    MelConfig(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80, log="db"),
    MelConfig(sample_rate=44100, n_fft=4096, hop_length=1024, n_mels=128, log="db"),
]
SECONDS = 60
WALKS = 5
TONE = 443.7  # Hz; no bin of any contract, or nothing would leak into the others
ROUNDS = 11
AGREEMENT_DB = 0.01


def ours(x: np.ndarray, config: MelConfig, instruction_set: str, threads: int = 1) -> Callable[[], np.ndarray]:
    """x: (B, T). What native.log_mel does after its checks, on an instruction set of one's choice."""
    plan = native.plan(config, instruction_set)
    shape = (len(x), config.n_mels, config.n_frames(x.shape[1]))

    def call() -> np.ndarray:
        out = np.empty(shape, np.float32)
        plan.run(x, out, threads)
        return out

    return call


def auvux(x: np.ndarray, config: MelConfig) -> Callable[[], np.ndarray]:
    dsp = import_module("auvux.dsp")
    mel = dsp.MelSpectrogram(
        sr=config.sample_rate,
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        pad_mode="reflect",
        output="db",
    )
    return lambda: mel(x)


def librosa(x: np.ndarray, config: MelConfig) -> Callable[[], np.ndarray]:
    feature, power_to_db = import_module("librosa.feature"), import_module("librosa").power_to_db
    sizes = {"n_fft": config.n_fft, "hop_length": config.hop_length, "n_mels": config.n_mels}

    def call() -> np.ndarray:
        power = feature.melspectrogram(y=x, sr=config.sample_rate, pad_mode="reflect", **sizes)
        return power_to_db(power, top_db=None)

    return call


def torch_stft(x: np.ndarray, config: MelConfig) -> Callable[[], np.ndarray]:
    wave = torch.from_numpy(x)
    return lambda: ops.log_mel_reference(wave, config).numpy()


def asrfront(x: np.ndarray, config: MelConfig) -> Callable[[], object] | None:
    """Whisper's log-mel: its own scaling of the result, so only timed; it has this one contract."""
    whisper = import_module("asrfront").whisper
    if (config.sample_rate, config.n_fft, config.hop_length, config.n_mels) != (16000, 400, 160, 80):
        return None
    return lambda: whisper.log_mel(x, pad_or_trim=False)


def kaldi(x: np.ndarray, config: MelConfig) -> Callable[[], object]:
    """Kaldi's fbank rounds its window up to a power of two and its mels are htk's: only timed."""
    knf = import_module("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.samp_freq = config.sample_rate
    options.frame_opts.frame_length_ms = 1000 * config.n_fft / config.sample_rate
    options.frame_opts.frame_shift_ms = 1000 * config.hop_length / config.sample_rate
    options.mel_opts.num_bins = config.n_mels

    def call() -> object:
        fbank = knf.OnlineFbank(options)
        fbank.accept_waveform(config.sample_rate, x)
        fbank.input_finished()
        return fbank.num_frames_ready

    return call


def bare_rfft(x: np.ndarray, config: MelConfig) -> Callable[[], object]:
    """As many transforms as there are frames, 64 at a time, in and out of the cache."""
    pyfftw = import_module("pyfftw")
    frames = pyfftw.empty_aligned((64, config.n_fft), "float32")
    spectra = pyfftw.empty_aligned((64, config.n_fft // 2 + 1), "complex64")
    transform = pyfftw.FFTW(frames, spectra, axes=(1,), flags=("FFTW_PATIENT",), threads=1)
    frames[:] = x[: config.n_fft]
    times = round(config.n_frames(len(x)) / 64)

    def call() -> object:
        for _ in range(times):
            transform.execute()
        return spectra

    return call


AGREEING = {"auvux-dsp": auvux, "librosa": librosa, "torch.stft": torch_stft}
TIMED_ONLY = {"asrfront": asrfront, "kaldi-native-fbank": kaldi, "bare rfft": bare_rfft}


def contenders(x: np.ndarray, config: MelConfig) -> Iterator[tuple[str, Callable[[], object]]]:
    """Ours first; the peers that agree with us follow."""
    fastest = _native.instruction_sets[0]
    exact = native.log_mel(x.astype(np.float64), config)
    for name in _native.instruction_sets:
        call = ours(x[None], config, name)
        assert np.abs(call()[0] - exact).max() < AGREEMENT_DB, name
        yield ("ours" if name == fastest else f"ours {name}"), call
    for name, make in (AGREEING | TIMED_ONLY).items():
        try:
            call = make(x, config)
        except ImportError:
            print(f"{name} is not installed: left out")
            continue
        if call is None:
            continue
        if name in AGREEING:
            assert np.abs(np.asarray(call()) - exact).max() < AGREEMENT_DB, name
        yield name, call


def against_peers() -> None:
    fastest = _native.instruction_sets[0]
    print(f"log_mel, float32, 1 thread, {SECONDS} s, {processor()}, ours on {fastest}; medians of rounds")
    for config in CONTRACTS:
        draw = np.random.default_rng(0)
        x = (0.1 * draw.standard_normal(SECONDS * config.sample_rate)).astype(np.float32)
        n_frames = config.n_frames(len(x))
        timing = interleaved(dict(contenders(x, config)), ROUNDS)
        print(f"\n{config.n_fft}/{config.hop_length}/{config.n_mels} at {config.sample_rate} Hz, {n_frames} frames")
        print(f"{'':<20}{'ns/frame':>10}{'x ours':>9}")
        for name, time in timing.items():
            print(f"{name:<20}{1e9 * time.seconds / n_frames:>10.0f}{time.ratio:>9.2f}")
        own = [name for name in timing if name.startswith("ours")]
        peers = [name for name in timing if name not in own and name != "bare rfft"]
        best = min(peers, key=lambda name: timing[name].seconds, default=None)
        for name in own:
            for yardstick in filter(timing.get, (best, "bare rfft")):
                theirs, mine = timing[yardstick], timing[name]
                print(
                    f"{name} is {theirs.seconds / mine.seconds:.2f} x as fast as {yardstick}"
                    f" ({theirs.least / mine.least:.2f} x by the least times)"
                )


def against_ourselves(two_cores: bool) -> None:
    """Frames a second of two threads, of a clip of 1 s and of 64 clips of 2 s, over those of a minute on one thread."""
    name = _native.instruction_sets[0]
    print(f"\nours on {name}: frames a second over those of {SECONDS} s on one thread")
    waves = {"": (1, SECONDS)} | ({"2 threads": (1, SECONDS)} if two_cores else {})
    waves |= {"1 s clip": (1, 1), "64 x 2 s": (64, 2)}
    print(f"{'':<20}" + "".join(f"{label:>10}" for label in list(waves)[1:]))
    for config in CONTRACTS:
        draw = np.random.default_rng(0)
        frames, calls = {}, {}
        for label, (batch, seconds) in waves.items():
            x = (0.1 * draw.standard_normal((batch, seconds * config.sample_rate))).astype(np.float32)
            frames[label] = batch * config.n_frames(x.shape[1])
            calls[label] = ours(x, config, name, 2 if label == "2 threads" else 1)
        timing = interleaved(calls, ROUNDS)
        rates = [frames[label] / frames[""] / timing[label].ratio for label in list(waves)[1:]]
        print(f"{config.n_fft}/{config.hop_length}/{config.n_mels:<10}" + "".join(f"{rate:>10.2f}" for rate in rates))


def hard_signals() -> None:
    """What frames cost that single precision cannot carry as they are: falling sound takes pre-emphasis, a tone double
    precision."""
    name = _native.instruction_sets[0]
    print(f"\nours on {name}: time of {SECONDS} s over that of noise")
    print(f"{'':<20}{'falls by 6 dB an octave':>25}{'a tone':>10}")
    for config in CONTRACTS:
        t = np.arange(SECONDS * config.sample_rate) / config.sample_rate
        noise = np.random.default_rng(0).standard_normal(len(t))
        walks = {f"falls {seed}": _walk(len(t), seed) for seed in range(WALKS)}
        waves = {"noise": 0.1 * noise, **walks, "a tone": 0.5 * np.sin(2 * np.pi * TONE * t)}
        calls = {label: ours(x.astype(np.float32)[None], config, name) for label, x in waves.items()}
        timing = interleaved(calls, ROUNDS)
        sizes = f"{config.n_fft}/{config.hop_length}/{config.n_mels}"
        ratios = [timing[label].ratio for label in walks]
        print(f"{sizes:<20}{f'{min(ratios):.2f}-{max(ratios):.2f}':>25}{timing['a tone'].ratio:>10.2f}")


def _walk(n: int, seed: int) -> np.ndarray:
    """A random walk that ends where it began; what it costs differs with the seed."""
    noise = np.random.default_rng(seed).standard_normal(n)
    walk = np.cumsum(noise) - np.linspace(0.0, noise.sum(), n)
    return 0.5 * walk / np.abs(walk).max()


def growth() -> None:
    """Nanoseconds a frame over n_fft log2 n_fft: falling or level means no faster growth."""
    name = _native.instruction_sets[0]
    print(f"\nours on {name}: ns a frame / (n_fft log2 n_fft), hop n_fft / 4, 40 mels")
    for n_fft in (256, 400, 512, 1000, 1024, 1021, 2048, 4096, 8192, 16384):
        config = MelConfig(sample_rate=44100, n_fft=n_fft, n_mels=40)
        x = np.random.default_rng(0).standard_normal((1, 250 * n_fft)).astype(np.float32)
        seconds = interleaved({"": ours(x, config, name)}, ROUNDS)[""].seconds
        print(f"{n_fft:<20}{1e9 * seconds / config.n_frames(x.shape[1]) / (n_fft * np.log2(n_fft)):>10.4f}")


def main() -> None:
    torch.set_num_threads(1)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})  # one thread for everybody: some peers start theirs unasked
    against_peers()
    hard_signals()
    growth()
    os.sched_setaffinity(0, allowed)
    against_ourselves(two_cores=len(allowed) > 1)


if __name__ == "__main__":
    main()
