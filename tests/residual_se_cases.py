"""What the tests of residual_se's CUDA kernels share, phase by phase and on a GPU: the definition, the check."""

import torch

from clinaug_fast.ops import residual_se_cuda
from tolerance import residual_se_tolerance

ACTS = [("relu", 0.0), ("leaky_relu", 0.2), ("none", 0.0)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]

# (x, hidden): one pixel, one channel, one hidden unit; rows of whole vectors and of none; more channels or hidden units
# than a block has threads; rows longer than what a team takes.
SHAPES = [
    ((1, 8, 4, 4), 2),
    ((3, 1, 1, 1), 1),
    ((2, 40, 1, 1), 3),
    ((2, 1, 37, 41), 1),
    ((2, 3, 64, 48), 2),
    ((2, 24, 16, 16), 3),
    ((2, 33, 7, 5), 9),
    ((2, 300, 2, 3), 280),
    ((1, 1100, 3, 1), 5),
    ((5, 6, 3, 5), 40),
]


def definition(x, w1, b1, w2, b2, skip, act, slope):
    gate = torch.sigmoid((x.mean((2, 3)) @ w1.T + b1).relu() @ w2.T + b2)
    z = x * gate[:, :, None, None] + (0 if skip is None else skip)
    return {"relu": z.relu(), "leaky_relu": torch.nn.functional.leaky_relu(z, slope), "none": z}[act]


def image(values, layout, offset):
    """The values in that memory format, beginning so many elements into their storage."""
    b, c, h, w = values.shape
    flat = values.new_empty(values.numel() + offset)
    strides = (c * h * w, 1, c * w, c) if layout is torch.channels_last else (c * h * w, h * w, w, 1)
    return flat.as_strided((b, c, h, w), strides, offset).copy_(values)


def inputs(shape, hidden, dtype, layout, with_skip, offset, device, seed=0):
    """x, w1, b1, w2, b2, skip, grad_y"""
    draw = torch.Generator(device).manual_seed(seed)
    c = shape[1]

    def tensor(size, kind):
        return torch.randn(size, generator=draw, dtype=torch.float64, device=device).to(kind)

    x = image(tensor(shape, dtype), layout, offset)
    weights = [tensor(s, dtype) for s in ((hidden, c), (hidden,), (c, hidden), (c,))]
    for w in weights:
        w /= max(1, w.shape[-1]) ** 0.5
    skip = image(tensor(shape, dtype), layout, 0) if with_skip else None
    return x, *weights, skip, tensor(shape, dtype)


def distance(value, exact):
    """The largest difference, in units of the largest value where that is above 1; infinite where there is a NaN."""
    exact = exact.detach().double()
    worst = (value.double() - exact).abs().nan_to_num(nan=torch.inf).max()
    return worst.item() / max(1.0, exact.abs().max().item())


def check(
    kernels,
    target,
    shape,
    hidden=2,
    act="relu",
    slope=0.0,
    dtype=torch.float32,
    layout=torch.contiguous_format,
    with_skip=True,
    offset=0,
    device="cpu",
):
    """Forward and backward agree with the definition in float64, and memory formats are kept. Gives all outputs."""
    *given, grad_y = inputs(shape, hidden, dtype, layout, with_skip, offset, device)
    saved = residual_se_cuda.run_forward(kernels, target, *given, act, slope)
    y, mean, units, gate = saved
    x, w1, b1, w2, _, skip = given
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    leaves = [None if t is None else t.double().requires_grad_() for t in given]
    assert distance(mean, leaves[0].mean((2, 3))) < 1e-6
    assert distance(y, definition(*leaves, act, slope)) < residual_se_tolerance(dtype)
    # Which side of the bend a value is on is told by y as it was rounded.
    below = {"relu": 0.0, "leaky_relu": slope, "none": 1.0}[act]
    bend = below + (1 - below) * (y > 0).double()
    straight = definition(*leaves, "none", 0.0)
    exact = torch.autograd.grad(straight, [t for t in leaves if t is not None], grad_y.double() * bend)
    grads = residual_se_cuda.run_backward(
        kernels, target, grad_y, x, y, w1, w2, mean, units, gate, act, slope, with_skip
    )
    assert (grads[5] is not None) == with_skip
    for name, grad, like, beside in zip(
        ("x", "w1", "b1", "w2", "b2", "skip"), grads, exact, (x, w1, b1, w2, w2[:, 0], skip), strict=False
    ):
        assert grad.dtype == beside.dtype
        assert distance(grad, like) < residual_se_tolerance(dtype), name
    return *saved, *grads
