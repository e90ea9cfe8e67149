"""residual_se on a GPU: allocates and launches, for the operator in `residual_se.py`, which has checked what is given.

`forward` gives y and what `backward` needs besides: mean (B, C), hidden (B, hidden) before its relu and gate (B, C), in
float32, float64 for float64. x and skip: (B, C, H, W) in float32, float64, bfloat16 or float16, as the weights. Sums
are in float32 (float64), in a fixed order. Launches go to the current stream of x's device and wait for nothing, so a
CUDA graph can capture them. Contiguous and channels_last x are read where they are, anything else is copied first.
"""

from typing import Protocol

import torch

from clinaug_fast import _native
from clinaug_fast.ops.residual_se_inputs import CHANNELS_LAST, empty_state
from clinaug_fast.ops.residual_se_inputs import layout as layout_of


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

    Raises RuntimeError with CUDA's words.
    """
    with torch.cuda.device(x.device):
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
    with torch.cuda.device(x.device):
        return run_backward(_native, _stream(x), grad_y, x, y, w1, w2, mean, hidden, gate, act, slope, has_skip)


def run_forward(kernels: Kernels, target: tuple[int, int], x, w1, b1, w2, b2, skip, act, slope):
    """`forward` by these kernels, on the device and stream of `target`."""
    layout = layout_of(x)
    x, skip = _dense(x, layout), _dense(skip, layout)
    w1, b1, w2, b2 = (w.contiguous() for w in (w1, b1, w2, b2))
    y = torch.empty_like(x, memory_format=layout)
    mean, hidden, gate = empty_state(x, w1)
    if x.shape[0] > 0:
        call = _call(x, w1, layout, act, slope, target)
        scratch = mean.new_empty(kernels.residual_se_cuda_scratch(call, False))
        kernels.residual_se_cuda_forward(call, _addresses(x, w1, b1, w2, b2, skip, y, mean, hidden, gate, scratch))
    return y, mean, hidden, gate


def run_backward(
    kernels: Kernels, target: tuple[int, int], grad_y, x, y, w1, w2, mean, hidden, gate, act, slope, has_skip
):
    """`backward` by these kernels, on the device and stream of `target`."""
    layout = layout_of(y)
    x, y, grad_y = _dense(x, layout), _dense(y, layout), _dense(grad_y, layout)
    w1, w2, mean, hidden, gate = (tensor.contiguous() for tensor in (w1, w2, mean, hidden, gate))
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


def _dense(x: torch.Tensor | None, layout: torch.memory_format) -> torch.Tensor | None:
    return None if x is None else x.contiguous(memory_format=layout)


def _call(x, w1, layout, act, slope, target) -> tuple:
    batch, channels, height, width = x.shape
    spatial = height * width
    # A pixel a sample: both formats are the same memory, and as a pixel it is read by vectors.
    last = layout is CHANNELS_LAST or spatial == 1
    bend = {"relu": 0.0, "leaky_relu": slope, "none": 1.0}[act]
    dtype = str(x.dtype).removeprefix("torch.")
    return (batch, channels, w1.shape[0], spatial, last, dtype, act == "relu", float(bend), *target)
