"""`clinaug-fast demo`: the whole chain on a synthetic corpus, and what to make of its result."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, TorchThreads, some_path, stage

if TYPE_CHECKING:
    from clinaug_fast.demo.chain import DemoResult

NEXT = "clinaug-fast preprocess YOUR_FOLDER features --subject-pattern '(p[0-9]+)_'"


def demo(
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="The folder for everything; an unfinished demo goes on.", parser=some_path),
    ] = Path("clinaug-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Decides the sounds, the folds, the training and the clips.")] = 0,
    threads: TorchThreads = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole way on a synthetic operating-room corpus: preprocess, split, train, generate, evaluate."""
    with stage("demo", as_json, quiet) as say:
        import torch

        from clinaug_fast.demo.chain import run_demo

        begun = time.monotonic()
        say.note(f"everything goes to {out}; the corpus is synthetic, no patient had a part in it")
        torch.set_num_threads(threads)
        result = run_demo(out, seed=seed, threads=threads, progress=say)
        seconds = time.monotonic() - begun
        say.result(
            "" if as_json else _text(result, seconds),
            out=str(out),
            synthetic_corpus=True,
            picture=str(result.picture),
            scores=result.scores,
            seconds=round(seconds, 1),
            next=NEXT,
        )


def _text(result: "DemoResult", seconds: float) -> Any:
    """The table and what to make of it, as a rich renderable for a terminal and as text for a pipe."""
    from clinaug_fast.cli.score_table import score_table

    words = (
        "\nThe corpus is synthetic and the GAN small and briefly trained:\n"
        "the table shows that the chain works, and nothing about real recordings.\n"
        f"\nreal clips above generated ones: {result.picture}"
        f"\ntime: {round(seconds) // 60} min {round(seconds) % 60} s"
        "\nnext, on your own recordings, one sub-folder a label, the subject in each name:"
        f"\n  {NEXT}"
    )
    if not sys.stdout.isatty():
        return score_table(result.scores, plain=True) + "\n" + words
    from rich.console import Group
    from rich.text import Text

    return Group(score_table(result.scores, plain=False), Text(words))
