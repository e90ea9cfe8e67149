"""The gradient of log_mel where the spectrum is zero, at a power that has none there, and through compiled graphs."""

import pytest
import torch

from clinaug_fast import LogMel, MelConfig, ops

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


def test_a_clip_of_one_frame_has_its_gradient_through_a_compiled_graph_of_any_length():
    """inductor, once it takes the length for a variable."""
    module = LogMel(MelConfig(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40))
    compiled = torch.compile(module)
    for n_samples in (4000, 100):
        x = torch.randn(2, n_samples, generator=torch.Generator().manual_seed(1))
        gradients = []
        for function in (module, compiled):
            leaf = x.clone().requires_grad_()
            function(leaf).sum().backward()
            gradients.append(leaf.grad)
        torch.testing.assert_close(*gradients)


def test_a_module_that_is_mapped_compiles_before_it_was_ever_called():
    module = LogMel(MelConfig(sample_rate=8000, n_fft=256, hop_length=64, n_mels=21))
    x = torch.randn(3, 2, 1000, generator=torch.Generator().manual_seed(2))
    mapped = torch.compile(torch.vmap(module), fullgraph=True, backend="eager")
    assert torch.equal(mapped(x), module(x))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_sample_spoils_its_own_frames_alone_whatever_computes_them(bad: float):
    """Plain PyTorch too, which computes below torch.func, and on a GPU what no kernel does."""
    config = MelConfig(sample_rate=8000, n_fft=256, win_length=90, hop_length=90, n_mels=21)  # windows side by side
    x = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[500] = bad

    def below_func(x: torch.Tensor, config: MelConfig) -> torch.Tensor:
        return torch.func.vjp(lambda x: ops.log_mel(x, config), x)[0]

    for compute in (ops.log_mel, ops.log_mel_reference, below_func):
        assert (~compute(x, config).isfinite()).any(0).sum() == 1


def test_pcm_is_scaled_below_torch_func_too():
    config = MelConfig(sample_rate=8000, n_fft=256, hop_length=64, n_mels=21)
    pcm = torch.randint(-20000, 20000, (1000,), dtype=torch.int16, generator=torch.Generator().manual_seed(0))
    y = torch.func.vjp(lambda gain: gain * ops.log_mel(pcm, config), torch.ones(()))[0]
    torch.testing.assert_close(y, ops.log_mel(pcm, config), atol=1e-4, rtol=0)


def test_the_gradient_of_halves_is_computed_in_the_precision_of_the_waveform():
    config = MelConfig(sample_rate=8000, n_fft=256, hop_length=64, n_mels=21, log="db")
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0), requires_grad=True)
    half, single = (
        torch.autograd.grad(ops.log_mel(x, config, dtype=dtype).sum(), x)[0] for dtype in (torch.float16, None)
    )
    assert torch.equal(half, single)


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 1000), (0, 0)])
def test_what_is_empty_has_an_empty_gradient(shape: tuple[int, ...]):
    x = torch.zeros(shape, requires_grad=True)
    ops.log_mel(x, MelConfig(sample_rate=8000, n_fft=256, hop_length=64, n_mels=21)).sum().backward()
    assert x.grad.shape == shape
