"""Bits that change are counted: drafts and parts of builds that round otherwise are told apart by `native.BITS`.

Who changes the kernel's bits and means it counts BITS up and puts the new digests here.
"""

import hashlib

import numpy as np
import pytest

from clinaug_fast import _native, native
from clinaug_fast.config import MelConfig

BITS = 12
DIGESTS = {"x86-64-v3": "0cfe682132109374", "baseline x86_64": "52c3651cf27600d3"}
SIZES = [(2048, 512, 64), (512, 128, 64), (1024, 256, 80), (400, 160, 80), (480, 480, 24), (1021, 300, 40)]


def signals() -> np.ndarray:
    """(5, 48000) int16 from whole numbers alone: noise, a walk, a square, noise beside silence, one impulse."""
    draw = np.random.default_rng(0)
    n = 48_000
    noise = draw.integers(-9000, 9001, n)
    walk = np.cumsum(draw.integers(-20, 21, n)) % 20_001 - 10_000
    square = np.where(np.arange(n) // 53 % 2, 20_000, -20_000)
    beside = np.where(np.arange(n) < n // 2, noise, 0)
    impulse = np.where(np.arange(n) == 12_345, 30_000, 0)
    return np.stack([noise, walk, square, beside, impulse]).astype(np.int16)


@pytest.mark.parametrize("instruction_set", _native.instruction_sets)
def test_the_bits_are_those_of_their_number(instruction_set):
    arithmetic = native.arithmetic(instruction_set, _native.compiler)
    name, number = arithmetic.rsplit(" ", 1)
    if name not in DIGESTS:
        pytest.skip(f"no digest is kept of {name}")
    digest = hashlib.blake2b(digest_size=8)
    for n_fft, hop, n_mels in SIZES:
        for power in (1, 2):
            mel = MelConfig(sample_rate=16_000, n_fft=n_fft, hop_length=hop, n_mels=n_mels, power=power)
            for length in (6000, 48_000):  # too short for a glance at some sizes, or long
                x = signals()[:, :length]
                out = np.empty((len(x), *native.plan(mel).shape(length)), np.float32)
                native.plan(mel, instruction_set).run(x, out, 1)
                digest.update(out.tobytes())
    assert (int(number), digest.hexdigest()) == (BITS, DIGESTS[name]), "bits changed: count native.BITS up, see above"
