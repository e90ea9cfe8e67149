"""Quality as a whole: copies are told from what is new, and one folder holds what was measured."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError, LeakageError, SettingsError
from clinaug_fast.evaluate import fold_quality as module
from clinaug_fast.evaluate import quality as whole
from clinaug_fast.evaluate.fold_quality import FoldQuality
from clinaug_fast.evaluate.nearest import nearest, relative_spread
from clinaug_fast.evaluate.quality import _limit, _share_below, quality
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.lineage import altered_id, augmented_lineage, generated_lineage
from clinaug_fast.runs import Silent
from conftest import Recorder, files
from test_cross_validation import LABELS, MEL, SIZE, stripes, write_generated, write_real

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


def write_loud(path: Path, features: FeatureSet, chosen: np.ndarray | None = None) -> FeatureSet:
    """A copy of each clip, or of those chosen, some dB louder."""
    with new_feature_set(path, MEL, SIZE, LABELS, augmented_lineage(features, {"by": "gain"})) as writer:
        for row, clip in enumerate(features.clips()):
            if chosen is not None and not chosen[row]:
                continue
            about = {name: features.column(name)[row] for name in ("recording", "subject", "label", "start_s")}
            writer.add(clip + np.float32(1.0), id=altered_id("gain", 0, features.column("id")[row]), **about)
    return FeatureSet.open(path)


def write_lone(path: Path) -> FeatureSet:
    """One clip of each label on both sides of two folds."""
    rng = np.random.default_rng(1)
    with new_feature_set(path, MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for number, label in enumerate(LABELS * 2):
            name = f"{label}/{number}.wav"
            writer.add(stripes(label, rng), id=name, recording=name, subject=f"s{number}", label=label, start_s=0.0)
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
    assert progress.totals == 2 * [2 * 12, 112]  # of each fold: steps, and clips that may be copies
    progress = Recorder()
    assert quality(features, folds, arms, again, CONFIG, progress=progress).already_done
    assert not progress.totals
    with pytest.raises(InputError, match="steps is 12 there, 13 asked"):
        quality(features, folds, arms, again, CONFIG.with_changes(steps=13))
    with pytest.raises(InputError, match="arms is"):
        quality(features, folds, {"copies": arms["copies"]}, again, CONFIG)
    with pytest.raises(InputError, match=r"tested is \[0, 1\] there, \[1\] asked"):
        quality(features, folds, arms, again, CONFIG, only_folds=[1])
    about = json.loads((again / "quality.json").read_text())
    assert about["settings"]["folds"] == folds.fingerprint
    assert about["settings"]["features"] == features.fingerprint


def test_one_fold_alone(tmp_path, features, folds, arms):
    about = quality(features, folds, arms, tmp_path / "one", CONFIG, only_folds=[1]).about
    assert about["settings"]["tested"] == [1]
    assert about["arms"]["copies"]["frechet"]["sd"] is None
    assert {pair["fold"] for pair in about["arms"]["copies"]["closest"]} == {1}


def test_an_augmented_set_is_measured_by_its_training_recordings(tmp_path, features, folds):
    arms = {"loud": write_loud(tmp_path / "loud", features)}
    about = quality(features, folds, arms, tmp_path / "out", CONFIG).about["arms"]["loud"]
    assert about["clips"] == len(features)  # each trains one of two folds
    assert about["near_copies"]["mean"] == 1.0


def test_a_label_that_a_set_lacks_is_left_out_and_told(tmp_path, features, folds):
    arms = {"half": write_generated(tmp_path / "half", features, folds, labels=LABELS[:1])}
    progress = Recorder()
    about = quality(features, folds, arms, tmp_path / "out", CONFIG, progress=progress).about
    assert len(progress.warnings) == 2
    assert "is compared without the clips of 'along': a set, the test part" in progress.warnings[0]
    assert about["arms"]["half"]["clips"] == 16


def test_what_cannot_be_measured_is_refused(tmp_path, features, folds, arms):
    def measure(sets, **changes):
        return quality(features, changes.pop("folds", folds), sets, tmp_path / "out", CONFIG, **changes)

    with pytest.raises(SettingsError, match="no generated or augmented set is given"):
        measure({})
    with pytest.raises(SettingsError, match="an arm is named 'none'"):
        measure({"none": arms["new"]})
    with pytest.raises(SettingsError, match="a set is named 'real'"):
        measure({"real": arms["new"]})
    lone = write_lone(tmp_path / "lone")
    lone_folds = make_folds(lone, 2)
    with pytest.raises(InputError, match="fold 0 has no label of which"):
        quality(lone, lone_folds, {"g": write_generated(tmp_path / "l", lone, lone_folds)}, tmp_path / "out", CONFIG)
    poisoned = write_real(tmp_path / "poisoned", bad=np.nan)
    with pytest.raises(InputError, match="hold NaN or infinity"):
        quality(poisoned, make_folds(poisoned, 2), {"g": arms["new"]}, tmp_path / "out", CONFIG)
    with pytest.raises(LeakageError, match="was trained on"):
        measure({"new": arms["new"]}, folds=make_folds(features, 2, seed=1))
    few = write_real(tmp_path / "few", subjects=2)
    few_folds = make_folds(few, 2)
    with pytest.raises(InputError, match=r"trains on 'subject:s0[01]' alone"):
        quality(few, few_folds, {"g": write_generated(tmp_path / "g", few, few_folds)}, tmp_path / "out", CONFIG)
    (tmp_path / "out").mkdir()
    progress = Recorder()
    with pytest.raises(InputError, match="exists already"):
        measure({"new": arms["new"]}, progress=progress)
    assert not progress.totals  # before anything is trained
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


class Spied:
    """What an evaluation of one fold trained and embedded, by the rows of `features`, or of a set."""

    def __init__(self, monkeypatch, features: FeatureSet, sets: dict[str, FeatureSet]):
        self.rows = {clip.tobytes(): ("real", row) for row, clip in enumerate(features.clips())}
        for name, made in sets.items():
            self.rows |= {clip.tobytes(): (name, row) for row, clip in enumerate(made.clips())}
        self.trained, self.embedded = [], []
        self._train, self._embed = module.train_classifier, module._embedded
        monkeypatch.setattr(module, "train_classifier", self.train)
        monkeypatch.setattr(module, "_embedded", self.embed)

    def of(self, clips) -> tuple[str, list[int]]:
        names, rows = zip(*(self.rows[np.asarray(clip).tobytes()] for clip in clips), strict=True)
        assert len(set(names)) == 1
        return names[0], list(rows)

    def train(self, clips, *arguments, **named):
        self.trained.append(self.of(clips)[1])
        self.embedded.append([])
        return self._train(clips, *arguments, **named)

    def embed(self, model, clips, device):
        self.embedded[-1].append(self.of(clips))
        return self._embed(model, clips, device)


def test_an_embedder_sees_half_of_the_subjects_and_is_shown_others(tmp_path, monkeypatch, features, folds, arms):
    loud = write_loud(tmp_path / "loud", features)
    sets = {"loud": loud, "new": arms["new"]}
    spied = Spied(monkeypatch, features, sets)
    quality(features, folds, sets, tmp_path / "out", CONFIG, only_folds=[1])
    train, test = folds.rows(features, 1)
    assert sorted(spied.trained[0] + spied.trained[1]) == train.tolist()
    for seen, shown in zip(spied.trained, spied.embedded, strict=True):
        groups = set(features.groups[seen])
        assert 0 < len(groups) < len(set(features.groups[train]))
        unseen = [row for row in train if features.groups[row] not in groups]
        assert sorted(seen + unseen) == train.tolist()
        (of_test, tested), (of_real, real), (of_loud, altered), (of_new, drawn) = shown
        assert (of_test, of_real, of_loud, of_new) == ("real", "real", "loud", "new")
        assert set(tested) <= set(test.tolist())
        assert set(real) <= set(unseen)
        assert set(altered) <= set(unseen)  # a copy has the row of its original
        assert (arms["new"].column("fold")[drawn] == 1).all()
        labels = features.classes[tested].tolist()
        assert labels == sorted(labels)
        for classes in (features.classes[real], loud.classes[altered], arms["new"].classes[drawn]):
            assert classes.tolist() == labels
        assert np.bincount(labels).tolist() == [8, 8]  # as many as all have


def test_spread_and_limit_are_those_of_all_test_clips(measured, features, folds, arms):
    about = json.loads((measured / "quality.json").read_text())
    ratios, classes = [], []
    for fold in range(2):
        train, test = folds.rows(features, fold)
        training = features.clips(train)
        found = nearest(features.clips(test), training, features.groups[train])
        ratios, classes = [*ratios, *found.ratios], [*classes, *features.classes[test]]
        spread = relative_spread(features.clips(test), features.classes[test], training, features.classes[train])
        assert about["real"]["spread"]["by_fold"][fold] == pytest.approx(spread, abs=1e-6)
        rows = arms["noisy"].column("fold") == fold
        noisy = relative_spread(
            arms["noisy"].clips(rows), arms["noisy"].classes[rows], training, features.classes[train]
        )
        assert about["arms"]["noisy"]["spread"]["by_fold"][fold] == pytest.approx(noisy, abs=1e-6)
    assert about["near_limit"] == pytest.approx(min(ratios), abs=1e-6)  # of 64 clips a hundredth is less than one


def test_each_label_counts_alike_for_the_limit():
    ratios = np.concatenate([np.linspace(0.1, 0.2, 100), np.linspace(0.5, 0.9, 900)])
    classes = np.repeat([0, 1], [100, 900])
    fold = FoldQuality({}, {}, {"real": classes}, {"real": ratios}, {})
    limit = _limit([fold], Silent(), "subject")
    assert np.mean([np.mean(ratios[classes == label] < limit) for label in (0, 1)]) == pytest.approx(0.01, abs=0.005)
    assert _share_below(limit, ratios, classes) <= 0.01


def test_a_few_twins_among_real_clips_hide_no_copy(tmp_path):
    real = write_real(tmp_path / "real", subjects=12)
    with new_feature_set(tmp_path / "twins", MEL, SIZE, LABELS, {"kind": "corpus"}) as writer:
        for row, clip in enumerate(real.clips()):
            about = {name: real.column(name)[row] for name in ("id", "recording", "subject", "label", "start_s")}
            writer.add(clip, **about)
            if row in (0, 2):
                again = {name: f"{about[name]} again" for name in ("id", "recording", "subject")}
                writer.add(clip, **about | again)
    features = FeatureSet.open(tmp_path / "twins")
    folds = next(
        made
        for made in (make_folds(features, 2, seed) for seed in range(20))
        if sum(
            ("subject:s00" in made.test_groups(k)) and ("subject:s00 again" not in made.test_groups(k)) for k in (0, 1)
        )
    )
    copies, progress = {"copies": write_copies(tmp_path / "copies", features, folds, 0.01)}, Recorder()
    about = quality(features, folds, copies, tmp_path / "out", CONFIG, progress=progress).about
    assert "test clips have a twin in the training part of their fold, under another subject" in progress.warnings[-1]
    assert about["near_limit"] > 0.5
    assert about["arms"]["copies"]["near_copies"]["mean"] > 0.9


def test_the_order_of_the_sets_changes_nothing(measured, tmp_path, features, folds, arms):
    turned = dict(reversed(arms.items()))
    assert (
        quality(features, folds, turned, tmp_path / "out", CONFIG).about["arms"]
        == json.loads((measured / "quality.json").read_text())["arms"]
    )


def test_the_picture_has_the_real_clip_above_its_copy(measured, tmp_path, monkeypatch, features, folds, arms):
    drawn = {}
    monkeypatch.setattr(
        whole, "save_real_above", lambda path, real, made, *rest: drawn.update({path.parent.name: (real, made)})
    )
    about = quality(features, folds, arms, tmp_path / "out", CONFIG).about
    for arm, made in arms.items():
        for pair, above, below in zip(about["arms"][arm]["closest"], *drawn[arm], strict=True):
            assert np.array_equal(above[0], features.clips(features.column("id") == pair["real"])[0])
            assert np.array_equal(below[0], made.clips(made.column("id") == pair["id"])[0])


def test_of_each_original_the_nearest_clip_is_told(measured, features, folds, arms):
    about = json.loads((measured / "quality.json").read_text())
    best = {}
    for fold in range(2):
        train, _ = folds.rows(features, fold)
        clips = arms["new"].clips(arms["new"].column("fold") == fold)
        found = nearest(clips, features.clips(train), features.groups[train])
        for row, ratio in zip(features.column("id")[train[found.rows]], found.ratios, strict=True):
            best[row] = min(ratio, best.get(row, 1.0))
    told = [pair["ratio"] for pair in about["arms"]["new"]["closest"]]
    assert told == pytest.approx(sorted(best.values())[:6], abs=1e-6)


def test_a_set_too_small_for_a_half_is_refused_before_anything_is_trained(tmp_path, features, folds):
    one_a_fold = {min(folds.test_groups(fold)) for fold in range(2)}
    few = write_loud(tmp_path / "few", features, np.array([group in one_a_fold for group in features.groups]))
    progress = Recorder()
    with pytest.raises(InputError, match="has no label of which its test part, half of its training part"):
        quality(features, folds, {"few": few}, tmp_path / "out", CONFIG, progress=progress)
    assert not progress.notes


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
    frechet = [of["frechet"]["mean"] for of in (about["real"], about["arms"]["ours"])]
    digits = max(2, 2 - int(np.floor(np.log10(max(frechet)))))
    assert table[2][:2] == ["ours", f"{frechet[1]:.{digits}f}"]
    assert "100.0 ± 0.0" in result.stdout
    assert str(tmp_path / "out" / "closest" / "ours" / "pairs.png") in result.stdout
    again = cli(*named, "--json")
    told = json.loads(again.stdout)
    assert told["already_done"]
    picture = tmp_path / "out/closest/ours/pairs.png"
    drawn = picture.read_bytes()
    shutil.rmtree(picture.parent)
    assert cli(*named).exit_code == 0
    assert picture.read_bytes() == drawn
    assert told["arms"] == about["arms"]
    (tmp_path / "folds.json").write_text(json.dumps(folds.about))
    (real / "folds.json").unlink()
    options = ("--folds", tmp_path / "folds.json", "--fold", 1, "--seed", 7)
    result = cli("quality", real, tmp_path / "one", *named[3:], *options)
    assert result.exit_code == 0, result.stderr
    settings = json.loads((tmp_path / "one/quality.json").read_text())["settings"]
    assert (settings["tested"], settings["seed"], settings["width"], settings["steps"]) == ([1], 7, 2, 5)
    assert cli("quality", real, tmp_path / "none", "--folds", tmp_path / "folds.json").exit_code == 2
    assert cli("quality", arms["copies"].path, tmp_path / "none", "--synthetic", real).exit_code == 3


def test_the_copies_of_some_recordings_are_told_by_their_own_originals(tmp_path, features, folds):
    some = write_loud(tmp_path / "some", features, np.arange(len(features)) % 3 > 0)
    pairs = quality(features, folds, {"loud": some}, tmp_path / "q", CONFIG.with_changes(steps=1)).about["arms"]["loud"]
    assert [pair["id"] for pair in pairs["closest"]] == [f"gain0/{pair['real']}" for pair in pairs["closest"]]
