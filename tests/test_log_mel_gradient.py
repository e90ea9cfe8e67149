"""The gradient of log_mel where the spectrum is zero, at a power that has none there."""

import pytest
import torch

from clinaug_fast import MelConfig, ops

MAGNITUDE = MelConfig(sample_rate=16000, n_fft=128, hop_length=40, n_mels=12, power=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_has_the_gradient_zero(dtype: torch.dtype):
    x = torch.zeros(1, 1000, dtype=dtype, requires_grad=True)
    ops.log_mel(x, MAGNITUDE).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_beside_sound_has_a_gradient_that_is_a_number(dtype: torch.dtype):
    generator = torch.Generator().manual_seed(5)
    sound = torch.randn(1, 500, dtype=dtype, generator=generator)
    x = torch.cat([sound, torch.zeros(1, 500, dtype=dtype)], 1).requires_grad_()
    ops.log_mel(x, MAGNITUDE).sum().backward()
    assert x.grad.isfinite().all()
    assert torch.equal(x.grad[:, 640:], torch.zeros(1, 360, dtype=dtype))
    assert x.grad[:, :400].any()
