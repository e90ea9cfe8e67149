"""residual_se's CUDA kernels on a GPU: the tables of the phases, streams, graphs, devices, large tensors."""

import pytest
import torch

from clinaug_fast import _native, ops
from clinaug_fast.ops import residual_se_cuda
from residual_se_cases import ACTS, DTYPES, LAYOUTS, SHAPES, check, definition, distance, inputs
from tolerance import FLOAT32

pytestmark = pytest.mark.cuda

JUDGED = [(256, 128, 16, 16), (256, 64, 32, 32), (256, 32, 64, 64)]
THROUGH_L2 = (2, 16, 512, 512)  # 16 MiB of float32 a sample: more than a cluster holds


@pytest.fixture(autouse=True)
def poisoned_outputs():
    """torch.empty gives NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def target(device=0):
    return device, torch.cuda.current_stream(device).cuda_stream


def run(*args, **how):
    result = check(_native, target(), *args, device="cuda", **how)
    torch.cuda.synchronize()
    return result


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shape", "hidden"), SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_shapes(layout, shape, hidden, dtype):
    run(shape, hidden, "leaky_relu", 0.2, dtype, layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [*JUDGED, (3, 64, 32, 31), (64, 256, 8, 8), THROUGH_L2])
def test_large_shapes(layout, dtype, shape):
    run(shape, max(1, shape[1] // 16), dtype=dtype, layout=layout)


@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("with_skip", [True, False])
@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("shape", [(4, 24, 16, 16), THROUGH_L2])
def test_options_and_unaligned_tensors(act, slope, with_skip, offset, shape):
    for layout in LAYOUTS:
        run(shape, 3, act, slope, torch.float32, layout, with_skip, offset=offset)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [JUDGED[1], THROUGH_L2])
def test_every_run_gives_the_same_bits(layout, shape):
    first = run(shape, 4, layout=layout)
    for _ in range(3):
        again = run(shape, 4, layout=layout)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_derivatives_through_the_operator():
    *leaves, skip, _ = inputs((2, 6, 3, 4), 4, torch.float64, torch.contiguous_format, True, 0, "cuda")
    leaves = [t.requires_grad_() for t in (*leaves, skip)]
    for act, slope in ACTS:

        def f(*tensors, act=act, slope=slope):
            return ops.residual_se(*tensors, act, slope)

        assert torch.autograd.gradcheck(f, leaves)
        assert torch.autograd.gradgradcheck(f, leaves)


@pytest.mark.parametrize("shape", [(8, 64, 32, 32), THROUGH_L2])
def test_graph_capture(shape):
    *given, grad_y = inputs(shape, 4, torch.float32, torch.contiguous_format, True, 0, "cuda")
    x, w1, _, w2, _, _ = given

    def both():
        saved = residual_se_cuda.forward(*given)
        return *saved, *residual_se_cuda.backward(grad_y, x, saved[0], w1, w2, *saved[1:])

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        both()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = both()
    x.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(5)))
    graph.replay()
    assert all(torch.equal(a, b) for a, b in zip(captured, both(), strict=True))


def test_the_current_stream():
    """On another stream, behind work that takes a while."""
    *given, _ = inputs((16, 64, 32, 32), 4, torch.float32, torch.contiguous_format, True, 0, "cuda")
    expected = residual_se_cuda.forward(*given)[0]
    late = torch.zeros_like(given[0])
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        late.copy_(given[0])
        y = residual_se_cuda.forward(late, *given[1:])[0]
    stream.synchronize()
    assert torch.equal(y, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_a_second_device():
    assert torch.cuda.current_device() == 0
    for device in (1, 0):
        with torch.cuda.device(device):
            check(_native, target(device), (8, 64, 32, 32), 4, device=f"cuda:{device}")
    *given, _ = inputs((8, 64, 32, 32), 4, torch.float32, torch.contiguous_format, True, 0, "cuda:1")
    y = residual_se_cuda.forward(*given)[0]  # the current device is another
    assert y.device == given[0].device
    assert distance(y, definition(*(t.double() for t in given), "relu", 0.0)) < FLOAT32
    assert torch.cuda.current_device() == 0
    x, w1, *rest = given
    with pytest.raises(TypeError, match=r"w1 is torch.float32 on cuda:0; expected torch.float32 on cuda:1"):
        ops.residual_se(x, w1.to("cuda:0"), *rest)


def test_more_elements_than_32_bits_count():
    shape = (33, 64, 1024, 1024)
    free, _ = torch.cuda.mem_get_info()
    if free < 16 << 30:
        pytest.skip("less than 16 GiB of GPU memory are free")
    x = torch.full(shape, 0.5, dtype=torch.bfloat16, device="cuda")
    x[-1] = torch.randn(shape[1:], generator=torch.Generator("cuda").manual_seed(0), device="cuda")
    _, *weights, _, _ = inputs((1, *shape[1:2], 1, 1), 4, torch.bfloat16, torch.contiguous_format, True, 0, "cuda")
    y = residual_se_cuda.forward(x, *weights)[0]
    exact = definition(x[-1:].double(), *(w.double() for w in weights), None, "relu", 0.0)
    assert distance(y[-1:], exact) < 1.6e-2


def test_refuses_what_it_cannot_do():
    x, w1, b1, w2, b2, skip, _ = inputs((2, 5, 3, 2), 2, torch.float32, torch.contiguous_format, True, 0, "cuda")
    with pytest.raises(TypeError, match=r"w1 is torch.float32 on cpu; expected torch.float32 on cuda:0"):
        ops.residual_se(x, w1.cpu(), b1, w2, b2, skip)
    with pytest.raises(ValueError, match=r"b2 has shape \(4,\); expected \(5,\)"):
        ops.residual_se(x, w1, b1, w2, b2[:4], skip)
    with pytest.raises(ValueError, match="with C, H, W at least 1"):
        ops.residual_se(x[:, :0], w1, b1, w2, b2)
    assert ops.residual_se(x[:0], w1, b1, w2, b2, skip[:0]).shape == (0, 5, 3, 2)
