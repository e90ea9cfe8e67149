"""The mel scale and its filter bank in float64 numpy: what the kernels' own tables are held to.

Also tells which bands of a contract are empty (no FFT bin falls inside them) and the nearest settings that have none.
"""

from dataclasses import dataclass

import numpy as np

from clinaug_fast.config import N_FFT_MAX, N_MELS_MAX, MelConfig
from clinaug_fast.errors import SettingsError

# Slaney's Auditory Toolbox (1998): linear below 1 kHz, 27 mels for each factor of 6.4 above.
_HZ_PER_MEL = 200.0 / 3.0
_LOG_START_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0
ON_EDGE = 1e-7  # of a band's side: nearer to its edge a bin lies on it, but for rounding


def hz_to_mel(hz: np.ndarray | float, mel_scale: str) -> np.ndarray:
    """Hz -> mel. slaney: as above; htk: ``2595 log10(1 + hz / 700)``."""
    hz = np.asarray(hz, np.float64)
    if mel_scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _LOG_START_HZ / _HZ_PER_MEL + np.log(np.maximum(hz, _LOG_START_HZ) / _LOG_START_HZ) / _LOG_STEP
    return np.where(hz < _LOG_START_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: np.ndarray | float, mel_scale: str) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if mel_scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    start = _LOG_START_HZ / _HZ_PER_MEL
    above = _LOG_START_HZ * np.exp(_LOG_STEP * (np.maximum(mel, start) - start))
    return np.where(mel < start, mel * _HZ_PER_MEL, above)


def band_edges_hz(config: MelConfig) -> np.ndarray:
    """(n_mels + 2,) float64: band m rises from edge m to m + 1 and falls to m + 2."""
    ends = hz_to_mel(np.array([config.f_min, config.f_max]), config.mel_scale)
    return mel_to_hz(np.linspace(ends[0], ends[1], config.n_mels + 2), config.mel_scale)


def _bins_hz(sample_rate: int, n_fft: int) -> np.ndarray:
    return np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)


def filter_bank(config: MelConfig) -> np.ndarray:
    """(n_mels, n_fft // 2 + 1) float64 triangles; norm slaney divides by half the band's width in Hz."""
    edges = band_edges_hz(config)
    bins = _bins_hz(config.sample_rate, config.n_fft)
    width = np.diff(edges)
    rising = (bins - edges[:-2, None]) / width[:-1, None]
    falling = (edges[2:, None] - bins) / width[1:, None]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if config.norm == "slaney":
        bank *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return bank


def empty_bands(config: MelConfig) -> list[int]:
    """Bands that no FFT bin falls inside: their log-mel would be the floor, whatever the sound. A bin on an edge, which
    rounding may put on either side, is not inside."""
    return np.flatnonzero(_bins_inside(band_edges_hz(config), _bins_hz(config.sample_rate, config.n_fft)) == 0).tolist()


def _bins_inside(edges: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """(n_mels,) how many FFT bins fall inside each band, with more than a trace of weight."""
    sides = ON_EDGE * np.diff(edges)
    first, last = edges[:-2] + sides[:-1], edges[2:] - sides[1:]
    return np.searchsorted(bins, last, side="left") - np.searchsorted(bins, first, side="right")


@dataclass(frozen=True)
class BandAdvice:
    """How well a contract's FFT resolves its mel bands, and how far its sizes can go."""

    edges_hz: np.ndarray  # (n_mels + 2,) float64
    bins: np.ndarray  # (n_mels,) int64: FFT bins strictly inside each band; 0 is an empty band
    bin_hz: float  # FFT bins are this far apart
    largest_n_mels: int | None  # without empty bands, all else equal; None where a single band is empty too
    smallest_n_fft: int | None  # the smallest power of two without empty bands, all else equal


def advise_bands(config: MelConfig) -> BandAdvice:
    """The resolution of each band, the largest n_mels and the smallest power of two as n_fft that leave none empty."""
    edges, bins = band_edges_hz(config), _bins_hz(config.sample_rate, config.n_fft)
    sizes = range(N_MELS_MAX, 0, -1)
    largest = next((n for n in sizes if not empty_bands(config.with_changes(n_mels=n))), None)
    powers = (1 << k for k in range(1, N_FFT_MAX.bit_length()))
    smallest = next((n for n in powers if _bins_inside(edges, _bins_hz(config.sample_rate, n)).all()), None)
    return BandAdvice(edges, _bins_inside(edges, bins), config.sample_rate / config.n_fft, largest, smallest)


def refuse_empty_bands(config: MelConfig) -> None:
    """Raise SettingsError naming the empty bands and the nearest n_mels and n_fft that have none."""
    empty = empty_bands(config)
    if not empty:
        return
    edges = band_edges_hz(config)
    named = ", ".join(f"{m} ({edges[m]:.1f}-{edges[m + 2]:.1f} Hz)" for m in empty[:4])
    more = f" and {len(empty) - 4} more" if len(empty) > 4 else ""
    raise SettingsError(
        f"{len(empty)} of {config.n_mels} mel bands are empty: {named}{more}; the FFT bins of n_fft {config.n_fft} "
        f"at {config.sample_rate} Hz are {config.sample_rate / config.n_fft:.1f} Hz apart. Use {_advice(config)}"
    )


def _advice(config: MelConfig) -> str:
    options = []
    for n_mels in range(config.n_mels - 1, 0, -1):
        if not empty_bands(config.with_changes(n_mels=n_mels)):
            options.append(f"n_mels {n_mels}")
            break
    n_fft = 1 << config.n_fft.bit_length()
    while n_fft <= min(N_FFT_MAX, 64 * config.n_fft):
        if not empty_bands(config.with_changes(n_fft=n_fft)):
            options.append(f"n_fft {n_fft}")
            break
        n_fft *= 2
    if options:
        return " or ".join(options)
    if 2 * config.f_max < config.sample_rate:
        return "a higher f_max"
    return "a lower f_min" if config.f_min > 0.0 else "a far larger n_fft"
