"""The training loop against the paper's algorithm, written out on the same random draws."""

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from clinaug_fast.config import GanConfig
from clinaug_fast.gan.models import Critic, Generator
from clinaug_fast.gan.train import BETAS, BalancedDraw, train_fold
from clinaug_fast.seeds import derived_seed

CONFIG = GanConfig(
    width=2,
    latent_dim=8,
    steps=3,
    batch_size=6,
    n_critic=3,
    gradient_penalty=7.0,
    generator_rate=0.01,
    ema=0.15,
    seed=3,
)
SHAPE = (32, 32)


def load(module: nn.Module, values: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)


def check(loss: Tensor, module: nn.Module, taken: list[Tensor]) -> None:
    for ours, expected in zip(taken, torch.autograd.grad(loss, list(module.parameters())), strict=True):
        assert (ours - expected).norm() <= 1e-2 * expected.norm() + 1e-4


def test_each_step_takes_the_gradient_of_the_paper():
    """WGAN-GP (Gulrajani et al. 2017, algorithm 1) with labels: its losses from the weights of each step. Adam is
    torch's; a course of its own would drift apart, since it makes whole steps of gradients that are but rounding."""

    def before(optimizer: Optimizer, *_) -> None:
        (group,) = optimizer.param_groups
        weights = [p.detach().clone() for p in group["params"]]
        gradients = [p.grad.clone() for p in group["params"]]
        seen.append((group["lr"], group["betas"], weights, gradients))

    def after(optimizer: Optimizer, *_) -> None:
        moved.append([p.detach().clone() for p in optimizer.param_groups[0]["params"]])

    seen, moved = [], []
    hooks = [register_optimizer_step_pre_hook(before), register_optimizer_step_post_hook(after)]
    clips, classes = torch.randn(30, 1, *SHAPE).tanh(), (torch.arange(30) % 10).clamp(max=2)  # uneven
    try:
        averaged, _, metrics = train_fold(
            clips, classes, 3, CONFIG, 1, device=torch.device("cpu"), on_step=lambda row: None
        )
    finally:
        for hook in hooks:
            hook.remove()
    assert len(seen) == 3 * (3 + 1)
    assert [rate for rate, *_ in seen[:4]] == [CONFIG.critic_rate] * 3 + [0.01]
    assert {betas for _, betas, *_ in seen} == {BETAS} == {(0.0, 0.9)}

    rng = torch.Generator().manual_seed(derived_seed("steps of a GAN", 3, 1))
    draw = BalancedDraw(classes, rng)
    torch.manual_seed(derived_seed("first weights of a GAN", 3, 1))
    g, d = Generator(CONFIG.model, SHAPE, 3, 2, 8), Critic(SHAPE, 3, 2)
    average = [p.detach().clone() for p in g.parameters()]
    for module, (*_, weights, _) in ((g, seen[3]), (d, seen[0])):
        for first, ours in zip(module.parameters(), weights, strict=True):
            assert torch.equal(first, ours)
    for step, told in enumerate(metrics):
        *critic_steps, (*_, of_generator, generator_gradients) = seen[4 * step : 4 * step + 4]
        load(g, of_generator)
        for *_, of_critic, critic_gradients in critic_steps:
            load(d, of_critic)
            picked = draw(torch.randint(3, (6,), generator=rng))
            real, labels = clips[picked], classes[picked]
            fake = g(torch.randn(6, 8, generator=rng), labels).detach()
            share = torch.rand(6, 1, 1, 1, generator=rng)
            between = (share * real + (1 - share) * fake).requires_grad_()
            (slope,) = torch.autograd.grad(d(between, labels).sum(), between, create_graph=True)
            penalty = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
            wasserstein = d(real, labels).mean() - d(fake, labels).mean()
            check(7.0 * penalty - wasserstein, d, critic_gradients)
        assert told["wasserstein"] == pytest.approx(wasserstein.item(), rel=1e-2, abs=1e-4)
        assert told["gradient_penalty"] == pytest.approx(penalty.item(), rel=1e-2, abs=1e-4)
        load(d, moved[4 * step + 2])
        labels = torch.randint(3, (6,), generator=rng)
        loss = -d(g(torch.randn(6, 8, generator=rng), labels), labels).mean()
        check(loss, g, generator_gradients)
        assert told["generator_loss"] == pytest.approx(loss.item(), rel=1e-2, abs=1e-4)
        decay = min(0.15, (1 + step) / (10 + step))  # reached in the second step
        average = [decay * mean + (1 - decay) * p for mean, p in zip(average, moved[4 * step + 3], strict=True)]
    for ours, expected in zip(averaged.parameters(), average, strict=True):
        torch.testing.assert_close(ours.detach(), expected)
