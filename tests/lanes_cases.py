"""Clips for the tests of log_mel's kernel, by what their frames need of it, and a call on one instruction set."""

import numpy as np

import signals
from clinaug_fast import MelConfig, native

SMALL = MelConfig(sample_rate=16000, n_fft=128, hop_length=40, n_mels=12)
CHORD = (0.6, 2.5)  # radians a sample: a low tone and a high one, level on the whole


def lanes(x, config, instruction_set, *, threads=1, out=None):
    """native.log_mel of a batch on an instruction set of one's choice."""
    if out is None:
        out = np.empty((len(x), config.n_mels, config.n_frames(x.shape[1])), np.float32)
    native.plan(config, instruction_set).run(x, out, threads)
    return out


def exact(x, config):
    return native.log_mel(x.astype(np.float64) / (32768 if x.dtype == np.int16 else 1), config)


def noise(*shape):
    return signals.make("noise", int(np.prod(shape))).reshape(shape).astype(np.float32)


def falling(*shape):
    """Clips that fall by 6 dB an octave: single precision carries their frames with pre-emphasis, and few without."""
    walk = np.cumsum(signals.make("noise", int(np.prod(shape))).reshape(shape), axis=-1)
    steady = walk - np.linspace(walk[..., 0], walk[..., -1], shape[-1], axis=-1)
    return (0.8 * steady / np.abs(steady).max(axis=-1, keepdims=True).clip(1e-9)).astype(np.float32)


def uneven(*shape):
    """Noise in which tones and falling sound begin and end: frames of every way to compute them."""
    return _noise_with_pieces(shape, [0.2], 1.0)


def level(*shape):
    """The same, on the whole as level as white noise: no clip of less than 256 frames is glanced at, its frames find
    their ways one by one."""
    return _noise_with_pieces(shape, CHORD, 0.1)


def chord(turns, n):
    """(n,) tones of so many radians a sample."""
    return np.mean(np.sin(np.outer(turns, np.arange(n))), axis=0)


def _noise_with_pieces(shape, turns, of_falling):
    """Noise, a chord, and so much falling sound, by turns."""
    x = signals.make("noise", int(np.prod(shape)))
    t = np.arange(x.size)
    turn = np.sin(t / 700) * np.sin(t / 5000)
    sounds = [0.9 * chord(turns, x.size), of_falling * falling(x.size)]
    return np.select([turn > 0.3, turn < -0.3], sounds, 0.3 * x).reshape(shape).astype(np.float32)


def tones(*shape):
    """Nothing but frames that single precision cannot carry."""
    return np.sin(0.2 * np.arange(np.prod(shape))).reshape(shape).astype(np.float32)


def in_double(x, instruction_set):
    """Double precision in leads to double precision throughout."""
    return lanes(x.astype(np.float64), SMALL, instruction_set)
