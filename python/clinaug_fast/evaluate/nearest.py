"""Whether clips are copies of those that a generator was trained on, and whether they are as different as those are.

Works on log-mels themselves, each without its mean: a gain changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clinaug_fast.errors import InputError

CLIPS_AT_ONCE = 256
NO_CONTRAST = 1e-6  # of a clip's mean square, beside its mean: what is silent or steady is like nobody's sound
SAME = 1e-9  # of a clip's squares: what rounding of log-mels leaves between it and a copy


@dataclass(frozen=True)
class Nearest:
    """For each of n clips the one that is nearest to it among others."""

    rows: np.ndarray  # (n,) int64: its place among them
    distances: np.ndarray  # (n,) float64: root of the mean squared difference, in the units of the log-mel
    ratios: np.ndarray  # (n,) float64 in [0, 1]: over the distance of the nearest clip of any other group


def nearest(
    clips: np.ndarray, among: np.ndarray, groups: np.ndarray, *, on_clips: Callable[[int], None] = lambda n: None
) -> Nearest:
    """Of `clips` (n, n_mels, n_frames) in `among` (m, n_mels, n_frames), whose groups are `groups` (m,), two or more.

    What sounds like nobody in particular is about as near to one patient as to the next: its ratio is near 1. A copy is
    near to its original alone: its ratio is near 0, however smooth the generator is (Lowe's ratio test). That of an
    exact copy is 0, even where several have the original, but that of a clip without contrast, such as silence, is 1.
    None is near to one without, which all smooth ones would be. `on_clips` is told how many more are done.
    """
    y = _flat(among)
    y_squares, n, faint = np.square(y).sum(axis=1), len(clips), NO_CONTRAST * y.shape[1]
    plain = y_squares <= faint
    if plain.all():
        plain[:] = False
    _, owner = np.unique(groups, return_inverse=True)
    rows, first, second = np.empty(n, np.int64), np.empty(n), np.empty(n)
    for begin in range(0, n, CLIPS_AT_ONCE):
        part = slice(begin, begin + CLIPS_AT_ONCE)
        x = _flat(clips[part])
        x_squares = np.square(x).sum(axis=1)
        squares = x_squares[:, None] + y_squares - 2.0 * (x @ y.T)
        squares[:, plain] = np.inf
        rows[part] = squares.argmin(axis=1)
        first[part] = squares.min(axis=1)
        squares[owner == owner[rows[part], None]] = np.inf
        second[part] = squares.min(axis=1)
        first[part][first[part] <= SAME * x_squares] = 0.0
        second[part][np.isinf(second[part])] = first[part][np.isinf(second[part])]  # nobody else's: the ratio is 1
        second[part][first[part] == 0.0] = np.inf  # whoever else has it: the ratio is 0,
        second[part][x_squares <= faint] = 0.0  # or 1
        on_clips(len(x))
    first, second = np.sqrt(np.maximum(first, 0.0)), np.sqrt(np.maximum(second, 0.0))
    ratios = np.divide(first, second, out=np.ones_like(first), where=second > 0.0)
    return Nearest(rows, first / np.sqrt(y.shape[1]), ratios)


def spread(clips: np.ndarray) -> float:
    """The root of the mean squared distance of two of `clips` (n, n_mels, n_frames), n >= 2."""
    return float(np.sqrt(2.0 * _flat(clips).var(axis=0, ddof=1).sum()))


def relative_spread(clips: np.ndarray, of: np.ndarray, real: np.ndarray, classes: np.ndarray) -> float:
    """`spread` of `clips` with the classes `of` over that of `real` with `classes`, label by label, averaged over the
    labels of which both have two clips or more, and the real ones differ. InputError where there is none."""
    ratios = []
    for label in np.unique(classes):
        ours, theirs = clips[of == label], real[classes == label]
        if min(len(ours), len(theirs)) >= 2 and (expected := spread(theirs)) > 0.0:
            ratios.append(spread(ours) / expected)
    if not ratios:
        raise InputError("no label has two real clips that differ, and two to compare; expected one or more. Add some")
    return float(np.mean(ratios))


def _flat(clips: np.ndarray) -> np.ndarray:
    """(n, d) float64: double precision, as copies differ by little of what they are."""
    flat = clips.reshape(len(clips), -1).astype(np.float64)
    return flat - flat.mean(axis=1, keepdims=True)
