"""What residual_se takes and leaves: checks of its inputs, memory formats, outputs without numbers."""

from numbers import Real

import torch

ACTIVATIONS = ("relu", "leaky_relu", "none")
DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.bfloat16),
    "cuda": (torch.float32, torch.float64, torch.bfloat16, torch.float16),
}
CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last


def check_kinds(x, w1, b1, w2, b2, skip, act, slope) -> None:
    """Raises TypeError in place of torch's own words, which tell the values of all arguments."""
    for name, value in (("x", x), ("w1", w1), ("b1", b1), ("w2", w2), ("b2", b2)):
        if not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{name} is of type {type(value).__name__}; expected a tensor, such as torch.as_tensor makes"
            )
    if skip is not None and not isinstance(skip, torch.Tensor):
        raise TypeError(f"skip is of type {type(skip).__name__}; expected a tensor or None")
    check_act_kinds(act, slope)


def check_act_kinds(act, slope) -> None:
    """Raises TypeError."""
    if not isinstance(act, str):
        raise TypeError(f"act is {act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if not isinstance(slope, (Real, torch.SymFloat)):
        raise TypeError(f"slope is of type {type(slope).__name__}; expected a number, 0 or more")


def check_act(act, slope) -> None:
    """Raises ValueError."""
    if act not in ACTIVATIONS:
        raise ValueError(f"act is {act!r}; expected one of {', '.join(ACTIVATIONS)}")
    if not slope >= 0:
        raise ValueError(f"slope is {slope}; expected 0 or more")


def _check_dtype(x) -> None:
    dtypes = DTYPES.get(x.device.type, DTYPES["cuda"])
    if x.dtype not in dtypes:
        *names, last = (str(dtype).removeprefix("torch.") for dtype in dtypes)
        raise TypeError(f"x is {x.dtype}; expected {', '.join(names)} or {last}. Convert it with .to()")


def check(x, w1, b1, w2, b2, skip, act, slope) -> None:
    """Raises TypeError or ValueError naming what was given and what is expected."""
    if x.ndim != 4 or 0 in x.shape[1:]:  # numel() would fix the sizes that torch.compile leaves open
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (B, C, H, W) with C, H, W at least 1")
    _check_dtype(x)
    check_act(act, slope)
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


def check_backward(grad, x, y, w1, w2, mean, hidden, gate, signs, act, slope) -> None:
    """The same of the backward operator's tensors."""
    _check_dtype(x)
    check_act(act, slope)
    batch, channels = x.shape[:2]
    n_hidden, wide = w1.shape[0], computed_in(x.dtype)
    expected = {
        "grad": (grad, x.shape, x.dtype),
        "y": (y, x.shape, x.dtype),
        "w1": (w1, (n_hidden, channels), x.dtype),
        "w2": (w2, (channels, n_hidden), x.dtype),
        "mean": (mean, (batch, channels), wide),
        "hidden": (hidden, (batch, n_hidden), wide),
        "gate": (gate, (batch, channels), wide),
        "signs": (signs, empty_signs(x, act).shape, torch.uint8),
    }
    for name, (tensor, shape, dtype) in expected.items():
        if tensor.shape != shape or tensor.dtype is not dtype:
            raise ValueError(
                f"{name} is {tensor.dtype} {tuple(tensor.shape)}; expected {dtype} {tuple(shape)}, "
                f"as residual_se_forward gave it for x {tuple(x.shape)}"
            )


def layout(x: torch.Tensor) -> torch.memory_format:
    """In which memory format x is read; one that is in neither is copied."""
    return CHANNELS_LAST if not x.is_contiguous() and x.is_contiguous(memory_format=CHANNELS_LAST) else CONTIGUOUS


def computed_in(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and gates, and of what forward keeps for backward."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def empty_state(x, w1) -> tuple[torch.Tensor, ...]:
    """mean (B, C), hidden (B, hidden), gate (B, C)."""
    dtype = computed_in(x.dtype)
    return tuple(x.new_empty((x.shape[0], n), dtype=dtype) for n in (x.shape[1], w1.shape[0], x.shape[1]))


def empty_signs(x, act) -> torch.Tensor:
    """(n,) uint8: room for a bit an element of y, whether it is above zero, and for a byte that tells whether they were
    kept. Backward reads them in place of y."""
    kept = x.device.type == "cpu" and act != "none"
    return x.new_empty((x.numel() + 7) // 8 + 1 if kept else 0, dtype=torch.uint8)


def empty_gradients(y, w1, w2, with_skip) -> tuple[torch.Tensor, ...]:
    """Those of x, w1, b1, w2, b2 and skip, the last without elements unless with_skip."""
    hidden, channels = w1.shape
    return (
        torch.empty_like(y),
        w1.new_empty((hidden, channels)),
        w1.new_empty(hidden),
        w2.new_empty((channels, hidden)),
        w2.new_empty(channels),
        torch.empty_like(y) if with_skip else y.new_empty(0),
    )
