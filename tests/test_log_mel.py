"""log_mel: the native kernel, its operator and its reference against float64, librosa and each other."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import signals
from clinaug_fast import LogMel, MelConfig, native, ops
from clinaug_fast.errors import SettingsError
from clinaug_fast.mel import band_edges_hz, filter_bank
from tolerance import FLOAT32_DB, FLOAT32_LOG, FLOAT32_TONE_DB, FLOAT64, worst

SMALL = MelConfig(sample_rate=16000, n_fft=128, hop_length=40, n_mels=12)
CONTRACTS = {
    "plain": SMALL,
    "short window": SMALL.with_changes(win_length=90),
    "odd n_fft": MelConfig(sample_rate=16000, n_fft=125, hop_length=40, n_mels=12),
    "prime n_fft": MelConfig(sample_rate=16000, n_fft=127, hop_length=40, n_mels=12),
    "large prime n_fft": MelConfig(sample_rate=16000, n_fft=509, hop_length=40, n_mels=12),
    "hop above n_fft": SMALL.with_changes(hop_length=200),
    "hop 1": SMALL.with_changes(hop_length=1),
    "no center": SMALL.with_changes(center=False),
    "constant": SMALL.with_changes(pad_mode="constant"),
    "edge": SMALL.with_changes(pad_mode="edge"),
    "magnitude dB": SMALL.with_changes(power=1, log="db"),
    "log10": SMALL.with_changes(log="log10", window="blackman"),
    "htk": SMALL.with_changes(mel_scale="htk", norm="none", window="hamming", f_min=100.0, f_max=5000.0),
    "boxcar": SMALL.with_changes(window="boxcar", floor=1e-3),
}


def by_definition(x: np.ndarray, config: MelConfig) -> np.ndarray:
    """(n_mels, n_frames) float64, written from the formula: numpy.pad, a DFT matrix, the filter bank."""
    if len(x) == 0:
        return np.empty((config.n_mels, 0))
    n = config.n_fft
    pad = n // 2 if config.center else 0
    mode = {"reflect": "reflect", "constant": "constant", "edge": "edge"}[config.pad_mode]
    padded = np.pad(x.astype(np.float64), pad, mode=mode) if pad else x.astype(np.float64)
    k = np.arange(config.win_length) / config.win_length * 2 * np.pi
    window = {
        "hann": 0.5 - 0.5 * np.cos(k),
        "hamming": 0.54 - 0.46 * np.cos(k),
        "blackman": 0.42 - 0.5 * np.cos(k) + 0.08 * np.cos(2 * k),
        "boxcar": np.ones(config.win_length),
    }[config.window]
    start = (n - config.win_length) // 2
    turns = np.outer(np.arange(n // 2 + 1), start + np.arange(config.win_length)) % n
    dft = np.exp(-2j * np.pi * turns / n) * window
    frames = []
    for f in range(config.n_frames(len(x))):
        at = f * config.hop_length + start
        frames.append(filter_bank(config) @ np.abs(dft @ padded[at : at + config.win_length]) ** config.power)
    mel = np.array(frames).T.reshape(config.n_mels, -1)
    scale = {"ln": 1.0, "log10": 1 / np.log(10), "db": 20 / config.power / np.log(10)}[config.log]
    return scale * np.log(np.maximum(mel, config.floor))


@pytest.mark.parametrize("contract", CONTRACTS)
@pytest.mark.parametrize("length", [0, 1, 2, "n_fft - 1", "n_fft", "n_fft + 1", 1000])
def test_float64_follows_the_definition(contract, length, device):
    config = CONTRACTS[contract]
    n = eval(length, {"n_fft": config.n_fft}) if isinstance(length, str) else length  # noqa: S307
    x = signals.make("noise", n)
    expected = by_definition(x, config)
    assert expected.shape == (config.n_mels, config.n_frames(n))
    assert worst(native.log_mel(x, config), expected) < FLOAT64
    tensor = torch.from_numpy(x).to(device)
    assert worst(ops.log_mel(tensor, config).cpu(), expected) < FLOAT64
    assert worst(ops.log_mel_reference(tensor, config).cpu(), expected) < FLOAT64


@settings(max_examples=60, deadline=None)
@given(
    n_fft=st.integers(2, 300),
    hop=st.integers(1, 400),
    win=st.floats(0.1, 1.0),
    n=st.integers(0, 700),
    center=st.booleans(),
    pad_mode=st.sampled_from(["reflect", "constant", "edge"]),
    power=st.sampled_from([1, 2]),
)
def test_any_geometry(n_fft, hop, win, n, center, pad_mode, power):
    config = MelConfig(
        sample_rate=8000,
        n_fft=n_fft,
        hop_length=hop,
        win_length=max(1, int(win * n_fft)),
        n_mels=3,
        center=center,
        pad_mode=pad_mode,
        power=power,
    )
    x = signals.make("noise", n)
    assert worst(native.log_mel(x, config), by_definition(x, config)) < 1e-6  # near-zero bins leave few exact digits


@pytest.mark.parametrize("signal", signals.NAMES)
@pytest.mark.parametrize("contract", CONTRACTS)
def test_float32_is_near_float64(signal, contract):
    config = CONTRACTS[contract]
    db = 20 / config.power / np.log(10)
    db_per_unit = db / {"ln": 1.0, "log10": 1 / np.log(10), "db": db}[config.log]
    x = signals.make(signal, 8000).astype(np.float32)
    exact = native.log_mel(x.astype(np.float64), config)
    ours = worst(native.log_mel(x, config), exact) * db_per_unit
    assert ours < FLOAT32_DB
    if "silence" in signal:  # where torch's single precision is off by decibels; or both by a few roundings
        theirs = worst(ops.log_mel_reference(torch.from_numpy(x), config), exact) * db_per_unit
        assert ours <= max(theirs, 2e-5)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [400, 512, 1024])
def test_a_loud_tone_beside_weak_falling_noise(size, seed):
    """A signal that single precision alone carries badly: still nearer to float64 than torch's single precision."""
    config = MelConfig(sample_rate=16000, n_fft=size, n_mels=20, f_min=70, f_max=2000, window="boxcar", log="db")
    noise = np.diff(np.random.default_rng(seed).standard_normal(8003), 3)
    x = (np.sin(3.1 * np.arange(8000)) + 1e-3 * noise).astype(np.float32)
    exact = native.log_mel(x.astype(np.float64), config)
    theirs = worst(ops.log_mel_reference(torch.from_numpy(x), config), exact)
    assert worst(native.log_mel(x, config), exact) < min(FLOAT32_TONE_DB, theirs)


@pytest.mark.parametrize("like", ["librosa", "torchaudio"])
@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "n_mels"), [(22050, 1024, 256, 80), (8000, 512, 128, 64), (16000, 400, 160, 40)]
)
def test_librosa(like, rate, n_fft, hop, n_mels):
    import librosa

    config = MelConfig(like=like, sample_rate=rate, n_fft=n_fft, hop_length=hop, n_mels=n_mels)
    x = signals.make("speech-like", rate // 2, rate).astype(np.float32)
    power = librosa.feature.melspectrogram(
        y=x,
        sr=rate,
        n_fft=n_fft,
        hop_length=hop,
        n_mels=n_mels,
        pad_mode=config.pad_mode,
        htk=config.mel_scale == "htk",
        norm=None if config.norm == "none" else "slaney",
    )
    assert worst(native.log_mel(x, config), librosa.power_to_db(power, top_db=None)) < FLOAT32_LOG


def test_int16_equals_its_scaled_float():
    x = (signals.make("noise", 5000) * 32767).astype(np.int16)
    scaled = (x / 32768).astype(np.float32)
    assert np.array_equal(native.log_mel(x, SMALL), native.log_mel(scaled, SMALL))
    assert torch.equal(ops.log_mel(torch.from_numpy(x), SMALL), torch.from_numpy(native.log_mel(x, SMALL)))


def test_layouts_and_batches_are_one_by_one():
    x = signals.make("noise", 3 * 4000).reshape(3, 4000).astype(np.float32)
    one_by_one = np.stack([native.log_mel(row, SMALL) for row in x])
    assert np.array_equal(native.log_mel(x, SMALL), one_by_one)
    assert np.array_equal(native.log_mel(np.asfortranarray(x), SMALL), one_by_one)
    padded = np.zeros((3, 8000), np.float32)
    padded[:, ::2] = x
    assert np.array_equal(native.log_mel(padded[:, ::2], SMALL), one_by_one)
    assert np.array_equal(native.log_mel(x[:, ::-1], SMALL), native.log_mel(x[:, ::-1].copy(), SMALL))
    leading = torch.from_numpy(x).reshape(3, 1, 4000)
    assert np.array_equal(ops.log_mel(leading, SMALL)[:, 0].numpy(), one_by_one)


def test_writes_into_the_callers_buffer():
    x = signals.make("noise", 4000).astype(np.float32)
    expected = native.log_mel(x, SMALL)
    wide = np.full((SMALL.n_mels, expected.shape[1] + 5), np.nan, np.float32)
    out = wide[:, 2:-3]
    assert native.log_mel(x, SMALL, out=out) is out
    assert np.array_equal(out, expected)
    assert np.isnan(wide[:, :2]).all()
    assert np.isnan(wide[:, -3:]).all()
    transposed = np.empty(expected.shape[::-1], np.float32)
    native.log_mel(x, SMALL, out=transposed.T)
    assert np.array_equal(transposed.T, expected)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_do_not_change_a_bit(threads):
    long = signals.make("noise", 400_000).astype(np.float32)
    many = signals.make("noise", 64 * 9000).reshape(64, 9000).astype(np.float32)
    for x in (long, many):
        assert np.array_equal(native.log_mel(x, SMALL, threads=threads), native.log_mel(x, SMALL))


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@pytest.mark.parametrize("contract", ["plain", "short window", "large prime n_fft"])
def test_a_bad_sample_touches_only_its_frames(poison, contract):
    config = CONTRACTS[contract].with_changes(center=False)
    x = signals.make("noise", 4000).astype(np.float32)
    bad = x.copy()
    at = 2000
    bad[at] = poison
    start = np.arange(config.n_frames(4000)) * config.hop_length + (config.n_fft - config.win_length) // 2
    held = (start <= at) & (at < start + config.win_length)
    clean, touched = native.log_mel(x, config), native.log_mel(bad, config)
    assert np.array_equal(touched[:, ~held], clean[:, ~held])
    assert not np.isfinite(touched[:, held]).any()


def test_a_sine_lights_its_band_and_silence_gives_the_floor():
    config = MelConfig(sample_rate=16000, n_fft=1024, hop_length=256, n_mels=40)
    edges = band_edges_hz(config)
    for band in (5, 20, 35):
        x = np.sin(2 * np.pi * edges[band + 1] * np.arange(16000) / 16000).astype(np.float32)
        assert (native.log_mel(x, config)[:, 5:-5].argmax(axis=0) == band).all()
    assert np.allclose(native.log_mel(np.zeros(4000, np.float32), config), np.log(1e-10), atol=1e-6)


def test_gradients(device):
    for name in ("plain", "magnitude dB", "constant", "no center", "odd n_fft"):
        config = MelConfig(
            **{**CONTRACTS[name].model_dump(), "n_fft": 31, "win_length": 25, "hop_length": 9, "n_mels": 3}
        )
        x = torch.from_numpy(signals.make("noise", 2 * 60).reshape(2, 60)).to(device).requires_grad_()
        wobble = 1e-10 if device.type == "cuda" else 0.0  # sums of overlapping frames, by atomics
        assert torch.autograd.gradcheck(lambda x, c=config: ops.log_mel(x, c), x, nondet_tol=wobble)
        assert torch.autograd.gradgradcheck(lambda x, c=config: ops.log_mel(x, c), x, nondet_tol=wobble)
        (ours,) = torch.autograd.grad(ops.log_mel(x, config).sin().sum(), x)
        (reference,) = torch.autograd.grad(ops.log_mel_reference(x, config).sin().sum(), x)
        assert worst(ours.cpu(), reference.cpu()) < FLOAT64


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_gradients_at_the_floor(device, power):
    config = MelConfig(sample_rate=800, n_fft=32, hop_length=8, n_mels=4, power=power, floor=1e-3, log="db")
    noise = torch.from_numpy(signals.make("noise", 240).reshape(2, 120))
    noise[:, 48:] *= 1e-4
    x = noise.to(device).requires_grad_()
    y = ops.log_mel(x, config)
    assert 0.2 < (y == y.min()).double().mean() < 0.8
    wobble = 1e-10 if device.type == "cuda" else 0.0
    assert torch.autograd.gradcheck(lambda x: ops.log_mel(x, config), x, nondet_tol=wobble)
    (ours,) = torch.autograd.grad(y.sin().sum(), x)
    (reference,) = torch.autograd.grad(ops.log_mel_reference(x, config).sin().sum(), x)
    assert worst(ours.cpu(), reference.cpu()) < FLOAT64
    assert (ours[:, 80:] == 0).all()


def test_a_floor_that_is_zero_in_single_precision():
    config = SMALL.with_changes(floor=1e-46)
    x = torch.cat([torch.zeros(300), torch.from_numpy(signals.make("noise", 300)).float()]).requires_grad_()
    for log_mel in (ops.log_mel, ops.log_mel_reference):
        y = log_mel(x, config)
        assert y[:, 0].tolist() == pytest.approx([np.log(1e-46)] * config.n_mels)
        (grad,) = torch.autograd.grad(y.sum(), x)
        assert (grad[:100] == 0).all()
        assert grad.isfinite().all()
        assert grad[400:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int16])
def test_opcheck(dtype, device):
    x = (torch.from_numpy(signals.make("noise", 600).reshape(2, 300)) * 1000).to(device, dtype)
    x.requires_grad_(dtype.is_floating_point)
    torch.library.opcheck(torch.ops.clinaug_fast.log_mel.default, (x, SMALL.contract))


def test_compiles_without_a_graph_break(device):
    module = torch.compile(LogMel(SMALL), backend="aot_eager", fullgraph=True)
    x = torch.from_numpy(signals.make("noise", 2000)).float().to(device).requires_grad_()
    y = module(x)
    y.sum().backward()
    assert torch.equal(y.detach(), ops.log_mel(x.detach(), SMALL))
    assert x.grad.isfinite().all()


def test_compiles_with_a_contract_that_was_never_asked_for():
    """Whose cached text was not there yet, Python 3.11's lock around it broke the graph."""
    module = ops.LogMel(MelConfig(sample_rate=16000, n_fft=64, hop_length=30, n_mels=5))
    x = torch.randn(200)
    assert torch.equal(torch.compile(module, fullgraph=True, backend="aot_eager")(x), module(x))


@pytest.mark.parametrize("create_graph", [False, True])
def test_autocast_changes_nothing(create_graph):
    """Its matrix products would be off by per cents, in the derivative and in the reference."""

    def made(autocast: bool) -> tuple[torch.Tensor, ...]:
        x = torch.randn(2, 900, generator=torch.Generator().manual_seed(0)).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            y = ops.log_mel(x, SMALL)
            (grad,) = torch.autograd.grad(y.square().sum(), x, create_graph=create_graph)
            return y, ops.log_mel_reference(x, SMALL), grad

    assert all(torch.equal(a, b) for a, b in zip(made(True), made(False), strict=True))


def test_forward_mode_and_transforms():
    x, tangent = torch.randn(2, 2, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def loss(x: torch.Tensor) -> torch.Tensor:
        return ops.log_mel(x, SMALL).square().sum()

    at = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(loss(at), at)
    torch.testing.assert_close(torch.func.grad(loss)(x), grad)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(torch.func.grad(loss)(x.float()), grad.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.func.jacrev(loss)(x), grad)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(loss))(x), grad)
    torch.testing.assert_close(torch.func.jvp(loss, (x,), (tangent,))[1], (grad * tangent).sum())
    with torch.autograd.forward_ad.dual_level():
        dual = loss(torch.autograd.forward_ad.make_dual(x, tangent))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, (grad * tangent).sum())


def test_batched_gradients_and_vmap():
    x = torch.randn(3, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def jacobian(f):
        return torch.autograd.functional.jacobian(lambda x: f(x, SMALL), x[0], vectorize=True)

    torch.testing.assert_close(jacobian(ops.log_mel), jacobian(ops.log_mel_reference))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where it maps by a loop
        mapped = torch.func.vmap(lambda x: ops.log_mel(x, SMALL), in_dims=1)(x.T)
    assert torch.equal(mapped, ops.log_mel(x, SMALL))


def test_a_bad_sample_spoils_the_derivative_at_its_own_frames_samples_alone():
    """Those under its window; n_fft reaches further."""
    config = CONTRACTS["short window"].with_changes(hop_length=90)  # windows side by side
    x = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[500] = torch.nan
    x.requires_grad_()
    y = ops.log_mel(x, config)
    bad = y.isnan().any(0)
    assert bad.sum() == 1
    y[:, ~bad].sum().backward()
    assert x.grad.isnan().sum() == 90
    assert x.grad[500].isnan()


def test_a_tensor_without_numbers_has_a_derivative():
    x = torch.empty(2, 400, device="meta", requires_grad=True)
    ops.log_mel(x, SMALL).sum().backward()
    assert x.grad.shape == x.shape
    assert ops.log_mel_reference(x, SMALL).shape == ops.log_mel(x, SMALL).shape


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "boxcar"])
def test_a_window_of_one_sample_is_one(window):
    config = SMALL.with_changes(window=window, win_length=1)
    x = torch.randn(500, dtype=torch.float64)
    torch.testing.assert_close(ops.log_mel(x, config), ops.log_mel_reference(x, config))
    assert ops.log_mel(x, config).max() > np.log(config.floor) + 1


def test_refuses_what_it_cannot_do():
    x = np.zeros(1000, np.float32)
    with pytest.raises(TypeError, match=r"float16.*expected.*float32"):
        native.log_mel(x.astype(np.float16), SMALL)
    with pytest.raises(ValueError, match=r"shape \(1, 2, 3\).*expected"):
        native.log_mel(np.zeros((1, 2, 3), np.float32), SMALL)
    with pytest.raises(ValueError, match=r"out has shape \(1, 1\).*expected \(12, 26\)"):
        native.log_mel(x, SMALL, out=np.zeros((1, 1), np.float32))
    with pytest.raises(TypeError, match="expected a MelConfig"):
        native.log_mel(x, {"n_fft": 128})
    for threads in (0, 1.5, None):
        with pytest.raises(SettingsError, match=f"threads is {threads}; expected a whole number, at least 1"):
            native.log_mel(x, SMALL, threads=threads)
    shared = np.zeros(2000, np.float32)
    with pytest.raises(ValueError, match="out overlaps x"):
        native.log_mel(shared[:1000], SMALL, out=shared[: 12 * 26].reshape(12, 26))
    with pytest.raises(TypeError, match=r"a tensor is torch.bfloat16; expected one of float32"):
        torch.ops.clinaug_fast.log_mel(torch.zeros(1000), SMALL.contract, torch.bfloat16)
    read_only = np.zeros((12, 26), np.float32)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        native.log_mel(x, SMALL, out=read_only)
    packed = np.zeros(1000, np.dtype([("sample", np.float32), ("flag", np.int8)]))["sample"]
    with pytest.raises(ValueError, match=r"no multiple of the item size.*Copy the array"):
        native.log_mel(packed, SMALL)
    with pytest.raises(ValueError, match=r"aligned memory.*Copy the array"):
        native.log_mel(np.zeros(4001, np.uint8)[1:].view(np.float32), SMALL)
    x.flags.writeable = False
    assert native.log_mel(x, SMALL).shape == (12, 26)
    with pytest.raises(TypeError, match=r"torch.float16.*expected"):
        ops.log_mel(torch.zeros(10, dtype=torch.float16), SMALL)
    with pytest.raises(TypeError, match=r"x is of type ndarray; expected a tensor\. Make one with torch.as_tensor"):
        ops.log_mel(x, SMALL)
    with pytest.raises(TypeError, match="config is None; expected a MelConfig"):
        LogMel(None)
    with pytest.raises(SettingsError, match=r"mel bands are empty: 0 .*n_mels \d+ or n_fft \d+"):
        LogMel(MelConfig(sample_rate=8000, n_fft=64, n_mels=64))
