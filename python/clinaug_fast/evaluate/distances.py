"""How far two sets of embedded clips are apart: the distances that generated images are judged by, for log-mels.

Takes embeddings of an embedder of our own (`ResNet18.embed`), as Inception's know photographs. torchmetrics computes
the Fréchet distance; its kernel distance holds all pairs three times over, 2 GiB of 8000 clips, so it is summed here.
"""

from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from clinaug_fast.errors import SettingsError

ROWS_AT_ONCE = 512  # of all pairs


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
        import torchmetrics.image.fid  # not in `image` itself without torch-fidelity, which ours does not need
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
    """Between (n, d) and (m, d), n, m >= 2, in double precision: the squared maximum mean discrepancy under the kernel
    (x y / d + 1)^3, without bias, so that it may fall below zero (Binkowski et al., Demystifying MMD GANs, ICLR 2018).
    """
    x, y = real.double(), other.double()
    return _kernel_of_others(x) + _kernel_of_others(y) - 2.0 * _kernel_sum(x, y) / (len(x) * len(y))


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    """Over all pairs."""
    return sum(float((part @ y.T).div_(x.shape[1]).add_(1.0).pow_(3).sum()) for part in x.split(ROWS_AT_ONCE))


def _kernel_of_others(x: Tensor) -> float:
    """Its mean over pairs of different clips."""
    of_itself = float(x.square().sum(dim=1).div_(x.shape[1]).add_(1.0).pow_(3).sum())
    return (_kernel_sum(x, x) - of_itself) / (len(x) * (len(x) - 1))


def kernel_distance_by_label(real: Tensor, other: Tensor, classes: np.ndarray) -> float:
    """The mean over labels of `kernel_distance` within the label; both (n, d) have the labels `classes` (n,)."""
    parts = [torch.from_numpy(np.flatnonzero(classes == number)) for number in np.unique(classes)]
    return float(np.mean([kernel_distance(real[part], other[part]) for part in parts]))
