"""`clinaug-fast demo`: the whole way on a synthetic corpus, in a few minutes and without any data.

Calls what the commands preprocess, split, train, generate and evaluate call, one after the other, in one folder; a
second call goes on from what is complete there.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from clinaug_fast.cli.console import Json, Quiet, stage
from clinaug_fast.config import PRESETS, ClassifierConfig, GanConfig, Settings
from clinaug_fast.runs import Progress

NEXT = "clinaug-fast preprocess YOUR_FOLDER features --subject-pattern '(p[0-9]+)_'"


class DemoSizes(Settings):
    """How much of everything the demo does; the defaults take a few minutes on two cores."""

    n_procedures: int = 12
    takes: int = 4
    n_folds: int = 3
    gan: GanConfig = GanConfig(
        width=16, steps=400, batch_size=16, n_critic=2, generator_rate=5e-4, critic_rate=1e-3, ema=0.99
    )
    n_per_label: int = 48
    classifier: ClassifierConfig = ClassifierConfig(width=8, steps=400, seeds=2)


@dataclass(frozen=True)
class DemoResult:
    """What `run_demo` left."""

    scores: dict[str, Any]  # scores.json of the evaluation
    picture: Path  # real clips above generated ones


def run_demo(out: Path, *, seed: int, threads: int, progress: Progress, sizes: DemoSizes = DemoSizes()) -> DemoResult:
    """Corpus, features, folds, GANs, generated clips and evaluation in `out`; what is complete there is reused.

    `threads` is preprocess's; torch keeps the number that it has. Raises InputError where `out` holds something else
    or was made with another seed.
    """
    from clinaug_fast.data.demo.corpus import SUBJECT_PATTERN, write_demo_corpus
    from clinaug_fast.data.feature_set import FeatureSet
    from clinaug_fast.data.folds import Folds, make_folds, write_folds
    from clinaug_fast.data.preprocess import preprocess
    from clinaug_fast.evaluate.cross_validation import evaluate
    from clinaug_fast.gan.generate import generate
    from clinaug_fast.gan.train import train

    corpus, path_of_folds = out / "corpus", out / "features" / "folds.json"
    mel, clip = PRESETS["surgical"].mel, PRESETS["surgical"].clip
    gan, classifier = sizes.gan.with_changes(seed=seed), sizes.classifier.with_changes(seed=seed)

    write_demo_corpus(corpus, seed=seed, n_procedures=sizes.n_procedures, takes=sizes.takes, progress=progress)
    preprocess(corpus, out / "features", mel, clip, subject_pattern=SUBJECT_PATTERN, threads=threads, progress=progress)
    features = FeatureSet.open(out / "features")
    write_folds(make_folds(features, sizes.n_folds, seed), path_of_folds)
    folds = Folds.load(path_of_folds)
    train(features, folds, out / "gan", gan, progress=progress)
    made = generate(
        out / "gan", features, folds, out / "generated", n_per_label=sizes.n_per_label, seed=seed, progress=progress
    )
    result = evaluate(features, folds, {gan.model: made.features}, out / "evaluation", classifier, progress=progress)
    return DemoResult(result.scores, made.picture)


def demo(
    out: Annotated[Path, typer.Argument(help="The folder for everything; an unfinished demo goes on.")] = Path(
        "clinaug-demo"
    ),
    seed: Annotated[int, typer.Option(min=0, help="Decides the sounds, the folds, the training and the clips.")] = 0,
    threads: Annotated[
        int, typer.Option("--threads", "-j", min=1, help="CPU threads; networks this small gain little from more.")
    ] = 1,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole way on a synthetic operating-room corpus: preprocess, split, train, generate, evaluate."""
    with stage("demo", as_json, quiet) as say:
        import torch

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


def _text(result: DemoResult, seconds: float) -> Any:
    """The table and what to make of it, as a rich renderable for a terminal and as text for a pipe."""
    from clinaug_fast.cli.score_table import score_table

    words = (
        "\nThe corpus is synthetic and the GAN small and briefly trained:\n"
        "the table shows that the chain works, and nothing about real recordings.\n"
        f"\nreal clips above generated ones: {result.picture}"
        f"\ntime: {seconds // 60:.0f} min {seconds % 60:.0f} s"
        "\nnext, on your own recordings, one sub-folder a label, the subject in each name:"
        f"\n  {NEXT}"
    )
    if not sys.stdout.isatty():
        return score_table(result.scores, plain=True) + "\n" + words
    from rich.console import Group
    from rich.text import Text

    return Group(score_table(result.scores, plain=False), Text(words))
