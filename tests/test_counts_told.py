"""How many clips an arm adds and a distance rests on: told, and warned of where they are unequal."""

import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from clinaug_fast.cli.quality_table import quality_table
from clinaug_fast.cli.score_table import score_table
from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError
from clinaug_fast.evaluate import cross_validation, fold_quality
from clinaug_fast.evaluate.classifier import ResNet18
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.evaluate.fold_quality import FoldQuality
from clinaug_fast.evaluate.quality import _summary, quality
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.lineage import generated_lineage
from conftest import Recorder
from test_cross_validation import LABELS, MEL, SIZE, stripes, write_real

CONFIG = ClassifierConfig(width=2, steps=3, batch_size=4, seeds=1)
pytestmark = pytest.mark.usefixtures("one_thread")


def write_some(path: Path, features: FeatureSet, folds: Folds, n_of_label: int) -> FeatureSet:
    """So many clips of each label and fold."""
    rng = np.random.default_rng(5)
    lineage = generated_lineage(features, folds, "a run", list(range(len(folds))))
    with new_feature_set(path, MEL, SIZE, LABELS, lineage) as writer:
        for fold in range(len(folds)):
            for label in LABELS * n_of_label:
                name = f"{fold}/{len(writer)}"
                writer.add(stripes(label, rng), id=name, recording=name, label=label, start_s=0.0, fold=fold)
    return FeatureSet.open(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[FeatureSet, Folds, dict[str, FeatureSet]]:
    """Real clips, their folds, and sets of so many clips a label and fold."""
    path = tmp_path_factory.mktemp("sets")
    features = write_real(path / "real", subjects=16)
    folds = make_folds(features, 2)
    return features, folds, {f"of {n}": write_some(path / f"of {n}", features, folds, n) for n in (3, 6, 7, 16)}


def printed(renderable: object) -> str:
    console = Console(width=200, file=StringIO())
    console.print(renderable)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("arms", "steps", "told"),
    [
        ((), 8, None),
        ((), 7, ("14 clips of a label, and the arm 'none' has 16 of 'across'", "Raise --steps to 8,")),
        (("of 3", "of 16"), 16, None),
        (("of 3",), 7, ("14 clips of a label, and the arm 'of 3' has 19 of 'across'", "Raise --steps to 10,")),
        (
            ("of 3", "of 16"),
            15,
            ("30 clips of a label, and the arm 'of 16' has 32 of 'across'", "Add fewer clips, or raise --steps to 16,"),
        ),
    ],
)
def test_clips_that_no_classifier_is_shown_are_told(tmp_path: Path, made, monkeypatch, arms, steps, told) -> None:
    features, folds, sets = made
    progress = Recorder()
    monkeypatch.setattr(cross_validation, "train_classifier", lambda *x, **y: ResNet18(len(LABELS), 2).eval())
    evaluate(
        features,
        folds,
        {arm: sets[arm] for arm in arms},
        tmp_path / "out",
        CONFIG.with_changes(steps=steps),
        progress=progress,
    )
    expected = []
    if told:
        expected = [
            f"a classifier is shown {told[0]} in fold 0: some may never be shown, real ones among them. {told[1]} "
            "in another output folder"
        ]
    assert [text for text in progress.warnings if "never be shown" in text] == expected


@pytest.mark.parametrize(("arms", "warned"), [(("of 3", "of 6"), False), (("of 3", "of 7"), True), (("of 3",), False)])
def test_evaluate_tells_what_each_arm_adds(tmp_path: Path, made, arms, warned) -> None:
    features, folds, sets = made
    chosen, progress = {arm: sets[arm] for arm in arms}, Recorder()
    scores = evaluate(features, folds, chosen, tmp_path / "out", CONFIG, progress=progress).scores
    trained_on = json.loads((tmp_path / "out/scores.json").read_text())["trained_on"]
    real = [len(folds.rows(features, fold)[0]) for fold in range(2)]
    added = {arm: len(LABELS) * int(arm.split()[1]) for arm in arms}
    assert trained_on == {"none": real} | {arm: [n + added[arm] for n in real] for arm in arms}
    each = ", ".join(f"{arm} {n}" for arm, n in added.items())
    assert f"Clips added to the {real[0]} real ones that a fold trains on: {each}." in printed(
        score_table(scores | {"group_by": "subject"}, plain=False)
    )
    told = [warning for warning in progress.warnings if "may be how many there are" in warning]
    sentence = f"the arm 'of 7' adds {2 * 7 * len(LABELS)} clips and 'of 3' {2 * 3 * len(LABELS)}, so what"
    assert [warning.startswith(sentence) for warning in told] == [True] * warned


def test_fold_by_fold_the_counts_are_the_same(tmp_path: Path, made) -> None:
    features, folds, sets = made
    chosen = {"of 3": sets["of 3"]}
    evaluate(features, folds, chosen, tmp_path / "at once", CONFIG)
    for fold in (1, 0):
        evaluate(features, folds, chosen, tmp_path / "one by one", CONFIG, only_folds=[fold])
    at_once, one_by_one = ((tmp_path / name / "scores.json").read_bytes() for name in ("at once", "one by one"))
    assert at_once == one_by_one


def test_quality_tells_what_its_distances_rest_on(tmp_path: Path, made) -> None:
    features, folds, sets = made
    progress = Recorder()
    result = quality(features, folds, {"of 16": sets["of 16"]}, tmp_path / "alone", CONFIG, progress=progress)
    alone = result.about["compared"]
    assert not [warning for warning in progress.warnings if "rest on" in warning]
    result = quality(
        features, folds, {name: sets[name] for name in ("of 16", "of 3")}, tmp_path / "both", CONFIG, progress=progress
    )
    assert result.about["compared"] == [3 * len(LABELS)] * 2
    told = (
        f"the Fréchet distances of all sets rest on {6 * len(LABELS)} clips of each, of {sum(alone)} that there could"
    )
    assert [told in warning for warning in progress.warnings] == [True]
    assert "as 'of 3' has no more of each label" in progress.warnings[0]
    assert progress.warnings[0].endswith("Generate more of it, or leave it out")
    text = printed(quality_table(result.about, tmp_path / "both", plain=False))
    assert f"Each distance rests on {3 * len(LABELS)} clips of a set a fold, or a few more: as many of a label as" in (
        re.sub(r"\s+", " ", text)
    )


def test_the_set_that_limits_is_named_not_the_smallest() -> None:
    """Many clips of one label are no help where there are few of another."""
    sizes = {"real": 30, "many of one": 400, "enough": 60}
    fold = FoldQuality(
        distances={name: {"frechet": 1.0, "kernel": 0.0} for name in sizes},
        spread=dict.fromkeys(sizes, 1.0),
        classes={name: np.zeros(n, int) for name, n in sizes.items()},
        ratios={name: np.linspace(0.5, 1.0, n) for name, n in sizes.items()},
        pairs={"many of one": [], "enough": []},
        compared=6,
        possible=30,
        with_one={"many of one": 6, "enough": 30},
    )
    progress = Recorder()
    about = _summary([fold, fold], progress, "subject")
    assert about["compared"] == [6, 6]
    assert [" rest on 12 clips of each, of 60 that" in warning for warning in progress.warnings] == [True]
    assert "as 'many of one' has no more of each label" in progress.warnings[0]


def test_of_one_set_with_few_clips_more_are_asked_for(tmp_path: Path, made) -> None:
    features, folds, sets = made
    progress = Recorder()
    result = quality(features, folds, {"of 3": sets["of 3"]}, tmp_path / "few", CONFIG, progress=progress)
    alone = quality(features, folds, {"of 16": sets["of 16"]}, tmp_path / "enough", CONFIG).about["compared"]
    assert 2 * sum(result.about["compared"]) < sum(alone)
    assert [warning.startswith("the Fréchet distances rest on") for warning in progress.warnings] == [True]
    assert progress.warnings[0].endswith("larger. Generate more of it")
    half = -(-min(alone) // (2 * len(LABELS)))  # clips of a label that are half as many, or more
    enough, progress = write_some(tmp_path / "half", features, folds, half), Recorder()
    quality(features, folds, {"half": enough}, tmp_path / "half.q", CONFIG, progress=progress)
    assert not progress.warnings


def test_quality_warns_where_no_subject_is_known(tmp_path: Path, tiny_features, cli) -> None:
    bare = tmp_path / "bare"
    with new_feature_set(
        bare, tiny_features.mel, tiny_features.clip_shape[1], tiny_features.labels, {"kind": "corpus"}
    ) as to:
        for row, clip in enumerate(tiny_features.clips()):
            about = {name: tiny_features.column(name)[row] for name in ("id", "recording", "label", "start_s")}
            to.add(clip, **about)
    features = FeatureSet.open(bare)
    folds, lineage = make_folds(features, 2), None
    lineage = generated_lineage(features, folds, "a run", [0, 1])
    rng = np.random.default_rng(0)
    with new_feature_set(tmp_path / "made", features.mel, features.clip_shape[1], features.labels, lineage) as to:
        for fold in range(2):
            for number in range(24):
                clip = rng.normal(-8, 1, features.clip_shape).astype(np.float32)
                name = f"{fold}/{number}"
                to.add(clip, id=name, recording=name, label=features.labels[number % 3], start_s=0.0, fold=fold)
    progress, made = Recorder(), {"made": FeatureSet.open(tmp_path / "made")}
    quality(features, folds, made, tmp_path / "q", CONFIG, progress=progress)
    told = [warning for warning in progress.warnings if "where the subject is not known" in warning]
    assert len(told) == 1
    assert "fewer copies are told" in told[0]


def test_the_path_of_a_picture_is_shown_without_its_escapes(tmp_path: Path) -> None:
    number = {"mean": 1.0, "sd": None}
    measured = dict.fromkeys(("frechet", "kernel", "spread", "near_copies"), number)
    about = {
        "settings": {"tested": [0]},
        "compared": [6],
        "near_limit": 0.4,
        "real": measured,
        "arms": {"x\x1b[31m": measured},
    }
    for plain in (True, False):
        made = quality_table(about, tmp_path / "a\x9b31m", plain=plain)
        assert not set("\x1b\x9b") & set(made if plain else printed(made))


def test_a_label_that_one_half_lacks_counts_in_neither(tmp_path: Path, monkeypatch) -> None:
    """Patients have one diagnosis each; of a rare one, a fold trains on one patient, who is in one of its halves."""
    rng, labels = np.random.default_rng(2), ("a", "b", "rare")
    subjects = [("a", 6), ("b", 6), ("rare", 2)]
    with new_feature_set(tmp_path / "real", MEL, SIZE, labels, {"kind": "corpus"}) as to:
        for label, n in subjects:
            for name in (f"{label}{number}/{take}" for number in range(n) for take in range(4)):
                clip = rng.normal(labels.index(label) - 8, 1, (MEL.n_mels, SIZE)).astype(np.float32)
                to.add(clip, id=name, recording=name, subject=name.split("/")[0], label=label, start_s=0.0)
    features = FeatureSet.open(tmp_path / "real")
    folds = make_folds(features, 2)
    with new_feature_set(
        tmp_path / "made", MEL, SIZE, labels, generated_lineage(features, folds, "a run", [0, 1])
    ) as to:
        for fold in range(2):
            for name in (f"{fold}/{number}" for number in range(24)):
                clip = rng.normal(-8, 1, (MEL.n_mels, SIZE)).astype(np.float32)
                to.add(clip, id=name, recording=name, label=labels[len(to) % 3], start_s=0.0, fold=fold)
    drawn, distances = [], fold_quality._distances
    monkeypatch.setattr(fold_quality, "_distances", lambda *given: drawn.append(given[3]) or distances(*given))
    progress = Recorder()
    arms = {"made": FeatureSet.open(tmp_path / "made")}
    about = quality(features, folds, arms, tmp_path / "q", CONFIG, progress=progress).about
    assert [warning.partition(": ")[0] for warning in progress.warnings if "without" in warning] == [
        f"fold {fold} is compared without the clips of 'rare'" for fold in range(2)
    ]
    assert len(drawn) == 4
    assert [(n >= 2).tolist() for n in drawn] == [[True, True, False]] * 4
    assert about["compared"] == [min(sum(n[:2]) for n in drawn[at : at + 2]) for at in (0, 2)]


def test_no_label_that_both_halves_have(tmp_path: Path) -> None:
    """Two patients a label: a fold trains on one of each, and no half has what the other has."""
    labels = ("a", "b")
    with new_feature_set(tmp_path / "real", MEL, SIZE, labels, {"kind": "corpus"}) as to:
        for name in (f"{label}{number}/{take}" for label in labels for number in range(2) for take in range(4)):
            clip = np.full((MEL.n_mels, SIZE), len(to), np.float32)
            to.add(clip, id=name, recording=name, subject=name.split("/")[0], label=name[0], start_s=0.0)
    features = FeatureSet.open(tmp_path / "real")
    folds = make_folds(features, 2)
    with new_feature_set(
        tmp_path / "made", MEL, SIZE, labels, generated_lineage(features, folds, "a run", [0, 1])
    ) as to:
        for name in (f"{number}" for number in range(16)):
            clip = np.zeros((MEL.n_mels, SIZE), np.float32)
            to.add(clip, id=name, recording=name, label=labels[len(to) % 2], start_s=0.0, fold=len(to) // 8)
    with pytest.raises(InputError, match="has no label of which its test part, half of its training part"):
        quality(features, folds, {"made": FeatureSet.open(tmp_path / "made")}, tmp_path / "q", CONFIG)


def test_a_quality_that_was_changed_is_refused(tmp_path: Path, made) -> None:
    features, folds, sets = made
    arms = {"of 3": sets["of 3"]}
    quality(features, folds, arms, tmp_path / "q", CONFIG)
    about = json.loads((tmp_path / "q/quality.json").read_text())
    about["arms"]["of 3"]["near_copies"]["mean"] = 0.25
    (tmp_path / "q/quality.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"quality\.json was changed after it was made"):
        quality(features, folds, arms, tmp_path / "q", CONFIG)


def test_an_arm_has_its_own_name_below_the_table(tmp_path: Path, made) -> None:
    """Not what rich makes of brackets and colons."""
    features, folds, sets = made
    arms = dict(zip(("[b]old", "a[red]b", ":heart:"), sets.values(), strict=False))
    scores = evaluate(features, folds, arms, tmp_path / "out", CONFIG).scores
    for text in (score_table(scores, plain=True), printed(score_table(scores, plain=False))):
        below = " ".join(text.partition("Clips added to")[2].split())
        assert all(f"{name} " in below for name in arms)
