"""log_mel on a GPU as an operator: streams, graphs, devices, derivatives, and what happens without a kernel."""

import numpy as np
import pytest
import torch

import signals
from clinaug_fast import LogMel, MelConfig, ops
from clinaug_fast.ops import log_mel_cuda
from tolerance import FLOAT32_LOUD, FLOAT64, worst

SMALL = MelConfig(sample_rate=16000, n_fft=128, hop_length=40, n_mels=12)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_why_no_kernel(monkeypatch, capsys):
    monkeypatch.setattr(log_mel_cuda._native, "cuda_compiler", "")
    assert "this build has no CUDA kernels" in log_mel_cuda.why_no_kernel(SMALL, torch.float32, 0)
    monkeypatch.setattr(log_mel_cuda._native, "cuda_compiler", "NVIDIA 13.0")
    monkeypatch.setattr(log_mel_cuda, "_shared_bytes", lambda device: 99 * 1024)
    assert log_mel_cuda.why_no_kernel(SMALL, torch.float32, 0) == ""
    assert log_mel_cuda.why_no_kernel(SMALL, torch.int16, 0) == ""
    assert "single precision" in log_mel_cuda.why_no_kernel(SMALL, torch.float64, 0)
    reason = log_mel_cuda.why_no_kernel(SMALL.with_changes(n_fft=500), torch.float32, 0)
    assert "n_fft 500 has no CUDA kernel. For speed use one of 64, 128" in reason
    monkeypatch.setattr(log_mel_cuda, "_shared_bytes", lambda device: 64 * 1024)
    huge = log_mel_cuda.why_no_kernel(SMALL.with_changes(n_fft=16384), torch.float32, 0)
    assert "n_fft 16384 needs" in huge
    assert "cuda:0 has 65536" in huge
    log_mel_cuda._said.clear()
    for _ in range(2):
        log_mel_cuda.say_once(reason)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("clinaug-fast: log_mel on the GPU goes through torch's FFT: n_fft 500")
    log_mel_cuda._said.clear()


@pytest.mark.cuda
@pytest.mark.parametrize("n_fft", [125, 500, 32768])
def test_other_sizes_go_through_torch_and_say_so(n_fft, capfd):
    config = SMALL.with_changes(n_fft=n_fft, win_length=n_fft)
    x = noise(2, 3 * n_fft)
    log_mel_cuda._said.clear()
    y = ops.log_mel(x.cuda(), config)
    assert worst(y.cpu(), ops.log_mel_reference(x.double(), config)) < 1e-3
    assert f"n_fft {n_fft} has no CUDA kernel" in capfd.readouterr().err


@pytest.mark.cuda
def test_layouts():
    x = noise(6, 3000).cuda()
    expected = ops.log_mel(x, SMALL)
    assert worst(expected.cpu(), ops.log_mel(x.cpu().double(), SMALL)) < FLOAT32_LOUD
    assert torch.equal(ops.log_mel(x.T.contiguous().T, SMALL), expected)
    assert torch.equal(ops.log_mel(torch.stack([x, x], -1)[..., 0], SMALL), expected)
    assert torch.equal(ops.log_mel(x.reshape(2, 3, 3000), SMALL), expected.reshape(2, 3, *expected.shape[1:]))
    assert torch.equal(ops.log_mel(x[:1].expand(4, -1), SMALL), expected[:1].expand(4, -1, -1))
    assert ops.log_mel(x[:, :0], SMALL).shape == (6, 12, 0)
    assert ops.log_mel(x[:0], SMALL).shape == (0, 12, SMALL.n_frames(3000))
    assert torch.equal(ops.log_mel(x[:, 1:], SMALL), ops.log_mel(x[:, 1:].clone(), SMALL))


@pytest.mark.cuda
def test_many_short_and_one_long():
    short = noise(5000, 300).cuda()
    assert worst(ops.log_mel(short, SMALL).cpu(), ops.log_mel(short.cpu().double(), SMALL)) < 1e-3
    long = noise(1, 3_000_000).cuda()
    assert worst(ops.log_mel(long, SMALL).cpu(), ops.log_mel(long.cpu().double(), SMALL)) < 1e-3


@pytest.mark.cuda
def test_launches_on_the_current_stream():
    x = noise(64, 20000).cuda()
    expected = ops.log_mel(x, SMALL)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        busy = torch.empty_like(x)
        torch.cuda._sleep(50_000_000)
        busy.copy_(x)
        y = ops.log_mel(busy, SMALL)  # right only if it waits for the copy
    stream.synchronize()
    assert torch.equal(y, expected)


@pytest.mark.cuda
def test_a_graph_captures_it():
    x = noise(8, 5000).cuda()
    ops.log_mel(x, SMALL)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = ops.log_mel(x, SMALL)
    for seed in range(3):
        x.copy_(noise(8, 5000, seed=seed))
        graph.replay()
        assert torch.equal(y, ops.log_mel(x, SMALL))
    with torch.cuda.graph(torch.cuda.CUDAGraph()):
        ops.log_mel(x.to(torch.int16), SMALL, dtype=torch.float16)  # another kernel of the same contract


@pytest.mark.cuda
def test_a_capture_before_the_tables_are_there_says_so():
    x = noise(2, 5000).cuda()
    config = SMALL.with_changes(f_min=77.0)
    graph = torch.cuda.graph(torch.cuda.CUDAGraph())
    with pytest.raises(RuntimeError, match=r"before its tables are on cuda:0.*Call it once"), graph:
        ops.log_mel(x, config)
    torch.cuda.synchronize()


@pytest.mark.cuda
def test_several_devices():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    x = noise(4, 5000)
    on_each = [ops.log_mel(x.to(f"cuda:{i}"), SMALL) for i in range(2)]
    assert on_each[1].device.index == 1
    assert torch.equal(on_each[0].cpu(), on_each[1].cpu())
    assert torch.cuda.current_device() == 0


@pytest.mark.cuda
def test_derivatives():
    x = noise(2, 400).cuda().requires_grad_()
    (ours,) = torch.autograd.grad(ops.log_mel(x, SMALL).sin().sum(), x)
    truth = x.detach().cpu().double().requires_grad_()
    (exact,) = torch.autograd.grad(ops.log_mel(truth, SMALL).sin().sum(), truth)
    assert worst(ours.cpu(), exact) < 1e-3 * float(exact.abs().max())
    (half,) = torch.autograd.grad(ops.log_mel(x, SMALL, dtype=torch.float16).float().sum(), x)
    assert half.dtype == torch.float32
    assert half.isfinite().all()
    double = x.detach().double().requires_grad_()
    assert worst(ops.log_mel(double, SMALL).detach().cpu(), ops.log_mel(truth, SMALL).detach()) < FLOAT64


@pytest.mark.cuda
def test_compiles_without_a_graph_break():
    module = torch.compile(LogMel(SMALL, dtype=torch.float16), backend="aot_eager", fullgraph=True)
    x = noise(3, 2000).cuda()
    assert torch.equal(module(x), ops.log_mel(x, SMALL, dtype=torch.float16))


@pytest.mark.cuda
def test_nothing_is_written_beside_the_result():
    x = noise(3, 1777).cuda()
    n_frames = SMALL.n_frames(1777)
    guarded = torch.full((3 * 12 * n_frames + 64,), np.nan, device="cuda")
    out = guarded[32:-32].view(3, 12, n_frames)
    log_mel_cuda.launch(x, out, SMALL.contract)
    assert torch.equal(out, ops.log_mel(x, SMALL))
    assert guarded[:32].isnan().all()
    assert guarded[-32:].isnan().all()


def test_dtype_of_the_result(device):
    x = noise(2, 1000).to(device)
    y = ops.log_mel(x, SMALL)
    assert torch.equal(ops.log_mel(x, SMALL, dtype=torch.float16), y.half())
    assert torch.equal(LogMel(SMALL, dtype=torch.float16)(x), y.half())
    pcm = (torch.from_numpy(signals.make("noise", 1000)) * 32767).to(torch.int16).to(device)
    assert ops.log_mel(pcm, SMALL, dtype=torch.float16).dtype == torch.float16
    assert ops.log_mel_reference(pcm, SMALL, dtype=torch.float16).dtype == torch.float16
    with pytest.raises(TypeError, match=r"dtype is torch.float64; expected torch.float32 or torch.float16"):
        ops.log_mel(x, SMALL, dtype=torch.float64)
    with pytest.raises(TypeError, match=r"dtype is torch.float16; expected torch.float64 for x of torch.float64"):
        ops.log_mel(x.double(), SMALL, dtype=torch.float16)
