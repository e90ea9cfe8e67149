"""`clinaug-fast evaluate`: macro-F1 with and without generated or augmented clips, fold by fold."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.arguments import Features, FoldsFile, Synthetic, arms_of, chosen_folds, real_set
from clinaug_fast.cli.console import Json, Quiet, TorchThreads, quoted, some_path, stage


def evaluate(
    features: Features,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="The evaluation's folder; an unfinished one goes on.",
            show_default=False,
            parser=some_path,
        ),
    ],
    synthetic: Synthetic = [],  # noqa: B006  Typer copies it
    folds: FoldsFile = None,
    fold: Annotated[list[str], typer.Option(help="Evaluate this fold only, or all. Repeat for more.")] = ["all"],  # noqa: B006
    width: Annotated[
        int | None,
        typer.Option(help="Channels of the first stage; 64 is ResNet-18 as published.", show_default="16"),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Gradient steps of a classifier, the same in every arm.", show_default="1000")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step.", show_default="16")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The peak of the one-cycle rate.", show_default="0.001")
    ] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's weight decay.", show_default="0.01")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Classifiers a fold and arm; a fold's score is their mean.", show_default="3")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides first weights and order of clips.", show_default="0")
    ] = None,
    threads: TorchThreads = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the classifiers are trained.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Does an augmentation help? Train the same classifier with and without its clips and compare macro-F1."""
    with stage("evaluate", as_json, quiet) as say:
        import torch

        from clinaug_fast.cli.score_table import score_table
        from clinaug_fast.computing import chosen_device
        from clinaug_fast.config import ClassifierConfig
        from clinaug_fast.evaluate import cross_validation
        from clinaug_fast.features.feature_set import FeatureSet
        from clinaug_fast.features.folds import Folds

        config = ClassifierConfig().with_changes(
            width=width,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            seeds=seeds,
            seed=seed,
        )
        chosen_device(device)
        real = real_set(features, say)
        real.refuse_made(f"Name the set that they were made from, and give --synthetic {quoted(features)}")
        torch.set_num_threads(threads)
        result = cross_validation.evaluate(
            real,
            Folds.load(folds or features / "folds.json"),
            {arm: FeatureSet.open(path) for arm, path in arms_of(synthetic).items()},
            out,
            config,
            only_folds=chosen_folds(fold),
            device=device,
            progress=say,
        )
        text = "" if as_json else score_table(result.scores, plain=not sys.stdout.isatty())
        say.result(text, out=str(out), trained=result.trained, scores=result.scores)
        say.note(f"every score, per label and with the confusion matrices: {result.out / 'scores.json'}")
