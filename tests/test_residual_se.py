"""residual_se: the native kernel and its operator against the plain PyTorch reference, and its derivatives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinaug_fast import ResidualSE, ops
from tolerance import FLOAT32, FLOAT64, worst

ACTS = [("relu", 0.0), ("leaky_relu", 0.2), ("none", 0.0)]
SHAPES = [(1, 8, 4, 4), (2, 6, 3, 5), (3, 1, 1, 1), (5, 33, 7, 2), (0, 4, 2, 2), (2, 64, 16, 16)]


def inputs(shape, hidden=2, dtype=torch.float64, with_skip=True, seed=0):
    draw = torch.Generator().manual_seed(seed)
    c = shape[1]
    sizes = [shape, (hidden, c), (hidden,), (c, hidden), (c,)] + ([shape] if with_skip else [])
    tensors = [torch.randn(size, generator=draw, dtype=torch.float64).to(dtype) for size in sizes]
    return tensors if with_skip else [*tensors, None]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("with_skip", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reference(shape, act, slope, with_skip, dtype):
    tensors = inputs(shape, dtype=dtype, with_skip=with_skip)
    exact = ops.residual_se_reference(*(None if t is None else t.double() for t in tensors), act, slope)
    y = ops.residual_se(*tensors, act, slope)
    assert y.dtype == dtype
    assert worst(y, exact) < (FLOAT32 if dtype == torch.float32 else FLOAT64)


@settings(max_examples=40, deadline=None)
@given(
    b=st.integers(1, 4),
    c=st.integers(1, 40),
    h=st.integers(1, 9),
    w=st.integers(1, 9),
    hidden=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_any_shape_and_layout(b, c, h, w, hidden, seed):
    tensors = inputs((b, c, h, w), hidden, seed=seed)
    expected = ops.residual_se_reference(*tensors)
    last = [t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for t in tensors]
    strided = [torch.stack([t, t], -1)[..., 0] for t in tensors]
    for variant in (tensors, last, strided):
        assert worst(ops.residual_se(*variant), expected) < FLOAT64


def test_memory_format_is_kept():
    x, *weights, skip = inputs((2, 6, 3, 5))
    last = x.to(memory_format=torch.channels_last)
    assert ops.residual_se(last, *weights, skip).is_contiguous(memory_format=torch.channels_last)
    assert ops.residual_se(x, *weights, last).is_contiguous()


def test_threads_do_not_change_a_bit():
    tensors = inputs((16, 64, 16, 16), dtype=torch.float32)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(ops.residual_se(*tensors))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize(("act", "slope"), ACTS)
@pytest.mark.parametrize("with_skip", [True, False])
def test_first_and_second_derivatives(act, slope, with_skip):
    tensors = [t.requires_grad_() for t in inputs((2, 5, 3, 2), with_skip=with_skip) if t is not None]

    def f(*tensors):
        return ops.residual_se(*tensors[:5], tensors[5] if with_skip else None, act, slope)

    assert torch.autograd.gradcheck(f, tensors)
    assert torch.autograd.gradgradcheck(f, tensors)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("with_skip", [True, False])
def test_opcheck(layout, with_skip):
    x, *rest = inputs((2, 5, 3, 2), with_skip=with_skip)
    x = x.to(memory_format=layout)
    leaves = [None if t is None else t.requires_grad_() for t in (x, *rest)]
    torch.library.opcheck(torch.ops.clinaug_fast.residual_se.default, (*leaves, "leaky_relu", 0.1))


def test_gradient_penalty_reaches_the_weights():
    module = ResidualSE(32, reduction=2).double()  # with two hidden units both may be dead
    x = inputs((2, 32, 4, 4))[0].requires_grad_()
    (slope,) = torch.autograd.grad(module(x, x).square().sum(), x, create_graph=True)
    slope.flatten(1).norm(dim=1).sub(1).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_module_is_the_operator():
    module = ResidualSE(32, reduction=8, act="leaky_relu", slope=0.1)
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {
        "w1": (4, 32),
        "b1": (4,),
        "w2": (32, 4),
        "b2": (32,),
    }
    x = torch.randn(2, 32, 4, 4, generator=torch.Generator().manual_seed(1))
    expected = ops.residual_se_reference(x, module.w1, module.b1, module.w2, module.b2, x, "leaky_relu", 0.1)
    assert worst(module(x, x).detach(), expected.detach()) < FLOAT32
    assert ResidualSE(3).w1.shape == (1, 3)


def test_compiles_without_a_graph_break():
    module = ResidualSE(8)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(2), requires_grad=True)
    compiled(x, x).sum().backward()
    grad, x.grad = x.grad.clone(), None
    module(x, x).sum().backward()
    assert worst(grad, x.grad) < FLOAT32


def test_refuses_what_it_cannot_do():
    x, w1, b1, w2, b2, skip = inputs((2, 5, 3, 2))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); expected \(B, C, H, W\)"):
        ops.residual_se(x[:, :, 0, 0], w1, b1, w2, b2)
    with pytest.raises(ValueError, match="with C, H, W at least 1"):
        ops.residual_se(x[:, :, :0], w1, b1, w2, b2)
    with pytest.raises(ValueError, match=r"b1 has shape \(2, 1\); expected \(2,\)"):
        ops.residual_se(x, w1, b1[:, None], w2, b2)
    with pytest.raises(ValueError, match=r"b2 has shape \(4,\); expected \(5,\)"):
        ops.residual_se(x, w1, b1, w2, b2[:4])
    with pytest.raises(ValueError, match=r"skip has shape"):
        ops.residual_se(x, w1, b1, w2, b2, skip[:1])
    with pytest.raises(TypeError, match=r"w1 is torch.float32 on cpu; expected torch.float64 on cpu"):
        ops.residual_se(x, w1.float(), b1, w2, b2)
    with pytest.raises(TypeError, match=r"x is torch.int64"):
        ops.residual_se(x.long(), w1, b1, w2, b2)
    with pytest.raises(ValueError, match=r"act is 'gelu'; expected one of relu"):
        ops.residual_se(x, w1, b1, w2, b2, act="gelu")
    with pytest.raises(ValueError, match=r"slope is -1"):
        ops.residual_se(x, w1, b1, w2, b2, act="leaky_relu", slope=-1)
    with pytest.raises(ValueError, match="channels is 0"):
        ResidualSE(0)
