"""The native passes of residual_se on every instruction set: forward and all gradients against float64."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from clinaug_fast import _native, ops
from clinaug_fast.ops import residual_se_cpu, residual_se_plain
from tolerance import BFLOAT16, FLOAT32, FLOAT64

ACTS = [("relu", 0.0), ("leaky_relu", 0.2), ("none", 0.0)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
TOLERANCES = {torch.float32: 2 * FLOAT32, torch.float64: FLOAT64, torch.bfloat16: BFLOAT16}
# Rows of one pixel, shorter than a vector, with and without a rest; channels that fill no vector, one, several.
SHAPES = [
    (1, 8, 4, 4),
    (2, 6, 3, 5),
    (3, 1, 1, 1),
    (5, 33, 7, 2),
    (0, 4, 2, 2),
    (2, 64, 16, 16),
    (3, 24, 9, 9),
    (2, 3, 50, 50),
]


@pytest.fixture(params=_native.instruction_sets)
def instruction_set(request, monkeypatch) -> str:
    monkeypatch.setattr(residual_se_cpu, "_KERNEL", _native.ResidualSe(request.param))
    return request.param


@pytest.fixture
def threads():
    """Sets torch's number of threads, and sets it back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def drawn(shape, dtype, layout, hidden=2, seed=0):
    """(x, w1, b1, w2, b2, skip) in dtype, and dL/dy."""
    draw = torch.Generator().manual_seed(seed)
    c = shape[1]
    sizes = [shape, (hidden, c), (hidden,), (c, hidden), (c,), shape, shape]
    tensors = [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype) for size in sizes]
    *inputs, grad = [t.to(memory_format=layout) if t.ndim == 4 else t for t in tensors]
    return inputs, grad


def native(inputs, grad, act, slope, with_skip=True):
    """[y, gradients of all inputs...] of the operator."""
    leaves = [t.detach().requires_grad_() for t in (inputs if with_skip else inputs[:5])]
    y = ops.residual_se(*leaves[:5], leaves[5] if with_skip else None, act, slope)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def exact(inputs, grad, y, act, slope, with_skip=True):
    """The same in float64. The side of act's bend is that of the y given, as rounding may move a z across it."""
    x, w1, b1, w2, b2, skip = (t.double() for t in inputs)
    state = residual_se_plain.gate(x, w1, b1, w2, b2)
    expected = residual_se_plain.excite(x, state[2], skip if with_skip else None, act, slope)
    gradients = residual_se_plain.gradients(grad.double(), x, y.double(), w1, w2, *state, act, slope)
    return [expected, *(gradients if with_skip else gradients[:5])]


def assert_near(ours, theirs, tolerance):
    for one, other in zip(ours, theirs, strict=True):
        assert one.shape == other.shape
        scale = 1 + other.abs().max() if other.numel() else 1
        assert ((one.double() - other).abs() / scale <= tolerance).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_forward_and_gradients(instruction_set, shape, dtype, layout):
    inputs, grad = drawn(shape, dtype, layout)
    for act, slope in ACTS:
        for with_skip in (True, False):
            ours = native(inputs, grad, act, slope, with_skip)
            assert all(t.dtype == dtype for t in ours)
            assert_near(ours, exact(inputs, grad, ours[0], act, slope, with_skip), TOLERANCES[dtype])


@pytest.mark.parametrize("shape", [(3, 40, 60, 61), (1, 128, 128, 64)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_large_samples_in_slabs_and_past_the_caches(instruction_set, threads, shape, layout):
    inputs, grad = drawn(shape, torch.float32, layout, hidden=3)
    results = []
    for n in (1, 2, 5):
        threads(n)
        results.append([*native(inputs, grad, "leaky_relu", 0.1), ops.residual_se(*inputs, "leaky_relu", 0.1)])
    assert_near(results[0][:-1], exact(inputs, grad, results[0][0], "leaky_relu", 0.1), TOLERANCES[torch.float32])
    for result in results:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))
        assert torch.equal(result[0], result[-1])  # streamed without gradients, not with them


@pytest.mark.parametrize("layout", LAYOUTS)
def test_threads_do_not_change_a_bit(threads, layout):
    inputs, grad = drawn((37, 48, 16, 16), torch.float32, layout, hidden=5)
    results = []
    for n in (1, 2, 3, 8):
        threads(n)
        results.append(native(inputs, grad, "relu", 0.0))
    for result in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(result, results[0], strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_batch_is_its_samples_one_by_one(layout):
    inputs, grad = drawn((4, 20, 6, 7), torch.float32, layout)
    x, *weights, skip = inputs
    together = native(inputs, grad, "relu", 0.0)
    for b in range(4):
        alone = native([x[b : b + 1], *weights, skip[b : b + 1]], grad[b : b + 1], "relu", 0.0)
        for i in (0, 1, -1):  # y, the gradients of x and skip
            assert torch.equal(alone[i], together[i][b : b + 1])


def test_addresses_that_fill_no_vector(instruction_set):
    inputs, grad = drawn((2, 32, 8, 8), torch.float32, torch.contiguous_format)
    moved = [torch.cat([t.new_zeros(1), t.flatten()])[1:].view(t.shape) for t in (*inputs, grad)]
    assert all(t.data_ptr() % 8 for t in moved)
    for ours, theirs in zip(native(inputs, grad, "relu", 0.0), native(moved[:-1], moved[-1], "relu", 0.0), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_nan_stays_in_its_sample(instruction_set, dtype):
    inputs, _ = drawn((3, 16, 5, 5), dtype, torch.contiguous_format)
    inputs[0][1, 2, 3, 4] = float("nan")
    y = ops.residual_se(*inputs)
    assert y[1].isnan().all()  # through the gate
    assert y[[0, 2]].isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("act", "slope"), ACTS)
def test_a_nan_in_a_loss_is_in_its_gradients_as_in_torch(instruction_set, act, slope, dtype, layout):
    inputs, _ = drawn((2, 32, 4, 4), dtype, layout)
    inputs[5][1, 2, 3, 1] = float("nan")
    leaves = [t.requires_grad_() for t in inputs]
    y = ops.residual_se(*leaves, act, slope)
    gradients = torch.autograd.grad(y.float().square().sum(), leaves, retain_graph=True)
    composed = torch.autograd.grad(y.float().square().sum(), leaves, create_graph=True)
    for one, other in zip(gradients, composed, strict=True):
        assert torch.equal(one.isnan(), other.isnan())
    assert gradients[0][1, 2].isnan().all()
    assert gradients[0][0].isfinite().all()
    assert gradients[5].isnan().sum() == 1


def test_extreme_logits_give_gates_of_zero_and_one(instruction_set):
    x = torch.ones(1, 3, 2, 2)
    w1, b1, w2 = torch.zeros(1, 3), torch.zeros(1), torch.zeros(3, 1)
    y = ops.residual_se(x, w1, b1, w2, torch.tensor([-1e30, 0.0, 1e30]), act="none")
    np.testing.assert_allclose(y[0, :, 0, 0].numpy(), [0.0, 0.5, 1.0], atol=1e-30)


def test_bfloat16_is_rounded_to_nearest_even(instruction_set):
    """A gate of one and no skip: y is x in the dtype; a skip of half a unit in the last place goes to the even side."""
    x = torch.full((1, 4, 4, 4), 1.0, dtype=torch.bfloat16)
    x[0, 1] = 1.0 + 2.0**-7
    zeros = [torch.zeros(s, dtype=torch.bfloat16) for s in ((1, 4), (1,), (4, 1))]
    skip = torch.full_like(x, 2.0**-8)
    y = ops.residual_se(x, *zeros, torch.full((4,), 100.0, dtype=torch.bfloat16), skip)
    assert (y[0, 0] == 1.0).all()
    assert (y[0, 1] == 1.0 + 2.0**-6).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_helpers_of_its_own():
    code = (
        "import os, sys, torch\n"
        "from clinaug_fast import _native\n"
        "x = torch.randn(16, 64, 512); y = torch.empty_like(x); z = torch.empty_like(x)\n"
        "w1, b1, w2, b2 = torch.randn(4, 64), torch.randn(4), torch.randn(64, 4), torch.randn(64)\n"
        "kernel = _native.ResidualSe('')\n"
        "def run(out):\n"
        "    ins = [t.data_ptr() for t in (x, w1, b1, w2, b2)]\n"
        "    kernel.forward(*ins, 0, out.data_ptr(), 0, 0, 0, 0, 4, 16, 64, 4, 512, False, 'relu', 0.0, 2)\n"
        "run(y)\n"
        "child = os.fork()\n"
        "run(z)\n"
        # by numpy: OpenMP's threads, which torch would ask, stay behind in the parent
        "if not child: os._exit(0 if (y.numpy() == z.numpy()).all() else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("act", "slope"), ACTS[:2])
def test_backward_by_the_kept_signs_is_backward_by_y(act, slope, dtype, layout, instruction_set):
    (x, w1, b1, w2, b2, skip), grad = drawn((3, 32, 8, 12), dtype, layout)
    # z is 0, -0 and NaN; a NaN in skip reaches neither the gate nor a gradient
    x[0, 0, 0, :2], skip[0, 0, 0, :3] = torch.tensor([0.0, -0.0]), torch.tensor([0.0, -0.0, float("nan")])
    y, *state = residual_se_cpu.forward(x, w1, b1, w2, b2, skip, act, slope, True)
    kept = state[-1]
    assert (kept[-1] != 0) == (instruction_set != "baseline")
    told = residual_se_cpu.backward(grad, x, y, w1, w2, *state, act, slope, True)
    seen = residual_se_cpu.backward(grad, x, y, w1, w2, *state[:-1], torch.zeros_like(kept), act, slope, True)
    assert all(torch.equal(one, other) for one, other in zip(told, seen, strict=True))


def test_signs_kept_in_another_memory_order_are_not_read(instruction_set):
    (x, w1, b1, w2, b2, skip), grad = drawn((3, 32, 8, 8), torch.float32, torch.contiguous_format)
    y, *state = residual_se_cpu.forward(x, w1, b1, w2, b2, skip, "relu", 0.0, True)
    straight = residual_se_cpu.backward(grad, x, y, w1, w2, *state, "relu", 0.0, True)
    turned = [t.to(memory_format=torch.channels_last) for t in (grad, x, y)]
    for one, other in zip(residual_se_cpu.backward(*turned, w1, w2, *state, "relu", 0.0, True), straight, strict=True):
        torch.testing.assert_close(one, other)
