"""residual_se as a torch operator: squeeze-and-excitation, residual sum and activation in one pass.

``y = act(x * gate + skip)``, ``gate = sigmoid(w2 relu(w1 mean_hw(x) + b1) + b2)`` (Hu, Shen, Sun 2018, in the residual
form of Margaryan, Seibold et al. 2022). x, skip, y: (B, C, H, W); w1: (hidden, C); b1: (hidden,); w2: (C, hidden); b2:
(C,); all of one dtype, float32, float64, bfloat16 or, on CUDA, float16; the short ones are computed in float32 and
rounded once. act: "relu", "leaky_relu" (what is below zero times `slope`, 0 or more) or "none". Contiguous and
channels_last x are read where they are, anything else is copied first; y has the memory format of x. Under autocast
all but float64 is cast to its dtype, to float32 where there is no kernel of it (float16 on a CPU). Twice
differentiable, as a gradient penalty asks for: the first derivative is one native operator, the second is composed of
PyTorch's, as is everything under torch.func and forward-mode differentiation; relu's gradient at zero is zero. As
after torch's activations, y must not be changed in place before its gradient is taken, but for act "none".
Raises TypeError or ValueError naming what was given and what is expected.
"""

from typing import TYPE_CHECKING

import torch

from clinaug_fast import _native
from clinaug_fast.config import whole_number
from clinaug_fast.ops import residual_se_cpu, residual_se_cuda, residual_se_plain
from clinaug_fast.ops.library import LIBRARY, is_transformed, no_autocast
from clinaug_fast.ops.residual_se_inputs import (
    DTYPES,
    check,
    check_act,
    check_act_kinds,
    check_backward,
    check_kinds,
    computed_in,
    empty_gradients,
    empty_signs,
    empty_state,
    layout,
)

_INPUTS = "Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor? skip, str act, float slope"
LIBRARY.define(f"residual_se({_INPUTS}) -> Tensor")
# What the gradient needs besides, in the dtype that was computed in: mean, gate (B, C); hidden (B, hidden) before relu.
# And signs, bytes for the backward operator alone; where it has them it reads no y.
LIBRARY.define(f"residual_se_forward({_INPUTS}) -> (Tensor y, Tensor mean, Tensor hidden, Tensor gate, Tensor signs)")
# grad_skip has no elements unless with_skip; it is dL/dy times act'.
LIBRARY.define(
    "residual_se_backward(Tensor grad, Tensor x, Tensor y, Tensor w1, Tensor w2, Tensor mean, Tensor hidden, "
    "Tensor gate, Tensor signs, str act, float slope, bool with_skip) "
    "-> (Tensor grad_x, Tensor grad_w1, Tensor grad_b1, Tensor grad_w2, Tensor grad_b2, Tensor grad_skip)"
)
_ON_CUDA = "residual_se" in _native.cuda_kernels
_OPERATOR = torch.ops.clinaug_fast.residual_se.default
_FORWARD = torch.ops.clinaug_fast.residual_se_forward.default
_BACKWARD = torch.ops.clinaug_fast.residual_se_backward.default


def residual_se(
    x: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
    skip: torch.Tensor | None = None,
    act: str = "relu",
    slope: float = 0.0,
) -> torch.Tensor:
    if isinstance(slope, torch.Tensor):  # a schema would take it as a number, and give it no gradient
        check_kinds(x, w1, b1, w2, b2, skip, act, slope)
    try:
        return _OPERATOR(x, w1, b1, w2, b2, skip, act, slope)
    except (AttributeError, RuntimeError, TypeError):
        check_kinds(x, w1, b1, w2, b2, skip, act, slope)
        raise


residual_se.__doc__ = __doc__  # whoever asks `ops.residual_se` for help asks the function, not the module


def residual_se_reference(
    x: torch.Tensor,
    w1: torch.Tensor,
    b1: torch.Tensor,
    w2: torch.Tensor,
    b2: torch.Tensor,
    skip: torch.Tensor | None = None,
    act: str = "relu",
    slope: float = 0.0,
) -> torch.Tensor:
    """The same in plain PyTorch."""
    check_kinds(x, w1, b1, w2, b2, skip, act, slope)
    check(x, w1, b1, w2, b2, skip, act, slope)
    return _plain(x, w1, b1, w2, b2, skip, act, slope)


def _plain(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return residual_se_plain.excite(x, residual_se_plain.gate(x, w1, b1, w2, b2)[2], skip, act, slope)


def _plain_rounded(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    """What the operator gives, rounded once; in float64, the one dtype that autocast leaves alone below torch.func,
    where it cannot be switched off."""
    check(x, w1, b1, w2, b2, skip, act, slope)
    wide = (t if t is None else t.double() for t in (x, w1, b1, w2, b2, skip))
    return _plain(*wide, act, slope).to(x.dtype)


class ResidualSE(torch.nn.Module):
    """`residual_se` with its two linear layers: forward(x, skip=None) -> act(x * gate + skip), (B, C, H, W).

    The hidden layer has ``max(1, channels // reduction)`` units. Weights start as torch.nn.Linear's; a state dict holds
    w1, b1, w2, b2.
    """

    def __init__(self, channels: int, reduction: int = 16, act: str = "relu", slope: float = 0.0):
        super().__init__()
        channels, reduction = whole_number("channels", channels, 1), whole_number("reduction", reduction, 1)
        check_act_kinds(act, slope)
        check_act(act, slope)
        self.act, self.slope = act, slope
        squeeze = torch.nn.Linear(channels, max(1, channels // reduction))
        excite = torch.nn.Linear(squeeze.out_features, channels)
        self.w1, self.b1 = squeeze.weight, squeeze.bias
        self.w2, self.b2 = excite.weight, excite.bias

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        return residual_se(x, self.w1, self.b1, self.w2, self.b2, skip, self.act, self.slope)

    if TYPE_CHECKING:  # of torch's it is only known that it returns something

        def __call__(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor: ...

    def extra_repr(self) -> str:
        return f"channels={self.w2.shape[0]}, hidden={self.w1.shape[0]}, act={self.act}, slope={self.slope}"


# ---- on the CPU ----------------------------------------------------------------------------------------------------


@torch.library.impl(LIBRARY, "residual_se", "CPU")
def _cpu(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return residual_se_cpu.forward(x, w1, b1, w2, b2, skip, act, slope, False)[0]


@torch.library.impl(LIBRARY, "residual_se_forward", "CPU")
def _cpu_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    return tuple(residual_se_cpu.forward(x, w1, b1, w2, b2, skip, act, slope, True))


torch.library.impl(LIBRARY, "residual_se_backward", "CPU")(residual_se_cpu.backward)


# ---- on CUDA: plain PyTorch where this build has no kernel ---------------------------------------------------------


@torch.library.impl(LIBRARY, "residual_se", "CUDA")
def _cuda(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return _cuda_forward(x, w1, b1, w2, b2, skip, act, slope)[0]


@torch.library.impl(LIBRARY, "residual_se_forward", "CUDA")
def _cuda_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    check(x, w1, b1, w2, b2, skip, act, slope)
    if _ON_CUDA:
        return *residual_se_cuda.forward(x, w1, b1, w2, b2, skip, act, slope), empty_signs(x, act)
    with no_autocast(x.device.type):
        state = residual_se_plain.gate(*(tensor.to(computed_in(x.dtype)) for tensor in (x, w1, b1, w2, b2)))
        y = residual_se_plain.excite(x, state[2], skip, act, slope).to(x.dtype).contiguous(memory_format=layout(x))
    return y, *state, empty_signs(x, act)


@torch.library.impl(LIBRARY, "residual_se_backward", "CUDA")
def _cuda_backward(grad, x, y, w1, w2, mean, hidden, gate, signs, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    tensors = (grad, x, y, w1, w2, mean, hidden, gate, signs)
    check_backward(*tensors, act, slope)
    if any(tensor.device != x.device for tensor in tensors):
        raise ValueError(f"the tensors are on {', '.join({str(t.device) for t in tensors})}; expected one device")
    if _ON_CUDA:
        *grads, grad_skip = residual_se_cuda.backward(grad, x, y, w1, w2, mean, hidden, gate, act, slope, with_skip)
        return *grads, grad_skip if with_skip else y.new_empty(0)
    wide = [tensor.to(mean.dtype) for tensor in (grad, x, y, w1, w2)]
    with no_autocast(x.device.type):  # whose matmul would round
        made = residual_se_plain.gradients(*wide, mean, hidden, gate, act, slope)
    grad_x, *grads, grad_skip = (tensor.to(x.dtype) for tensor in made)
    memory_format = layout(y)
    grad_skip = grad_skip.contiguous(memory_format=memory_format) if with_skip else y.new_empty(0)
    return grad_x.contiguous(memory_format=memory_format), *grads, grad_skip


# ---- without numbers, for torch.compile ----------------------------------------------------------------------------


@torch.library.register_fake("clinaug_fast::residual_se", lib=LIBRARY)
def _fake(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    check(x, w1, b1, w2, b2, skip, act, slope)
    return torch.empty_like(x, memory_format=layout(x))


@torch.library.register_fake("clinaug_fast::residual_se_forward", lib=LIBRARY)
def _fake_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    return _fake(x, w1, b1, w2, b2, skip, act, slope), *empty_state(x, w1), empty_signs(x, act)


@torch.library.register_fake("clinaug_fast::residual_se_backward", lib=LIBRARY)
def _fake_backward(grad, x, y, w1, w2, mean, hidden, gate, signs, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    return empty_gradients(y, w1, w2, with_skip)


# ---- derivatives ---------------------------------------------------------------------------------------------------


class _ResidualSe(torch.autograd.Function):
    """On the Autograd key: three fifths of what `register_autograd` costs a call."""

    @staticmethod
    def forward(ctx, x, w1, b1, w2, b2, skip, act, slope):
        with torch._C._AutoDispatchBelowAutograd():
            y, mean, hidden, gate, signs = _FORWARD(x, w1, b1, w2, b2, skip, act, slope)
        ctx.act, ctx.slope = act, slope
        # Without act its memory format is all that backward asks of y, which others may then change in place.
        kept = x.contiguous(memory_format=layout(x)) if act == "none" else y
        ctx.save_for_backward(x, w1, b1, w2, b2, kept, mean, hidden, gate, signs)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, w1, b1, w2, b2, y, mean, hidden, gate, signs = ctx.saved_tensors
        wants_skip = ctx.needs_input_grad[5]
        if torch.is_grad_enabled():  # create_graph: to be differentiated again
            wide = computed_in(x.dtype)
            with no_autocast(x.device.type):
                state = residual_se_plain.gate(*(tensor.to(wide) for tensor in (x, w1, b1, w2, b2)))
                wider = (tensor.to(wide) for tensor in (grad, x, y, w1, w2))
                made = residual_se_plain.gradients(*wider, *state, ctx.act, ctx.slope)
            *grads, grad_skip = (tensor.to(x.dtype) for tensor in made)
        else:
            bends = ctx.act != "none"
            *grads, grad_skip = _BACKWARD(
                grad, x, y, w1, w2, mean, hidden, gate, signs, ctx.act, ctx.slope, wants_skip and bends
            )
            grad_skip = grad_skip if bends else grad
        return *grads, grad_skip if wants_skip else None, None, None


@torch.library.impl(LIBRARY, "residual_se", "Autograd")
def _autograd(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    if is_transformed():
        return _plain_rounded(x, w1, b1, w2, b2, skip, act, slope)
    if torch.is_grad_enabled() and (
        x.requires_grad
        or w1.requires_grad
        or b1.requires_grad
        or w2.requires_grad
        or b2.requires_grad
        or (skip is not None and skip.requires_grad)
    ):
        return _ResidualSe.apply(x, w1, b1, w2, b2, skip, act, slope)
    with torch._C._AutoDispatchBelowAutograd():
        return _OPERATOR(x, w1, b1, w2, b2, skip, act, slope)


@torch.library.register_vmap("clinaug_fast::residual_se", lib=LIBRARY)
def _vmap(info, dims, x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, int]:
    """One call where images alone are mapped; one by one where each has weights of its own."""
    tensors = (x, w1, b1, w2, b2, skip)
    if not info.batch_size:
        return x.new_empty((0, *(x.shape if dims[0] is None else x.movedim(dims[0], 0).shape[1:]))), 0
    if dims[0] is None or dims[1:5] != (None,) * 4 or (skip is not None and dims[5] is None):
        each = (
            [t if d is None else t.select(d, k) for t, d in zip(tensors, dims[:6], strict=True)]
            for k in range(info.batch_size)
        )
        return torch.stack([_OPERATOR(*one, act, slope) for one in each]), 0
    x, skip = x.movedim(dims[0], 0), None if skip is None else skip.movedim(dims[5], 0)
    if x.ndim != 5:
        check(x.select(0, 0), w1, b1, w2, b2, skip if skip is None else skip.select(0, 0), act, slope)
    skip = None if skip is None else skip.flatten(0, 1)
    return _OPERATOR(x.flatten(0, 1), w1, b1, w2, b2, skip, act, slope).unflatten(0, x.shape[:2]), 0


def _autocast(device: str):
    def cast(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
        dtype = torch.get_autocast_dtype(device)
        dtype = dtype if dtype in DTYPES[device] else torch.float32
        tensors = (
            t.to(dtype) if t is not None and t.is_floating_point() and t.dtype != torch.float64 else t
            for t in (x, w1, b1, w2, b2, skip)
        )
        with torch.autocast(device, enabled=False):
            return _OPERATOR(*tensors, act, slope)

    return cast


torch.library.impl(LIBRARY, "residual_se", "AutocastCPU")(_autocast("cpu"))
torch.library.impl(LIBRARY, "residual_se", "AutocastCUDA")(_autocast("cuda"))
