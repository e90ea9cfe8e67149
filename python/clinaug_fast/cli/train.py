"""`clinaug-fast train`: one conditional generator for each fold, on its training part."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinaug_fast.cli.arguments import Features, FoldsFile, chosen_folds, real_set
from clinaug_fast.cli.console import Json, Quiet, TorchThreads, quoted, some_path, stage

if TYPE_CHECKING:
    from clinaug_fast.gan.train import TrainResult


def train(
    features: Features,
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN", help="The run's folder; an unfinished one goes on.", show_default=False, parser=some_path
        ),
    ],
    folds: FoldsFile = None,
    fold: Annotated[list[str], typer.Option(help="Train this fold only, or all. Repeat for more.")] = ["all"],  # noqa: B006
    model: Annotated[
        str,
        typer.Option(
            metavar="se-cwgan-gp|res-cwgan-gp|cwgan-gp",
            help="Residual modules with squeeze-and-excitation, without it, or no residual modules.",
        ),
    ] = "se-cwgan-gp",
    width: Annotated[int, typer.Option(help="Channels of the last stage; earlier ones have up to 8 times that.")] = 16,
    steps: Annotated[int, typer.Option(help="Generator steps.")] = 2000,
    batch_size: Annotated[int, typer.Option(help="Clips a step.")] = 32,
    n_critic: Annotated[int, typer.Option(help="Critic steps a generator step.")] = 5,
    gradient_penalty: Annotated[float, typer.Option(help="Weight of the gradient penalty.")] = 10.0,
    generator_rate: Annotated[float, typer.Option(help="Adam's rate for the generator.")] = 5e-4,
    critic_rate: Annotated[float, typer.Option(help="Adam's rate for the critic.")] = 1e-3,
    ema: Annotated[
        float, typer.Option(help="Highest decay of the averaged generator; before, (1 + step) / (10 + step).")
    ] = 0.999,
    latent_dim: Annotated[int, typer.Option(help="Size of the random vector behind a clip.")] = 128,
    seed: Annotated[int, typer.Option(help="Decides first weights, order of clips and latent vectors.")] = 0,
    threads: TorchThreads = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to train.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a conditional WGAN-GP for each fold, on the training part of the fold alone."""
    with stage("train", as_json, quiet) as say:
        from clinaug_fast.config import GanConfig

        config = GanConfig(
            model=model,
            width=width,
            latent_dim=latent_dim,
            steps=steps,
            batch_size=batch_size,
            n_critic=n_critic,
            gradient_penalty=gradient_penalty,
            generator_rate=generator_rate,
            critic_rate=critic_rate,
            ema=ema,
            seed=seed,
        )
        only_folds = chosen_folds(fold)

        import torch

        from clinaug_fast.computing import chosen_device
        from clinaug_fast.features.folds import Folds
        from clinaug_fast.gan.train import train as train_gan

        chosen_device(device)
        torch.set_num_threads(threads)
        begun = time.monotonic()
        real = real_set(features, say)
        real.refuse_made("Train on the feature set that they were made from")
        split = Folds.load(folds or features / "folds.json")
        result = train_gan(real, split, run, config, only_folds=only_folds, device=device, progress=say)
        seconds = time.monotonic() - begun

        rows = [_summary(result, number) for number in result.folds]
        incomplete = any(not result.run.folder(number).exists() for number in range(len(split)))
        only = "".join(f" --fold {number}" for number in result.folds) if incomplete else ""
        done = f"{len(result.trained)} trained in {seconds:.1f} s" if result.trained else "nothing left to do"
        lines = [
            f"{run}: {config.model} of width {config.width}, {rows[0]['generator_parameters']:,} parameters in the "
            f"generator, {rows[0]['critic_parameters']:,} in the critic; {done}",
            *(
                f"  fold {row['fold']}: {row['training_clips']} training clips, Wasserstein estimate "
                f"{row['wasserstein_highest']:.2f} (highest) -> {row['wasserstein_last']:.2f} (last)"
                + ("" if row["trained_now"] else ", trained before")
                for row in rows
            ),
            "  (it rises while the critic learns, and falls as generated clips come near to real ones)",
            f"\nnext: clinaug-fast generate {quoted(run)} SYNTHETIC{only}",
        ]
        say.result("\n".join(lines), run=str(run), model=config.model, seconds=round(seconds, 1), folds=rows)


def _summary(result: "TrainResult", fold: int) -> dict[str, Any]:
    """What a fold's folder tells, read back from it."""
    from clinaug_fast.gan.train import wasserstein_course

    state = result.run.state(fold)
    highest, last = wasserstein_course(result.run.metrics(fold))
    return {
        "fold": fold,
        "trained_now": fold in result.trained,
        "training_clips": sum(state["clips_per_label"]),
        "generator_parameters": state["generator_parameters"],
        "critic_parameters": state["critic_parameters"],
        "wasserstein_highest": highest,
        "wasserstein_last": last,
    }
