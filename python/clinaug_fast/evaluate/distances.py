"""How far two sets of embedded clips are apart: the distances that generated images are judged by, for log-mels.

Takes embeddings of an embedder of our own (`ResNet18.embed`), as Inception's know photographs; torchmetrics computes.
"""

import warnings
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from clinaug_fast.errors import SettingsError


class _AsTheyAre(nn.Module):
    """The embedder of what is embedded already."""

    def __init__(self, num_features: int):
        super().__init__()
        self.num_features = num_features  # torchmetrics asks for it

    def forward(self, embedded: Tensor) -> Tensor:
        return embedded


def refuse_without_torchmetrics() -> None:
    """SettingsError where it cannot be loaded."""
    _torchmetrics()


def _torchmetrics() -> ModuleType:
    try:
        import torchmetrics.image.fid
        import torchmetrics.image.kid  # neither is in `image` itself without torch-fidelity, which ours does not need
    except ImportError as error:
        raise SettingsError(
            f"quality needs torchmetrics, which cannot be loaded: {error}. Install it with: "
            "pip install 'clinaug-fast[quality]'"
        ) from None
    return torchmetrics.image


def frechet_distance(real: Tensor, other: Tensor) -> float:
    """Between two (n, d) of n >= 2, in double precision: ||m1 - m2||^2 + Tr(C1 + C2 - 2 (C1 C2)^1/2) of their means and
    covariances (Heusel et al., GANs trained by a two time-scale update rule, NeurIPS 2017).

    Few clips make it too large, the more so the fewer: compare sets of one size.
    """
    metric = _torchmetrics().fid.FrechetInceptionDistance(_AsTheyAre(real.shape[1]))
    metric.update(real.double(), real=True)
    metric.update(other.double(), real=False)
    return float(metric.compute())


def kernel_distance(real: Tensor, other: Tensor) -> float:
    """Between two (n, d) of one n >= 2, in double precision: the squared maximum mean discrepancy under the kernel
    (x y / d + 1)^3, without bias, so that it may fall below zero (Binkowski et al., Demystifying MMD GANs, ICLR 2018).
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # it says that it keeps the embeddings
        torch.default_generator.manual_seed(0)  # it shuffles, which changes only the rounding of a sum of all
        metric = _torchmetrics().kid.KernelInceptionDistance(
            _AsTheyAre(real.shape[1]), subsets=1, subset_size=len(real)
        )
        metric.update(real.double(), real=True)
        metric.update(other.double(), real=False)
        return float(metric.compute()[0])


def kernel_distance_by_label(real: Tensor, other: Tensor, classes: np.ndarray) -> float:
    """The mean over labels of `kernel_distance` within the label; both (n, d) have the labels `classes` (n,)."""
    parts = [torch.from_numpy(np.flatnonzero(classes == number)) for number in np.unique(classes)]
    return float(np.mean([kernel_distance(real[part], other[part]) for part in parts]))
