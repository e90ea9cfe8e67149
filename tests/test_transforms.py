"""Classical augmentations: each does to a sound what its name says, and nothing to its input."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.augment.sources import cut_again
from clinaug_fast.augment.transforms import librosa_version, masked, pitch_shifted, stretched, widest, with_noise
from clinaug_fast.errors import SettingsError

RATE = 8000


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(RATE * seconds)) / RATE)).astype(np.float32)


def loudest_hz(x: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 1 << 17))
    return np.argmax(spectrum) * RATE / (1 << 17)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 40.0])
def test_noise_lies_as_far_below_as_told(snr_db):
    x = tone(440.0, 8.0)
    before = x.copy()
    noise = with_noise(x, snr_db, np.random.default_rng(0)).astype(np.float64) - x
    assert 10 * np.log10(np.mean(x.astype(np.float64) ** 2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.2)
    assert np.abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02  # white
    np.testing.assert_array_equal(x, before)


def test_silence_and_nothing_stay():
    rng = np.random.default_rng(0)
    assert not with_noise(np.zeros(100, np.float32), 10.0, rng).any()
    assert with_noise(np.zeros(0, np.float32), 10.0, rng).shape == (0,)
    for x in (np.zeros(0, np.float32), tone(440.0)[:63]):
        np.testing.assert_array_equal(pitch_shifted(x, RATE, 2.0), x)
        np.testing.assert_array_equal(stretched(x, RATE, 1.2), x)


@pytest.mark.parametrize("semitones", [-7.0, -0.5, 0.3, 2.0, 12.0])
def test_pitch_moves_a_tone_and_keeps_its_length(semitones):
    x = tone(500.0)
    y = pitch_shifted(x, RATE, semitones)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert 12 * np.log2(loudest_hz(y) / 500.0) == pytest.approx(semitones, abs=0.05)


@pytest.mark.parametrize("rate", [0.5, 0.8, 1.25, 2.0])
def test_stretch_changes_the_length_and_keeps_the_pitch(rate):
    x = tone(500.0)
    y = stretched(x, RATE, rate)
    assert len(y) == pytest.approx(len(x) / rate, abs=1)
    assert y.dtype == np.float32
    assert loudest_hz(y) == pytest.approx(500.0, rel=0.005)


@pytest.mark.parametrize("n", [64, 65, 100, 511, 512, 513])
@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_short_sounds_are_altered_without_a_word(n, rate, recwarn):
    x = tone(500.0)[:n]
    assert len(stretched(x, RATE, rate)) == pytest.approx(n / rate, abs=1)
    assert pitch_shifted(x, RATE, 1.5).shape == x.shape
    assert np.isfinite(pitch_shifted(x, RATE, 1.5)).all()
    assert [str(warning.message) for warning in recwarn if "n_fft" in str(warning.message)] == []


def test_a_missing_librosa_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(SettingsError, match=r"need librosa, which cannot be loaded: .*'clinaug-fast\[augment\]'"):
        librosa_version()


@given(st.integers(1, 70), st.integers(1, 70), st.floats(0.001, 0.5), st.integers(0, 1000))
def test_masks_are_of_whole_bands_and_frames(n_mels, n_frames, share, seed):
    rng = np.random.default_rng(seed)
    clip = rng.normal(size=(n_mels, n_frames)).astype(np.float32)
    before = clip.copy()
    out = masked(clip, share, rng)
    np.testing.assert_array_equal(clip, before)
    changed = out != clip
    assert (out[changed] == clip.mean()).all()
    bands, frames = changed.all(axis=1), changed.all(axis=0)
    assert not (changed & ~bands[:, None] & ~frames).any()  # what is changed lies in one of them
    for lines, size in ((bands, n_mels), (frames, n_frames)):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], lines, [False]]).astype(int)))
        if not lines.all():  # all frames may be masked, and then all bands are changed whole
            assert len(edges) <= 4
            assert lines.sum() <= 2 * share * size + 1e-6


def test_masks_of_every_width_up_to_the_share_are_drawn():
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(20, 30)).astype(np.float32)
    widths = set()
    for _ in range(300):
        changed = masked(clip, 0.2, rng) != clip
        widths.add(int(changed.all(axis=1).sum()))
    assert widths == set(range(9))  # two masks of 0 to 4 bands


def test_frames_are_masked_as_bands_are_from_the_first_to_the_last():
    rng, clip = np.random.default_rng(0), np.random.default_rng(1).normal(size=(20, 30)).astype(np.float32)
    changed = np.stack([masked(clip, 0.2, rng) != clip for _ in range(300)])
    bands, frames = changed.all(axis=2), changed.all(axis=1)
    assert {*frames.sum(axis=1).tolist()} == {*range(13)}  # two masks of 0 to 6 frames
    assert bands.any(axis=0).all()
    assert frames.any(axis=0).all()


@pytest.mark.parametrize(("share", "size", "expected"), [(0.29, 100, 29), (0.2, 32, 6), (0.57, 100, 57)])
def test_a_share_of_so_many_is_so_many(share: float, size: int, expected: int):
    assert widest(share, size) == expected


def test_a_window_that_needs_more_than_is_left_is_the_last_of_the_recording():
    cut = cut_again(np.arange(100, dtype=np.float32), 90, 20, "pad", lambda window: window, 25)
    assert cut.tolist() == list(range(75, 95))
