"""log_mel on a GPU: ours against the torch pipeline (stft, abs^2, mel matmul, log), flashmel, torchaudio and a copy.

flashmel's six published cases and the clinical ones. Ours includes the log; flashmel and torchaudio stop at the power
mel. A peer that is not installed is named and left out. Before a case is timed ours must agree with float64 on fresh
noise, with the memory that its result will get filled with NaN.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch

from bench.cuda_timing import interleaved_cuda, introduce, n_inputs, poison
from clinaug_fast import MelConfig, ops
from clinaug_fast.mel import filter_bank
from clinaug_fast.ops import log_mel_cuda

AGREEMENT = 1e-3  # of natural logarithms of noise
AGREEMENT_HALF = 2e-2


@dataclass(frozen=True)
class Case:
    name: str
    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int
    n_samples: int
    batch: int
    dtype: torch.dtype = torch.float32
    out_dtype: torch.dtype = torch.float32

    @property
    def config(self) -> MelConfig:
        return MelConfig(
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
            mel_scale="htk",
            norm="none",
        )

    @property
    def bytes_in(self) -> int:
        return self.batch * self.n_samples * self.dtype.itemsize

    @property
    def n_bytes(self) -> int:
        """Audio in once, log-mel out once."""
        n_out = self.batch * self.n_mels * self.config.n_frames(self.n_samples)
        return self.bytes_in + n_out * self.out_dtype.itemsize

    def draw(self, seed: int) -> torch.Tensor:
        draw = torch.Generator("cuda").manual_seed(seed)
        x = 0.1 * torch.randn(self.batch, self.n_samples, generator=draw, device="cuda")
        return (x * 32767).clamp(-32768, 32767).to(torch.int16) if self.dtype == torch.int16 else x


CASES = [
    Case("whisper", 16000, 400, 160, 128, 480000, 32),
    Case("whisper int16 -> float16", 16000, 400, 160, 128, 480000, 32, torch.int16, torch.float16),
    Case("speech", 16000, 1024, 256, 80, 160000, 32),
    Case("small", 16000, 64, 16, 40, 16000, 64),
    Case("music", 44100, 4096, 1024, 256, 441000, 16),
    Case("huge", 44100, 16384, 4096, 256, 441000, 16),
    Case("heart clips", 8000, 512, 128, 64, 19200, 256),
    Case("heart clips, 256 points", 4000, 256, 64, 32, 9600, 512),
    Case("25 ms, 10 ms of 8 kHz", 8000, 400, 80, 40, 80000, 128),
    Case("20 ms of 32 kHz", 32000, 640, 320, 64, 320000, 32),
    Case("lungs", 44100, 2048, 512, 64, 441000, 64),
    Case("long frames", 44100, 8192, 2048, 128, 441000, 32),
]


def pipeline(inputs: list[torch.Tensor], case: Case) -> Callable[[int], object]:
    """What people write: its window and filter bank are made beforehand."""
    config = case.config
    window = torch.hann_window(config.n_fft, device="cuda")
    bank = torch.as_tensor(filter_bank(config), dtype=torch.float32, device="cuda")

    def call(i: int) -> object:
        x = inputs[i]
        if x.dtype == torch.int16:
            x = x.to(torch.float32) * (1 / 32768)
        spectrum = torch.stft(x, config.n_fft, config.hop_length, window=window, center=True, return_complex=True)
        return (bank @ spectrum.abs().square()).clamp_min(config.floor).log().to(case.out_dtype)

    return call


def flashmel(inputs: list[torch.Tensor], case: Case) -> Callable[[int], object]:
    mel = import_module("flashmel").MelSpectrogram(
        sample_rate=case.sample_rate,
        n_fft=case.n_fft,
        hop_length=case.hop_length,
        n_mels=case.n_mels,
        dtype=case.out_dtype,
    )
    return lambda i: mel(inputs[i])


def torchaudio(inputs: list[torch.Tensor], case: Case) -> Callable[[int], object]:
    mel = import_module("torchaudio.transforms").MelSpectrogram(
        sample_rate=case.sample_rate, n_fft=case.n_fft, hop_length=case.hop_length, n_mels=case.n_mels
    )
    mel = mel.cuda()
    return lambda i: mel(inputs[i] if inputs[i].is_floating_point() else inputs[i].float() * (1 / 32768))


PEERS = {"torch": pipeline, "flashmel": flashmel, "torchaudio": torchaudio}


def check(case: Case) -> None:
    """Ours agrees with float64 on fresh noise, into memory full of NaN; of a batch, the first and the last four."""
    x = case.draw(seed=10_000)
    some = [*range(4), *range(-4, 0)]
    scaled = x[some].double() / 32768 if x.dtype == torch.int16 else x[some].double()
    exact = ops.log_mel_reference(scaled, case.config)
    poison(case.batch * exact[0].numel() * case.out_dtype.itemsize)
    worst = (ops.log_mel(x, case.config, dtype=case.out_dtype)[some].double() - exact).abs().max().item()
    limit = AGREEMENT_HALF if case.out_dtype == torch.float16 else AGREEMENT
    if not worst < limit:
        raise SystemExit(f"{case.name}: ours is {worst:g} away from float64; expected less than {limit:g}")


def main() -> None:
    peak = introduce()
    heads = ("ours ms", "of peak", *(f"x {name}" for name in PEERS))
    print(f"\nlog_mel, ratios are times over ours\n{'':<38}" + "".join(f"{head:>13}" for head in heads))
    for case in CASES:
        check(case)
        n = n_inputs(case.bytes_in)
        inputs = [case.draw(seed) for seed in range(n)]
        config, dtype = case.config, case.out_dtype
        calls = {"ours": lambda i, x=inputs, c=config, d=dtype: ops.log_mel(x[i], c, dtype=d)}
        for name, make in PEERS.items():
            try:
                calls[name] = make(inputs, case)
                calls[name](0)
            except (ImportError, RuntimeError, TypeError, ValueError) as error:
                calls.pop(name, None)
                print(f"{case.name}: {name} is left out: {error}")
        timing = interleaved_cuda(calls, n)
        reached = case.n_bytes / (1e-3 * timing["ours"].ms) / peak
        row = [f"{timing['ours'].ms:>13.4f}", f"{reached:>13.0%}"]
        row += [f"{timing[name].ratio:>13.2f}" if name in timing else f"{'-':>13}" for name in PEERS]
        marks = "" if all(t.captured for t in timing.values()) else "  (launches timed too for some)"
        kernel = "" if not log_mel_cuda.why_no_kernel(config, case.dtype, 0) else " [torch's FFT]"
        print(f"{case.name + kernel:<24}{case.n_fft:>6}/{case.hop_length}/{case.n_mels:<4}" + "".join(row) + marks)


if __name__ == "__main__":
    main()
