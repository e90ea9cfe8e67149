"""residual_se's working memory from call to call, and where its hidden units bend."""

import numpy as np
import pytest
import torch

from clinaug_fast import ops
from clinaug_fast.ops import residual_se_cpu
from test_residual_se_passes import LAYOUTS, instruction_set  # noqa: F401


def outputs(shape, hidden, dtype, layout, fill=None):
    """[y, gradients of all inputs...]"""
    draw, c = torch.Generator().manual_seed(0), shape[1]
    sizes = [shape, (hidden, c), (hidden,), (c, hidden), (c,), shape]
    leaves = [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype) for size in sizes]
    leaves = [t.to(memory_format=layout) if t.ndim == 4 else t for t in leaves]
    leaves = [(t if fill is None else torch.full_like(t, fill)).requires_grad_() for t in leaves]
    y = ops.residual_se(*leaves)
    return [y.detach(), *torch.autograd.grad(y.sum(), leaves)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.usefixtures("instruction_set", "one_thread")
def test_what_an_earlier_call_left_in_memory_is_in_no_later_one(layout, dtype):
    before = outputs((2, 21, 3, 4), 3, dtype, layout)
    outputs((3, 40, 5, 4), 30, dtype, layout, fill=torch.nan)
    after = outputs((2, 21, 3, 4), 3, dtype, layout)
    assert all(torch.isfinite(one).all() for one in before)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.usefixtures("instruction_set")
def test_a_hidden_unit_of_zero_has_no_gradient_as_in_torch():
    """Of silent channels and biases that are zero yet."""
    draw = torch.Generator().manual_seed(0)
    x = torch.zeros(2, 5, 3, 3, dtype=torch.float64)
    w1, w2 = (torch.randn(size, generator=draw, dtype=torch.float64) for size in ((4, 5), (5, 4)))
    b1, b2 = torch.zeros(4, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    skip = torch.randn(x.shape, generator=draw, dtype=torch.float64)
    x[1] = 1.0 + torch.randn(x.shape[1:], generator=draw, dtype=torch.float64)
    w1[:2], w1[2:] = 0.0, w1[2:].abs()  # two units at zero for both, two above for the second sample
    grads = []
    for function in (ops.residual_se, ops.residual_se_reference):
        leaves = [t.clone().requires_grad_() for t in (x, w1, b1, w2, b2, skip)]
        y = function(*leaves)
        grads.append(torch.autograd.grad(y.square().sum(), leaves))
    assert not grads[1][2][:2].any()
    for ours, reference in zip(*grads, strict=True):
        torch.testing.assert_close(ours, reference)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("instruction_set")
def test_a_large_output_whose_rows_fill_no_vector_is_its_samples(layout):
    """Past the caches go only rows of whole vectors; of others the processor would end the process."""
    draw = torch.Generator().manual_seed(0)
    shape = (5, 7, 187, 181)  # 4.5 MiB
    x, skip = (torch.randn(shape, generator=draw).to(memory_format=layout).requires_grad_() for _ in range(2))
    weights = [torch.randn(size, generator=draw) for size in ((2, 7), (2,), (7, 2), (7,))]
    y = ops.residual_se(x, *weights, skip)
    grads = torch.autograd.grad(y.sum(), (x, skip))
    with torch.no_grad():
        assert torch.equal(ops.residual_se(x, *weights, skip), y)
    for b in range(5):
        one, beside = (t.detach()[b : b + 1].requires_grad_() for t in (x, skip))
        alone = ops.residual_se(one, *weights, beside)
        assert torch.equal(y[b : b + 1], alone)
        for all_of_them, own in zip(grads, torch.autograd.grad(alone.sum(), (one, beside)), strict=True):
            assert torch.equal(all_of_them[b : b + 1], own)


@pytest.mark.usefixtures("instruction_set")
def test_a_large_output_may_lie_anywhere():
    n = 1 << 20
    x = np.random.default_rng(0).standard_normal(n + 1).astype(np.float32)[1:]
    w = np.ones(1, np.float32)
    room = np.empty((2, n + 16), np.float32)
    for y in (room[0, :n], room[1, 1 : n + 1]):
        ins = [a.ctypes.data for a in (x, w, w, w, w)]
        residual_se_cpu._KERNEL.forward(*ins, 0, y.ctypes.data, 0, 0, 0, 0, 4, 1, 1, 1, n, False, "none", 0.0, 1)
    np.testing.assert_array_equal(room[0, :n], room[1, 1 : n + 1])
