"""Fréchet and kernel distance against their definitions in float64, and the kernel distance against torchmetrics."""

import sys

import numpy as np
import pytest
import scipy.linalg
import torch

from clinaug_fast.errors import SettingsError
from clinaug_fast.evaluate.distances import (
    _AsTheyAre,
    frechet_distance,
    kernel_distance,
    kernel_distance_by_label,
    refuse_without_torchmetrics,
)


def embedded(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, (n, 6)).astype(np.float32)).relu()


def frechet_by_definition(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = (x.numpy().astype(np.float64) for x in (a, b))
    c, d = np.cov(a.T), np.cov(b.T)
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real))


def kernel_by_definition(a: torch.Tensor, b: torch.Tensor) -> float:
    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / len(x) + 1) ** 3

    a, b = (x.numpy().astype(np.float64) for x in (a, b))
    n = len(a)
    own = sum(k(x[i], x[j]) for x in (a, b) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    return own - 2 * sum(k(x, y) for x in a for y in b) / n**2


def test_frechet_distance_is_its_definition():
    a, b = embedded(30, 0), embedded(30, 1, 0.5)
    assert frechet_distance(a, b) == pytest.approx(frechet_by_definition(a, b), rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_kernel_distance_is_its_definition_and_without_bias():
    a, b = embedded(30, 0), embedded(30, 1, 0.5)
    assert kernel_distance(a, b) == pytest.approx(kernel_by_definition(a, b), rel=1e-9)
    alike = [kernel_distance(embedded(10, 2 * seed), embedded(10, 2 * seed + 1)) for seed in range(40)]
    assert min(alike) < 0 < max(alike)
    assert abs(np.mean(alike)) < np.std(alike) / 3


@pytest.mark.parametrize("n", [2, 512, 700])
@pytest.mark.filterwarnings("ignore:.*will save all extracted features")
def test_kernel_distance_is_what_torchmetrics_makes_of_all_pairs(n: int):
    kid = pytest.importorskip("torchmetrics.image.kid")
    a, b = embedded(n, 0).double(), embedded(n, 1, 0.1).double()
    metric = kid.KernelInceptionDistance(_AsTheyAre(6), subsets=1, subset_size=n)
    metric.update(a, real=True)
    metric.update(b, real=False)
    assert kernel_distance(a, b) == pytest.approx(float(metric.compute()[0]), rel=1e-9)


def test_kernel_distance_by_label_is_the_mean_over_labels():
    a, b, classes = embedded(12, 0), embedded(12, 1, 0.5), np.repeat([0, 3], [8, 4])
    expected = [kernel_by_definition(a[:8], b[:8]), kernel_by_definition(a[8:], b[8:])]
    assert kernel_distance_by_label(a, b, classes) == pytest.approx(np.mean(expected), rel=1e-9)


def test_global_random_state_is_left_as_it_was():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    kernel_distance(embedded(5, 0), embedded(5, 1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_torchmetrics_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    with pytest.raises(SettingsError, match=r"pip install 'clinaug-fast\[quality\]'"):
        refuse_without_torchmetrics()


def test_kernel_distance_of_sets_of_unequal_sizes_is_its_definition():
    a, b = (embedded(n, n).double().numpy() for n in (5, 9))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (x @ y / 6 + 1) ** 3

    own = [np.mean([k(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (a, b)]
    expected = sum(own) - 2 * np.mean([k(x, y) for x in a for y in b])
    assert kernel_distance(torch.from_numpy(a), torch.from_numpy(b)) == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(torch.from_numpy(b), torch.from_numpy(a)) == pytest.approx(expected, rel=1e-9)
