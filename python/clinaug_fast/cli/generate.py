"""`clinaug-fast generate`: clips from a run's generators, as a feature set that knows its lineage."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinaug_fast.cli.arguments import chosen_folds, real_set
from clinaug_fast.cli.console import Json, Quiet, TorchThreads, quoted, some_path, stage
from clinaug_fast.shown import counted

if TYPE_CHECKING:
    from clinaug_fast.gan.run_folder import Run


def generate(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that train made.", show_default=False, parser=some_path)
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The generated feature set: a new folder.", show_default=False, parser=some_path
        ),
    ],
    features: Annotated[
        Path | None,
        typer.Option(
            help="The feature set that the run was trained on.", show_default="where it was for train", parser=some_path
        ),
    ] = None,
    n_per_label: Annotated[
        int | None,
        typer.Option(help="Clips of each label and fold.", show_default="as many as the fold trains on"),
    ] = None,
    fold: Annotated[list[str], typer.Option(help="Generate for this fold only, or all. Repeat for more.")] = ["all"],  # noqa: B006
    seed: Annotated[int, typer.Option(min=0, help="Decides the clips.")] = 0,
    threads: TorchThreads = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate clips of every label for each trained fold, and a picture of real clips above generated ones."""
    with stage("generate", as_json, quiet) as say:
        only_folds = chosen_folds(fold)

        import torch

        from clinaug_fast.errors import InputError
        from clinaug_fast.gan.generate import generate as generate_clips
        from clinaug_fast.gan.run_folder import Run

        torch.set_num_threads(threads)
        trained = Run.open(run)
        source = features or trained.features_path
        if features is None and not source.exists():
            raise InputError(f"the features of {run} are no longer in {source}. Name their place with --features")
        real = real_set(source, say)
        result = generate_clips(
            run,
            real,
            trained.folds,
            out,
            n_per_label=n_per_label,
            only_folds=only_folds,
            seed=seed,
            progress=say,
        )
        made = result.features
        state = "was made before with these settings: nothing to do" if result.already_done else "is written"
        folds = sorted(map(int, made.lineage["trained_on_groups"]))
        what = f"{counted(len(made), 'clip')} of {len(made.labels)} labels for fold {', '.join(map(str, folds))}"
        text = (
            f"{out} {state}: {what}\n"
            f"real above generated: {result.picture}\n\n"
            f"next: {_evaluate(trained, source, out, folds)}"
        )
        say.result(
            text,
            out=str(out),
            already_done=result.already_done,
            clips=len(made),
            labels=made.labels,
            folds=folds,
            picture=str(result.picture),
            fingerprint=made.fingerprint,
        )


def _evaluate(run: "Run", source: Path, out: Path, folds: list[int]) -> str:
    """The command, with the options that are not its defaults."""
    from clinaug_fast.errors import InputError
    from clinaug_fast.features.folds import Folds

    try:
        by_default = Folds.load(source / "folds.json").fingerprint == run.folds.fingerprint
    except (InputError, OSError):
        by_default = False
    options = ""
    if not by_default:
        run.write_folds()
        options = f" --folds {quoted(run.folds_path)}"
    options += "".join(f" --fold {fold}" for fold in folds if len(folds) < len(run.folds))
    name = out.resolve().name
    arm = name.replace("=", "-").lstrip("-") or "generated"
    if arm == "none" or arm.startswith("."):  # evaluate calls no arm so
        arm = f"generated-{arm.lstrip('.')}"
    named = arm != name or "=" in str(out)  # by itself, the folder would not give the arm its name
    options += f" --synthetic {shlex.quote(f'{arm}={out}') if named else quoted(out)}"
    return f"clinaug-fast evaluate {quoted(source)} EVALUATION{options}"
