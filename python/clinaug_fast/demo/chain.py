"""The whole chain on the synthetic operating room, in a few minutes and without any data.

Calls what the commands preprocess, split, train, generate and evaluate call, one after the other, in one folder; a
second call goes on from what is complete there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinaug_fast.config import PRESETS, ClassifierConfig, GanConfig, Settings
from clinaug_fast.demo.corpus import SETTINGS_FILE, SUBJECT_PATTERN, write_demo_corpus
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.runs import Progress, begun


class DemoSizes(Settings, frozen=True):
    """How much of everything the demo does; the defaults take a few minutes on two cores."""

    n_procedures: int = 12
    takes: int = 4
    n_folds: int = 3
    gan: GanConfig = GanConfig(steps=400, batch_size=16, n_critic=2, ema=0.99)
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
    if not (out / "corpus").exists():
        begun(out, f"corpus/{SETTINGS_FILE}", "other things than a demo")
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
