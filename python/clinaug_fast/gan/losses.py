"""The Wasserstein objective with gradient penalty (Gulrajani et al. 2017, Improved Training of Wasserstein GANs)."""

import torch
from torch import Tensor, nn


def gradient_penalty(
    critic: nn.Module, real: Tensor, fake: Tensor, classes: Tensor, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(penalty, norm): mean of (|d critic(x, classes) / dx| - 1)^2, and the mean norm, detached.

    x lies at a random place between each real clip (B, 1, H, W) and the fake clip of its row, both of label `classes`
    (B,); `rng` is a CPU generator. The penalty can be differentiated by the critic's parameters.
    """
    share = torch.rand(len(real), 1, 1, 1, generator=rng).to(real.device)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between, classes).sum(), between, create_graph=True)
    norm = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (norm - 1).square().mean(), norm.detach().mean()


def wasserstein_estimate(critic: nn.Module, real: Tensor, fake: Tensor, classes: Tensor) -> Tensor:
    """mean critic(real) - mean critic(fake), in one pass; the critic climbs it, the generator descends."""
    on_real, on_fake = critic(torch.cat([real, fake]), torch.cat([classes, classes])).chunk(2)
    return on_real.mean() - on_fake.mean()
