"""Quality as a whole: copies are told from what is new, and one folder holds what was measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError, LeakageError, SettingsError
from clinaug_fast.evaluate.quality import quality
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.lineage import altered_id, augmented_lineage, generated_lineage
from conftest import files
from test_cross_validation import LABELS, MEL, SIZE, Recorder, write_generated, write_real

CONFIG = ClassifierConfig(width=2, steps=12, batch_size=4)
pytestmark = pytest.mark.usefixtures("one_thread")


def write_copies(path: Path, features: FeatureSet, folds: Folds, noise: float) -> FeatureSet:
    """What a generator would make that has learnt its training clips by heart."""
    rng = np.random.default_rng(3)
    lineage = generated_lineage(features, folds, "a run", list(range(len(folds))))
    with new_feature_set(path, MEL, SIZE, LABELS, lineage) as writer:
        for fold in range(len(folds)):
            train, _ = folds.rows(features, fold)
            labels = features.column("label")[train]
            for at, (clip, label) in enumerate(zip(features.clips(train), labels, strict=True)):
                clip = clip + rng.normal(0, noise, clip.shape).astype(np.float32)
                writer.add(clip, id=f"{fold}/{at}", recording=f"{fold}/{at}", label=label, start_s=0.0, fold=fold)
    return FeatureSet.open(path)


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> FeatureSet:
    return write_real(tmp_path_factory.mktemp("sets") / "real", subjects=16)


@pytest.fixture(scope="module")
def folds(features) -> Folds:
    return make_folds(features, 2)


@pytest.fixture(scope="module")
def arms(tmp_path_factory, features, folds) -> dict[str, FeatureSet]:
    path = tmp_path_factory.mktemp("sets")
    return {
        "copies": write_copies(path / "copies", features, folds, 0.01),
        "new": write_generated(path / "new", features, folds),
        "noisy": write_copies(path / "noisy", features, folds, 20.0),
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory, features, folds, arms) -> Path:
    out = tmp_path_factory.mktemp("measured") / "quality"
    result = quality(features, folds, arms, out, CONFIG)
    assert not result.already_done
    return out


def test_copies_are_told_from_what_is_new(measured, features, folds):
    about = json.loads((measured / "quality.json").read_text())
    real, arms = about["real"], about["arms"]
    assert real["clips"] == 64
    assert real["near_copies"]["mean"] <= 0.05
    assert arms["copies"]["near_copies"]["mean"] == 1.0
    assert arms["new"]["near_copies"]["mean"] <= 0.1
    for pair in arms["copies"]["closest"]:
        train, _ = folds.rows(features, pair["fold"])
        assert pair["real"] == features.column("id")[train[int(pair["id"].split("/")[1])]]
        assert pair["ratio"] < 0.05
        assert pair["distance_db"] == pytest.approx(0.01 * MEL.unit_db, rel=0.2)
    assert len({pair["real"] for pair in arms["copies"]["closest"]}) == 6
    assert [pair["ratio"] for pair in arms["new"]["closest"]] == sorted(
        pair["ratio"] for pair in arms["new"]["closest"]
    )


def test_distances_and_spread_order_the_sets(measured):
    about = json.loads((measured / "quality.json").read_text())
    real, arms = about["real"], about["arms"]
    for measure in ("frechet", "kernel"):
        assert arms["noisy"][measure]["mean"] > max(real[measure]["mean"], arms["new"][measure]["mean"])
    assert arms["noisy"]["frechet"]["mean"] > 3 * arms["new"]["frechet"]["mean"]
    assert arms["copies"]["spread"]["mean"] == pytest.approx(1.0, abs=0.02)
    assert real["spread"]["mean"] == pytest.approx(1.0, abs=0.1)
    assert arms["noisy"]["spread"]["mean"] > 5


def test_the_same_settings_give_the_same_bytes_and_are_not_measured_again(measured, tmp_path, features, folds, arms):
    again, progress = tmp_path / "again", Recorder()
    quality(features, folds, arms, again, CONFIG, progress=progress)
    assert files(again) == files(measured)
    assert progress.totals == [2 * 2 * 12]
    progress = Recorder()
    assert quality(features, folds, arms, again, CONFIG, progress=progress).already_done
    assert not progress.totals
    with pytest.raises(InputError, match="steps is 12 there, 13 asked"):
        quality(features, folds, arms, again, CONFIG.with_changes(steps=13))


def test_one_fold_alone(tmp_path, features, folds, arms):
    about = quality(features, folds, arms, tmp_path / "one", CONFIG, only_folds=[1]).about
    assert about["settings"]["tested"] == [1]
    assert about["arms"]["copies"]["frechet"]["sd"] is None
    assert {pair["fold"] for pair in about["arms"]["copies"]["closest"]} == {1}


def test_an_augmented_set_is_measured_by_its_training_recordings(tmp_path, features, folds):
    with new_feature_set(tmp_path / "loud", MEL, SIZE, LABELS, augmented_lineage(features, {"by": "gain"})) as writer:
        for row, clip in enumerate(features.clips()):
            about = {name: features.column(name)[row] for name in ("recording", "subject", "label", "start_s")}
            writer.add(clip + np.float32(1.0), id=altered_id("gain", 0, features.column("id")[row]), **about)
    arms = {"loud": FeatureSet.open(tmp_path / "loud")}
    about = quality(features, folds, arms, tmp_path / "out", CONFIG).about["arms"]["loud"]
    assert about["clips"] == len(features)  # each trains one of two folds
    assert about["near_copies"]["mean"] == 1.0


def test_a_label_that_a_set_lacks_is_left_out_and_told(tmp_path, features, folds):
    arms = {"half": write_generated(tmp_path / "half", features, folds, labels=LABELS[:1])}
    progress = Recorder()
    about = quality(features, folds, arms, tmp_path / "out", CONFIG, progress=progress).about
    assert len(progress.warnings) == 4
    assert "compares without along, of which a set" in progress.warnings[0]
    assert about["arms"]["half"]["clips"] == 16


def test_what_cannot_be_measured_is_refused(tmp_path, features, folds, arms):
    def measure(sets, **changes):
        return quality(features, changes.pop("folds", folds), sets, tmp_path / "out", CONFIG, **changes)

    with pytest.raises(SettingsError, match="no generated or augmented set is given"):
        measure({})
    with pytest.raises(SettingsError, match="an arm is named 'none'"):
        measure({"none": arms["new"]})
    with pytest.raises(LeakageError, match="was trained on"):
        measure({"new": arms["new"]}, folds=make_folds(features, 2, seed=1))
    few = write_real(tmp_path / "few", subjects=2)
    few_folds = make_folds(few, 2)
    with pytest.raises(InputError, match=r"trains on 'subject:s0[01]' alone"):
        quality(few, few_folds, {"g": write_generated(tmp_path / "g", few, few_folds)}, tmp_path / "out", CONFIG)
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists already"):
        measure({"new": arms["new"]})
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_the_command_tells_a_table_or_json(cli, tmp_path, features, folds, arms):
    real = tmp_path / "real"
    shutil.copytree(features.path, real)
    (real / "folds.json").write_text(json.dumps(folds.about))
    named = (
        "quality",
        real,
        tmp_path / "out",
        "--synthetic",
        f"ours={arms['copies'].path}",
        "--width",
        2,
        "--steps",
        5,
    )
    result = cli(*named)
    assert result.exit_code == 0, result.stderr
    table = [line.split() for line in result.stdout.splitlines()]
    about = json.loads((tmp_path / "out" / "quality.json").read_text())
    assert table[0][0] == "set"
    assert table[2][:2] == ["ours", f"{about['arms']['ours']['frechet']['mean']:.2f}"]
    assert "100.0 ± 0.0" in result.stdout
    assert str(tmp_path / "out" / "closest" / "ours" / "pairs.png") in result.stdout
    again = cli(*named, "--json")
    told = json.loads(again.stdout)
    assert told["already_done"]
    assert told["arms"] == about["arms"]
    assert cli("quality", real, tmp_path / "none").exit_code == 2
    assert cli("quality", arms["copies"].path, tmp_path / "none", "--synthetic", real).exit_code == 3
