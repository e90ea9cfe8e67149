"""Waveforms that a log-mel must survive, each float64 in [-1, 1], seeded."""

import numpy as np


def make(name: str, n: int, sample_rate: int = 16000) -> np.ndarray:
    rng = np.random.default_rng(sum(map(ord, name)))
    t = np.arange(n) / sample_rate
    if name == "noise":
        return 0.3 * rng.standard_normal(n).clip(-3, 3)
    if name == "speech-like":
        voiced = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
        return 0.2 * voiced * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)) + 0.01 * rng.standard_normal(n)
    if name == "loud tone beside silence":
        return np.where(t < t.mean() if n else t, 0.99 * np.sin(2 * np.pi * 440.3 * t), 0.0)
    if name == "silence":
        return np.zeros(n)
    if name == "square":
        return np.sign(np.sin(2 * np.pi * 100 * t) + 1e-12)
    if name == "impulse":
        x = np.zeros(n)
        x[n // 3 : n // 3 + 1] = 1.0
        return x
    raise KeyError(name)


NAMES = ("noise", "speech-like", "loud tone beside silence", "silence", "square", "impulse")
