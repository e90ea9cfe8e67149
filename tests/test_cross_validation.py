"""The evaluation as a whole: the same training in every arm, stored predictions, resume, and the guard before it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from clinaug_fast.config import ClassifierConfig, MelConfig
from clinaug_fast.errors import InputError, LeakageError, SettingsError
from clinaug_fast.evaluate.cross_validation import classifier_seed, evaluate, score_stored
from clinaug_fast.evaluate.predictions import Cell, write_predictions
from clinaug_fast.evaluate.statistics import corrected_interval
from clinaug_fast.evaluate.training import train_classifier
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.lineage import generated_lineage
from conftest import Recorder, files

LABELS = ["across", "along"]
MEL = MelConfig(sample_rate=8000, n_fft=256, n_mels=16, f_max=4000)
CONFIG = ClassifierConfig(width=2, steps=3, batch_size=4, seeds=2)
SIZE = 16


def stripes(label: str, rng: np.random.Generator) -> np.ndarray:
    wave = np.sin(1.5 * np.arange(SIZE) + rng.uniform(0, 6))
    clip = np.broadcast_to(wave[:, None] if label == "across" else wave[None, :], (SIZE, SIZE))
    return (3 * clip + rng.normal(0, 1, (SIZE, SIZE)) - 8).astype(np.float32)


def write_real(path: Path, *, subjects: int = 12, unknown: int = 0, bad: float | None = None) -> FeatureSet:
    """Each subject gives one recording of two clips a label; `unknown` of them have no name."""
    rng = np.random.default_rng(1)
    with new_feature_set(path, MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for subject in range(subjects):
            for label in LABELS:
                for window in range(2):
                    clip = stripes(label, rng)
                    if bad is not None and len(writer) == 5:
                        clip[3, 3] = bad
                    recording = f"{label}/{subject:02}.wav"
                    writer.add(
                        clip,
                        id=f"{recording}#{window}",
                        recording=recording,
                        subject=f"s{subject:02}" if subject >= unknown else None,
                        label=label,
                        start_s=float(window),
                    )
    return FeatureSet.open(path)


def write_generated(
    path: Path,
    features: FeatureSet,
    folds: Folds,
    *,
    seed: int = 2,
    labels: Sequence[str] = LABELS,
    bad: float | None = None,
    **changes,
) -> FeatureSet:
    """Eight clips of each of `labels` and fold, the last one maybe bad; `changes` go into the lineage."""
    rng = np.random.default_rng(seed)
    lineage = generated_lineage(features, folds, "a run", list(range(len(folds)))) | changes
    with new_feature_set(path, MEL, SIZE, LABELS, lineage) as writer:
        for fold in range(len(folds)):
            for label in ([*labels] * 8)[:: -1 if fold % 2 else 1]:
                name, clip = f"{fold}/{len(writer):03}", stripes(label, rng)
                if bad is not None and len(writer) == 8 * len(labels) * len(folds) - 1:
                    clip[3, 3] = bad
                writer.add(clip, id=name, recording=name, label=label, start_s=0.0, fold=fold)
    return FeatureSet.open(path)


@pytest.fixture(scope="module")
def features(tmp_path_factory) -> FeatureSet:
    return write_real(tmp_path_factory.mktemp("sets") / "real")


@pytest.fixture(scope="module")
def folds(features) -> Folds:
    return make_folds(features, 2)


@pytest.fixture(scope="module")
def generated(tmp_path_factory, features, folds) -> FeatureSet:
    return write_generated(tmp_path_factory.mktemp("sets") / "generated", features, folds)


def identity_of(cell: Path) -> str:
    """Of the evaluation that a stored cell belongs to."""
    return pq.read_metadata(cell).metadata[b"evaluation"].decode()


def test_every_arm_gets_the_same_steps(tmp_path, features, folds, generated, steps_of):
    recorder = Recorder()
    result = evaluate(features, folds, {"se": generated}, tmp_path / "out", CONFIG, progress=recorder)
    cells = [f"{arm}, fold {fold}, seed {seed}" for arm in ("none", "se") for fold in (0, 1) for seed in (0, 1)]
    assert recorder.notes == dict.fromkeys(cells, CONFIG.steps)
    assert sum(steps_of.values()) == len(cells) * CONFIG.steps == recorder.totals[0]
    assert result.trained == len(cells)


def test_arms_share_seeds_and_nothing_else_does():
    cells = [Cell(arm, fold, seed) for arm in ("none", "se") for fold in range(5) for seed in range(5)]
    seeds = {cell: classifier_seed(config_seed, cell) for config_seed in (0,) for cell in cells}
    assert len(set(seeds.values())) == 25
    assert all(seeds[Cell("se", cell.fold, cell.seed)] == seeds[cell] for cell in cells)
    assert classifier_seed(1, cells[0]) != classifier_seed(0, cells[0])


def test_an_arm_trains_on_the_clips_made_for_its_fold_beside_the_real_ones(
    tmp_path, features, folds, generated, monkeypatch
):
    def noted(clips, classes, *x, **how):
        trained.append((clips.numpy(), classes.numpy()))
        return train_classifier(clips, classes, *x, **how)

    trained = []
    monkeypatch.setattr("clinaug_fast.evaluate.cross_validation.train_classifier", noted)
    evaluate(features, folds, {"se": generated}, tmp_path / "out", CONFIG.with_changes(seeds=1))
    for fold, (none, se) in enumerate(zip(trained[::2], trained[1::2], strict=True)):
        real, its = folds.rows(features, fold)[0], np.flatnonzero(generated.column("fold") == fold)
        for one, other in zip(none, (features.clips(real), features.classes[real]), strict=True):
            np.testing.assert_array_equal(one, other)
        assert len(its) == 16
        for one, other, more in zip(se, none, (generated.clips(its), generated.classes[its]), strict=True):
            np.testing.assert_array_equal(one, np.concatenate([other, more]))
    assert len(trained) == 4


def test_an_arm_without_effect_scores_as_none(tmp_path, features, folds, generated, monkeypatch):
    """Pairs are real pairs: the same training clips under another arm's name give the same predictions."""
    monkeypatch.setattr("clinaug_fast.evaluate.admission.unseen_rows", lambda *_: np.arange(0))
    evaluate(features, folds, {"empty": generated}, tmp_path / "out", CONFIG)
    cells = [(fold, seed) for fold in (0, 1) for seed in (0, 1)]
    none, empty = (
        [pq.read_table(Cell(arm, *cell).path(tmp_path / "out")) for cell in cells] for arm in ("none", "empty")
    )
    assert none == empty
    assert none[0] != none[1]


def test_predictions_are_of_the_test_clips_and_scores_come_from_them(tmp_path, features, folds, generated):
    out = tmp_path / "out"
    result = evaluate(features, folds, {"se": generated}, out, CONFIG)
    for fold in range(2):
        _, test = folds.rows(features, fold)
        table = pq.read_table(Cell("se", fold, 1).path(out))
        for column in ("id", "recording", "label"):
            assert table[column].to_pylist() == list(features.column(column)[test])
        probabilities = np.exp(np.array(table["log_probabilities"].to_pylist()))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    # A stored cell that is right everywhere is scored as right everywhere: nothing else is remembered.
    _, test = folds.rows(features, 0)
    right = np.where(np.eye(2)[features.classes[test]] == 1, -0.1, -3.0).astype(np.float32)
    cell = Cell("none", 0, 0)
    write_predictions(out, cell, identity_of(cell.path(out)), features, test, right, torch.device("cpu"))
    before = result.scores["arms"]["none"]["window"]["macro_f1"]["by_fold_and_seed"]
    after = score_stored(out)["arms"]["none"]["window"]["macro_f1"]["by_fold_and_seed"]
    assert before[0][0] < 1.0
    assert after == [[1.0, before[0][1]], before[1]]


def test_learns_what_can_be_learned(tmp_path, features, folds):
    config = CONFIG.with_changes(width=4, steps=120, batch_size=8, learning_rate=1e-2, seeds=1)
    scores = evaluate(features, folds, {}, tmp_path / "out", config).scores["arms"]["none"]
    assert scores["recording"]["macro_f1"]["mean"] > 0.9
    assert scores["recording"]["tested"] == 24
    assert scores["window"]["tested"] == 48


def test_the_interval_of_some_folds_is_that_of_the_whole_split(tmp_path, features, monkeypatch):
    def guessed(model, clips, device):
        return torch.randn(len(clips), 2, generator=rng).log_softmax(1)

    rng, folds = torch.Generator().manual_seed(0), make_folds(features, 4)
    monkeypatch.setattr("clinaug_fast.evaluate.cross_validation.log_probabilities", guessed)
    generated = write_generated(tmp_path / "generated", features, folds)
    config = CONFIG.with_changes(steps=1, seeds=1)
    scores = evaluate(features, folds, {"se": generated}, tmp_path / "out", config, only_folds=[0, 1]).scores
    difference = scores["arms"]["se"]["window"]["difference"]
    expected = corrected_interval(np.array(difference["by_fold"]), 4)
    np.testing.assert_allclose(difference["interval"], expected, atol=1e-5)


def test_the_same_bytes_again_whole_resumed_or_fold_by_fold(tmp_path, features, folds, generated, steps_of):
    arms = {"se": generated}
    evaluate(features, folds, arms, tmp_path / "whole", CONFIG)
    whole = files(tmp_path / "whole")
    assert len(whole) == 2 + 8

    resumed = tmp_path / "whole"
    Cell("se", 1, 0).path(resumed).unlink()
    (resumed / "scores.json").unlink()
    assert score_stored(resumed)["folds"] == [0]  # an arm's cell lacks, though none's are all there
    steps_of.clear()
    assert evaluate(features, folds, arms, resumed, CONFIG).trained == 1
    assert sum(steps_of.values()) == CONFIG.steps
    assert files(resumed) == whole

    by_fold = tmp_path / "by_fold"
    second = evaluate(features, folds, arms, by_fold, CONFIG, only_folds=[1])
    assert second.scores["folds"] == [1]
    both = evaluate(features, folds, arms, by_fold, CONFIG, only_folds=[0])
    assert both.scores["folds"] == [0, 1]
    assert files(by_fold) == whole


def test_leakage_is_refused_before_anything_is_trained(tmp_path, features, folds, generated, steps_of):
    everyone = sorted(set(features.groups))
    seen = generated.lineage["trained_on_groups"] | {"1": everyone}
    leaky = write_generated(tmp_path / "leaky", features, folds, trained_on_groups=seen)
    named = ", ".join(sorted(folds.test_groups(1))[:5])
    with pytest.raises(LeakageError, match=rf"fold 1 was trained on 6 of the 6 groups .*: {named} and 1 more\."):
        evaluate(features, folds, {"se": generated, "leaky": leaky}, tmp_path / "out", CONFIG)
    assert not steps_of
    assert not (tmp_path / "out").exists()
    evaluate(features, folds, {"leaky": leaky}, tmp_path / "out", CONFIG, only_folds=[0])


def test_a_changed_setting_is_refused_by_name(tmp_path, features, folds, generated):
    out = tmp_path / "out"
    evaluate(features, folds, {}, out, CONFIG, only_folds=[0])
    before = files(out)
    with pytest.raises(InputError, match="steps is 3 there, 4 asked"):
        evaluate(features, folds, {}, out, CONFIG.with_changes(steps=4))
    with pytest.raises(InputError, match="arms is 'none' there, 'se' asked"):
        evaluate(features, folds, {"se": generated}, out, CONFIG)
    with pytest.raises(InputError, match="folds is"):
        evaluate(features, make_folds(features, 2, seed=1), {}, out, CONFIG)
    assert files(out) == before
    with pytest.raises(InputError, match="holds something else"):
        evaluate(features, folds, {}, features.path, CONFIG)


def test_other_generated_clips_under_the_name_of_an_arm_are_refused(tmp_path, features, folds, generated):
    other = write_generated(tmp_path / "other", features, folds, seed=3)
    config = CONFIG.with_changes(steps=1, seeds=1)
    evaluate(features, folds, {"se": generated}, tmp_path / "out", config, only_folds=[0])
    with pytest.raises(InputError, match=r"arms is {'se': '.*'} there, {'se': '.*'} asked"):
        evaluate(features, folds, {"se": other}, tmp_path / "out", config)


@pytest.mark.parametrize("arm", ["none", "", ".hidden", "a/b", "..", "é" * 128])
def test_an_arm_needs_a_name_of_its_own(tmp_path, features, folds, generated, arm):
    with pytest.raises(SettingsError, match="an arm is named"):
        evaluate(features, folds, {arm: generated}, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_clip_that_is_no_number_is_refused_by_id(tmp_path, bad):
    features = write_real(tmp_path / "real", bad=bad)
    with pytest.raises(InputError, match=r"1 of 48 clips .*across/01.wav#1"):
        evaluate(features, make_folds(features, 2), {}, tmp_path / "out", CONFIG)


def test_a_generated_clip_that_is_no_number_is_refused_by_id(tmp_path, features, folds, steps_of):
    generated = write_generated(tmp_path / "generated", features, folds, bad=np.nan)
    with pytest.raises(InputError, match=r"1 of 16 clips .* NaN or infinity, the first is '1/031'"):
        evaluate(features, folds, {"se": generated}, tmp_path / "out", CONFIG)
    assert not steps_of


def test_an_arm_without_clips_of_a_label_is_told(tmp_path, features, folds):
    generated = write_generated(tmp_path / "generated", features, folds, labels=LABELS[1:])
    progress = Recorder()
    evaluate(features, folds, {"se": generated}, tmp_path / "out", CONFIG, only_folds=[1], progress=progress)
    assert "has no clip of 'across' for fold 1: the arm 'se' trains on real clips alone there" in progress.warnings[-1]


def test_cells_made_on_other_numbers_of_threads_are_told(tmp_path, features, folds):
    def warnings(n_threads: int, only_folds: list[int]) -> list[str]:
        torch.set_num_threads(n_threads)
        progress = Recorder()
        evaluate(features, folds, {}, tmp_path / "out", CONFIG, only_folds=only_folds, progress=progress)
        return [text for text in progress.warnings if "stored cells" in text]

    before = torch.get_num_threads()
    try:
        assert warnings(1, [0]) == warnings(1, [0, 1]) == []
        assert warnings(2, [0, 1]) == []  # nothing is left to train
        Cell("none", 1, 1).path(tmp_path / "out").unlink()
        (told,) = warnings(2, [0, 1])
    finally:
        torch.set_num_threads(before)
    assert told.startswith(
        "3 of the 3 stored cells were made on 1 thread of the CPU, the others are made on 2 threads of the CPU: scores"
    )


def test_folds_are_checked(tmp_path, features, folds):
    with pytest.raises(SettingsError, match="fold is 2"):
        evaluate(features, folds, {}, tmp_path / "out", CONFIG, only_folds=[2])
    one_sided = Folds(folds.about | {"folds": [{"test_groups": ["subject:nobody"], "test_recordings": [0, 0]}]})
    with pytest.raises(InputError, match="fold 0 has no clip of 'across' in its test part"):
        evaluate(features, one_sided, {}, tmp_path / "out", CONFIG)


def test_one_label_is_nothing_to_tell_apart(tmp_path):
    with new_feature_set(tmp_path / "one", MEL, SIZE, LABELS[:1], {"kind": "corpus"}) as writer:
        for name in ("a", "b", "c", "d"):
            clip = stripes("across", np.random.default_rng(0))
            writer.add(clip, id=name, recording=name, subject=name, label="across", start_s=0.0)
    features = FeatureSet.open(tmp_path / "one")
    tested = [{"test_groups": [f"subject:{a}", f"subject:{b}"], "test_recordings": [2]} for a, b in ("ab", "cd")]
    folds = Folds({"features": features.fingerprint, "group_by": "subject", "labels": LABELS[:1], "folds": tested})
    with pytest.raises(InputError, match="has one label, 'across'; expected two or more to tell apart"):
        evaluate(features, folds, {}, tmp_path / "out", CONFIG)


def test_warns_of_thin_folds_and_of_unknown_subjects(tmp_path):
    quiet, enough = Recorder(), write_real(tmp_path / "enough", subjects=10)  # five a label and fold
    config = CONFIG.with_changes(steps=5, seeds=1)
    evaluate(enough, make_folds(enough, 2), {}, tmp_path / "fine", config, progress=quiet)
    assert quiet.warnings == []

    few = write_real(tmp_path / "few", subjects=4, unknown=4)
    loud = Recorder()
    evaluate(few, make_folds(few, 2), {}, tmp_path / "out", config, only_folds=[1], progress=loud)
    grouped, thin = loud.warnings
    assert "grouped by recording" in grouped
    assert "few test recordings: 2 of 'across' in fold 1, 2 of 'along' in fold 1;" in thin
    evaluate(few, make_folds(few, 4), {}, tmp_path / "four", config, progress=loud)
    assert "1 of 'across' in fold 0, 1 of 'along' in fold 0," in loud.warnings[-1]
    assert "1 of 'across' in fold 2 and 3 more; with fewer than" in loud.warnings[-1]


def test_a_set_of_which_some_subjects_are_known_is_warned_of(tmp_path):
    some, progress = write_real(tmp_path / "some", unknown=1), Recorder()
    evaluate(some, make_folds(some, 2), {}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=1), progress=progress)
    assert "grouped by subject, else recording" in progress.warnings[0]


def test_a_classifier_that_diverges_is_not_stored(tmp_path, features, folds):
    wild = CONFIG.with_changes(learning_rate=1e30, steps=8)
    with pytest.raises(
        SettingsError, match=r"classifier of none, fold 0, seed 0 diverged.*Lower --learning-rate \(1e\+30"
    ):
        evaluate(features, folds, {}, tmp_path / "out", wild)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_the_segments_of_one_file_are_judged_one_by_one(tmp_path):
    """By what a table cuts: a vote of all that bear the label would be told the answer."""
    rng = np.random.default_rng(0)
    with new_feature_set(tmp_path / "cut", MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for subject in range(4):
            for start in range(6):
                name, label = f"r{subject}.wav@{start}.0-{start + 1}.0", LABELS[start % 2]
                for window in range(2):
                    about = {"recording": f"r{subject}.wav", "subject": str(subject), "start_s": start + window / 2}
                    writer.add(stripes(label, rng), id=f"{name}#{window}", label=label, **about)
    features = FeatureSet.open(tmp_path / "cut")
    scores = evaluate(features, make_folds(features, 2), {}, tmp_path / "out", CONFIG).scores["arms"]["none"]
    assert (scores["recording"]["tested"], scores["window"]["tested"]) == (24, 48)


def test_clips_of_one_recording_have_one_label(tmp_path):
    with new_feature_set(tmp_path / "mixed", MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for number in range(8):
            about = {"recording": f"r{number // 2}", "label": LABELS[number % 2], "start_s": 0.0}
            writer.add(stripes("along", np.random.default_rng(0)), id=f"r{number // 2}#{number % 2}", **about)
    features = FeatureSet.open(tmp_path / "mixed")
    with pytest.raises(InputError, match=r"clips of 'r0' in .*mixed have several labels; expected one a recording"):
        evaluate(features, make_folds(features, 2), {}, tmp_path / "out", CONFIG)


def test_a_fold_that_lacks_one_seed_is_not_scored(tmp_path, features, folds):
    evaluate(features, folds, {}, tmp_path / "out", CONFIG)
    Cell("none", 1, CONFIG.seeds - 1).path(tmp_path / "out").unlink()
    assert score_stored(tmp_path / "out")["folds"] == [0]
