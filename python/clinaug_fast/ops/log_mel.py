"""log_mel as a torch operator: waveform in, log-mel out, differentiable as often as one likes.

``y = log(max(M |STFT(x)|^power, floor))``, scaled for log10 and dB as `MelConfig` says. x: (..., T) float32, float64 or
int16 (scaled by 1/32768); y: (..., n_mels, n_frames) in the dtype of x, float32 for int16, or in `dtype`: float32 or
float16, float64 for float64 x. Conventions and edge choices are those of `clinaug_fast.native.log_mel`. Where a mel
value is below the floor the gradient is zero; at a zero of the spectrum with power 1 it is taken as zero. Derivatives
are torch's, in the precision of x: in float32 those of weak bands beside loud ones are rough. Autocast changes nothing;
under torch.func and forward-mode differentiation it is `log_mel_reference` in float64.
On a GPU the n_fft of `clinaug_fast.ops.log_mel_cuda.SIZES` have a kernel, in single precision; float64 and, with a line
on stderr, other n_fft go through torch's FFT. Empty mel bands are refused by `LogMel`, not here.
Raises TypeError or ValueError naming what was given and what is expected.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from clinaug_fast import _native, native
from clinaug_fast.config import MelConfig
from clinaug_fast.mel import filter_bank, refuse_empty_bands
from clinaug_fast.ops import log_mel_cuda
from clinaug_fast.ops.library import LIBRARY, buffer, is_transformed, no_autocast

_INT16_SCALE = 1.0 / 32768.0

LIBRARY.define("log_mel(Tensor x, str contract, ScalarType? dtype=None) -> Tensor")
_OPERATOR = torch.ops.clinaug_fast.log_mel.default


def log_mel(x: torch.Tensor, config: MelConfig, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    _check(x, config, dtype)
    return _OPERATOR(x, config.contract, dtype)


log_mel.__doc__ = __doc__  # whoever asks `ops.log_mel` for help asks the function, not the module


def log_mel_reference(x: torch.Tensor, config: MelConfig, *, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The same in plain PyTorch: frames, window, FFT, power, filter bank, clamp, log, in the dtype of x."""
    _check(x, config, dtype)
    return _reference(x, config).to(_out_dtype(x, dtype))


class LogMel(torch.nn.Module):
    """`log_mel` as a module: (..., T) -> (..., n_mels, n_frames). Refuses a contract with empty bands."""

    def __init__(self, config: MelConfig, *, dtype: torch.dtype | None = None):
        super().__init__()
        _check_config(config)
        refuse_empty_bands(config)
        self.config, self.dtype = config, dtype

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return log_mel(x, self.config, dtype=self.dtype)

    if TYPE_CHECKING:  # of torch's it is only known that it returns something

        def __call__(self, x: torch.Tensor) -> torch.Tensor: ...

    def extra_repr(self) -> str:
        return self.config.signature


def _check_config(config: MelConfig) -> None:
    if not isinstance(config, MelConfig):
        raise TypeError(f"config is {config!r}; expected a MelConfig")


def _check(x: torch.Tensor, config: MelConfig, dtype: torch.dtype | None) -> None:
    _check_config(config)
    if not isinstance(x, torch.Tensor):
        raise TypeError(f"x is of type {type(x).__name__}; expected a tensor. Make one with torch.as_tensor")
    if x.dtype not in (torch.float32, torch.float64, torch.int16):
        raise TypeError(f"x is a tensor of {x.dtype}; expected float32, float64 or int16. Convert it with .to()")
    if x.ndim < 1:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., T)")
    possible = (torch.float64,) if x.dtype == torch.float64 else (torch.float32, torch.float16)
    if dtype is not None and dtype not in possible:
        named = " or ".join(str(name) for name in possible)
        raise TypeError(f"dtype is {dtype}; expected {named} for x of {x.dtype}. Convert the result with .to()")


def _out_dtype(x: torch.Tensor, dtype: torch.dtype | None) -> torch.dtype:
    return dtype or (torch.float32 if x.dtype == torch.int16 else x.dtype)


@lru_cache(maxsize=64)
def _config(contract: str) -> MelConfig:
    return MelConfig.from_contract(contract)


def _log_scale(config: MelConfig) -> float:
    return {"ln": 1.0, "log10": 1 / math.log(10), "db": 20 / config.power / math.log(10)}[config.log]


def _window(config: MelConfig, like: torch.Tensor) -> torch.Tensor:
    """(win_length,) periodic window."""
    make = {
        "hann": torch.hann_window,
        "hamming": torch.hamming_window,
        "blackman": torch.blackman_window,
        "boxcar": lambda n, **kind: torch.ones(n, **kind),
    }[config.window]
    return make(config.win_length, dtype=torch.float64, device=like.device).to(like.dtype)


def _framed(padded: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """(..., F, win_length) of (..., n_padded): of n_fft samples each those under the window, in the middle. The others
    are not looked at: they may be no numbers."""
    left = (config.n_fft - config.win_length) // 2
    return padded.unfold(-1, config.n_fft, config.hop_length).narrow(-1, left, config.win_length)


def _spectrum(padded: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """(B, F, n_bins) complex, of (B, n_padded); phases are those of frames that begin with the window."""
    frames = _framed(padded, config) * _window(config, padded)
    # Flat, since of a single frame inductor cannot tell the strides of a transform of three dimensions.
    return torch.fft.rfft(frames.flatten(0, 1), config.n_fft).unflatten(0, frames.shape[:2])


@lru_cache(maxsize=64)
def _filter_bank(config: MelConfig) -> np.ndarray:
    return filter_bank(config)


def _bank(config: MelConfig, like: torch.Tensor) -> torch.Tensor:
    """(n_mels, n_bins); a copy to the GPU each time, for which a CUDA graph has no room: it captures forward alone."""
    return torch.as_tensor(_filter_bank(config), dtype=like.dtype, device=like.device)


def _source(config: MelConfig, n_samples: int, n_padded: int, device: torch.device) -> torch.Tensor:
    """(n_padded,) int64: the sample that stands at each place of the padded waveform, -1 for a zero."""
    place = torch.arange(n_padded, device=device) - (config.n_fft // 2 if config.center else 0)
    if config.pad_mode == "constant":
        return torch.where((place < 0) | (place >= n_samples), -1, place)
    if config.pad_mode == "edge" or n_samples == 1:
        return place.clamp(0, n_samples - 1)
    phase = place.remainder(2 * (n_samples - 1))
    return torch.minimum(phase, 2 * (n_samples - 1) - phase)


def _padded(x: torch.Tensor, config: MelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, n_padded) waveform, and where its samples come from."""
    n_padded = x.shape[-1] + (2 * (config.n_fft // 2) if config.center else 0)
    source = _source(config, x.shape[-1], n_padded, x.device)
    return torch.where(source >= 0, x[:, source.clamp_min(0)], x.new_zeros(())), source


def _audible(mel: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """Not below the floor, which in float32 may come out as zero."""
    return ~((mel < config.floor) | (mel == 0))


def _reference(x: torch.Tensor, config: MelConfig) -> torch.Tensor:
    if x.dtype == torch.int16:
        x = x.to(torch.float32) * _INT16_SCALE
    n_frames = config.n_frames(x.shape[-1])
    if n_frames == 0 or x.numel() == 0:
        return x.new_empty((*x.shape[:-1], config.n_mels, n_frames))
    padded, _ = _padded(x.reshape(-1, x.shape[-1]), config)
    with no_autocast(x.device.type):
        mel = _bank(config, x) @ _spectrum(padded, config).abs().pow(config.power).mT
        audible = _audible(mel, config)
        above = torch.where(audible, mel, torch.ones_like(mel)).log()
        log_mel = torch.where(audible, above, math.log(config.floor)) * _log_scale(config)
    return log_mel.reshape(*x.shape[:-1], config.n_mels, n_frames)


@torch.library.impl(LIBRARY, "log_mel", "CPU")
def _cpu(x: torch.Tensor, contract: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    out = _empty(x, contract, dtype)
    if out.numel():
        _native.ask_for_huge_pages(out.data_ptr(), out.nbytes)
        waves, rows = (x, out) if x.ndim < 3 else (x.reshape(-1, x.shape[-1]), out.view(-1, *out.shape[-2:]))
        native.plan_of(contract).run(buffer(waves), buffer(rows), torch.get_num_threads())
    return out


@torch.library.impl(LIBRARY, "log_mel", "CUDA")
def _cuda(x: torch.Tensor, contract: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    config = _config(contract)
    if reason := log_mel_cuda.why_no_kernel(config, x.dtype, x.device.index):
        if x.dtype != torch.float64:
            log_mel_cuda.say_once(reason)
        return _reference(x, config).to(_out_dtype(x, dtype)).contiguous()
    out = _empty(x, contract, dtype)
    if out.numel():
        log_mel_cuda.launch(x.detach(), out, contract)
    return out


@torch.library.register_fake("clinaug_fast::log_mel", lib=LIBRARY)
def _empty(x: torch.Tensor, contract: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    config = _config(contract)
    return x.new_empty((*x.shape[:-1], config.n_mels, config.n_frames(x.shape[-1])), dtype=_out_dtype(x, dtype))


@torch.library.register_vmap("clinaug_fast::log_mel", lib=LIBRARY)
def _vmap(info, dims, x: torch.Tensor, contract: str, dtype: torch.dtype | None = None) -> tuple[torch.Tensor, int]:
    return _OPERATOR(x.movedim(dims[0], 0), contract, dtype), 0  # leading dimensions are free


def _backward(grad: torch.Tensor, x: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """dL/dx from dL/dy, made of differentiable operations, so that it can be differentiated again.

    The spectrum is recomputed from x. With S = rfft(frames): dL/dS = 2 S (M' dL/dmel) for power 2, its unit phasor
    times that for power 1; the adjoint of rfft is a forward-normalised inverse FFT over the bins at hand; framing and
    padding are one gather, so their adjoint is one index_add.
    """
    n_samples, n_frames = x.shape[-1], grad.shape[-1]
    if n_frames == 0 or x.numel() == 0:
        return torch.zeros_like(x)
    waves = x.reshape(-1, n_samples)
    padded, source = _padded(waves, config)
    bank, spectrum = _bank(config, x), _spectrum(padded, config)  # (n_mels, n_bins), (B, F, n_bins)
    power = spectrum.real.square() + spectrum.imag.square() if config.power == 2 else spectrum.abs()
    mel = power @ bank.T  # (B, F, n_mels)
    grad_log = grad.reshape(-1, config.n_mels, n_frames).transpose(1, 2) * _log_scale(config)
    audible = _audible(mel, config)
    grad_mel = torch.where(audible, grad_log / torch.where(audible, mel, torch.ones_like(mel)), torch.zeros_like(mel))
    grad_power = grad_mel @ bank
    grad_spectrum = grad_power * (2 * spectrum if config.power == 2 else spectrum.sgn())
    full = torch.nn.functional.pad(grad_spectrum, (0, config.n_fft - spectrum.shape[-1]))
    under_window = torch.fft.ifft(full, norm="forward").real.narrow(-1, 0, config.win_length)
    grad_frames = under_window * _window(config, x)  # (B, F, win_length)
    place = _framed(source, config)  # (F, win_length)
    kept = torch.where(place >= 0, grad_frames, grad_frames.new_zeros(()))
    zeros = waves.new_zeros(waves.shape)
    return zeros.index_add(1, place.clamp_min(0).reshape(-1), kept.reshape(kept.shape[0], -1)).reshape(x.shape)


class _LogMel(torch.autograd.Function):
    """On the Autograd key, where a call costs less than with `register_autograd`."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, contract: str, dtype: torch.dtype | None) -> torch.Tensor:
        ctx.contract = contract
        ctx.save_for_backward(x)
        with torch._C._AutoDispatchBelowAutograd():
            return _OPERATOR(x, contract, dtype)

    @staticmethod
    def backward(ctx, grad: torch.Tensor):
        (x,) = ctx.saved_tensors
        with no_autocast(x.device.type):
            return _backward(grad.to(x.dtype), x, _config(ctx.contract)), None, None


@torch.library.impl(LIBRARY, "log_mel", "Autograd")
def _autograd(x: torch.Tensor, contract: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    if is_transformed():  # in float64, which autocast leaves alone: below torch.func it cannot be switched off
        scale = _INT16_SCALE if x.dtype == torch.int16 else 1.0
        return _reference(x.double() * scale, _config(contract)).to(_out_dtype(x, dtype))
    if x.requires_grad and torch.is_grad_enabled():
        return _LogMel.apply(x, contract, dtype)
    with torch._C._AutoDispatchBelowAutograd():
        return _OPERATOR(x, contract, dtype)
