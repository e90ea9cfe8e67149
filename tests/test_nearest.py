"""Nearness to single training clips and spread, against loops written from the definitions."""

import numpy as np
import pytest

from clinaug_fast.errors import InputError
from clinaug_fast.evaluate import fold_quality
from clinaug_fast.evaluate.nearest import Nearest, nearest, relative_spread, spread

SHAPE = (4, 5)


def clips(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(-8, 2, (n, *SHAPE)).astype(np.float32)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (a, b))
    return float(np.sqrt(np.mean((a - b) ** 2)))


@pytest.mark.parametrize("n", [1, 3, 600])  # 600: more than are compared at once
def test_nearest_and_the_nearest_of_another_group_are_those_of_a_loop(n):
    ours, among = clips(n, 0), clips(40, 1)
    groups = np.array([f"s{i % 7}" for i in range(40)], dtype=object)
    found = nearest(ours, among, groups)
    for i in range(0, n, 37):
        distances = np.array([distance(ours[i], other) for other in among])
        row = distances.argmin()
        assert found.rows[i] == row
        assert found.distances[i] == pytest.approx(distances[row], rel=1e-9)
        assert found.ratios[i] == pytest.approx(distances[row] / distances[groups != groups[row]].min(), rel=1e-9)


def test_a_copy_has_no_distance_whatever_its_gain():
    among = clips(6, 2)
    found = nearest(among[[4]] + np.float32(3.0), among, np.arange(6))
    assert found.rows.tolist() == [4]
    assert found.distances[0] < 1e-5
    assert found.ratios[0] < 1e-5


def test_a_second_clip_of_the_same_subject_hides_no_copy():
    among = clips(4, 3)
    among[1] = among[0] + 1e-3 * clips(1, 4)[0]
    assert (
        nearest(among[[0]], among, np.array([0, 1, 2, 3])).ratios[0] < 1e-3
    )  # of another subject: nothing of one alone
    assert nearest(among[[0]] + 0.1 * clips(1, 5), among, np.array([0, 1, 2, 3])).ratios[0] > 0.99
    assert nearest(among[[0]] + 0.1 * clips(1, 5), among, np.array([0, 0, 2, 3])).ratios[0] < 0.2


def test_an_exact_copy_is_one_though_two_subjects_have_its_original():
    among = clips(6, 12)
    among[3] = among[1]
    assert nearest(among[[1]] + np.float32(2.0), among, np.arange(6)).ratios.tolist() == [0.0]


def test_a_silent_clip_of_one_subject_makes_no_copies_of_smooth_ones():
    among, groups = clips(12, 3), np.array([f"s{i // 2}" for i in range(12)], dtype=object)
    among[5] = -23.0
    smooth = (-9.0 + 0.1 * clips(4, 4)).astype(np.float32)
    found = nearest(smooth, among, groups)
    assert 5 not in found.rows
    assert (found.ratios > 0.8).all()
    assert nearest(among[5:6], among, groups).ratios == 1.0  # nor is the silence one
    silent = np.full((1, *SHAPE), -3.0, np.float32)
    assert nearest(silent, among[:4], groups[:4]).ratios == 1.0
    assert nearest(smooth, np.full((4, *SHAPE), -23.0, np.float32), groups[:4]).ratios == pytest.approx(1.0)


def test_where_one_subject_alone_has_contrast_nothing_but_an_exact_copy_is_told():
    among, groups = clips(4, 5), np.array(["a", "a", "b", "b"], dtype=object)
    among[2:] = -23.0
    found = nearest(np.concatenate([clips(2, 6), among[:1]]), among, groups)
    assert found.ratios.tolist() == [1.0, 1.0, 0.0]


def test_what_is_like_nobody_and_what_all_are_like_is_no_copy():
    silence = np.full((3, *SHAPE), -23.0, np.float32)
    assert nearest(silence[:1], silence, np.arange(3)).ratios.tolist() == [1.0]
    smooth = clips(500, 6).mean(axis=0, keepdims=True)
    assert nearest(smooth, clips(50, 7), np.arange(50)).ratios[0] > 0.8


def test_spread_is_that_of_all_pairs():
    ours = clips(9, 8)
    pairs = [distance(ours[i], ours[j]) ** 2 for i in range(9) for j in range(9) if i != j]
    assert spread(ours) == pytest.approx(np.sqrt(np.mean(pairs) * np.prod(SHAPE)), rel=1e-9)


def test_relative_spread_is_averaged_over_labels():
    real, classes = clips(20, 9), np.repeat([0, 1], 10)
    shrunk = real.astype(np.float64)
    for label, factor in ((0, 0.5), (1, 0.1)):
        of = classes == label
        shrunk[of] = factor * (shrunk[of] - shrunk[of].mean(axis=0)) + shrunk[of].mean(axis=0)
    assert relative_spread(shrunk, classes, real, classes) == pytest.approx(0.3, rel=1e-5)
    lone = np.append(classes, 2)
    with_lone = np.concatenate([real, clips(1, 10)])
    assert relative_spread(with_lone, lone, with_lone, lone) == pytest.approx(1.0)


def test_clips_that_are_all_alike_have_no_spread_to_compare_with():
    real, classes = np.repeat(clips(1, 11), 4, axis=0), np.zeros(4, np.int64)
    with pytest.raises(InputError, match="no label has two real clips that differ"):
        relative_spread(real, classes, real, classes)


def test_relative_spread_counts_labels_with_two_clips_on_either_side():
    real, classes = clips(20, 9), np.repeat([0, 1], 10)
    assert relative_spread(real[:11], classes[:11], real, classes) == pytest.approx(1.0)  # one of label 1: not told
    expected = (1 + spread(real[10:12]) / spread(real[10:])) / 2
    assert relative_spread(real[:12], classes[:12], real, classes) == pytest.approx(expected)


def test_exact_copies_are_ones_whatever_rounding_leaves():
    among = np.random.default_rng(12).normal(-8, 2, (40, 30, 30)).astype(np.float32)
    among[20:] = among[:20]
    gains = np.linspace(0.1, 9.0, 20, dtype=np.float32)[:, None, None]
    assert nearest(among[:20] + gains, among, np.arange(40)).ratios.tolist() == [0.0] * 20


def test_of_the_copies_of_one_original_the_nearest_alone_is_told():
    copied = Nearest(rows=np.array([3, 3, 1]), distances=np.array([2.0, 1.0, 5.0]), ratios=np.array([0.2, 0.1, 0.9]))
    assert list(fold_quality._closest(copied, 2.0)) == [(1, 0.1, 2.0), (2, 0.9, 10.0)]


def test_a_clip_that_is_nearly_a_copy_keeps_its_distance():
    among = clips(6, 20)
    near = among[[2]] + np.float32(4e-4) * (clips(1, 21) + 8)
    found = nearest(near, among, np.arange(6))
    assert found.distances[0] == pytest.approx(distance(near[0], among[2]), rel=1e-6)
    assert 0 < found.ratios[0] < 1e-3


def test_what_varies_by_little_has_contrast_and_what_rounding_leaves_has_none():
    among = -9 + np.float32(0.025) * (clips(6, 22) + 8)  # by 0.05
    assert nearest(among[[4]], among, np.arange(6)).ratios.tolist() == [0.0]
    steady = -23 + np.float32(1e-4) * (clips(1, 23) + 8)  # by 2e-4
    assert nearest(steady, among, np.arange(6)).ratios.tolist() == [1.0]
    among[4] = steady[0]
    smooth = -9 + np.float32(1e-3) * (clips(4, 24) + 8)
    assert 4 not in nearest(smooth, among, np.arange(6)).rows


def test_every_clip_that_was_looked_at_is_told_once():
    told = []
    nearest(clips(600, 25), clips(4, 26), np.arange(4), on_clips=told.append)
    assert told == [256, 256, 88]
