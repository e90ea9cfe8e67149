"""residual_se: the native kernel and its operator against the plain PyTorch reference, and its derivatives."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clinaug_fast import ResidualSE, ops
from clinaug_fast.ops import residual_se_reference
from tolerance import FLOAT32, FLOAT64, worst

ACTS = [("relu", 0.0), ("leaky_relu", 0.2), ("none", 0.0)]
LAYOUTS = [torch.contiguous_format, torch.channels_last]
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


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_skip", [True, False])
def test_opcheck(layout, with_skip):
    x, *rest = inputs((2, 5, 3, 2), with_skip=with_skip)
    x = x.to(memory_format=layout)
    leaves = [None if t is None else t.requires_grad_() for t in (x, *rest)]
    torch.library.opcheck(torch.ops.clinaug_fast.residual_se.default, (*leaves, "leaky_relu", 0.1))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_opcheck_of_what_autograd_calls(layout, dtype):
    x, *rest = inputs((2, 5, 3, 2), dtype=dtype)
    x = x.to(memory_format=layout)
    # They have no derivative of their own: that of residual_se is made of them.
    checks = ("test_schema", "test_faketensor")
    forward, backward = torch.ops.clinaug_fast.residual_se_forward, torch.ops.clinaug_fast.residual_se_backward
    torch.library.opcheck(forward.default, (x, *rest, "relu", 0.0), test_utils=checks)
    y, *state = forward(x, *rest, "relu", 0.0)
    for with_skip in (True, False):
        arguments = (torch.ones_like(y), x, y, rest[0], rest[2], *state, "relu", 0.0, with_skip)
        torch.library.opcheck(backward.default, arguments, test_utils=checks)


@pytest.mark.parametrize(("act", "slope"), ACTS)
def test_the_native_gradient_is_the_composed_one(act, slope):
    leaves = [t.requires_grad_() for t in inputs((3, 6, 4, 5))]
    y = ops.residual_se(*leaves, act, slope)
    native = torch.autograd.grad(y.square().sum(), leaves, retain_graph=True)
    composed = torch.autograd.grad(y.square().sum(), leaves, create_graph=True)
    assert all(worst(one, other.detach()) < FLOAT64 for one, other in zip(native, composed, strict=True))


@pytest.mark.parametrize("wanted", [*((k,) for k in range(6)), (1, 4), (0, 2, 3)])
def test_gradients_of_some_inputs(wanted):
    tensors = inputs((2, 6, 3, 4))
    every = [t.clone().requires_grad_() for t in tensors]
    some = [t.clone().requires_grad_(i in wanted) for i, t in enumerate(tensors)]
    for leaves in (every, some):  # the gradient of a sum has strides of zero
        ops.residual_se(*leaves).sum().backward()
    assert all((t.grad is not None) == (i in wanted) for i, t in enumerate(some))
    assert all(torch.equal(some[i].grad, every[i].grad) for i in wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    x, *rest = inputs((2, 8, 4, 4), dtype=torch.float32)
    leaves = [t.requires_grad_() for t in (x, *rest)]
    with torch.autocast("cpu", dtype=dtype):
        y = ops.residual_se(*leaves)
    # The CPU has no passes in float16: float32 is kept.
    assert y.dtype == (torch.bfloat16 if dtype == torch.bfloat16 else torch.float32)
    assert worst(y.detach().float(), ops.residual_se_reference(*leaves).detach()) < 0.05
    y.sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in leaves)
    doubles = [t.detach().double() for t in leaves]
    with torch.autocast("cpu", dtype=dtype):
        assert ops.residual_se(*doubles).dtype == torch.float64


@pytest.mark.parametrize("create_graph", [False, True])
def test_autocast_does_not_reach_the_derivative(create_graph):
    """What is computed in float32 stays so: the penalty's gradient would be off by per cents."""

    def made(autocast: bool) -> tuple[torch.Tensor, ...]:
        leaves = [t.bfloat16().requires_grad_() for t in inputs((2, 8, 4, 4))]
        y = ops.residual_se(*leaves)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return torch.autograd.grad(y.sum(), leaves, create_graph=create_graph)

    assert all(torch.equal(a, b) for a, b in zip(made(True), made(False), strict=True))


def test_forward_mode_and_transforms():
    x, *rest = inputs((2, 6, 3, 5))
    tangent = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ops.residual_se(x, *rest, "leaky_relu", 0.2).square().sum()

    at = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(at), at)
    torch.testing.assert_close(torch.func.grad(loss)(x), grad)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (tangent,))[1], (grad * tangent).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = loss(torch.autograd.forward_ad.make_dual(x, tangent))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, (grad * tangent).sum())


def test_transforms_under_autocast_round_once():
    x, *rest = (t.bfloat16() for t in inputs((2, 8, 4, 4)))

    def made(autocast: bool) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            return torch.func.grad(lambda x: ops.residual_se(x, *rest).float().square().sum())(x)

    assert torch.equal(made(True), made(False))


@pytest.mark.parametrize("with_skip", [True, False])
def test_vmap_over_images_and_over_weights(with_skip):
    x, *weights, skip = inputs((6, 5, 3, 2), with_skip=with_skip)
    one_by_one = ops.residual_se(x, *weights, skip)
    x, skip = (t if t is None else t.unflatten(0, (3, 2)) for t in (x, skip))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it maps by a loop
        mapped = torch.func.vmap(
            lambda x, skip: ops.residual_se(x, *weights, skip), in_dims=(0, 0 if with_skip else None)
        )
        assert torch.equal(mapped(x, skip).flatten(0, 1), one_by_one)
        w1 = torch.stack([weights[0], -weights[0]])
        some = torch.func.vmap(lambda w1: ops.residual_se(x[0], w1, *weights[1:]))(w1)
    for k in range(2):
        torch.testing.assert_close(some[k], ops.residual_se(x[0], w1[k], *weights[1:]))
    none = torch.func.vmap(lambda w1: ops.residual_se(x[0], w1, *weights[1:]))(w1[:0])
    assert none.shape == (0, *x[0].shape)


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


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiles_without_a_graph_break(layout):
    module = ResidualSE(8, act="leaky_relu", slope=0.1)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(2)).to(memory_format=layout).requires_grad_()
    gradients = []
    for f in (compiled, module):
        y = f(x, x)
        gradients.append(torch.autograd.grad(y.square().sum(), [x, *module.parameters()]))
        assert y.is_contiguous(memory_format=layout)
    assert all(worst(one, other) < FLOAT32 for one, other in zip(*gradients, strict=True))
    with torch.no_grad():
        assert worst(compiled(x, None), module(x)) < FLOAT32
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(compiled(x, x), module(x, x))


@pytest.mark.parametrize("training", [True, False])
def test_compiles_once_for_many_sizes(training):
    module = ResidualSE(8, 2)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=counter)
    for size in range(3, 14):
        x = torch.randn(2, 8, size, size + 1, requires_grad=training)
        y = compiled(x)
        assert torch.equal(y, module(x))
        if training:
            y.sum().backward()
    assert counter.frame_count <= 2  # the first size is taken for a constant


def test_is_traced_by_fx():
    module = ResidualSE(8)
    x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.fx.symbolic_trace(module)(x), module(x))


def test_is_exported_for_any_size():
    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = ResidualSE(8, 2)

        def forward(self, x):
            return self.inner(x, x)

    module, any_size = Both().eval(), torch.export.Dim.DYNAMIC
    program = torch.export.export(module, (torch.randn(2, 8, 4, 6),), dynamic_shapes={"x": {2: any_size, 3: any_size}})
    x = torch.randn(2, 8, 9, 5)
    assert torch.equal(program.module()(x), module(x))


def test_without_activation_y_may_change_in_place():
    x = torch.randn(2, 8, 4, 4, requires_grad=True)
    module, strided = ResidualSE(8, act="none"), torch.randn(2, 4, 8, 4).transpose(1, 2).requires_grad_()
    for images in (x, x.contiguous(memory_format=torch.channels_last), strided):
        weights = (module.w1, module.b1, module.w2, module.b2)
        ours = torch.autograd.grad(module(images, images).relu_().sum(), (images, *weights))
        plain = residual_se_reference(images, *weights, images, "none").relu_()
        for a, b in zip(ours, torch.autograd.grad(plain.sum(), (images, *weights)), strict=True):
            torch.testing.assert_close(a, b)


def test_refuses_what_it_cannot_do():
    x, w1, b1, w2, b2, skip = inputs((2, 5, 3, 2))
    with pytest.raises(ValueError, match=r"x has shape \(2, 5\); expected \(B, C, H, W\)"):
        ops.residual_se(x[:, :, 0, 0], w1, b1, w2, b2)
    with pytest.raises(ValueError, match=r"x has shape \(5, 3, 2\); expected \(B, C, H, W\)"):
        torch.vmap(ops.residual_se, in_dims=(0, None, None, None, None))(x, w1, b1, w2, b2)
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
    with pytest.raises(ValueError, match=r"w2 has shape \(2, 5\); expected \(5, 2\)"):
        ops.residual_se(x, w1, b1, w2.T, b2)
    with pytest.raises(TypeError, match=r"x is torch.float16; expected float32, float64 or bfloat16"):
        ops.residual_se(x.half(), w1.half(), b1.half(), w2.half(), b2.half())
    with pytest.raises(ValueError, match=r"slope is nan"):
        torch.ops.clinaug_fast.residual_se(x, w1, b1, w2, b2, skip, "relu", float("nan"))
    with pytest.raises(TypeError, match=r"skip is torch.float32"):
        ops.residual_se(x.requires_grad_(), w1, b1, w2, b2, skip.float())
    with pytest.raises(ValueError, match="channels is 0; expected at least 1"):
        ResidualSE(0)
    for wrong in ("8", 8.0, True):
        with pytest.raises(ValueError, match=rf"channels is {wrong!r}; expected a whole number"):
            ResidualSE(wrong)
        with pytest.raises(ValueError, match=rf"reduction is {wrong!r}; expected a whole number"):
            ResidualSE(8, wrong)


def test_the_backward_operator_refuses_what_forward_did_not_give():
    x, w1, b1, w2, b2, skip = inputs((2, 5, 3, 2))
    y, *state = torch.ops.clinaug_fast.residual_se_forward(x, w1, b1, w2, b2, skip, "relu", 0.0)
    backward = torch.ops.clinaug_fast.residual_se_backward
    with pytest.raises(ValueError, match=r"grad is torch.float64 \(2, 5, 3\); expected torch.float64 \(2, 5, 3, 2\)"):
        backward(y[..., 0], x, y, w1, w2, *state, "relu", 0.0, True)
    with pytest.raises(ValueError, match=r"gate is torch.float32 \(2, 5\); expected torch.float64"):
        backward(y, x, y, w1, w2, *state[:2], state[2].float(), state[3], "relu", 0.0, True)
    with pytest.raises(ValueError, match=r"signs is torch.uint8 \(3,\); expected torch.uint8 \(9,\)"):
        backward(y, x, y, w1, w2, *state[:3], state[3][:3], "relu", 0.0, True)
    with pytest.raises(ValueError, match=r"act is 'foo'; expected one of relu"):
        backward(y, x, y, w1, w2, *state, "foo", 0.0, True)
    with pytest.raises(ValueError, match=r"slope is -1.0; expected 0 or more"):
        backward(y, x, y, w1, w2, *state, "leaky_relu", -1.0, True)
    for dtype in (torch.float16, torch.int32):
        with pytest.raises(TypeError, match=rf"x is {dtype}; expected float32, float64 or bfloat16"):
            backward(*(t.to(dtype) for t in (y, x, y, w1, w2, *state)), "relu", 0.0, True)


@pytest.mark.parametrize("name", ["x", "w1", "b1", "w2", "b2", "skip", "act", "slope"])
@pytest.mark.parametrize("run", [ops.residual_se, ops.residual_se_reference])
def test_an_argument_of_a_wrong_kind_gets_a_sentence(run, name: str):
    usual = dict(zip(("x", "w1", "b1", "w2", "b2", "skip"), inputs((1, 4, 3, 3)), strict=True))
    wrong = np.zeros(3) if name not in ("act", "slope") else None
    with pytest.raises(TypeError, match=rf"^{name} is (of type )?(ndarray|None|NoneType); expected "):
        run(**usual | {name: wrong})
