"""The command line: one thin command a stage. Commands import their stage inside, so that --help is instant."""

from typing import Annotated

import typer

from clinaug_fast.cli.audit import audit
from clinaug_fast.cli.augment import augment
from clinaug_fast.cli.console import closed_output, have_streams, lost_output
from clinaug_fast.cli.demo import demo
from clinaug_fast.cli.evaluate import evaluate
from clinaug_fast.cli.generate import generate
from clinaug_fast.cli.info import info
from clinaug_fast.cli.mel import mel
from clinaug_fast.cli.merge import merge
from clinaug_fast.cli.preprocess import preprocess
from clinaug_fast.cli.quality import quality
from clinaug_fast.cli.split import split
from clinaug_fast.cli.train import train
from clinaug_fast.cli.verify import verify

app = typer.Typer(
    name="clinaug-fast",
    help="Log-mel features, conditional GAN augmentation and honest evaluation for small clinical audio corpora.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in (audit, preprocess, merge, verify, split, augment, train, generate, quality, evaluate, demo, info):
    app.command()(command)
app.add_typer(mel)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"clinaug-fast {version('clinaug-fast')}")
        raise typer.Exit


@app.callback()
def version(
    asked: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """What all commands have in common."""


def run() -> None:
    """The entry point of the console script."""
    have_streams()
    try:
        app()
    except SystemExit as ended:
        raise closed_output(ended) from None
    except OSError as error:
        raise lost_output(error) from None
