"""The training loop against the paper's algorithm, written out on the same random draws."""

from collections.abc import Iterable

import pytest
import torch

from clinaug_fast.config import GanConfig
from clinaug_fast.gan.models import Critic, Generator
from clinaug_fast.gan.train import BETAS, BalancedDraw, fold_seed, train_fold


class Adam:
    """Kingma and Ba 2015, algorithm 1, written out."""

    def __init__(self, parameters: Iterable[torch.Tensor], rate: float, beta1: float, beta2: float):
        self.parameters, self.rate, self.betas, self.t = list(parameters), rate, (beta1, beta2), 0
        self.moments = [[torch.zeros_like(p), torch.zeros_like(p)] for p in self.parameters]

    def descend(self, loss: torch.Tensor) -> None:
        self.t += 1
        gradients = torch.autograd.grad(loss, self.parameters)
        for p, g, moments in zip(self.parameters, gradients, self.moments, strict=True):
            for k, (beta, value) in enumerate(zip(self.betas, (g, g * g), strict=True)):
                moments[k] = beta * moments[k] + (1 - beta) * value
            m, v = (moment / (1 - beta**self.t) for moment, beta in zip(moments, self.betas, strict=True))
            p.data -= self.rate * m / (v.sqrt() + 1e-8)


def test_training_is_that_of_the_paper():
    """WGAN-GP (Gulrajani et al. 2017, algorithm 1) with labels, written out on the same draws."""
    config = GanConfig(
        width=2, latent_dim=8, steps=4, batch_size=6, n_critic=3, gradient_penalty=7.0, generator_rate=0.01,
        critic_rate=0.02, ema=0.5, seed=3,
    )  # fmt: skip
    clips, classes = torch.randn(30, 1, 16, 16).tanh(), torch.arange(30) % 3
    averaged, critic, metrics = train_fold(
        clips, classes, 3, config, 1, device=torch.device("cpu"), on_step=lambda row: None
    )

    rng = torch.Generator().manual_seed(fold_seed(3, 1))
    torch.manual_seed(fold_seed(3, 1))
    g, d = Generator(config.model, (16, 16), 3, 2, 8), Critic((16, 16), 3, 2)
    g_adam, d_adam = Adam(g.parameters(), 0.01, *BETAS), Adam(d.parameters(), 0.02, *BETAS)
    first = [p.detach().clone() for p in g.parameters()]
    average = [p.clone() for p in first]
    draw = BalancedDraw(classes, rng)
    for step, told in enumerate(metrics):
        for _ in range(3):
            picked = draw(torch.randint(3, (6,), generator=rng))
            real, labels = clips[picked], classes[picked]
            fake = g(torch.randn(6, 8, generator=rng), labels).detach()
            share = torch.rand(6, 1, 1, 1, generator=rng)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(d(between, labels).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            wasserstein = d(real, labels).mean() - d(fake, labels).mean()
            critic_loss = 7.0 * penalty - wasserstein
            d_adam.descend(critic_loss)
        labels = torch.randint(3, (6,), generator=rng)
        g_adam.descend(-d(g(torch.randn(6, 8, generator=rng), labels), labels).mean())
        decay = min(0.5, (1 + step) / (10 + step))
        average = [decay * mean + (1 - decay) * p.detach() for mean, p in zip(average, g.parameters(), strict=True)]
        expected = {"critic_loss": critic_loss, "wasserstein": wasserstein, "gradient_penalty": penalty}
        assert {name: told[name] for name in expected} == pytest.approx(
            {name: value.item() for name, value in expected.items()}, rel=1e-3, abs=1e-4
        )
    # But for the critic's last bias: it cancels in its loss, and noise moves it.
    ours, theirs = (dict(some.named_parameters()) for some in (critic, d))
    assert ours.pop("score.bias").shape == theirs.pop("score.bias").shape
    for some, others, begun in (
        (averaged.parameters(), average, first),
        (ours.values(), theirs.values(), [0 * p for p in theirs.values()]),
    ):
        some, others, begun = (torch.cat([p.detach().flatten() for p in each]) for each in (some, others, begun))
        assert (some - others).norm() < 0.05 * (others - begun).norm()
