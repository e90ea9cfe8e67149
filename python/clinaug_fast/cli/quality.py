"""`clinaug-fast quality`: how near generated clips are to real ones, how varied, and whether they are copies."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.arguments import Features, FoldsFile, Synthetic, arms_of, chosen_folds, real_set
from clinaug_fast.cli.console import Json, Quiet, TorchThreads, quoted, some_path, stage


def quality(
    features: Features,
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="What was measured: a new folder.", show_default=False, parser=some_path),
    ],
    synthetic: Synthetic = [],  # noqa: B006  Typer copies it
    folds: FoldsFile = None,
    fold: Annotated[list[str], typer.Option(help="Measure this fold only, or all. Repeat for more.")] = ["all"],  # noqa: B006
    width: Annotated[
        int | None, typer.Option(help="Channels of the embedder's first stage.", show_default="16")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Gradient steps of an embedder.", show_default="1000")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides first weights and which clips are drawn.", show_default="0")
    ] = None,
    threads: TorchThreads = 1,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where the embedders are trained.")] = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Are generated clips near to real ones, as varied as they are, and no copies of them?"""
    with stage("quality", as_json, quiet) as say:
        import torch

        from clinaug_fast.cli.quality_table import quality_table
        from clinaug_fast.computing import chosen_device
        from clinaug_fast.config import ClassifierConfig
        from clinaug_fast.evaluate.quality import quality as measure
        from clinaug_fast.features.feature_set import FeatureSet
        from clinaug_fast.features.folds import Folds

        config = ClassifierConfig().with_changes(width=width, steps=steps, seed=seed)
        chosen_device(device)
        real = real_set(features, say)
        real.refuse_made(f"Name the set that they were made from, and give --synthetic {quoted(features)}")
        torch.set_num_threads(threads)
        result = measure(
            real,
            Folds.load(folds or features / "folds.json"),
            {arm: FeatureSet.open(path) for arm, path in arms_of(synthetic).items()},
            out,
            config,
            only_folds=chosen_folds(fold),
            device=device,
            progress=say,
        )
        if result.already_done:
            say.note(f"{out} was made before with these settings: nothing to do")
        about = result.about
        say.result(
            "" if as_json else quality_table(about, out, plain=not sys.stdout.isatty()),
            out=str(out),
            already_done=result.already_done,
            near_limit=about["near_limit"],
            real=about["real"],
            arms=about["arms"],
        )
