"""residual_se's CUDA kernels without a GPU: their phases, thread by thread, against autograd in float64.

Shared memory keeps a record, so that a race, a missing barrier or a read of what nobody wrote is an error here. What a
kernel leaves out of its outputs is NaN.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinaug_fast import _device_phases
from clinaug_fast.ops import residual_se_cuda
from residual_se_cases import ACTS, DTYPES, LAYOUTS, SHAPES, check, inputs

# (multiprocessors, shared bytes a block, a multiprocessor, reserved, largest cluster, bytes of L2)
ONE_BLOCK = (1, 1 << 20, 4 << 20, 0, 1, 1 << 20)
HALVES = (10_000, 1 << 20, 4 << 20, 0, 8, 1 << 20)  # cut for more blocks, as long as slices pass 8 KB
EIGHTHS = (1, 6_000, 7_000, 0, 8, 1 << 20)  # cut because a sample does not fit a block
THROUGH_L2 = (4, 100, 100, 0, 1, 40_000)  # nothing fits; a few samples a launch
DEVICES = {"one block": ONE_BLOCK, "halves": HALVES, "eighths": EIGHTHS, "l2": THROUGH_L2}
H100 = (132, 232_448, 233_472, 1024, 8, 50 << 20)
A100 = (108, 166_912, 167_936, 1024, 1, 40 << 20)
RTX_5090 = (170, 101_376, 102_400, 1024, 8, 96 << 20)


@pytest.fixture(autouse=True)
def poisoned_outputs():
    """torch.empty gives NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


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


def plan(shape, hidden=2, last=False, dtype="float32", backward=False, limits=H100):
    b, c, h, w = shape
    call = (b, c, hidden, h * w, last, dtype, True, 0.0, 0, 0)
    return _device_phases.residual_se_cuda_plan(call, backward, limits)


@pytest.mark.parametrize("limits", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "hidden"), SHAPES)
def test_shapes(limits, layout, shape, hidden):
    check(Phases(limits), (0, 0), shape, hidden, "leaky_relu", 0.2, layout=layout)


@pytest.mark.parametrize("limits", DEVICES.values(), ids=DEVICES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 24, 16, 16), (2, 33, 7, 5)])
def test_types(limits, layout, dtype, shape):
    check(Phases(limits), (0, 0), shape, 3, dtype=dtype, layout=layout)


@pytest.mark.parametrize("limits", [HALVES, THROUGH_L2], ids=["halves", "l2"])
@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("with_skip", [True, False])
@pytest.mark.parametrize("offset", [0, 3])
def test_options_and_unaligned_tensors(limits, act, slope, with_skip, offset):
    for layout in LAYOUTS:
        check(Phases(limits), (0, 0), (2, 24, 16, 16), 3, act, slope, torch.float32, layout, with_skip, offset)


@settings(max_examples=150)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 70), st.integers(1, 12), st.integers(1, 12)),
    hidden=st.integers(1, 12),
    act=st.sampled_from(ACTS),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from(LAYOUTS),
    with_skip=st.booleans(),
    offset=st.sampled_from([0, 0, 1, 4]),
    shared=st.integers(1500, 12_000),
    multiprocessors=st.sampled_from([1, 1000]),
)
def test_any_shape_on_any_device(shape, hidden, act, dtype, layout, with_skip, offset, shared, multiprocessors):
    limits = (multiprocessors, shared, 3 * shared, 0, 8, 20_000)
    check(Phases(limits), (0, 0), shape, hidden, *act, dtype, layout, with_skip, offset)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("limits", DEVICES.values(), ids=DEVICES)
def test_samples_are_computed_alone(limits, layout):
    """A batch is its samples one by one, bit for bit; all that a plan takes from the batch is how often it cuts."""
    *given, _ = inputs((3, 12, 16, 8), 3, torch.float32, layout, True, 0, "cpu")
    whole = residual_se_cuda.run_forward(Phases(limits), (0, 0), *given, "relu", 0.0)
    x, *weights, skip = given
    for b in range(3):
        alone = residual_se_cuda.run_forward(
            Phases(limits), (0, 0), x[b : b + 1], *weights, skip[b : b + 1], "relu", 0.0
        )
        assert all(torch.equal(one, all_of_them[b : b + 1]) for one, all_of_them in zip(alone, whole, strict=True))


def test_not_a_number_stays_in_its_sample():
    x, *weights, skip, _ = inputs((2, 6, 4, 4), 2, torch.float32, torch.contiguous_format, True, 0, "cpu")
    x[1, 2, 3, 3] = torch.nan
    y = residual_se_cuda.run_forward(Phases(ONE_BLOCK), (0, 0), x, *weights, skip, "relu", 0.0)[0]
    assert y[0].isfinite().all()
    assert y[1].isnan().all()


def test_empty_batch():
    x, *weights, skip, grad_y = inputs((0, 6, 4, 4), 2, torch.float32, torch.contiguous_format, True, 0, "cpu")
    y, *saved = residual_se_cuda.run_forward(Phases(H100), (0, 0), x, *weights, skip, "relu", 0.0)
    assert y.shape == x.shape
    grads = residual_se_cuda.run_backward(
        Phases(H100), (0, 0), grad_y, x, y, weights[0], weights[2], *saved, "relu", 0.0, True
    )
    assert [tuple(g.shape) for g in grads] == [tuple(t.shape) for t in (x, *weights, skip)]
    assert all(not g.any() for g in grads[1:5])


@pytest.mark.parametrize("shape", [(256, 128, 16, 16), (256, 64, 32, 32), (256, 32, 64, 64)])
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_large_shapes_stay_on_chip(shape, last, backward, dtype):
    """On an H100 blocks share a multiprocessor: while one computes gates, the others keep memory busy.

    Backward, a sample that fits into one block is not cut: then there is no cluster to wait for.
    """
    hidden = shape[1] // 16
    made = plan(shape, hidden, last, dtype, backward)
    sample = shape[1] * shape[2] * shape[3] * (4 if dtype == "float32" else 2)
    assert made["on_chip"]
    alone = backward and sample <= 128 << 10
    assert made["slices"] == (1 if alone else min(sample >> 15, 8))
    at_once = 233_472 // (made["shared"] + 1024)
    assert at_once >= (1 if alone else 5 if made["threads"] == 128 else 3)
    assert made["scratch"] == 0
    assert plan(shape, hidden, last, dtype, backward, RTX_5090)["on_chip"]
    assert plan(shape, hidden, last, dtype, backward, A100)["on_chip"] == (sample <= 128 << 10)


def test_small_batches_are_cut_for_more_blocks():
    assert plan((64, 256, 8, 8))["slices"] == 4
    assert plan((1, 8, 4, 4))["slices"] == 1
    assert plan((1, 8, 4, 4))["threads"] == 64
    assert plan((1, 64, 1024, 1024))["slices"] > 132


@settings(max_examples=200)
@given(
    batch=st.integers(1, 1 << 31),
    channels=st.integers(1, 1 << 20),
    hidden=st.integers(1, 1 << 14),
    spatial=st.integers(1, 1 << 24),
    last=st.booleans(),
    backward=st.booleans(),
    limits=st.sampled_from([H100, A100, RTX_5090, ONE_BLOCK, THROUGH_L2]),
)
def test_every_plan_fits_its_device(batch, channels, hidden, spatial, last, backward, limits):
    if channels * spatial >= 1 << 39:
        with pytest.raises(ValueError, match=r"is too large for the CUDA kernel. Split it"):
            plan((batch, channels, 1, spatial), hidden, last, "float32", backward, limits)
        return
    made = plan((batch, channels, 1, spatial), hidden, last, "float32", backward, limits)
    assert (made["slices"] - 1) * made["slice"] < channels * spatial <= made["slices"] * made["slice"]
    assert made["samples"] >= 1
    assert made["samples"] * made["slices"] < 1 << 31
    assert made["slice"] < 1 << 31
    assert made["threads"] in (64, 128, 256)
    if made["on_chip"]:
        assert made["shared"] <= limits[1]
        assert made["slices"] <= limits[4]
    else:
        assert made["shared"] <= 48 << 10
        assert made["slices"] <= 1024
        assert made["scratch"] > 0


@settings(max_examples=300)
@given(n=st.integers(0, (1 << 31) - 1), d=st.integers(1, 1 << 40))
def test_division_by_a_factor(n, d):
    assert _device_phases.quotient(n, d) == n // d


def test_division_at_the_edges():
    for d in (1, 2, 3, 5, 7, 641, 65_535, 65_536, 65_537, (1 << 30) + 1, (1 << 31) - 1, 1 << 31):
        for n in {0, 1, d - 1, d, d + 1, 3 * d - 1, 3 * d, (1 << 31) - 1}:
            if n < 1 << 31:
                assert _device_phases.quotient(n, d) == n // d


def test_half_precision_rounds_as_torch_does():
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int32).to(torch.int16)
    draw = torch.Generator().manual_seed(0)
    exponents = torch.randint(-40, 24, (4000,), generator=draw)
    values = torch.cat(
        [torch.ldexp(torch.randn(4000, generator=draw), exponents), torch.tensor([0.0, -0.0, 1e38, 65_519.9, 65_520.0])]
    )
    for dtype, widen, narrow in (
        (torch.float16, _device_phases.float16_to_float, _device_phases.float_to_float16),
        (torch.bfloat16, _device_phases.bfloat16_to_float, _device_phases.float_to_bfloat16),
    ):
        wide = torch.tensor(widen(bits.tolist()))
        assert torch.equal(wide.nan_to_num(7.0), bits.view(dtype).float().nan_to_num(7.0))
        assert torch.equal(torch.tensor(narrow(values.tolist()), dtype=torch.int16).view(dtype), values.to(dtype))
        assert torch.tensor(narrow([torch.nan]), dtype=torch.int16).view(dtype).isnan().all()
