"""residual_se as a torch operator: squeeze-and-excitation, residual sum and activation in one pass.

``y = act(x * gate + skip)``, ``gate = sigmoid(w2 relu(w1 mean_hw(x) + b1) + b2)`` (Hu, Shen, Sun 2018, in the residual
form of Margaryan, Seibold et al. 2022). x, skip, y: (B, C, H, W); w1: (hidden, C); b1: (hidden,); w2: (C, hidden);
b2: (C,); all float32 or all float64. act: "relu", "leaky_relu" (with `slope` below zero) or "none". Contiguous and
channels_last x are read where they are, and y has the memory format of x. Twice differentiable, as a gradient penalty
asks for; relu's gradient at zero is zero. Raises TypeError or ValueError naming what was given and what is expected.
"""

import torch
from torch.nn import functional as F

from clinaug_fast import _native
from clinaug_fast.ops.library import LIBRARY, buffer

ACTIVATIONS = ("relu", "leaky_relu", "none")

LIBRARY.define(
    "residual_se(Tensor x, Tensor w1, Tensor b1, Tensor w2, Tensor b2, Tensor? skip, str act, float slope) -> Tensor"
)


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
    _check(x, w1, b1, w2, b2, skip, act, slope)
    return torch.ops.clinaug_fast.residual_se(x, w1, b1, w2, b2, skip, act, slope)


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
    return _reference(x, w1, b1, w2, b2, skip, act, slope)


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
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x is {x.dtype}; expected float32 or float64. Convert it with .to()")
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if slope < 0:
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


def _gate(x, w1, b1, w2, b2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """mean (B, C), hidden (B, hidden) before its relu, gate (B, C)."""
    mean = x.mean((2, 3))
    hidden = F.linear(mean, w1, b1)
    return mean, hidden, torch.sigmoid(F.linear(hidden.relu(), w2, b2))


def _reference(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    _, _, gate = _gate(x, w1, b1, w2, b2)
    y = x * gate[:, :, None, None]
    if skip is not None:
        y = y + skip
    return {"relu": F.relu, "leaky_relu": lambda z: F.leaky_relu(z, slope), "none": lambda z: z}[act](y)


def _memory_format(x: torch.Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


@torch.library.impl(LIBRARY, "residual_se", "CPU")
def _cpu(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    layout = _memory_format(x)
    dense = [x.contiguous(memory_format=layout), *(w.contiguous() for w in (w1, b1, w2, b2))]
    skip = None if skip is None else skip.contiguous(memory_format=layout)
    y = torch.empty_like(dense[0], memory_format=layout)
    _native.residual_se(
        *map(buffer, dense),
        skip=None if skip is None else buffer(skip),
        y=buffer(y),
        channels_last=layout is torch.channels_last,
        activation=act,
        slope=slope,
        threads=torch.get_num_threads(),
    )
    return y


@torch.library.impl(LIBRARY, "residual_se", "CUDA")
def _cuda(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return _reference(x, w1, b1, w2, b2, skip, act, slope).contiguous(memory_format=_memory_format(x))


@torch.library.register_fake("clinaug_fast::residual_se", lib=LIBRARY)
def _fake(x, w1, b1, w2, b2, skip, act, slope) -> torch.Tensor:
    return torch.empty_like(x, memory_format=_memory_format(x))


def _setup_context(ctx, inputs, output) -> None:
    x, w1, b1, w2, b2, skip, ctx.act, ctx.slope = inputs
    ctx.has_skip = skip is not None
    ctx.save_for_backward(x, w1, b1, w2, b2, output)


def _autograd(ctx, grad: torch.Tensor):
    """Composed of differentiable operations on the inputs; the sign of y only says where act is flat."""
    x, w1, b1, w2, b2, y = ctx.saved_tensors
    mean, hidden, gate = _gate(x, w1, b1, w2, b2)
    if ctx.act != "none":
        slope = ctx.slope if ctx.act == "leaky_relu" else 0.0
        grad = torch.where(y.detach() > 0, grad, grad * slope)
    grad_logit = (grad * x).sum((2, 3)) * gate * (1 - gate)
    grad_hidden = (grad_logit @ w2) * (hidden > 0)
    grad_mean = grad_hidden @ w1 / x.shape[2:].numel()
    grad_x = grad * gate[:, :, None, None] + grad_mean[:, :, None, None]
    return (
        grad_x,
        grad_hidden.T @ mean,
        grad_hidden.sum(0),
        grad_logit.T @ hidden.relu(),
        grad_logit.sum(0),
        grad if ctx.has_skip else None,
        None,
        None,
    )


torch.library.register_autograd("clinaug_fast::residual_se", _autograd, setup_context=_setup_context, lib=LIBRARY)
