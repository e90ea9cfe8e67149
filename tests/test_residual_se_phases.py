"""residual_se's CUDA kernels without a GPU: their phases, thread by thread, against autograd on the definition in float64.

Shared memory keeps a record, so that a race, a missing barrier or a read of what nobody wrote is an error here.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinaug_fast import _device_phases
from clinaug_fast.ops import residual_se_cuda
from tolerance import residual_se_tolerance, worst

ACTS = [("relu", 0.0), ("leaky_relu", 0.2), ("none", 0.0)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]

# (multiprocessors, shared bytes a block, a multiprocessor, reserved, largest cluster, bytes of L2)
ONE_BLOCK = (1, 1 << 20, 4 << 20, 0, 1, 1 << 20)
CLUSTERS = (10_000, 1 << 20, 4 << 20, 0, 8, 1 << 20)  # cut as often as a slice of 8 KB allows
SMALL = (4, 9_000, 12_000, 0, 8, 1 << 20)  # clusters because a sample does not fit one block
THROUGH_L2 = (4, 100, 100, 0, 1, 4096)  # nothing fits; one or a few samples a launch
H100 = (132, 232_448, 233_472, 1024, 8, 50 << 20)
A100 = (108, 166_912, 167_936, 1024, 1, 40 << 20)
RTX_5090 = (170, 101_376, 102_400, 1024, 8, 96 << 20)


class Phases:
    """The kernels as `residual_se_cuda` calls them, run on the CPU for a device with these limits."""

    def __init__(self, limits):
        self.limits = limits

    def residual_se_cuda_scratch(self, call, backward):
        return _device_phases.residual_se_cuda_plan(call, backward, self.limits)["scratch"]

    def residual_se_cuda_forward(self, call, addresses):
        _device_phases.residual_se_cuda_forward(call, addresses, self.limits)

    def residual_se_cuda_backward(self, call, addresses):
        _device_phases.residual_se_cuda_backward(call, addresses, self.limits)


def plan(shape, hidden=2, layout=torch.contiguous_format, dtype="float32", backward=False, limits=H100):
    b, c, h, w = shape
    call = (b, c, hidden, h * w, layout is torch.channels_last, dtype, dtype, True, 0.0, 0, 0)
    return _device_phases.residual_se_cuda_plan(call, backward, limits)


def definition(x, w1, b1, w2, b2, skip, act, slope):
    gate = torch.sigmoid((x.mean((2, 3)) @ w1.T + b1).relu() @ w2.T + b2)
    z = x * gate[:, :, None, None] + (0 if skip is None else skip)
    return {"relu": z.relu(), "leaky_relu": torch.nn.functional.leaky_relu(z, slope), "none": z}[act]


def inputs(shape, hidden, dtype, layout, with_skip, weight_dtype=None, offset=0, seed=0):
    """x, w1, b1, w2, b2, skip, grad_y as a user has them; offset: x begins so many elements into its storage."""
    draw = torch.Generator().manual_seed(seed)
    c = shape[1]

    def tensor(size, kind):
        return torch.randn(size, generator=draw, dtype=torch.float64).to(kind)

    def image():
        values = tensor(shape, dtype)
        flat = torch.empty(values.numel() + offset, dtype=dtype)
        b, _, h, w = shape
        strides = (c * h * w, 1, c * w, c) if layout is torch.channels_last else (c * h * w, h * w, w, 1)
        placed = flat.as_strided((b, c, h, w), strides, offset)
        return placed.copy_(values)

    weights = [tensor(s, weight_dtype or dtype) for s in ((hidden, c), (hidden,), (c, hidden), (c,))]
    x, skip = image(), image() if with_skip else None
    return x, *weights, skip, tensor(shape, dtype)


def distance(value, exact):
    """The largest difference, in units of the largest value where that is above 1."""
    exact = exact.detach()
    return worst(value.double(), exact) / max(1.0, exact.abs().max().item())


def check(
    limits,
    shape,
    hidden=2,
    act="relu",
    slope=0.0,
    dtype=torch.float32,
    layout=torch.contiguous_format,
    with_skip=True,
    weight_dtype=None,
    offset=0,
):
    """Forward and backward agree with the definition, and y keeps the memory format."""
    kernels = Phases(limits)
    *given, grad_y = inputs(shape, hidden, dtype, layout, with_skip, weight_dtype, offset)
    y, mean, units, gate = residual_se_cuda.run_forward(kernels, (0, 0), *given, act, slope)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=residual_se_cuda._layout(given[0]))
    leaves = [None if t is None else t.double().requires_grad_() for t in given]
    assert distance(y, definition(*leaves, act, slope)) < residual_se_tolerance(dtype)
    # Which side of the bend a value is on is told by y as it was rounded.
    below = {"relu": 0.0, "leaky_relu": slope, "none": 1.0}[act]
    bend = below + (1 - below) * (y > 0).double()
    straight = definition(*leaves, "none", 0.0)
    exact = torch.autograd.grad(straight, [t for t in leaves if t is not None], grad_y.double() * bend)
    x, w1, _, w2, _, _ = given
    grads = residual_se_cuda.run_backward(
        kernels, (0, 0), grad_y, x, y, w1, w2, mean, units, gate, act, slope, with_skip
    )
    assert (grads[5] is not None) == with_skip
    for name, grad, like in zip(("x", "w1", "b1", "w2", "b2", "skip"), grads, exact, strict=False):
        assert distance(grad, like) < residual_se_tolerance(dtype), name
    return y, grads


@pytest.mark.parametrize("limits", [ONE_BLOCK, CLUSTERS, SMALL, THROUGH_L2], ids=["block", "clusters", "small", "l2"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 24, 16, 16), (2, 33, 7, 5)])
def test_definition(limits, layout, dtype, shape):
    check(limits, shape, hidden=3, act="leaky_relu", slope=0.2, dtype=dtype, layout=layout)
