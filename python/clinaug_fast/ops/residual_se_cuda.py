"""residual_se on a GPU: checks, allocates and launches, for the operator in `residual_se.py`.

`forward` gives y and what `backward` needs besides: mean (B, C), hidden (B, hidden) before its relu and gate (B, C), in
float32, float64 for float64. x and skip: (B, C, H, W) in float32, float64, bfloat16 or float16; weights in the dtype of
x, or in float32 beside half precision. Sums are in float32 (float64), in a fixed order. Launches go to the current
stream of x's device and wait for nothing, so a CUDA graph can capture them. Contiguous and channels_last x are read
where they are, anything else is copied first.
"""

from typing import Protocol

import torch

from clinaug_fast import _native

DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
}


class Kernels(Protocol):
    """`_native`, or in the tests what runs the same phases on the CPU. Tuples are those of residual_se_call.hpp."""

    def residual_se_cuda_scratch(self, call: tuple, backward: bool) -> int: ...
    def residual_se_cuda_forward(self, call: tuple, addresses: tuple) -> None: ...
    def residual_se_cuda_backward(self, call: tuple, addresses: tuple) -> None: ...


def forward(
    x: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
    skip: torch.Tensor | None = None,
    act: str = "relu",
    slope: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(y, mean, hidden, gate); y has the dtype and the memory format of x.

    Raises TypeError or ValueError naming what was given and what is expected, RuntimeError with CUDA's words.
    """
    _check_device(x)
    return run_forward(_native, _stream(x), x, w1, b1, w2, b2, skip, act, slope)


def backward(
    grad_y: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    w1: torch.Tensor,
    w2: torch.Tensor,
    mean: torch.Tensor,
    hidden: torch.Tensor,
    gate: torch.Tensor,
    act: str = "relu",
    slope: float = 0.0,
    has_skip: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """(grad_x, grad_w1, grad_b1, grad_w2, grad_b2, grad_skip), each like what it is the gradient of.

    x, y, mean, hidden and gate are those of `forward`. Raises as `forward` does.
    """
    _check_device(x)
    return run_backward(_native, _stream(x), grad_y, x, y, w1, w2, mean, hidden, gate, act, slope, has_skip)


def run_forward(kernels: Kernels, target: tuple[int, int], x, w1, b1, w2, b2, skip, act, slope):
    """`forward` by these kernels, on the device and stream of `target`."""
    _check(x, w1, b1, w2, b2, skip, act, slope)
    layout = _layout(x)
    x, skip = _dense(x, layout), _dense(skip, layout)
    w1, b1, w2, b2 = (w.contiguous() for w in (w1, b1, w2, b2))
    real = _real(x)
    y = torch.empty_like(x, memory_format=layout)
    mean, gate = (x.new_empty(x.shape[:2], dtype=real) for _ in range(2))
    hidden = x.new_empty((x.shape[0], w1.shape[0]), dtype=real)
    if x.shape[0] > 0:
        call = _call(x, w1, layout, act, slope, target)
        scratch = x.new_empty(kernels.residual_se_cuda_scratch(call, False), dtype=real)
        kernels.residual_se_cuda_forward(call, _addresses(x, w1, b1, w2, b2, skip, y, mean, hidden, gate, scratch))
    return y, mean, hidden, gate


def run_backward(
    kernels: Kernels, target: tuple[int, int], grad_y, x, y, w1, w2, mean, hidden, gate, act, slope, has_skip
):
    """`backward` by these kernels, on the device and stream of `target`."""
    if grad_y.shape != x.shape or grad_y.dtype != x.dtype or grad_y.device != x.device:
        raise ValueError(f"grad_y is {_words(grad_y)}; expected {_words(x)} as x. Give the gradient of y")
    layout = _layout(y)
    x, y, grad_y = _dense(x, layout), _dense(y, layout), _dense(grad_y, layout)
    w1, w2 = w1.contiguous(), w2.contiguous()
    grad_x = torch.empty_like(x, memory_format=layout)
    grad_skip = torch.empty_like(grad_x) if has_skip else None
    make = torch.empty_like if x.shape[0] > 0 else torch.zeros_like
    grad_w1, grad_w2 = make(w1), make(w2)
    grad_b1, grad_b2 = make(w1[:, 0]), make(w2[:, 0])
    if x.shape[0] > 0:
        call = _call(x, w1, layout, act, slope, target)
        scratch = mean.new_empty(kernels.residual_se_cuda_scratch(call, True))
        inputs = (grad_y, x, None if act == "none" else y, w1, w2, mean, hidden, gate)
        grads = (grad_x, grad_skip, grad_w1, grad_b1, grad_w2, grad_b2)
        sums = (torch.empty_like(gate), torch.empty_like(hidden))
        kernels.residual_se_cuda_backward(call, _addresses(*inputs, *grads, *sums, scratch))
    return grad_x, grad_w1, grad_b1, grad_w2, grad_b2, grad_skip


def _stream(x: torch.Tensor) -> tuple[int, int]:
    return x.device.index, torch.cuda.current_stream(x.device).cuda_stream


def _addresses(*tensors: torch.Tensor | None) -> tuple[int, ...]:
    return tuple(0 if tensor is None else tensor.data_ptr() for tensor in tensors)


def _real(x: torch.Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _layout(x: torch.Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def _dense(x: torch.Tensor | None, layout: torch.memory_format) -> torch.Tensor | None:
    return None if x is None else x.contiguous(memory_format=layout)


def _call(x, w1, layout, act, slope, target) -> tuple:
    batch, channels, height, width = x.shape
    spatial = height * width
    # A pixel a sample: both formats are the same memory, and as a pixel it is read by vectors.
    last = layout is torch.channels_last or spatial == 1
    bend = {"relu": 0.0, "leaky_relu": slope, "none": 1.0}[act]
    types = DTYPES[x.dtype], DTYPES[w1.dtype]
    return (batch, channels, w1.shape[0], spatial, last, *types, act == "relu", float(bend), *target)


def _words(tensor: torch.Tensor) -> str:
    return f"{tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}"


def _check_device(x: torch.Tensor) -> None:
    if x.device.type != "cuda":
        raise ValueError(f"x is on {x.device}; expected a CUDA device. Move it with .cuda()")
    if not _native.cuda_compiler:
        raise RuntimeError("this build of clinaug-fast has no CUDA kernels. Install it where nvcc is on PATH")


def _check(x, w1, b1, w2, b2, skip, act, slope) -> None:
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (B, C, H, W) with C, H, W at least 1")
    if x.dtype not in DTYPES:
        raise TypeError(f"x is {x.dtype}; expected {', '.join(DTYPES.values())}. Convert it with .to()")
    if act not in ("relu", "leaky_relu", "none"):
        raise ValueError(f"act is {act!r}; expected relu, leaky_relu or none")
    if not slope >= 0:
        raise ValueError(f"slope is {slope}; expected 0 or more")
    half = x.dtype in (torch.bfloat16, torch.float16)
    if w1.dtype != x.dtype and not (half and w1.dtype == torch.float32):
        raise TypeError(f"w1 is {w1.dtype}; expected {x.dtype}{' or torch.float32' if half else ''} for x of {x.dtype}")
    channels, hidden = x.shape[1], max(1, w1.shape[0]) if w1.ndim == 2 else 1
    expected = {
        "w1": (w1, (hidden, channels), w1.dtype),
        "b1": (b1, (hidden,), w1.dtype),
        "w2": (w2, (channels, hidden), w1.dtype),
        "b2": (b2, (channels,), w1.dtype),
    }
    if skip is not None:
        expected["skip"] = (skip, tuple(x.shape), x.dtype)
    for name, (tensor, shape, dtype) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape} for x {tuple(x.shape)}")
        if tensor.dtype != dtype or tensor.device != x.device:
            raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; expected {dtype} on {x.device}")
