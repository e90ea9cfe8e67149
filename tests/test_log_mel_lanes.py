"""The frames-in-lanes kernel of log_mel on every instruction set at hand: both precisions, and their interplay."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import signals
from clinaug_fast import MelConfig, _native, ops
from lanes_cases import SMALL, exact, falling, lanes, level, noise, tones, uneven
from tolerance import FLOAT32_DB, FLOAT32_LOUD, worst

POWERS_OF_TWO = tuple(2**k for k in range(1, 15))
SMOOTH = (6, 10, 12, 18, 40, 60, 81, 100, 144, 210, 320, 400, 441, 480, 640, 960, 1000, 1323, 1764, 2187, 3125, 4410)
SMALL_PRIMES = (3, 5, 7, 11, 13, 17, 31, 61, 97, 127, 34, 254, 1016, 2032, 17 * 25)
LARGE_PRIMES = (131, 257, 17 * 19, 509, 1021, 2 * 1021, 4093, 8191, 16381)
FUSED = [name for name in _native.instruction_sets if name != "baseline"]


@pytest.mark.parametrize("n_fft", POWERS_OF_TWO + SMOOTH + SMALL_PRIMES + LARGE_PRIMES)
def test_every_size(n_fft, instruction_set):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=max(1, min(20, n_fft // 8)))
    x = noise(1, 5 * n_fft + 3)
    assert worst(lanes(x, config, instruction_set), exact(x, config)) < FLOAT32_LOUD
    double = np.empty((1, config.n_mels, config.n_frames(x.shape[1])))
    lanes(x, config, instruction_set, out=double)
    assert worst(double, ops.log_mel_reference(torch.from_numpy(x).double(), config)) < 1e-8


@pytest.mark.parametrize("n_fft", [16, 400, 509, 512, 2048, 16384])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("signal", [*signals.NAMES, "uneven", "falling", "low"])
def test_no_signal_is_beyond_single_precision_input(signal, n_fft, power, instruction_set):
    config = MelConfig(sample_rate=16000, n_fft=n_fft, n_mels=max(2, min(20, n_fft // 8)), power=power, log="db")
    n = 9000 + 3 * n_fft
    low = np.sin(0.01 * np.arange(n)) + 1e-4 * signals.make("noise", n)
    ours = {"uneven": lambda: uneven(n), "falling": lambda: falling(n), "low": lambda: low}
    x = ours.get(signal, lambda: signals.make(signal, n))()
    for scale in (1.0, 1e-3, 1e3):
        scaled = (scale * x).astype(np.float32)[None]
        assert worst(lanes(scaled, config, instruction_set), exact(scaled, config)) < FLOAT32_DB


@settings(max_examples=120, deadline=None)
@given(
    n_fft=st.integers(2, 600),
    hop=st.integers(1, 700),
    win=st.floats(0.1, 1.0),
    batch=st.integers(1, 5),
    n=st.integers(1, 1500),
    contract=st.fixed_dictionaries(
        {
            "center": st.booleans(),
            "pad_mode": st.sampled_from(["reflect", "constant", "edge"]),
            "window": st.sampled_from(["hann", "hamming", "blackman", "boxcar"]),
            "power": st.sampled_from([1, 2]),
            "log": st.sampled_from(["ln", "log10", "db"]),
            "mel_scale": st.sampled_from(["slaney", "htk"]),
            "norm": st.sampled_from(["slaney", "none"]),
        }
    ),
    instruction_set=st.sampled_from(_native.instruction_sets),
)
def test_any_contract(n_fft, hop, win, batch, n, contract, instruction_set):
    config = MelConfig(
        sample_rate=8000,
        n_fft=n_fft,
        hop_length=hop,
        win_length=max(1, int(win * n_fft)),
        n_mels=3,
        **contract,
    )
    x = uneven(batch, n)
    assert worst(lanes(x, config, instruction_set), exact(x, config)) < FLOAT32_DB


@pytest.mark.parametrize("hop", [1, 9, 40, 128, 300])
@pytest.mark.parametrize("center", [True, False])
def test_a_batch_is_its_clips_one_by_one(hop, center, instruction_set):
    config = SMALL.with_changes(hop_length=hop, center=center)
    for length in (64, 128, 129, 500, 1700):
        x = uneven(7, length)
        together = lanes(x, config, instruction_set)
        assert np.array_equal(together, np.concatenate([lanes(row[None], config, instruction_set) for row in x]))


def test_a_frame_does_not_depend_on_the_frames_around_it(instruction_set):
    x = level(1, 9000)
    config = SMALL.with_changes(center=False)
    whole = lanes(x, config, instruction_set)
    for first, last in ((0, 1), (3, 20), (17, 90), (100, whole.shape[2])):
        part = x[:, first * 40 : (last - 1) * 40 + 128]
        assert np.array_equal(lanes(part, config, instruction_set), whole[:, :, first:last])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("change", [{}, {"n_fft": 131, "win_length": 128}, {"hop_length": 200, "power": 1}])
def test_any_number_of_frames_is_as_many_of_a_longer_clip(change, dtype, instruction_set):
    """Whole vectors and what is left of them, which half a vector may hold; written where they go, or copied there."""
    config = SMALL.with_changes(center=False, **change)
    hop, n_fft = config.hop_length, config.n_fft
    x = level(1, 160 * hop + n_fft)
    whole = lanes(x, config, instruction_set, out=np.empty((1, config.n_mels, config.n_frames(x.shape[1])), dtype))
    for n in (*range(1, 50), 128, 129, 136, 137):
        first = 3 * n % 23
        part = x[:, first * hop : (first + n - 1) * hop + n_fft]
        for step in (1, 2):
            room = np.full((1, config.n_mels + 2, step * n + 2), np.nan, dtype)
            lanes(part, config, instruction_set, out=room[:, 1:-1, 1 : 1 + step * n : step])
            np.testing.assert_array_equal(room[:, 1:-1, 1 : 1 + step * n : step], whole[:, :, first : first + n])
            assert np.isnan(room).sum() == room.size - n * config.n_mels


@pytest.mark.parametrize("log", ["ln", "db"])
def test_the_logarithm_of_every_mantissa(log, instruction_set):
    """A flat spectrum, whose level passes through six octaves of power in small steps."""
    config = SMALL.with_changes(log=log, center=False)
    x = np.zeros((4099, config.n_fft), np.float32)
    x[:, 64] = 2.0 ** np.linspace(-1.5, 1.5, len(x))
    level = exact(x, config)
    rounding = np.spacing(np.abs(level).astype(np.float32))
    power = 3e-7 * (10 / np.log(10) if log == "db" else 1)  # the rounding of the power itself
    assert np.all(np.abs(lanes(x, config, instruction_set) - level) <= 2 * rounding + power)
    assert np.all(np.abs(lanes(x.astype(np.float64), config, instruction_set) - level) <= 2 * rounding + power / 10)


@pytest.mark.parametrize("shape", [(1, 700_000), (90, 8000), (90, 8250), (3, 250_000)])
@pytest.mark.parametrize(
    "contract", [SMALL, SMALL.with_changes(n_fft=509, win_length=400), SMALL.with_changes(hop_length=500)]
)
def test_threads_do_not_change_a_bit(shape, contract, instruction_set):
    x = uneven(*shape)
    expected = lanes(x, contract, instruction_set)
    for threads in (2, 3, 7):
        assert np.array_equal(lanes(x, contract, instruction_set, threads=threads), expected)


@pytest.mark.skipif("avx2" not in _native.instruction_sets, reason="neither AVX2 nor AVX-512 here")
@pytest.mark.parametrize("n_fft", [*POWERS_OF_TWO[3:], *SMOOTH, *SMALL_PRIMES, *LARGE_PRIMES])
def test_sets_with_fused_products_agree_to_the_bit(n_fft):
    """Machines of either kind make parts of one feature set. Frames of both precisions."""
    for contract in ({}, {"power": 1, "log": "db", "mel_scale": "htk"}, {"floor": 1e-40, "norm": "none"}):
        config = MelConfig(sample_rate=16000, n_fft=n_fft, hop_length=max(1, n_fft // 3), n_mels=7, **contract)
        x = uneven(3, 67 * config.hop_length + 2 * n_fft)
        for wave in (x, (32767 * x).astype(np.int16)):
            first, *others = (lanes(wave, config, name) for name in FUSED)
            for other in others:
                np.testing.assert_array_equal(first, other)


def test_int16_is_its_scaled_float(instruction_set):
    for n_samples in (300, 5000):
        for config in (SMALL, SMALL.with_changes(hop_length=7), SMALL.with_changes(n_fft=131, hop_length=200)):
            pcm = (uneven(3, n_samples) * 32767).astype(np.int16)
            scaled = (pcm / 32768).astype(np.float32)
            assert np.array_equal(lanes(pcm, config, instruction_set), lanes(scaled, config, instruction_set))


def test_half_precision_out_is_single_precision_rounded(instruction_set):
    for x in (uneven(1, 20_000), uneven(5, 700), (uneven(2, 9000) * 32767).astype(np.int16)):
        single = lanes(x, SMALL, instruction_set)
        half = np.empty(single.shape, np.float16)
        assert np.array_equal(lanes(x, SMALL, instruction_set, out=half), single.astype(np.float16))
        transposed = np.empty((len(x), *single.shape[:0:-1]), np.float16).transpose(0, 2, 1)
        assert np.array_equal(lanes(x, SMALL, instruction_set, out=transposed), single.astype(np.float16))


def test_strides_on_both_sides(instruction_set):
    for n_samples in (300, 9000):
        x = uneven(3, n_samples)
        expected = lanes(x, SMALL, instruction_set)
        spread = np.full((3, 3 * n_samples), np.nan, np.float32)
        spread[:, 1::3] = x
        assert np.array_equal(lanes(spread[:, 1::3], SMALL, instruction_set), expected)
        assert np.array_equal(
            lanes(x[::-1, ::-1], SMALL, instruction_set), lanes(x[::-1, ::-1].copy(), SMALL, instruction_set)
        )
        room = np.full((3, SMALL.n_mels + 2, expected.shape[2] + 9), np.nan, np.float32)
        lanes(x, SMALL, instruction_set, out=room[:, 1:-1, 4:-5])
        assert np.array_equal(room[:, 1:-1, 4:-5], expected)
        assert np.isnan(room).sum() == room.size - expected.size


@pytest.mark.parametrize(("dtype", "hop"), [("int16", 2048), ("float32", 1024), ("float64", 512), ("float32", 1031)])
def test_where_the_waveform_lies_changes_nothing(dtype, hop, instruction_set):
    """Frames a whole page apart are transposed from line to line of the cache, others from their own first samples."""
    config = MelConfig(sample_rate=16000, n_fft=2 * hop, hop_length=hop, n_mels=7, center=False)
    x = (noise(1, 40 * hop).clip(-1, 1) * (32767 if dtype == "int16" else 1)).astype(dtype)
    truth = exact(x, config)
    out = np.empty_like(truth, dtype="float64" if dtype == "float64" else "float32")
    expected = lanes(x, config, instruction_set, out=out.copy())
    assert worst(expected, truth) < FLOAT32_DB
    for shift in range(0, 64, x.itemsize):
        memory = np.empty(x.nbytes + 128, np.uint8)
        first = -memory.ctypes.data % 64 + shift
        moved = memory[first : first + x.nbytes].view(dtype)[None]
        moved[:] = x
        assert np.array_equal(lanes(moved, config, instruction_set, out=out), expected), shift


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_fft", [125, 127, 128, 131, 509])
@pytest.mark.parametrize("hop", [40, 600])
def test_a_bad_sample_touches_only_its_frames(poison, n_fft, hop, instruction_set):
    config = SMALL.with_changes(n_fft=n_fft, win_length=n_fft - 20, hop_length=hop, center=False)
    for make in (uneven, noise, tones):
        x = make(2, 6000)
        bad = x.copy()
        bad[1, 2000] = poison
        start = np.arange(config.n_frames(6000)) * hop + (n_fft - config.win_length) // 2
        held = (start <= 2000) & (start + config.win_length > 2000)
        clean, touched = lanes(x, config, instruction_set), lanes(bad, config, instruction_set)
        assert np.array_equal(touched[0], clean[0])
        assert np.array_equal(touched[1][:, ~held], clean[1][:, ~held])
        assert not np.isfinite(touched[1][:, held]).any()


@pytest.mark.parametrize("n_fft", [128, 131, 400])
def test_what_an_earlier_call_left_in_memory_is_in_no_later_one(n_fft, instruction_set):
    config = SMALL.with_changes(n_fft=n_fft, win_length=n_fft - 20)
    poison = np.full((1, 50_000), np.nan, np.float32)
    for n_frames in range(1, 140):
        x = noise(1 + n_frames % 2, 40 * (n_frames - 1) + 1)
        before = lanes(x, config, instruction_set)
        lanes(poison, config, instruction_set)
        assert np.array_equal(lanes(x, config, instruction_set), before), n_frames


def test_the_ends_of_single_precision(instruction_set):
    x = noise(1, 3000)
    config = SMALL.with_changes(floor=1e-42)
    faint = x * np.float32(3e-21)  # mel values among the denormal numbers, which have fewer digits
    assert worst(lanes(faint, config, instruction_set), exact(faint, config)) < FLOAT32_LOUD
    normal = x * np.float32(1e-17)
    assert worst(lanes(normal, config, instruction_set), exact(normal, config)) < FLOAT32_LOUD
    loud = x * np.float32(1e25)  # its power is beyond single precision
    assert worst(lanes(loud, config, instruction_set), exact(loud, config)) < FLOAT32_LOUD
    silent = lanes(np.zeros((1, 3000), np.float32), config, instruction_set)
    assert (silent == np.float32(np.log(1e-42))).all()


def test_the_set_in_use_can_be_chosen():
    def chosen(name):
        show = "from clinaug_fast import native; print(native.INSTRUCTION_SET)"
        run = subprocess.run(
            [sys.executable, "-c", show],
            env=os.environ | {"CLINAUG_ISA": name},
            capture_output=True,
            text=True,
            check=False,
        )
        return run.stdout.strip(), run.stderr

    for name in _native.instruction_sets:
        assert chosen(name)[0] == name
    assert chosen("")[0] == _native.instruction_sets[0]
    out, error = chosen("neon512")
    assert not out
    assert "CLINAUG_ISA is 'neon512'; expected one of" in error
    assert "baseline" in error
