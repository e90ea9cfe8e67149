"""The leakage guard: generated clips enter a fold only where their generator never met what the fold tests."""

import json
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.errors import InputError, LeakageError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.lineage import generated_lineage, unseen_rows
from clinaug_fast.features.verify import verify
from conftest import MEL, write_features


def generate(path: Path, features: FeatureSet, folds: Folds, trained: list[int], **changed) -> FeatureSet:
    """One clip a label for each fold in `trained`, as generate leaves them; `changed` spoils the set."""
    mel = changed.get("mel", features.mel)
    n_frames = changed.get("n_frames", features.clip_shape[1])
    lineage = changed.get("lineage") or generated_lineage(features, folds, "run", trained)
    with new_feature_set(path, mel, n_frames, changed.get("labels", features.labels), lineage) as writer:
        for fold in trained:
            for label in features.labels:
                name = f"{label}/{fold}"
                clip = np.zeros((mel.n_mels, n_frames), np.float32)
                writer.add(clip, id=name, recording=name, label=label, start_s=0.0, fold=fold)
    return FeatureSet.open(path)


def test_the_rows_of_the_fold_are_given(tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path):
    synthetic = generate(tmp_path / "set", tiny_features, tiny_folds, [0, 2])
    assert unseen_rows(synthetic, tiny_features, tiny_folds, 0).tolist() == [0, 1, 2]
    assert unseen_rows(synthetic, tiny_features, tiny_folds, 2).tolist() == [3, 4, 5]
    with pytest.raises(InputError, match="has no clips for fold 1"):
        unseen_rows(synthetic, tiny_features, tiny_folds, 1)


def test_a_lineage_that_does_not_tell_of_the_fold_is_refused(
    tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path
):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    synthetic = generate(tmp_path / "set", tiny_features, tiny_folds, [0, 1], lineage=lineage)
    assert len(unseen_rows(synthetic, tiny_features, tiny_folds, 0)) == 3
    with pytest.raises(InputError, match="does not tell which groups the generator of fold 1 was trained on"):
        unseen_rows(synthetic, tiny_features, tiny_folds, 1)


def test_the_lineage_lists_exactly_the_training_groups(tiny_features: FeatureSet, tiny_folds: Folds):
    seen = generated_lineage(tiny_features, tiny_folds, "run", [1])["trained_on_groups"]
    assert seen.keys() == {"1"}
    assert set(seen["1"]) == set(tiny_features.groups) - tiny_folds.test_groups(1)


def test_a_generator_that_met_a_test_subject_is_refused_by_name(
    tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path
):
    others = next(
        folds
        for folds in (make_folds(tiny_features, 3, seed) for seed in range(1, 20))
        if folds.test_groups(0) != tiny_folds.test_groups(0)
    )
    synthetic = generate(tmp_path / "set", tiny_features, others, [0])
    leaked = sorted(tiny_folds.test_groups(0) - others.test_groups(0))
    with pytest.raises(
        LeakageError, match=f"trained on {len(leaked)} of the 2 groups .*: {', '.join(leaked)}"
    ) as error:
        unseen_rows(synthetic, tiny_features, tiny_folds, 0)
    assert error.value.exit_code == 5
    assert f"for the split {others.fingerprint}, these folds are {tiny_folds.fingerprint}. Give" in str(error.value)


@pytest.mark.parametrize("field", ["features", "folds", "trained_on_groups"])
def test_a_lineage_that_lacks_a_field_is_refused(tiny_features, tiny_folds, tmp_path, field):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    del lineage[field]
    synthetic = generate(tmp_path / "set", tiny_features, tiny_folds, [0], lineage=lineage)
    with pytest.raises(InputError, match=f"does not tell the {field} that it was generated from"):
        unseen_rows(synthetic, tiny_features, tiny_folds, 0)


def test_a_lineage_that_was_changed_is_told(tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path):
    path = generate(tmp_path / "set", tiny_features, tiny_folds, [0]).path / "features.json"
    about = json.loads(path.read_text())
    about["lineage"]["trained_on_groups"]["0"].pop()
    path.write_text(json.dumps(about))
    with pytest.raises(InputError, match="was changed after it was made"):
        FeatureSet.open(tmp_path / "set")
    assert not verify(tmp_path / "set").whole


def test_a_generator_of_another_feature_set_is_refused(tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path):
    other = write_features(tmp_path / "other", MEL, 32, clips_a_recording=3)
    synthetic = generate(tmp_path / "set", other, Folds.load(other.path / "folds.json"), [0])
    with pytest.raises(LeakageError, match=f"was generated from the feature set {other.fingerprint}"):
        unseen_rows(synthetic, tiny_features, tiny_folds, 0)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"mel": MEL.with_changes(power=1)}, "has the mel contract"),
        ({"n_frames": 31}, r"has the clip shape \(32, 31\); expected .* \(32, 32\)"),
        ({"labels": ["hum", "hiss", "knock"]}, "has the labels"),
        (
            {"lineage": {"kind": "corpus", "corpus": "0"}},
            "lineage 'corpus'; expected a generated or augmented feature set",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path, changed: dict, sentence: str
):
    synthetic = generate(tmp_path / "set", tiny_features, tiny_folds, [0], **changed)
    with pytest.raises(InputError, match=sentence):
        unseen_rows(synthetic, tiny_features, tiny_folds, 0)


def test_a_generator_of_another_split_that_met_no_test_subject_is_taken(
    tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path
):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    lineage["folds"] = "0" * 16
    lineage["trained_on_groups"]["0"].pop()
    synthetic = generate(tmp_path / "set", tiny_features, tiny_folds, [0], lineage=lineage)
    assert unseen_rows(synthetic, tiny_features, tiny_folds, 0).tolist() == [0, 1, 2]
