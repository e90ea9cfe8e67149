"""What is done to a clip: noise, pitch and tempo to its waveform, masks to its log-mel.

Each takes what was drawn for it, or the generator to draw from, and leaves its input as it was.
"""

from types import ModuleType

import numpy as np

from clinaug_fast.errors import SettingsError

FRAME_SECONDS = 0.046  # of the phase vocoder: librosa's 2048 samples at 44.1 kHz
SHORTEST = 64  # samples in which a tempo or a pitch can be heard at all; fewer stay as they are
N_MASKS = 2  # of bands and of frames each, as in the policies of the paper


def with_noise(x: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    """(T,) float32: x and white Gaussian noise, `snr_db` below the mean power of x. Silence stays silence."""
    power = np.mean(np.square(x, dtype=np.float64)) if len(x) else 0.0
    noise = rng.standard_normal(len(x)) * np.sqrt(power * 10.0 ** (-snr_db / 10.0))
    return (x + noise).astype(np.float32)


def pitch_shifted(x: np.ndarray, sample_rate: int, semitones: float) -> np.ndarray:
    """(T,) float32: x higher by so many semitones, of the same length (librosa.effects.pitch_shift)."""
    if len(x) < SHORTEST:
        return x
    return _librosa().effects.pitch_shift(x, sr=sample_rate, n_steps=semitones, n_fft=_n_fft(len(x), sample_rate))


def stretched(x: np.ndarray, sample_rate: int, rate: float) -> np.ndarray:
    """(round(T / rate),) float32: x faster by `rate`, at its pitch (librosa.effects.time_stretch)."""
    if len(x) < SHORTEST:
        return x
    return _librosa().effects.time_stretch(x, rate=rate, n_fft=_n_fft(len(x), sample_rate))


def masked(clip: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """(n_mels, n_frames) float32: SpecAugment without warping (Park et al. 2019): twice some bands that lie together,
    twice some frames, each of 0 to `share` of them, take the clip's mean."""
    out = clip.copy()
    for axis in (0, 1):
        size = clip.shape[axis]
        for _ in range(N_MASKS):
            width = int(rng.integers(0, widest(share, size), endpoint=True))
            first = int(rng.integers(0, size - width, endpoint=True))
            out[(slice(None),) * axis + (slice(first, first + width),)] = clip.mean()
    return out


def widest(share: float, size: int) -> int:
    """Bands or frames, of `size`, that a mask of at most this share can have."""
    return int(share * size + 1e-9)  # 0.29 * 100 is not quite 29


def librosa_version() -> str:
    """Of the one that is installed; SettingsError where there is none."""
    return _librosa().__version__


def _librosa() -> ModuleType:
    try:
        import librosa.effects  # which loads what librosa itself puts off
    except ImportError as error:
        raise SettingsError(
            f"pitch and stretch need librosa, which cannot be loaded: {error}. Install it with: "
            "pip install 'clinaug-fast[augment]'"
        ) from None
    return librosa


def _n_fft(n_samples: int, sample_rate: int) -> int:
    """A power of two near FRAME_SECONDS that n_samples fill."""
    wanted = 1 << max(4, round(np.log2(FRAME_SECONDS * sample_rate)))
    return min(wanted, 1 << (n_samples.bit_length() - 1))
