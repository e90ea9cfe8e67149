"""The physics that the demo's sounds share: shaped noise, slow curves, rotating machines and struck bodies.

Everything is float64 numpy at `RATE`; every draw comes from the generator that is passed in.
"""

from collections.abc import Callable

import numpy as np

RATE = 44100  # Hz, of every demo recording

# A free bar's bending modes relative to its first (Euler-Bernoulli): what makes struck metal sound like metal.
BAR_MODES = np.array([1.0, 2.757, 5.404, 8.933, 13.344])


def filtered(x: np.ndarray, response: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """x through a zero-phase filter; `response` maps Hz to gain and is not asked about 0 Hz, which is removed."""
    gain = np.zeros(len(x) // 2 + 1)
    gain[1:] = response(np.arange(1, len(gain)) * (RATE / len(x)))
    return np.fft.irfft(np.fft.rfft(x) * gain, len(x))


def band(low: float, high: float, order: int = 2) -> Callable[[np.ndarray], np.ndarray]:
    """The response of a Butterworth band-pass, `order` poles at each end; low 0 or high inf leaves an end open."""
    return lambda hz: 1.0 / np.sqrt((1.0 + (low / hz) ** (2 * order)) * (1.0 + (hz / high) ** (2 * order)))


def noise(rng: np.random.Generator, n: int, response: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(n,) Gaussian noise of the given spectrum, scaled to unit RMS."""
    x = filtered(rng.standard_normal(n), response)
    return x / np.sqrt(np.mean(x**2))


def drift(rng: np.random.Generator, n: int, rate_hz: float) -> np.ndarray:
    """(n,) a smooth random curve about 0 with a spread of about 1; it turns some `rate_hz` times a second."""
    at = rng.random() + np.arange(n) * (2.0 * rate_hz / RATE)
    knots = 1.2 * rng.standard_normal(int(at[-1]) + 2)
    left = at.astype(np.intp)
    ease = (at - left) ** 2 * (3.0 - 2.0 * (at - left))
    return knots[left] + ease * (knots[left + 1] - knots[left])


def pushes(rng: np.random.Generator, n: int, rate_hz: float, effort: float) -> np.ndarray:
    """(n,) how hard a hand presses, 0 to 1: it leans in and lets go; `effort` about 0 shifts the average."""
    return 1.0 / (1.0 + np.exp(-2.5 * (drift(rng, n, rate_hz) + effort)))


def arrivals(rng: np.random.Generator, n: int, rate: np.ndarray | float) -> np.ndarray:
    """Sorted sample numbers of Poisson events, `rate` of them a second; a curve (n,) lets the rate change."""
    return np.flatnonzero(rng.random(n) < np.asarray(rate) / RATE)


def turning(cycles: np.ndarray, harmonics: np.ndarray) -> np.ndarray:
    """A periodic waveform read at `cycles`, turns since the start; harmonics[k - 1] is the k-th's complex amplitude."""
    period = np.fft.irfft(np.concatenate([[0.0], harmonics]), 64 * len(harmonics)) * (32 * len(harmonics))
    return np.interp(cycles % 1.0, np.arange(len(period) + 1) / len(period), np.append(period, period[0]))


def timbre(rng: np.random.Generator, n_harmonics: int, fall: float) -> np.ndarray:
    """Complex harmonic amplitudes that fall as 1 / k^fall (a saw-tooth has 1), each with its own luck and phase."""
    luck = rng.lognormal(0.0, 0.7, n_harmonics) * np.exp(2j * np.pi * rng.random(n_harmonics))
    return luck / np.arange(1, n_harmonics + 1) ** fall


def struck(hz: np.ndarray, decay_s: np.ndarray, level: np.ndarray) -> np.ndarray:
    """A struck body: the sum of modes, each a sine that decays to 1/e in `decay_s`; 5 of the longest decay long."""
    x = np.zeros(round(5.0 * RATE * np.max(decay_s)))
    for mode_hz, mode_s, mode_level in zip(hz, decay_s, level, strict=True):
        t = np.arange(round(5.0 * RATE * mode_s)) / RATE
        x[: len(t)] += mode_level * np.exp(-t / mode_s) * np.sin(2 * np.pi * mode_hz * t)
    return x


def place(x: np.ndarray, start: int, event: np.ndarray) -> None:
    """Add `event` to x from `start` on; what would pass the end is dropped."""
    x[start : start + len(event)] += event[: max(0, len(x) - start)]
