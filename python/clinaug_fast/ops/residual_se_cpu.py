"""residual_se on the CPU: hands the tensors' addresses to the native passes."""

import torch

from clinaug_fast import _native, native
from clinaug_fast.ops.residual_se_inputs import (
    ACTIVATIONS,
    CHANNELS_LAST,
    DTYPES,
    check,
    check_backward,
    empty_gradients,
    empty_signs,
    empty_state,
    layout,
)

_KERNEL = _native.ResidualSe(native.INSTRUCTION_SET)
_CPU_DTYPES = DTYPES["cpu"]


def forward(x, w1, b1, w2, b2, skip, act, slope, keep) -> list[torch.Tensor]:
    """[y], and with `keep` mean, hidden, gate and signs.

    Each look at a tensor costs a call some 0.1 microseconds, so one condition finds out whether all is right, and only
    where it is not is `check` asked what is wrong. All are on the CPU, or this would not have been called.
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
        check(x, w1, b1, w2, b2, skip, act, slope)
    memory_format = layout(x)
    x = x.contiguous(memory_format=memory_format)
    w1, b1, w2, b2 = w1.contiguous(), b1.contiguous(), w2.contiguous(), b2.contiguous()
    if skip is not None:
        skip = skip.contiguous(memory_format=memory_format)
    y = torch.empty_like(x)
    made = [y, *empty_state(x, w1), empty_signs(x, act)] if keep else [y]
    _KERNEL.forward(
        x.data_ptr(),
        w1.data_ptr(),
        b1.data_ptr(),
        w2.data_ptr(),
        b2.data_ptr(),
        0 if skip is None else skip.data_ptr(),
        y.data_ptr(),
        *([tensor.data_ptr() for tensor in made[1:]] if keep else (0, 0, 0, 0)),
        x.itemsize,
        shape[0],
        channels,
        hidden,
        shape[2] * shape[3],
        memory_format is CHANNELS_LAST,
        act,
        slope,
        torch.get_num_threads(),
    )
    return made


def backward(grad, x, y, w1, w2, mean, hidden, gate, signs, act, slope, with_skip) -> tuple[torch.Tensor, ...]:
    """The gradients of x, w1, b1, w2, b2 and skip."""
    check_backward(grad, x, y, w1, w2, mean, hidden, gate, signs, act, slope)
    memory_format = layout(y)
    grad, x, y = (tensor.contiguous(memory_format=memory_format) for tensor in (grad, x, y))
    w1, w2, mean, hidden, gate, signs = (tensor.contiguous() for tensor in (w1, w2, mean, hidden, gate, signs))
    grads = empty_gradients(y, w1, w2, with_skip)
    batch, channels, height, width = x.shape
    _KERNEL.backward(
        *[tensor.data_ptr() for tensor in (grad, x, y, w1, w2, mean, hidden, gate, signs, *grads)],
        x.itemsize,
        batch,
        channels,
        w1.shape[0],
        height * width,
        memory_format is CHANNELS_LAST,
        act,
        slope,
        torch.get_num_threads(),
    )
    return grads
