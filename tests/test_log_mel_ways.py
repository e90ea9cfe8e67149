"""Which way log_mel takes, single precision, with pre-emphasis or double: of frames, and of clips after a glance."""

import numpy as np
import pytest

from lanes_cases import CHORD, SMALL, chord, exact, falling, in_double, lanes, level, noise, tones, uneven
from tolerance import FLOAT32_DB, worst


def beside_noise(n_frames, turns):
    """One clip: tones, and some frames of noise, which single precision carries."""
    x = chord(turns, 40 * n_frames - 1).astype(np.float32)[None]
    x[:, 100:340] = noise(1, 240)
    return x


@pytest.mark.parametrize(
    ("n_frames", "turns", "is_glanced_at"),
    [
        (31, [0.2], False),
        (32, [0.2], True),
        (65, [1.2], True),
        (65, [1.4], True),
        (65, [1.6], True),
        (65, [1.8], True),
        (65, [2.0], True),
        (65, CHORD, False),
        (255, [2.5], True),
        (255, CHORD, False),
        (256, CHORD, True),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_glance_leads_to_double_precision_throughout(n_frames, turns, is_glanced_at, dtype, instruction_set):
    """A long clip is glanced at, a shorter one where it tilts, as each tone does, and low with high ones do not."""
    x = beside_noise(n_frames, turns)
    if dtype == "int16":
        x = np.round(30_000 * x.clip(-1, 1)).astype(np.int16)
    twofold = np.repeat(x, 2, axis=1)[:, ::2]  # the same samples, apart
    unit = 32768 if dtype == "int16" else 1
    assert np.array_equal(lanes(x, SMALL, instruction_set), in_double(x / unit, instruction_set)) == is_glanced_at
    assert np.array_equal(lanes(twofold, SMALL, instruction_set), lanes(x, SMALL, instruction_set))


def test_noise_stays_in_single_precision(instruction_set):
    for length in (2600, 9000, 40_000):
        double = in_double(noise(1, length), instruction_set)
        assert np.mean((lanes(noise(1, length), SMALL, instruction_set) == double).all(axis=1)) < 0.1


@pytest.mark.parametrize("poison", [np.nan, np.inf, 3e38])
def test_what_is_not_sound_says_nothing_of_the_tilt(poison, instruction_set):
    x, bad = beside_noise(65, [0.2]), beside_noise(65, [0.2])
    bad[:, 8] = poison  # among the samples that are looked at
    assert np.array_equal(lanes(bad, SMALL, instruction_set)[..., 2:], in_double(x, instruction_set)[..., 2:])


@pytest.mark.parametrize("turns", [CHORD, [0.2]])
def test_what_lies_beside_a_clip_says_nothing_of_its_tilt(turns, instruction_set):
    x = beside_noise(65, turns)
    loud = np.full((1, x.shape[1] + 2), 1e6, np.float32)
    loud[:, 1:-1] = x
    assert np.array_equal(lanes(loud[:, 1:-1], SMALL, instruction_set), lanes(x, SMALL, instruction_set))


def test_clipped_noise_does_not_tilt(instruction_set):
    """Nor is such a clip looked at: two products of -32768 with itself add up to more than an int32 holds."""
    x = np.round(30_000 * chord(CHORD, 40 * 255 - 1)).astype(np.int16)
    for first in range(0, len(x) - 17, (len(x) - 18) // 15):
        x[first : first + 18] = np.random.default_rng(first).choice([-32768, 32767], 18)
    assert not np.array_equal(lanes(x[None], SMALL, instruction_set), in_double(x[None] / 32768, instruction_set))


def test_a_batch_of_many_ways_is_shared_out_among_threads(instruction_set):
    x = np.concatenate([make(1, 2600) for make in (noise, tones, falling, level) for _ in range(2)] * 9)
    shuffled = x[np.random.default_rng(0).permutation(len(x))]
    mostly_noise = noise(72, 2600)
    mostly_noise[1:12:2] = tones(6, 2600)  # the others are one run of many clips
    for clips in (shuffled, mostly_noise):
        expected = np.concatenate([lanes(row[None], SMALL, instruction_set) for row in clips])
        for threads in (1, 2, 5, 40):
            assert np.array_equal(lanes(clips, SMALL, instruction_set, threads=threads), expected)


@pytest.mark.parametrize(
    "contract",
    [
        {},
        {"power": 1},
        {"window": "boxcar"},
        {"window": "blackman", "win_length": 90},
        {"norm": "none", "mel_scale": "htk", "log": "db"},
        {"n_fft": 131, "win_length": 131},
        {"n_fft": 400, "win_length": 400, "hop_length": 500},
        {"n_fft": 97, "win_length": 97, "hop_length": 31},
    ],
)
def test_falling_sound_takes_pre_emphasis(contract, instruction_set):
    config = SMALL.with_changes(center=False, **contract)
    n_fft, hop = config.n_fft, config.hop_length
    x = falling(3, 229 * hop + n_fft)
    glanced = lanes(x, config, instruction_set)
    pieces = [x[:, first * hop : (first + 22) * hop + n_fft] for first in range(0, 230, 23)]  # too short for a glance
    unseen = np.concatenate([lanes(piece, config, instruction_set) for piece in pieces], axis=2)
    double = lanes(x.astype(np.float64), config, instruction_set)

    def same(a, b):  # of the frames, how many
        return np.mean((a == b).all(axis=1))

    assert worst(glanced, exact(x, config)) < FLOAT32_DB
    assert worst(unseen, exact(x, config)) < FLOAT32_DB
    assert same(glanced, double) < 0.5
    assert same(unseen, double) < 0.5
    assert 0.05 < same(glanced, unseen) < 1  # frames that come to the same way by themselves


def test_double_precision_is_rounded_in_the_logarithm_alone(instruction_set):
    for x in (tones(1, 9000), noise(1, 9000)):
        rounding = np.spacing(np.abs(exact(x, SMALL)).astype(np.float32))
        assert np.all(np.abs(in_double(x, instruction_set) - exact(x, SMALL)) <= 2 * rounding + 1e-7)


@pytest.mark.parametrize("length", [2600, 9000, 40_000])
def test_clips_of_every_way_in_a_batch(length, instruction_set):
    clips = (noise, noise, tones, tones, falling, uneven, noise, falling, falling, tones, uneven)
    x = np.concatenate([make(1, length) for make in clips])
    one_by_one = np.concatenate([lanes(row[None], SMALL, instruction_set) for row in x])
    for threads in (1, 3):
        assert np.array_equal(lanes(x, SMALL, instruction_set, threads=threads), one_by_one)
