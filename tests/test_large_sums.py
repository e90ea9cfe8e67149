"""Sums of residual_se over large planes and large batches lose no digits: of equal numbers, all errors add up."""

import pytest
import torch

from clinaug_fast import _native, ops
from clinaug_fast.ops import residual_se_cpu, residual_se_plain

CLOSE = 3e-6  # relative; one chain of additions in float32 is off by 4e-5 and more
PLANES = [(512, 512), (1100, 1300)]


@pytest.fixture(params=_native.instruction_sets)
def instruction_set(request, monkeypatch) -> str:
    monkeypatch.setattr(residual_se_cpu, "_KERNEL", _native.ResidualSe(request.param))
    return request.param


def constant(shape: tuple[int, ...], value: float) -> list[torch.Tensor]:
    """x, w1, b1, w2, b2 with one channel or a few, one hidden unit that is alive, each full of one number."""
    c = shape[1]
    sizes = [(shape, value), ((1, c), 0.3), ((1,), 0.1), ((c, 1), 0.2), ((c,), 0.1)]
    return [torch.full(size, number) for size, number in sizes]


def off(ours: torch.Tensor, exact: torch.Tensor) -> float:
    """The largest relative error."""
    return ((ours.double() - exact) / exact).abs().max().item()


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("value", [0.7, 0.1])
def test_the_mean_of_a_large_constant_plane_is_its_value(instruction_set, plane, channels, value):
    given = constant((1, channels, *plane), value)
    _, mean, *_ = residual_se_cpu.forward(*given, None, "none", 0.0, True)
    assert off(mean, given[0][:, :, 0, 0].double()) < CLOSE


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("value", [0.7, 0.1])
def test_the_gradients_of_a_large_constant_plane_are_those_in_float64(instruction_set, plane, value):
    x, w1, b1, w2, b2 = constant((1, 1, *plane), value)
    y, *state = residual_se_cpu.forward(x, w1, b1, w2, b2, None, "none", 0.0, True)
    grad = torch.full_like(y, 0.7)
    ours = residual_se_cpu.backward(grad, x, y, w1, w2, *state, "none", 0.0, False)
    wide = [tensor.double() for tensor in (x, w1, b1, w2, b2)]
    exact = residual_se_plain.gradients(
        grad.double(), wide[0], y.double(), wide[1], wide[3], *residual_se_plain.gate(*wide), "none", 0.0
    )
    for name, one, other in zip(("x", "w1", "b1", "w2", "b2"), ours, exact, strict=False):
        assert off(one, other) < CLOSE, name


def test_the_gradients_of_biases_over_a_large_batch_are_those_in_float64(instruction_set):
    leaves = [tensor.requires_grad_() for tensor in constant((20_000, 1, 2, 2), 0.7)]
    _, _, b1, _, b2 = torch.autograd.grad(ops.residual_se(*leaves).sum(), leaves)
    wide = [tensor.detach().double().requires_grad_() for tensor in leaves]
    _, _, exact_b1, _, exact_b2 = torch.autograd.grad(ops.residual_se_reference(*wide).sum(), wide)
    assert off(b1, exact_b1) < CLOSE
    assert off(b2, exact_b2) < CLOSE


@pytest.mark.parametrize("batch", [255, 256, 257, 513])
def test_batches_about_as_large_as_one_chain_of_additions(instruction_set, batch):
    draw = torch.Generator().manual_seed(batch)
    leaves = [
        torch.randn(size, generator=draw, requires_grad=True) for size in ((batch, 5, 2, 3), (3, 5), (3,), (5, 3), (5,))
    ]
    ours = torch.autograd.grad(ops.residual_se(*leaves, act="none").sum(), leaves)
    wide = [tensor.detach().double().requires_grad_() for tensor in leaves]
    exact = torch.autograd.grad(ops.residual_se_reference(*wide, act="none").sum(), wide)
    for one, other in zip(ours, exact, strict=True):
        assert (one - other).abs().max() / (1 + other.abs().max()) < CLOSE
