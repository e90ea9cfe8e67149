"""How far two mel contracts are apart: the fields that differ, and by how many dB on a test signal.

Takes two contracts, or what names one (a feature set, its features.json, a preset, a library's conventions); leaves a
`MelDiff`. Numbers of two contracts must not meet in one data set: this says by how much they would disagree.
"""

from collections.abc import Container
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from clinaug_fast import native
from clinaug_fast.config import CONVENTIONS, PRESETS, MelConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.json_files import read_json
from clinaug_fast.mel import band_edges_hz, refuse_empty_bands

SIGNAL_S = 4.0
SIGNAL_SEED = 20
N_FFTS = 2  # the signal is at least this many FFTs long


@dataclass(frozen=True)
class MelDiff:
    """Two contracts and the log-mels of one signal under both, in dB, brought to the frames and bands of the first."""

    a: MelConfig
    b: MelConfig
    a_db: np.ndarray  # (a.n_mels, n_frames) float64
    b_db: np.ndarray  # the same shape: the nearest frames; the same bands, interpolated where their number differs

    @cached_property
    def fields(self) -> dict[str, tuple[Any, Any]]:
        """The fields that differ: (A's, B's)."""
        a, b = self.a.model_dump(), self.b.model_dump()
        return {name: (a[name], b[name]) for name in a if a[name] != b[name]}

    @property
    def equal(self) -> bool:
        return not self.fields

    @cached_property
    def _difference(self) -> np.ndarray:
        return np.abs(self.a_db - self.b_db)

    @property
    def largest_db(self) -> float:
        return float(self._difference.max())

    @property
    def median_db(self) -> float:
        return float(np.median(self._difference))

    @cached_property
    def by_band(self) -> list[dict[str, float]] | None:
        """For each band its centre under A and B, and the largest and median difference; None where bands differ in
        number."""
        if self.a.n_mels != self.b.n_mels:
            return None
        centres = zip(band_edges_hz(self.a)[1:-1], band_edges_hz(self.b)[1:-1], self._difference, strict=True)
        return [
            {
                "a_hz": round(float(a_hz), 2),
                "b_hz": round(float(b_hz), 2),
                "largest_db": round(float(row.max()), 4),
                "median_db": round(float(np.median(row)), 4),
            }
            for a_hz, b_hz, row in centres
        ]


def read_mel(name: str, sizes: MelConfig | None = None) -> MelConfig:
    """The contract that `name` stands for: a feature set, its features.json, a preset, or a library's conventions,
    which take their sizes (rates, lengths, bands) from `sizes`. A file or a feature set of that name comes first."""
    if not name:
        raise SettingsError("the name of a contract is empty; expected a path or a word. Is a variable unset?")
    path = Path(name)
    if _is_word(name, CONVENTIONS):
        return (sizes or MelConfig()).with_changes(**CONVENTIONS[name])
    if _is_word(name, PRESETS):
        return PRESETS[name].mel
    if not path.exists():
        words = ", ".join([*CONVENTIONS, *PRESETS])
        raise InputError(f"{name} does not exist; expected a feature set, its features.json, or one of {words}")
    about = read_json(path / "features.json" if path.is_dir() else path, "a feature set's features.json")
    if not isinstance(about, dict) or not isinstance(about.get("mel"), dict):
        raise InputError(f"{path} has no mel contract; expected a feature set's features.json. Check the path")
    return MelConfig.stored_in(path, about["mel"], "Restore the file, or make it anew")


def _is_word(name: str, words: Container[str]) -> bool:
    """Not a path: a folder of recordings may be called "heart" too."""
    return name in words and not Path(name).is_file() and not (Path(name) / "features.json").exists()


def mel_diff(a: str, b: str) -> MelDiff:
    """Compare what `a` and `b` name (see `read_mel`); conventions take the other's sizes."""
    words = [name for name in (a, b) if _is_word(name, CONVENTIONS)]
    other = read_mel(a) if a not in words else read_mel(b) if b not in words else None
    return compare(read_mel(a, other), read_mel(b, other))


def compare(a: MelConfig, b: MelConfig) -> MelDiff:
    """The difference on `reference_signal`. SettingsError where either contract has empty bands."""
    refuse_empty_bands(a)
    refuse_empty_bands(b)
    rate = max(a.sample_rate, b.sample_rate)
    seconds = max(SIGNAL_S, *(N_FFTS * mel.n_fft / mel.sample_rate for mel in (a, b)))
    signal = reference_signal(rate, seconds)
    a_db, b_db = _decibels(signal, rate, a), _decibels(signal, rate, b)
    times = _times(b, b_db)
    b_db = b_db[:, np.searchsorted((times[1:] + times[:-1]) / 2, _times(a, a_db))]  # the nearest frames
    if a.n_mels != b.n_mels:
        a_hz, b_hz = band_edges_hz(a)[1:-1], band_edges_hz(b)[1:-1]
        b_db = np.stack([np.interp(a_hz, b_hz, column) for column in b_db.T], axis=1)
    return MelDiff(a, b, a_db, b_db)


def reference_signal(sample_rate: int, seconds: float) -> np.ndarray:
    """(T,) float64: a sweep over all frequencies and noise over it, one quarter of it silent, so that the scale, the
    norm, the padding and the floor all show. The same at every call."""
    t = np.arange(round(sample_rate * seconds)) / sample_rate
    top = 0.45 * sample_rate
    sweep = 0.3 * np.sin(2 * np.pi * 20.0 * seconds / np.log(top / 20.0) * (top / 20.0) ** (t / seconds))
    noise = 0.05 * np.random.default_rng(SIGNAL_SEED).standard_normal(len(t))
    silent = (t > 0.5 * seconds) & (t < 0.75 * seconds)
    return np.where(silent, 0.0, sweep + noise)


def _decibels(signal: np.ndarray, sample_rate: int, mel: MelConfig) -> np.ndarray:
    """(n_mels, n_frames) float64: the log-mel as 10 log10 of power or 20 log10 of magnitude, whatever its logarithm."""
    if sample_rate != mel.sample_rate:
        signal = soxr.resample(signal, sample_rate, mel.sample_rate, quality="HQ")
    return native.log_mel(signal, mel) * mel.unit_db


def _times(mel: MelConfig, log_mel: np.ndarray) -> np.ndarray:
    """(n_frames,) seconds: the middle of each frame."""
    first = 0 if mel.center else mel.n_fft // 2
    return (first + np.arange(log_mel.shape[1]) * mel.hop_length) / mel.sample_rate
