"""What a GAN's steps are given: labels, rates, seeds, and every setting."""

import copy
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from clinaug_fast.config import GanConfig
from clinaug_fast.errors import SettingsError
from clinaug_fast.features.folds import make_folds
from clinaug_fast.gan import generate as generating
from clinaug_fast.gan import train as training
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.losses import wasserstein_estimate
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.train import METRICS_BYTES, train, train_fold
from test_gan_train import SMALL, feature_set

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(**changes) -> Generator:
    """On noise, eight clips of each of three labels."""
    clips = torch.rand(24, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    classes, config = torch.arange(3).repeat(8), SMALL.with_changes(**changes)
    return train_fold(clips, classes, 3, config, 0, device=torch.device("cpu"), on_step=lambda row: None)[0]


def test_the_critic_is_shown_generated_clips_of_the_labels_it_is_told(monkeypatch):
    class Asked(Generator):
        def forward(self, latent, classes):
            if not torch.is_grad_enabled():  # in a step of the critic, or for batch norm at the end
                asked.append(classes.clone())
            return super().forward(latent, classes)

    def noted(critic, real, fake, classes):
        told.append(classes.clone())
        return wasserstein_estimate(critic, real, fake, classes)

    asked, told = [], []
    monkeypatch.setattr("clinaug_fast.gan.train.Generator", Asked)
    monkeypatch.setattr("clinaug_fast.gan.train.wasserstein_estimate", noted)
    trained()
    assert len(told) == SMALL.steps * SMALL.n_critic
    assert torch.equal(torch.stack(asked[: len(told)]), torch.stack(told))


def test_adam_has_the_rates_of_the_settings_and_the_moments_of_the_paper(monkeypatch):
    def noted(parameters, rate, betas):
        seen.append((rate, betas))
        return adam(parameters, rate, betas)

    seen, adam = [], torch.optim.Adam
    monkeypatch.setattr(torch.optim, "Adam", noted)
    trained(generator_rate=1e-4, critic_rate=3e-4)
    assert seen == [(1e-4, (0.0, 0.9)), (3e-4, (0.0, 0.9))]


@pytest.mark.parametrize("change", [{"gradient_penalty": 0.0}, {"n_critic": 1}, {"batch_size": 5}])
def test_each_setting_changes_the_weights(change):
    one, other = (torch.cat([p.flatten() for p in trained(**how).parameters()]) for how in ({}, change))
    assert not torch.equal(one, other)


def test_folds_do_not_share_their_draws(tiny_features, tiny_folds, monkeypatch, tmp_path):
    def noted(*what):
        seeds.append(what)
        return 1

    seeds = []
    monkeypatch.setattr("clinaug_fast.gan.train.derived_seed", noted)
    train(tiny_features, tiny_folds, tmp_path / "run", SMALL)
    purposes = ("steps of a GAN", "first weights of a GAN")
    assert seeds == [(purpose, SMALL.seed, fold) for fold in range(3) for purpose in purposes]


def test_the_room_that_is_asked_for_holds_all_that_a_fold_writes(tiny_features, tiny_folds, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda file, begin, n_bytes: asked.append(n_bytes))
    config = GanConfig(width=2, latent_dim=8, steps=100, batch_size=2, n_critic=1)
    run = train(tiny_features, tiny_folds, tmp_path / "run", config, only_folds=[0]).run
    taken = sum(path.stat().st_blocks * 512 for path in (run.path / "fold_0").iterdir())
    assert 0.3 * asked[0] < taken <= asked[0]
    assert max(map(len, (run.path / "fold_0/metrics.jsonl").read_text().splitlines())) < METRICS_BYTES


def test_the_first_clips_of_each_label_are_drawn_however_many_batches_there_are(
    tmp_path: Path, monkeypatch, tiny_features, tiny_folds
):
    small, drawn = GanConfig(width=2, latent_dim=8, steps=1, batch_size=6, n_critic=1), []
    train(tiny_features, tiny_folds, tmp_path / "run", small, only_folds=[1])
    monkeypatch.setattr(generating, "BATCH", 3)
    monkeypatch.setattr(generating, "save_real_above", lambda path, real, made, *x: drawn.extend(made))
    out = tmp_path / "set"
    made = generating.generate(tmp_path / "run", tiny_features, tiny_folds, out, n_per_label=5, only_folds=[1]).features
    first = [made.clips(np.flatnonzero(made.classes == number)[:2]) for number in range(3)]
    np.testing.assert_array_equal(drawn, first)


def test_two_training_clips_of_a_label_are_enough(tiny_features, tmp_path):
    few = feature_set(tmp_path / "few", tiny_features.mel, 32, {"a": 4, "b": 4})
    run = train(few, make_folds(few, 2), tmp_path / "run", SMALL.with_changes(steps=1)).run
    assert run.state(0)["clips_per_label"] == [2, 2]


def test_the_average_begins_with_the_first_step(monkeypatch):
    steps = []
    monkeypatch.setattr(training, "update_average", lambda average, generator, decay, step: steps.append(step))
    trained()
    assert steps == list(range(SMALL.steps))


def test_a_training_that_diverges_ends_at_that_step():
    with pytest.raises(SettingsError, match=r"diverged at step 1: critic loss nan"):
        trained(critic_rate=1e30, steps=20)


def test_the_room_that_is_asked_for_grows_with_the_steps(tiny_features, tiny_folds, tmp_path, monkeypatch):
    def full(file: int, begin: int, n_bytes: int) -> None:
        asked.append(n_bytes)
        raise OSError(errno.ENOSPC, "No space left on device")

    asked = []
    monkeypatch.setattr(os, "posix_fallocate", full)
    for steps in (1000, 3000):
        with pytest.raises(OSError, match="No space left"):
            train(tiny_features, tiny_folds, tmp_path / str(steps), SMALL.with_changes(steps=steps))
    assert asked[1] - asked[0] == 2000 * METRICS_BYTES


def test_clips_are_numbered_through_all_batches(tiny_features, tiny_folds, tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "BATCH", 2)
    train(tiny_features, tiny_folds, tmp_path / "run", SMALL.with_changes(steps=1), only_folds=[0])
    made = generate(tmp_path / "run", tiny_features, tiny_folds, tmp_path / "made", only_folds=[0], n_per_label=5)
    ids = made.features.column("id").tolist()
    assert ids == [f"fold0/{label}/{number:05d}" for label in tiny_features.labels for number in range(5)]


def test_statistics_of_earlier_batches_do_not_count():
    fresh = Generator("cwgan-gp", (16, 16), 2, 4, 8)
    used = copy.deepcopy(fresh)
    used.train()(torch.full((4, 8), 3.0), torch.tensor([0, 1, 0, 1]))
    for generator in (fresh, used):
        training.reestimate_batch_norm(generator, 4, torch.Generator().manual_seed(0))
    assert all(torch.equal(one, other) for one, other in zip(fresh.buffers(), used.buffers(), strict=True))
