"""residual_se as a torch operator: squeeze-and-excitation, residual sum and activation in one pass.

``y = act(x * gate + skip)``, ``gate = sigmoid(w2 relu(w1 mean_hw(x) + b1) + b2)`` (Hu, Shen, Sun 2018, in the residual
form of Margaryan, Seibold et al. 2022). x, skip, y: (B, C, H, W); w1: (hidden, C); b1: (hidden,); w2: (C, hidden);
b2: (C,); all of one dtype, float32, float64 or bfloat16, the last computed in float32 and rounded once. act: "relu",
"leaky_relu" (with `slope` below zero) or "none". Contiguous and channels_last x are read where they are, anything else
is copied first; y has the memory format of x. Under autocast everything is cast to its dtype. Twice differentiable, as
a gradient penalty asks for: the first derivative is one native operator, the second is composed of PyTorch's; relu's
gradient at zero is zero. Raises TypeError or ValueError naming what was given and what is expected.
"""

import torch
from torch.nn import functional as F

from clinaug_fast import _native, native
from clinaug_fast.ops.library import LIBRARY

ACTIVATIONS = ("relu", "leaky_relu", "none")
DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}

_INPUTS = "Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor? skip, str act, float slope"
LIBRARY.define(f"residual_se({_INPUTS}) -> Tensor")
# What the gradient needs besides, in the dtype that was computed in: mean, gate (B, C); hidden (B, hidden) before relu.
LIBRARY.define(f"residual_se_forward({_INPUTS}) -> (Tensor y, Tensor mean, Tensor hidden, Tensor gate)")
# grad_skip has no elements unless with_skip; it is dL/dy times act'.
LIBRARY.define(
    "residual_se_backward(Tensor grad, Tensor x, Tensor y, Tensor w1, Tensor w2, Tensor mean, Tensor hidden, "
    "Tensor gate, str act, float slope, bool with_skip) "
    "-> (Tensor grad_x, Tensor grad_w1, Tensor grad_b1, Tensor grad_w2, Tensor grad_b2, Tensor grad_skip)"
)
_OPERATOR = torch.ops.clinaug_fast.residual_se.default
_FORWARD = torch.ops.clinaug_fast.residual_se_forward.default
_BACKWARD = torch.ops.clinaug_fast.residual_se_backward.default
_KERNEL = _native.ResidualSe(native.INSTRUCTION_SET)
_CPU_DTYPES = DTYPES["cpu"]
_FIRST, _LAST = torch.contiguous_format, torch.channels_last


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
    """The operator; see the module's text."""
    return _OPERATOR(x, w1, b1, w2, b2, skip, act, slope)


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
    _check(x, w1, b1, w2, b2, skip, act, slope)
    return _excite(x, _gate(x, w1, b1, w2, b2)[2], skip, act, slope)


class ResidualSE(torch.nn.Module):
    """`residual_se` with its two linear layers: forward(x, skip=None) -> act(x * gate + skip), (B, C, H, W).

    The hidden layer has ``max(1, channels // reduction)`` units. Weights start as torch.nn.Linear's; a state dict holds
    w1, b1, w2, b2.
    """

    def __init__(self, channels: int, reduction: int = 16, act: str = "relu", slope: float = 0.0):
        super().__init__()
        if channels < 1 or reduction < 1:
            raise ValueError(f"channels is {channels}, reduction is {reduction}; expected both at least 1")
        self.act, self.slope = act, slope
        squeeze = torch.nn.Linear(channels, max(1, channels // reduction))
        excite = torch.nn.Linear(squeeze.out_features, channels)
        self.w1, self.b1 = squeeze.weight, squeeze.bias
        self.w2, self.b2 = excite.weight, excite.bias

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        return residual_se(x, self.w1, self.b1, self.w2, self.b2, skip, self.act, self.slope)

    def extra_repr(self) -> str:
        return f"channels={self.w2.shape[0]}, hidden={self.w1.shape[0]}, act={self.act}, slope={self.slope}"


def _check(x, w1, b1, w2, b2, skip, act, slope) -> None:
    if x.ndim != 4 or x.shape[1:].numel() == 0:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (B, C, H, W) with C, H, W at least 1")
    dtypes = DTYPES.get(x.device.type, DTYPES["cuda"])
    if x.dtype not in dtypes:
        *names, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"x is {x.dtype}; expected {', '.join(names)} or {last}. Convert it with .to()")
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if not slope >= 0:
        raise ValueError(f"slope is {slope}; expected 0 or more")
    channels, hidden = x.shape[1], max(1, w1.shape[0]) if w1.ndim == 2 else 1
    expected = {
        "w1": (w1, (hidden, channels)),
        "b1": (b1, (hidden,)),
        "w2": (w2, (channels, hidden)),
        "b2": (b2, (channels,)),
    }
    if skip is not None:
        expected["skip"] = (skip, tuple(x.shape))
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape} for x {tuple(x.shape)}")
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise TypeError(f"{name} is {tensor.dtype} on {tensor.device}; expected {x.dtype} on {x.device} as x")


def _check_backward(grad, x, y, w1, w2, mean, hidden, gate) -> None:
    batch, channels = x.shape[:2]
    n_hidden, wide = w1.shape[0], _computed_in(x.dtype)
    expected = {
        "grad": (grad, x.shape, x.dtype),
        "y": (y, x.shape, x.dtype),
        "w1": (w1, (n_hidden, channels), x.dtype),
        "w2": (w2, (channels, n_hidden), x.dtype),
        "mean": (mean, (batch, channels), wide),
        "hidden": (hidden, (batch, n_hidden), wide),
        "gate": (gate, (batch, channels), wide),
    }
    for name, (tensor, shape, dtype) in expected.items():
        if tensor.shape != shape or tensor.dtype is not dtype:
            raise ValueError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}; expected {dtype} {tuple(shape)}, as residual_se_forward "
                f"gave it for x {tuple(x.shape)}"
            )


# ---- in plain PyTorch ----------------------------------------------------------------------------------------------


def _gate(x, w1, b1, w2, b2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """mean (B, C), hidden (B, hidden) before its relu, gate (B, C)."""
    mean = x.mean((2, 3))
    hidden = F.linear(mean, w1, b1)
    return mean, hidden, torch.sigmoid(F.linear(hidden.relu(), w2, b2))


def _excite(x, gate, skip, act, slope) -> torch.Tensor:
    y = x * gate[:, :, None, None]
    if skip is not None:
        y = y + skip
    return {"relu": F.relu, "leaky_relu": lambda z: F.leaky_relu(z, slope), "none": lambda z: z}[act](y)


def _gradients(grad, x, y, w1, w2, mean, hidden, gate, act, slope) -> tuple[torch.Tensor, ...]:
    """dL/d(x, w1, b1, w2, b2, skip) of dL/dy, differentiable again; the sign of y only says where act is flat."""
    if act != "none":
        grad = torch.where(y.detach() > 0, grad, grad * (slope if act == "leaky_relu" else 0.0))
    grad_logit = (grad * x).sum((2, 3)) * gate * (1 - gate)
    grad_hidden = (grad_logit @ w2) * (hidden > 0)
    grad_mean = grad_hidden @ w1 / x.shape[2:].numel()
    grad_x = grad * gate[:, :, None, None] + grad_mean[:, :, None, None]
    return grad_x, grad_hidden.T @ mean, grad_hidden.sum(0), grad_logit.T @ hidden.relu(), grad_logit.sum(0), grad


# ---- on the CPU ----------------------------------------------------------------------------------------------------


def _layout(x: torch.Tensor) -> torch.memory_format:
    return _LAST if not x.is_contiguous() and x.is_contiguous(memory_format=_LAST) else _FIRST


def _computed_in(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype is torch.float64 else torch.float32


def _run(x, w1, b1, w2, b2, skip, act, slope, keep) -> list[torch.Tensor]:
    """[y], and with `keep` mean, hidden and gate.

    Each look at a tensor costs a call some 0.1 microseconds, so one condition finds out whether all is right, and only
    where it is not is `_check` asked what is wrong. All are on the CPU, or this would not have been called.
    """
    shape, dtype, hidden = x.shape, x.dtype, b1.numel()
    channels = shape[1] if len(shape) == 4 else -1
    if not (
        w1.shape == (hidden, channels)
        and w2.shape == (channels, hidden)
        and b2.shape == (channels,)
        and b1.dim() == 1
        and (skip is None or (skip.shape == shape and skip.dtype is dtype))
        and w1.dtype is dtype
        and w2.dtype is dtype
        and b1.dtype is dtype
        and b2.dtype is dtype
        and dtype in _CPU_DTYPES
        and act in ACTIVATIONS
        and slope >= 0
        and hidden
        and x.numel()
    ):
        _check(x, w1, b1, w2, b2, skip, act, slope)
    last = not x.is_contiguous() and x.is_contiguous(memory_format=_LAST)
    layout = _LAST if last else _FIRST
    x = x.contiguous(memory_format=layout)
    w1, b1, w2, b2 = w1.contiguous(), b1.contiguous(), w2.contiguous(), b2.contiguous()
    if skip is not None:
        skip = skip.contiguous(memory_format=layout)
    y = torch.empty_like(x)
    made = [y, *_empty_state(x, w1)] if keep else [y]
    _KERNEL.forward(
        x.data_ptr(),
        w1.data_ptr(),
        b1.data_ptr(),
        w2.data_ptr(),
        b2.data_ptr(),
        0 if skip is None else skip.data_ptr(),
        y.data_ptr(),
        *([tensor.data_ptr() for tensor in made[1:]] if keep else (0, 0, 0)),
        x.itemsize,
        shape[0],
        channels,
        hidden,
        shape[2] * shape[3],
        last,
        act,
        slope,
        torch.get_num_threads(),
    )
    return made


@torch.library.impl(LIBRARY, "residual_se", "CPU")
def _cpu(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return _run(x, w1, b1, w2, b2, skip, act, slope, False)[0]


@torch.library.impl(LIBRARY, "residual_se_forward", "CPU")
def _cpu_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    return tuple(_run(x, w1, b1, w2, b2, skip, act, slope, True))


@torch.library.impl(LIBRARY, "residual_se_backward", "CPU")
def _cpu_backward(grad, x, y, w1, w2, mean, hidden, gate, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    _check_backward(grad, x, y, w1, w2, mean, hidden, gate)
    layout = _layout(y)
    grad, x, y = (tensor.contiguous(memory_format=layout) for tensor in (grad, x, y))
    w1, w2, mean, hidden, gate = (tensor.contiguous() for tensor in (w1, w2, mean, hidden, gate))
    grads = _empty_gradients(y, w1, w2, with_skip)
    batch, channels, height, width = x.shape
    _KERNEL.backward(
        *[tensor.data_ptr() for tensor in (grad, x, y, w1, w2, mean, hidden, gate, *grads)],
        x.itemsize,
        batch,
        channels,
        w1.shape[0],
        height * width,
        layout is _LAST,
        act,
        slope,
        torch.get_num_threads(),
    )
    return grads


# ---- on CUDA, until there is a kernel: plain PyTorch ---------------------------------------------------------------


@torch.library.impl(LIBRARY, "residual_se", "CUDA")
def _cuda(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return _cuda_forward(x, w1, b1, w2, b2, skip, act, slope)[0]


@torch.library.impl(LIBRARY, "residual_se_forward", "CUDA")
def _cuda_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    _check(x, w1, b1, w2, b2, skip, act, slope)
    state = _gate(*(tensor.to(_computed_in(x.dtype)) for tensor in (x, w1, b1, w2, b2)))
    y = _excite(x, state[2], skip, act, slope).to(x.dtype).contiguous(memory_format=_layout(x))
    return y, *state


@torch.library.impl(LIBRARY, "residual_se_backward", "CUDA")
def _cuda_backward(grad, x, y, w1, w2, mean, hidden, gate, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    wide = [tensor.to(mean.dtype) for tensor in (grad, x, y, w1, w2)]
    grad_x, *grads, grad_skip = (t.to(x.dtype) for t in _gradients(*wide, mean, hidden, gate, act, slope))
    layout = _layout(y)
    grad_skip = grad_skip.contiguous(memory_format=layout) if with_skip else y.new_empty(0)
    return grad_x.contiguous(memory_format=layout), *grads, grad_skip


# ---- without numbers, for torch.compile ----------------------------------------------------------------------------


def _empty_state(x, w1) -> tuple[torch.Tensor, ...]:
    dtype = _computed_in(x.dtype)
    return tuple(x.new_empty((x.shape[0], n), dtype=dtype) for n in (x.shape[1], w1.shape[0], x.shape[1]))


def _empty_gradients(y, w1, w2, with_skip) -> tuple[torch.Tensor, ...]:
    hidden, channels = w1.shape
    return (
        torch.empty_like(y),
        w1.new_empty((hidden, channels)),
        w1.new_empty(hidden),
        w2.new_empty((channels, hidden)),
        w2.new_empty(channels),
        torch.empty_like(y) if with_skip else y.new_empty(0),
    )


@torch.library.register_fake("clinaug_fast::residual_se", lib=LIBRARY)
def _fake(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    _check(x, w1, b1, w2, b2, skip, act, slope)
    return torch.empty_like(x, memory_format=_layout(x))


@torch.library.register_fake("clinaug_fast::residual_se_forward", lib=LIBRARY)
def _fake_forward(x, w1, b1, w2, b2, skip, act, slope) -> tuple[torch.Tensor, ...]:
    return _fake(x, w1, b1, w2, b2, skip, act, slope), *_empty_state(x, w1)


@torch.library.register_fake("clinaug_fast::residual_se_backward", lib=LIBRARY)
def _fake_backward(grad, x, y, w1, w2, mean, hidden, gate, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    return _empty_gradients(y, w1, w2, with_skip)


# ---- derivatives ---------------------------------------------------------------------------------------------------


class _ResidualSe(torch.autograd.Function):
    """On the Autograd key: a third of what `register_autograd` costs a call."""

    @staticmethod
    def forward(ctx, x, w1, b1, w2, b2, skip, act, slope):
        with torch._C._AutoDispatchBelowAutograd():
            y, mean, hidden, gate = _FORWARD(x, w1, b1, w2, b2, skip, act, slope)
        ctx.act, ctx.slope = act, slope
        ctx.save_for_backward(x, w1, b1, w2, b2, y, mean, hidden, gate)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, w1, b1, w2, b2, y, mean, hidden, gate = ctx.saved_tensors
        wants_skip = ctx.needs_input_grad[5]
        if torch.is_grad_enabled():  # create_graph: to be differentiated again
            wide = _computed_in(x.dtype)
            state = _gate(*(tensor.to(wide) for tensor in (x, w1, b1, w2, b2)))
            wider = (tensor.to(wide) for tensor in (grad, x, y, w1, w2))
            *grads, grad_skip = (t.to(x.dtype) for t in _gradients(*wider, *state, ctx.act, ctx.slope))
        else:
            bends = ctx.act != "none"
            *grads, grad_skip = _BACKWARD(
                grad, x, y, w1, w2, mean, hidden, gate, ctx.act, ctx.slope, wants_skip and bends
            )
            grad_skip = grad_skip if bends else grad
        return *grads, grad_skip if wants_skip else None, None, None


@torch.library.impl(LIBRARY, "residual_se", "Autograd")
def _autograd(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
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
