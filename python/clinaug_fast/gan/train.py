"""Trains one conditional generator a fold, on that fold's training clips and nothing else.

Takes a feature set and its folds; leaves a RUN folder (see run_folder). The scaling, the critic and the generator see
no clip of a test subject. Everything random comes from (config.seed, fold): the same seed, machine and number of
threads give the same bytes on the CPU.
"""

import copy
import errno
import math
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from clinaug_fast.computing import as_torch_begins, chosen_device
from clinaug_fast.config import GanConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from clinaug_fast.gan.losses import gradient_penalty, wasserstein_estimate
from clinaug_fast.gan.models import Critic, Generator, check_clip_shape, parameter_count
from clinaug_fast.gan.run_folder import METRICS, SCALING, WEIGHTS, Run, scaling_text
from clinaug_fast.gan.scaling import Scaling
from clinaug_fast.json_files import write_json, write_json_lines
from clinaug_fast.runs import (
    AnyPath,
    Progress,
    Silent,
    atomic_folder,
    fingerprint_file,
    made_meanwhile,
    naming,
    provenance,
)
from clinaug_fast.seeds import FIRST_WEIGHTS, derived_seed

BETAS = (0.0, 0.9)  # of Adam, as Gulrajani et al. 2017
FEWEST_CLIPS = 2  # of a label in a training part
REESTIMATION_BATCHES = 20
METRICS_BYTES = 256  # of a step, at most
OTHER_BYTES = 64 << 10  # a header, state.json, and what fills a file's last block


@dataclass(frozen=True)
class TrainResult:
    """What `train` left."""

    run: Run
    folds: list[int]  # asked for; all of them are complete
    trained: list[int]  # of these, the ones trained by this call


@as_torch_begins()
def train(
    features: FeatureSet,
    folds: Folds,
    run: AnyPath,
    config: GanConfig,
    *,
    only_folds: Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> TrainResult:
    """Train the folds that `run` lacks; those that are complete stay as they are, so a killed run goes on.

    Two calls for different folds may share one RUN folder at the same time. Raises InputError for unusable clips or a
    RUN of other settings, SettingsError for an unusable fold or device, or a training that diverges.
    """
    progress, device = progress or Silent(), chosen_device(device)
    chosen = folds.chosen(only_folds)
    check_clip_shape(features.clip_shape, features.mel)
    features.refuse_one_label()
    training = {fold: folds.rows(features, fold)[0] for fold in chosen}
    for fold, rows in training.items():
        _refuse_few_clips(features, rows, fold)
    features.refuse_not_finite(np.unique(np.concatenate([*training.values()])))
    begun = Run.begin(Path(run), features, folds, config)

    missing = [fold for fold in chosen if not begun.folder(fold).exists()]
    for fold in sorted({*chosen} - {*missing}):
        begun.trained(fold)  # or an error that tells what became of it
    trained = []
    if missing:
        progress.start(f"training {config.model}, steps", len(missing) * config.steps)
    for fold in missing:
        _refuse_without_room(begun, features, config)
        clips, classes = features.clips(training[fold]), features.classes[training[fold]]
        scaling = Scaling.fit(clips, classes)

        def on_step(row: dict[str, float], fold: int = fold) -> None:
            progress.advance(note=f"fold {fold}, Wasserstein {round(row['wasserstein'], 2) + 0.0:.2f}")

        generator, critic, metrics = train_fold(
            torch.from_numpy(scaling.to_unit(clips)).unsqueeze(1),
            torch.from_numpy(classes),
            len(features.labels),
            config,
            fold,
            device=device,
            on_step=on_step,
        )
        state = {
            "run": begun.fingerprint,
            "fold": fold,
            "scaling": {"low": scaling.low, "high": scaling.high},
            "clips_per_label": np.bincount(classes, minlength=len(features.labels)).tolist(),
            "generator_parameters": parameter_count(generator),
            "critic_parameters": parameter_count(critic),
            "device": str(device),
            "threads": torch.get_num_threads(),
            "provenance": provenance() | {"torch": torch.__version__},
        }
        try:
            with atomic_folder(begun.folder(fold)) as draft:
                weights = {name: tensor.cpu().contiguous() for name, tensor in generator.state_dict().items()}
                with naming(draft / WEIGHTS):
                    (draft / WEIGHTS).write_bytes(save(weights, {SCALING: scaling_text(scaling.low, scaling.high)}))
                write_json_lines(draft / METRICS, metrics)
                digests = {"weights": fingerprint_file(draft / WEIGHTS), "metrics": fingerprint_file(draft / METRICS)}
                write_json(draft / "state.json", state | digests)
        except (InputError, OSError) as error:  # another process has made it meanwhile, from the same seed
            if not made_meanwhile(error, begun.folder(fold) / "state.json"):
                raise
            begun.trained(fold)
            continue
        trained.append(fold)
    return TrainResult(begun, chosen, trained)


def _refuse_without_room(run: Run, features: FeatureSet, config: GanConfig) -> None:
    """OSError where a fold's generator could not be written, before it is trained: that may take half an hour."""
    with torch.device("meta"):
        shape, n_labels = features.clip_shape, len(features.labels)
        generator = Generator(config.model, shape, n_labels, config.width, config.latent_dim)
    weights = sum(tensor.nbytes for tensor in generator.state_dict().values())
    n_bytes = weights + METRICS_BYTES * config.steps + OTHER_BYTES
    with tempfile.TemporaryFile(dir=run.path) as file:
        try:
            with naming(run.path):
                os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # a file system that cannot reserve anything
                raise


def _refuse_few_clips(features: FeatureSet, rows: np.ndarray, fold: int) -> None:
    """InputError where the training part of the fold, `rows`, has too few of a label."""
    counts = np.bincount(features.classes[rows], minlength=len(features.labels))
    if counts.min() < FEWEST_CLIPS:
        raise InputError(
            f"fold {fold} has {counts.min()} training clips of {features.labels[counts.argmin()]!r}; expected at least "
            f"{FEWEST_CLIPS}. Add recordings of this label, or split into other folds"
        )


def train_fold(
    clips: Tensor,
    classes: Tensor,
    n_labels: int,
    config: GanConfig,
    fold: int,
    *,
    device: torch.device,
    on_step: Callable[[dict[str, float]], None],
) -> tuple[Generator, Critic, list[dict[str, float]]]:
    """(averaged generator ready to generate, critic, metrics) from clips (n, 1, H, W) in [-1, 1], classes (n,) int64.

    `on_step` gets each generator step's metrics. SettingsError where a loss or, in the end, a weight is no number.
    """
    rng = torch.Generator().manual_seed(derived_seed("steps of a GAN", config.seed, fold))
    shape = tuple(clips.shape[2:])
    with FIRST_WEIGHTS, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed("first weights of a GAN", config.seed, fold))
        generator = Generator(config.model, shape, n_labels, config.width, config.latent_dim)
        critic = Critic(shape, n_labels, config.width)
    generator = generator.to(device, memory_format=torch.channels_last)
    critic = critic.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(generator)
    generator_adam = torch.optim.Adam(generator.parameters(), config.generator_rate, BETAS)
    critic_adam = torch.optim.Adam(critic.parameters(), config.critic_rate, BETAS)
    draw_real = BalancedDraw(classes, rng)

    def draw_labels() -> Tensor:
        return torch.randint(n_labels, (config.batch_size,), generator=rng)

    def draw_latent() -> Tensor:
        return torch.randn(config.batch_size, config.latent_dim, generator=rng).to(device)

    metrics: list[dict[str, float]] = []
    for step in range(config.steps):
        for _ in range(config.n_critic):
            picked = draw_real(draw_labels())
            real, labels = clips[picked].to(device), classes[picked].to(device)
            with torch.no_grad():
                fake = generator(draw_latent(), labels)  # the reals' labels, here and in the penalty
            wasserstein = wasserstein_estimate(critic, real, fake, labels)
            penalty, norm = gradient_penalty(critic, real, fake, labels, rng)
            critic_loss = -wasserstein + config.gradient_penalty * penalty
            critic_adam.zero_grad()
            critic_loss.backward()
            critic_adam.step()

        labels = draw_labels().to(device)
        critic.requires_grad_(False)
        generator_loss = -critic(generator(draw_latent(), labels), labels).mean()
        generator_adam.zero_grad()
        generator_loss.backward()
        generator_adam.step()
        critic.requires_grad_(True)
        update_average(average, generator, config.ema, step)

        row = {
            "step": step + 1,
            "critic_loss": critic_loss.item(),
            "wasserstein": wasserstein.item(),
            "gradient_penalty": penalty.item(),
            "gradient_norm": norm.item(),
            "generator_loss": generator_loss.item(),
        }
        if not all(map(math.isfinite, row.values())):
            raise _diverged(fold, step + 1, row, config)
        metrics.append(row)
        on_step(row)
    reestimate_batch_norm(average, config.batch_size, rng)
    if not all(bool(tensor.isfinite().all()) for tensor in average.state_dict().values()):
        raise _diverged(fold, config.steps, row, config)
    return average.eval(), critic, metrics


def _diverged(fold: int, step: int, row: dict[str, float], config: GanConfig) -> SettingsError:
    return SettingsError(
        f"the training of fold {fold} diverged at step {step}: critic loss {row['critic_loss']}, generator loss "
        f"{row['generator_loss']}, weights beyond float32. Lower --generator-rate ({config.generator_rate:g}) and "
        f"--critic-rate ({config.critic_rate:g}), in another run folder"
    )


class BalancedDraw:
    """Draws a clip of each wanted label, all clips of a label alike, whatever the label's share of the clips.

    So the critic sees labels as often as the generator is asked for them: uniformly.
    """

    def __init__(self, classes: Tensor, rng: torch.Generator):
        self._order = torch.argsort(classes, stable=True)
        self._counts = torch.bincount(classes)
        self._starts = self._counts.cumsum(0) - self._counts
        self._rng = rng

    def __call__(self, labels: Tensor) -> Tensor:
        """(B,) positions in `classes` for labels (B,)."""
        share = torch.rand(len(labels), generator=self._rng, dtype=torch.float64)
        return self._order[self._starts[labels] + (share * self._counts[labels]).long()]


@torch.no_grad()
def update_average(average: nn.Module, generator: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of the weights; the decay warms up, so that a short training does not lag."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, now in zip(average.parameters(), generator.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)


@torch.no_grad()
def reestimate_batch_norm(generator: Generator, batch_size: int, rng: torch.Generator) -> None:
    """Give the averaged weights their own batch-norm statistics: a plain mean over fresh batches of all labels."""
    norms = [module for module in generator.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a cumulative mean
    device = next(generator.parameters()).device
    generator.train()
    for _ in range(REESTIMATION_BATCHES):
        latent = torch.randn(batch_size, generator.latent_dim, generator=rng)
        labels = torch.randint(generator.n_labels, (batch_size,), generator=rng)
        generator(latent.to(device), labels.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def wasserstein_course(metrics: Sequence[dict[str, float]]) -> tuple[float, float]:
    """(highest, last) of the Wasserstein estimate, in means over 20 to 39 steps, or over all of fewer than 40.

    It rises with the critic, then falls.
    """
    estimates = np.array([row["wasserstein"] for row in metrics])
    means = [part.mean() for part in np.array_split(estimates, max(1, len(estimates) // 20))]
    return float(max(means)), float(means[-1])
