"""Which of many flat sounds hold the same stretch: each is laid over each other at every distance in time.

Takes sounds of `flat_sound`; leaves the pairs whose normalised correlation, over all that they then share, reaches a
limit. All pairs: a few hundred recordings take seconds, a thousand some 20 s on two cores, ten times as many a
hundred times as long.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy.fft

from clinaug_fast.audit.flat_sound import RATE
from clinaug_fast.runs import Progress

HEARD = RATE // 2  # samples of sound that two must share: in less, clicks and single notes are alike
ROUNDING = 1e-4  # of scores, at most
ROWS = 64  # sounds that are laid over one at a time, or fewer long ones
VALUES = 1 << 20  # of their correlations


@dataclass(frozen=True)
class Pairs:
    """Pairs of sounds that are alike, by their numbers, in order."""

    first: np.ndarray  # (P,) int64
    second: np.ndarray  # (P,) int64, above first
    score: np.ndarray  # (P,) float32: the normalised correlation, 1 of one sound with itself

    def where(self, chosen: np.ndarray) -> "Pairs":
        """Some of them, by a (P,) mask."""
        return Pairs(self.first[chosen], self.second[chosen], self.score[chosen])


@dataclass(frozen=True)
class _Tile:
    """Sounds of about one length: their spectra, and the energy up to each sample."""

    numbers: np.ndarray
    lengths: np.ndarray
    size: int  # of the transforms
    spectra: np.ndarray  # (n, size // 2 + 1) complex64
    energies: list[np.ndarray]


def has_enough(sound: np.ndarray) -> bool:
    """Whether there is so much sound that it can be compared."""
    return len(sound) >= HEARD and float(np.dot(sound, sound)) >= HEARD


def alike(sounds: Sequence[np.ndarray], at_least: float, threads: int, progress: Progress) -> Pairs:
    """The pairs that reach `at_least`, of sounds that have enough; the same whatever the threads."""
    order = np.argsort([len(sound) for sound in sounds], kind="stable")
    longest = 2 * len(sounds[order[-1]]) if len(order) else 1
    step = max(1, min(ROWS, VALUES // longest))
    tiles = [order[begin : begin + step] for begin in range(0, len(order), step)]
    progress.start("comparing, pairs", len(order) * (len(order) - 1) // 2)
    found: list[tuple[int, int, float]] = []
    lay_over = partial(_laid_over, at_least - ROUNDING)
    with ThreadPoolExecutor(threads) as pool:
        for last, numbers in enumerate(tiles):
            # Two sounds that share less than HEARD samples may be laid over each other twice at once.
            size = scipy.fft.next_fast_len(2 * len(sounds[numbers[-1]]) - HEARD, real=True)
            these = _tile(sounds, numbers, size)
            for others in tiles[: last + 1]:
                same = others is numbers
                those = these if same else _tile(sounds, others, size)
                for some in pool.map(partial(lay_over, those, these), range(len(others))):
                    found += some
                progress.advance(len(numbers) * (len(numbers) - 1) // 2 if same else len(numbers) * len(others))
    found.sort()
    first, second, score = (np.array(column) for column in zip(*found, strict=True)) if found else ([], [], [])
    return Pairs(np.asarray(first, np.int64), np.asarray(second, np.int64), np.asarray(score, np.float32))


def _tile(sounds: Sequence[np.ndarray], numbers: np.ndarray, size: int) -> _Tile:
    padded = np.zeros((len(numbers), size), np.float32)
    energies = []
    for row, number in enumerate(numbers):
        padded[row, : len(sounds[number])] = sounds[number]
        energies.append(np.concatenate([[0.0], np.cumsum(sounds[number].astype(np.float64) ** 2)]))
    lengths = np.array([len(sounds[number]) for number in numbers])
    return _Tile(numbers, lengths, size, scipy.fft.rfft(padded, axis=1), energies)


def _laid_over(at_least: float, those: _Tile, these: _Tile, row: int) -> list[tuple[int, int, float]]:
    """One of `those` over all of `these`, over those behind it where both are one tile: (first, second, score)."""
    begin = row + 1 if those is these else 0
    if begin == len(these.numbers):
        return []
    products = scipy.fft.irfft(those.spectra[row].conj() * these.spectra[begin:], these.size, axis=1, overwrite_x=True)
    least = at_least * HEARD  # what is below it can reach no score, whatever the energies that it is divided by
    largest = np.maximum(products.max(axis=1), -products.min(axis=1))
    found = []
    for other in np.flatnonzero(largest >= least):
        score = _best(products[other], least, those, row, these, begin + other)
        if score >= at_least:
            one, two = sorted((int(those.numbers[row]), int(these.numbers[begin + other])))
            found.append((one, two, score))
    return found


def _best(products: np.ndarray, least: float, those: _Tile, row: int, these: _Tile, other: int) -> float:
    """The highest score over the distances at which both have enough sound in what they share; 0 where none is."""
    length, other_length = int(those.lengths[row]), int(these.lengths[other])
    at = np.flatnonzero(np.abs(products) >= least)
    begins = np.stack([at, at - len(products)])  # of the first in the second; an entry stands for both
    shared = np.minimum(length, other_length - begins) - np.maximum(0, -begins)
    begin = np.take_along_axis(begins, np.argmax(shared, axis=0)[None], axis=0)[0]
    ours, theirs = np.maximum(0, -begin), np.maximum(0, begin)
    n = np.maximum(np.minimum(length - ours, other_length - theirs), 0)
    energy, other_energy = those.energies[row], these.energies[other]
    of_ours = energy[np.minimum(ours + n, length)] - energy[np.minimum(ours, length)]
    of_theirs = other_energy[np.minimum(theirs + n, other_length)] - other_energy[np.minimum(theirs, other_length)]
    enough = (n >= HEARD) & (np.minimum(of_ours, of_theirs) >= HEARD)  # pulses have more than 1 a sample
    if not enough.any():
        return 0.0
    return min(1.0, float(np.max(np.abs(products[at][enough]) / np.sqrt(of_ours[enough] * of_theirs[enough]))))
