"""The torch.library namespace `clinaug_fast`, how a tensor is described to the extension, and who else is looking."""

import contextlib

import torch
from torch.autograd import forward_ad

# `Library.define` + `impl` costs a call a fraction of what the `custom_op` decorator does.
LIBRARY = torch.library.Library("clinaug_fast", "DEF")

_transforms_active = torch._C._are_functorch_transforms_active
_DTYPE_NAMES = {torch.float32: "float32", torch.float64: "float64", torch.float16: "float16", torch.int16: "int16"}


def buffer(tensor: torch.Tensor) -> tuple[int, str, tuple[int, ...], tuple[int, ...]]:
    """(address, dtype, shape, strides in elements): what the extension takes. The tensor must outlive the call."""
    if tensor.dtype not in _DTYPE_NAMES:
        raise TypeError(f"a tensor is {tensor.dtype}; expected one of {', '.join(_DTYPE_NAMES.values())}")
    return tensor.data_ptr(), _DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), tensor.stride()


def is_transformed() -> bool:
    """Whether torch.func (grad, jvp, vmap, ...) or forward-mode differentiation is at work, which an
    autograd.Function of the cheap kind cannot serve: the operators are plain PyTorch there."""
    return _transforms_active() or forward_ad._current_level >= 0


def no_autocast(device: str) -> contextlib.AbstractContextManager:
    """Autocast off, where the device knows it."""
    known = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if known else contextlib.nullcontext()
