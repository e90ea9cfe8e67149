"""The CUDA kernel of log_mel where the floor is tiny and the sound is not: its logarithm lifts tiny sums alone."""

import numpy as np
import pytest

from clinaug_fast import MelConfig, _device_phases, native
from tolerance import FLOAT32_LOG, worst

LOUD = MelConfig(
    sample_rate=16000,
    n_fft=16384,
    window="boxcar",
    norm="none",
    mel_scale="htk",
    n_mels=8,
    center=False,
    floor=1e-38,
)


def by_phases(x: np.ndarray, config: MelConfig) -> np.ndarray:
    out = np.full((len(x), config.n_mels, config.n_frames(x.shape[1])), np.nan, np.float32)
    _device_phases.log_mel(config.model_dump(), x, out)
    return out


def cosines(*amplitudes: float, bin: int = 1000) -> np.ndarray:
    wave = np.cos(2 * np.pi * bin * np.arange(LOUD.n_fft) / LOUD.n_fft)
    return (np.array(amplitudes)[:, None] * wave).astype(np.float32)


@pytest.mark.parametrize("bin", [100, 1000, 1600, 5000])
@pytest.mark.parametrize("log", ["ln", "log10", "db"])
def test_a_loud_sound_above_a_tiny_floor_is_finite_and_right(bin: int, log: str):
    config = LOUD.with_changes(log=log)
    x = cosines(6e11, 1e11, 1.0, bin=bin)
    ours, theirs = by_phases(x, config), native.log_mel(x.astype(np.float64), config)
    assert np.isfinite(ours).all()
    bands = np.arange(len(x)), theirs[..., 0].argmax(axis=1)  # the others hold the noise of single precision
    assert worst(ours[..., 0][bands], theirs[..., 0][bands]) < FLOAT32_LOG


def test_sums_below_the_smallest_normal_number_are_lifted_still():
    config = LOUD.with_changes(floor=1e-44)
    x = cosines(1e-24, 3e-25, 1e-25, 5e-24)  # powers of some 1e-40
    ours, theirs = by_phases(x, config), native.log_mel(x.astype(np.float64), config)
    bands = np.arange(len(x)), theirs[..., 0].argmax(axis=1)
    assert theirs[..., 0][bands].min() < np.log(1.2e-38)
    assert worst(ours[..., 0][bands], theirs[..., 0][bands]) < 0.1  # of few digits


def test_a_floor_that_is_not_tiny_is_kept():
    config = LOUD.with_changes(floor=1e-5)
    ours = by_phases(np.zeros((1, LOUD.n_fft), np.float32), config)
    assert worst(ours, np.full((1, 8, 1), np.log(1e-5))) < FLOAT32_LOG
