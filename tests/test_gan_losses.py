"""The gradient penalty against a critic whose slope is known, and through a second derivative."""

import torch
from torch import nn

from clinaug_fast.gan.losses import gradient_penalty, wasserstein_estimate
from clinaug_fast.gan.models import Critic


class Linear(nn.Module):
    """score = weight[label] . x: its slope is weight[label] everywhere."""

    def __init__(self, weight: torch.Tensor):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, clips, classes):
        return (clips.flatten(1) * self.weight[classes]).sum(1)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_penalty_and_its_gradient_of_a_linear_critic():
    weight = torch.randn(2, 16, generator=rng(), dtype=torch.float64)
    critic = Linear(weight)
    real, fake = torch.randn(2, 3, 1, 4, 4, generator=rng(1), dtype=torch.float64)
    classes = torch.tensor([0, 1, 1])
    penalty, norm = gradient_penalty(critic, real, fake, classes, rng())
    norms = weight.norm(dim=1)
    torch.testing.assert_close(penalty.detach(), ((norms[classes] - 1) ** 2).mean())
    torch.testing.assert_close(norm, norms[classes].mean())
    penalty.backward()
    share = torch.tensor([1 / 3, 2 / 3], dtype=torch.float64)  # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    expected = share[:, None] * 2 * (norms - 1)[:, None] * weight / norms[:, None]
    torch.testing.assert_close(critic.weight.grad, expected)


def test_penalty_reaches_the_critic_by_double_backward():
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        critic = Critic((16, 16), 2, 2).double()
    real, fake = torch.randn(2, 4, 1, 16, 16, generator=rng(1), dtype=torch.float64)
    classes = torch.tensor([0, 1, 0, 1])

    def penalty() -> torch.Tensor:
        return gradient_penalty(critic, real, fake, classes, rng(2))[0]

    penalty().backward()
    step = 1e-6
    for name in ("layers.0.weight", "layers.4.weight", "score.weight", "embedding.weight"):
        weight = critic.get_parameter(name)
        direction = torch.randn(weight.shape, generator=rng(3), dtype=torch.float64)
        slope = (weight.grad * direction).sum().item()
        with torch.no_grad():
            weight += step * direction
        above = penalty().item()
        with torch.no_grad():
            weight -= 2 * step * direction
        below = penalty().item()
        with torch.no_grad():
            weight += step * direction
        assert abs(slope) > 1e-6
        assert abs((above - below) / (2 * step) - slope) < 1e-4 * abs(slope) + 1e-8


def test_penalty_lies_between_real_and_fake():
    class Square(nn.Module):
        def forward(self, clips, classes):  # slope: x
            return clips.flatten(1).square().sum(1) / 2

    real, fake = torch.full((64, 1, 1, 1), 3.0), torch.full((64, 1, 1, 1), 5.0)
    _, norm = gradient_penalty(Square(), real, fake, torch.zeros(64, dtype=torch.long), rng())
    assert 3.5 < norm < 4.5


def test_each_row_of_the_penalty_has_a_place_of_its_own():
    class Noted(nn.Module):
        def forward(self, clips, classes):
            places.append(clips.detach().flatten())
            return clips.flatten(1).square().sum(1)

    places = []
    gradient_penalty(Noted(), torch.zeros(16, 1, 1, 1), torch.ones(16, 1, 1, 1), torch.zeros(16).long(), rng())
    assert len(places[0].unique()) == 16


def test_wasserstein_estimate_is_the_difference_of_means():
    critic = Linear(torch.ones(1, 4))
    real, fake = torch.full((2, 1, 2, 2), 2.0), torch.full((2, 1, 2, 2), 0.5)
    assert wasserstein_estimate(critic, real, fake, torch.zeros(2, dtype=torch.long)).item() == 6.0
