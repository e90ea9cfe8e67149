"""A recording made comparable: its spectrum and its level flat, so that what is left tells one sound from another.

Takes a Recording; leaves 2000 samples a second. Flat as recordings of ambient noise are made flat before they are
correlated in seismology (Bensen et al. 2007, section 2: normalisation in time, whitening), the spectrum here by
linear prediction (Makhoul 1975). Without it all heart sounds are alike, since nearly all their energy lies in the same
hundred hertz, and so are all clicks.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import scipy.fft
import scipy.linalg

from clinaug_fast.corpus.audio import as_float, decode, open_audio
from clinaug_fast.corpus.read_faults import decoded_for_sure
from clinaug_fast.corpus.recordings import Recording

RATE = 2000  # Hz; both public corpora are told apart as well as at 4000, in half the time
MOST_SECONDS = 30.0  # of a recording; of a longer one the middle
ORDER = 16  # of the linear prediction
WHITE = 1e-4  # of the power, added as white noise: 40 dB below it the spectrum stays as it is
LEVEL_SECONDS = 0.05
SOUND_FROM = 1e-2  # of the mean power; less is taken for silence, and stays silent


def read_flat(recording: Recording) -> np.ndarray:
    """(T,) float32 at RATE. Raises verdicts.Rejected."""
    return decoded_for_sure(recording, partial(_read_flat, recording))


def _read_flat(recording: Recording) -> np.ndarray:
    with open_audio(recording) as file:
        rate, n = file.sound.samplerate, file.stop - file.start
        if n <= MOST_SECONDS * rate:
            return flat(as_float(decode(recording, RATE, file=file).samples))
    begin_s = (file.start + (n - MOST_SECONDS * rate) / 2) / rate
    middle = replace(recording, start_s=begin_s, end_s=begin_s + MOST_SECONDS)
    return flat(as_float(decode(middle, RATE).samples))


def flat(samples: np.ndarray) -> np.ndarray:
    """(T,) float -> (T - ORDER - 1,) float32: the prediction's error over its level, about 1 wherever there is sound.

    Differenced first, so that a constant, such as silence beside a microphone's offset, is nothing.
    """
    x = np.diff(samples.astype(np.float64))
    if len(x) <= ORDER or not np.any(x):
        return np.zeros(max(0, len(x) - ORDER), np.float32)
    power = np.abs(scipy.fft.rfft(x, scipy.fft.next_fast_len(len(x) + ORDER, real=True))) ** 2
    correlation = scipy.fft.irfft(power)[: ORDER + 1]
    correlation /= correlation[0]
    correlation[0] += WHITE
    predictor = scipy.linalg.solve_toeplitz(correlation[:ORDER], correlation[1:])
    error = np.convolve(x, np.concatenate([[1.0], -predictor]), "valid")
    width = round(LEVEL_SECONDS * RATE)
    level = np.convolve(error**2, np.full(width, 1.0 / width))[width // 2 :][: len(error)]
    return (error / np.sqrt(level + SOUND_FROM * np.mean(error**2) + np.finfo(np.float64).tiny)).astype(np.float32)
