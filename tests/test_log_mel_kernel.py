"""The CUDA kernel of log_mel against float64: its phases on the CPU, thread by thread, and on a GPU the kernel itself.

On the CPU a race between threads, a read of shared memory that nobody wrote or one beyond its end raises.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import signals
from clinaug_fast import MelConfig, _device_phases, _native, native, ops
from lanes_cases import exact, noise
from tolerance import FLOAT32_LOG, FLOAT32_LOUD, worst

SIZES = tuple(_native.log_mel_cuda_sizes)
SMALL = MelConfig(sample_rate=16000, n_fft=128, hop_length=40, n_mels=12)


def on_the_cpu(x: np.ndarray, config: MelConfig, dtype: type = np.float32) -> np.ndarray:
    """x: (B, T), samples side by side."""
    out = np.full((len(x), config.n_mels, config.n_frames(x.shape[1])), np.nan, dtype)
    _device_phases.log_mel(config.model_dump(), x, out)
    return out


def on_a_gpu(x: np.ndarray, config: MelConfig, dtype: type = np.float32) -> np.ndarray:
    out_dtype = torch.float16 if dtype == np.float16 else torch.float32
    return ops.log_mel(torch.from_numpy(x).cuda(), config, dtype=out_dtype).cpu().numpy()


@pytest.fixture(params=["phases", pytest.param("gpu", marks=pytest.mark.cuda)])
def kernel(request: pytest.FixtureRequest) -> Callable[..., np.ndarray]:
    return on_a_gpu if request.param == "gpu" else on_the_cpu


def test_the_sizes_are_those_that_we_promise():
    assert SIZES == (64, 128, 256, 400, 480, 512, 640, 960, 1024, 1200, 2048, 4096, 8192, 16384)
    assert max(_native.log_mel_cuda_sizes.values()) <= 99 * 1024  # bytes a block on the smallest GPU


@pytest.mark.parametrize("n_fft", SIZES)
@pytest.mark.parametrize("power", [1, 2])
def test_every_size(kernel, n_fft, power):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=max(4, min(40, n_fft // 16)), power=power)
    x = noise(3, 5 * n_fft + 3)
    assert worst(kernel(x, config), exact(x, config)) < FLOAT32_LOUD


@pytest.mark.parametrize("n_fft", SIZES)
def test_every_bin(kernel, n_fft):
    """Frames with a sine of their own bin, over the whole spectrum: no bin may be lost or counted twice."""
    config = MelConfig(sample_rate=16000, n_fft=n_fft, hop_length=n_fft, n_mels=24, window="boxcar", center=False)
    t = np.arange(n_fft)
    bins = np.unique(np.linspace(0, n_fft // 2, 70).astype(int))
    x = np.cos(2 * np.pi * np.outer(bins, t) / n_fft + 0.3).astype(np.float32)
    ours, theirs = kernel(x, config), exact(x, config)
    loud = theirs > theirs.max() - 10
    assert worst(ours[loud], theirs[loud]) < FLOAT32_LOUD


@pytest.mark.parametrize("n_fft", SIZES)
def test_the_exchange_has_no_bank_conflicts(n_fft):
    """A warp that writes along a row from one frame on into the next may meet one of its own words there, no more."""
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=max(4, min(64, n_fft // 16)))
    counted = _device_phases.log_mel_wavefronts(config.model_dump())
    for phase, most in {"rows": 1.15, "middle": 1.0, "columns": 1.35, "powers": 1.9}.items():
        taken, least = counted.get(phase, (0, 0))
        assert taken <= most * least, phase


@pytest.mark.parametrize("n_fft", [64, 400, 1024, 2048, 8192])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "edge"])
@pytest.mark.parametrize("length", [1, 2, 3, "n_fft // 3", "n_fft // 2", "n_fft - 1", "n_fft", "n_fft + 1"])
def test_lengths_and_padding(kernel, n_fft, pad_mode, length):
    n = eval(length, {"n_fft": n_fft}) if isinstance(length, str) else length  # noqa: S307
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=6, pad_mode=pad_mode, floor=1e-3)
    x = noise(2, n)
    assert worst(kernel(x, config), exact(x, config)) < FLOAT32_LOG


@settings(max_examples=150, deadline=None)
@given(
    n_fft=st.sampled_from([n for n in SIZES if n <= 2048]),
    hop=st.integers(1, 700),
    win=st.floats(0.1, 1.0),
    batch=st.integers(1, 5),
    n=st.integers(0, 1500),
    n_mels=st.integers(1, 300),
    contract=st.fixed_dictionaries(
        {
            "center": st.booleans(),
            "pad_mode": st.sampled_from(["reflect", "constant", "edge"]),
            "window": st.sampled_from(["hann", "hamming", "blackman", "boxcar"]),
            "power": st.sampled_from([1, 2]),
            "log": st.sampled_from(["ln", "log10", "db"]),
            "mel_scale": st.sampled_from(["slaney", "htk"]),
            "norm": st.sampled_from(["slaney", "none"]),
            "f_min": st.sampled_from([0.0, 130.0]),
            "f_max": st.sampled_from([2000.0, 4000.0]),
        }
    ),
)
def test_any_contract(n_fft, hop, win, batch, n, n_mels, contract):
    config = MelConfig(
        sample_rate=8000,
        n_fft=n_fft,
        hop_length=max(hop, n // 40),
        win_length=max(1, int(win * n_fft)),
        n_mels=n_mels,
        floor=1e-2,  # below it cancellation leaves few digits to any single precision transform
        **contract,
    )
    x = noise(batch, n)
    scale = 10 if config.log == "db" else 1
    assert worst(on_the_cpu(x, config), exact(x, config)) < FLOAT32_LOG * scale


@pytest.mark.parametrize("n_mels", [1, 2, 3, 5, 17, 80, 128, 1024])
@pytest.mark.parametrize("n_fft", [64, 512, 4096])
def test_bands_are_split_and_shared(kernel, n_fft, n_mels):
    """Few bands have several threads each, many are dealt out in rounds; some are empty."""
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=n_mels, floor=1e-4)
    x = noise(2, 3 * n_fft)
    assert worst(kernel(x, config), exact(x, config)) < FLOAT32_LOG


@pytest.mark.parametrize("n_fft", [512, 4096])
@pytest.mark.parametrize("bin_", [60, 200])
def test_a_loud_bin_beside_the_foot_of_a_band(kernel, n_fft, bin_):
    """Its weight there is tiny, and has to be right all the same: nothing else is in that band."""
    config = MelConfig(
        sample_rate=16000,
        n_fft=n_fft,
        hop_length=n_fft,
        n_mels=5,
        f_min=60 * 16000 / n_fft - 1e-3,
        f_max=200 * 16000 / n_fft + 1e-3,
        window="boxcar",
        center=False,
    )
    x = np.cos(2 * np.pi * bin_ * np.arange(n_fft) / n_fft + 0.3).astype(np.float32)[None]
    band = 0 if bin_ == 60 else -1
    truth = exact(x, config)[0, band]
    assert truth > np.log(config.floor) + 3
    assert worst(kernel(x, config)[0, band], truth) < FLOAT32_LOUD


@pytest.mark.parametrize("floor", [1e-10, 1e-40, 1e-46])
def test_silence_is_the_floor(kernel, floor):
    """Also where that is a denormal number, or less than any number of single precision."""
    silence = kernel(np.zeros((1, 1000), np.float32), SMALL.with_changes(floor=floor))
    np.testing.assert_allclose(silence, np.log(floor), rtol=1e-6)


def test_edges_that_coincide(kernel):
    config = MelConfig(sample_rate=16000, n_fft=512, n_mels=4, f_min=100.0, f_max=float(np.nextafter(100.0, 101.0)))
    assert not np.isnan(kernel(noise(1, 3000), config)).any()


@pytest.mark.parametrize("signal", signals.NAMES)
@pytest.mark.parametrize("n_fft", [400, 1024, 4096])
def test_is_no_worse_than_torch(kernel, signal, n_fft):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=40)
    x = signals.make(signal, 20000).astype(np.float32)[None]
    truth = exact(x, config)
    ours, theirs = kernel(x, config), ops.log_mel_reference(torch.from_numpy(x), config).numpy()
    of_the_log = 0.0 if kernel is on_the_cpu else 2 * np.spacing(np.abs(truth / np.log(2)).max().astype(np.float32))

    def error(y: np.ndarray) -> float:
        return float(np.sqrt(np.mean((y - truth) ** 2)))

    limit = 2 * max(error(theirs), error(truth.astype(np.float32)))  # some twiddles are products of two
    assert error(ours) <= limit + of_the_log  # of a GPU's log2: two units in the last place


@pytest.mark.parametrize("n_fft", [64, 480, 2048])
def test_int16_and_float16(kernel, n_fft):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=4)
    pcm = (noise(2, 4 * n_fft + 5) * 32767).astype(np.int16)
    from_float = kernel((pcm / 32768).astype(np.float32), config)
    from_pcm = kernel(pcm, config)
    assert worst(from_pcm, exact(pcm, config)) < FLOAT32_LOUD
    assert worst(from_pcm, from_float) < FLOAT32_LOUD
    assert np.array_equal(kernel(pcm, config, np.float16), from_pcm.astype(np.float16))


def test_batch_is_one_by_one(kernel):
    x = noise(5, 1111)
    together = kernel(x, SMALL)
    assert np.array_equal(together, np.concatenate([kernel(row[None], SMALL) for row in x]))
    wide = np.full((5, 2000), np.nan, np.float32)
    wide[:, 7:1118] = x
    assert np.array_equal(kernel(wide[:, 7:1118], SMALL), together)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("n_fft", [400, 512])
def test_a_bad_sample_touches_only_its_frames(kernel, poison, n_fft):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, win_length=300, n_mels=12, center=False)
    x = noise(1, 6000)
    bad = x.copy()
    bad[0, 3000] = poison
    start = np.arange(config.n_frames(6000)) * config.hop_length + (n_fft - 300) // 2
    held = (start <= 3000) & (start + 300 > 3000)
    clean, touched = kernel(x, config)[0], kernel(bad, config)[0]
    assert np.array_equal(touched[:, ~held], clean[:, ~held])
    assert not np.isfinite(touched[:, held]).any()


def test_refuses_what_has_no_kernel():
    with pytest.raises(ValueError, match=r"no CUDA kernel for n_fft 500; expected one of 64, 128.*16384"):
        _native.LogMelCudaPlan(SMALL.with_changes(n_fft=500).model_dump())


def test_refuses_more_frames_than_a_launch_counts():
    plan = _native.LogMelCudaPlan(SMALL.model_dump())
    many = 40 << 30
    with pytest.raises((ValueError, RuntimeError), match=r"fewer than 2\^30 frames|has no CUDA kernels"):
        plan.run(0, 0, False, 1, many, many, 0, False, 0, 0)


def test_rows_of_waveform_and_log_mel_may_take_turns_in_one_buffer():
    config = MelConfig(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40)
    buffer = np.zeros((4, 520), np.float32)
    x = buffer[:, :400]
    x[:] = np.random.default_rng(0).standard_normal(x.shape)
    expected = native.log_mel(x.copy(), config)
    out = np.ndarray((4, 40, 3), np.float32, buffer, 1600, (buffer.strides[0], 12, 4))
    assert native.log_mel(x, config, out=out) is out
    np.testing.assert_array_equal(out, expected)
    with pytest.raises(ValueError, match="out overlaps x"):
        native.log_mel(x, config, out=np.ndarray((4, 40, 3), np.float32, buffer, 1596, (buffer.strides[0], 12, 4)))


def test_double_precision_is_not_written_as_halves():
    x = np.zeros(1000)
    with pytest.raises(TypeError, match="out is an array of float16; expected float32 or float64 for x of float64"):
        native.log_mel(x, SMALL, out=np.zeros((SMALL.n_mels, SMALL.n_frames(1000)), np.float16))


def test_what_takes_too_long_to_tell_from_an_overlap_is_refused(monkeypatch):
    def hard(*arrays, max_work):
        raise np.exceptions.TooHardError

    monkeypatch.setattr(np, "shares_memory", hard)
    buffer = np.zeros((4, 520), np.float32)
    out = np.ndarray((4, SMALL.n_mels, SMALL.n_frames(9)), np.float32, buffer, 1600, (buffer.strides[0], 12, 4))
    with pytest.raises(ValueError, match="out overlaps x"):
        native.log_mel(buffer[:, :9], SMALL, out=out)
