"""A command repeated where its output stands: what was lost is told, what is asked for anew holds, names fit."""

import json
from pathlib import Path

import pytest

from clinaug_fast.augment.augment import augment
from clinaug_fast.config import AugmentConfig, ClassifierConfig, ClipConfig, GanConfig
from clinaug_fast.errors import InputError, RejectedError, SettingsError
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.features.feature_set import FeatureSet, feature_set_fingerprint
from clinaug_fast.features.folds import Folds, write_folds
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess.draft import LONGEST_NAME
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, write_corpus

CLIP = ClipConfig(n_frames=32)


def test_a_set_that_has_lost_a_shard_is_not_called_made(tiny_corpus: Path, tmp_path: Path) -> None:
    preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP)
    (tmp_path / "out/shards/00000.npy").unlink()
    with pytest.raises(InputError, match=r"00000\.npy cannot be read: .* Restore it, or remove the feature set"):
        preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP)


def test_a_part_that_stands_takes_the_limit_that_is_asked_for(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum/p0_0.wav").write_bytes(b"no audio")
    made = preprocess(corpus, tmp_path / "out", MEL, CLIP, part=Part(0, 1), max_bad=0.0).out
    with pytest.raises(RejectedError, match="expected at most 0"):
        merge([made], tmp_path / "out")
    for folder in tmp_path.glob("out*"):
        if folder != made:
            folder.rename(tmp_path / f"strict {folder.name}")
    again = preprocess(corpus, tmp_path / "other", MEL, CLIP, part=Part(0, 1), max_bad=0.0)
    again = preprocess(corpus, tmp_path / "other", MEL, CLIP, part=Part(0, 1), max_bad=0.5)
    assert again.already_done
    assert json.loads((again.out / "part.json").read_text())["max_bad"] == 0.5
    assert merge([again.out], tmp_path / "other").kept == 17


def test_a_name_that_leaves_no_room_for_others_is_refused_before_any_work(tiny_corpus: Path, tmp_path: Path) -> None:
    assert preprocess(tiny_corpus, tmp_path / ("o" * LONGEST_NAME), MEL, CLIP).counts.kept == 18
    assert len(list(tmp_path.iterdir())) == 2  # the receipt beside it
    with pytest.raises(InputError, match=f"has {LONGEST_NAME + 1} bytes; expected at most {LONGEST_NAME}"):
        preprocess(tiny_corpus, tmp_path / ("o" * (LONGEST_NAME + 1)), MEL, CLIP)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("text", ["1/" + "9" * 5000, "9" * 5000 + "/1"])
def test_a_part_of_endless_digits_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected I/N"):
        Part.parse(text)


def test_a_link_that_leads_nowhere_is_told(tiny_corpus: Path, tiny_features, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("away")
    folds = Folds.load(tiny_features.path / "folds.json")
    for make in (
        lambda: write_folds(folds, link),
        lambda: train(tiny_features, folds, link, GanConfig()),
        lambda: evaluate(tiny_features, folds, {}, link, ClassifierConfig()),
        lambda: preprocess(tiny_corpus, link, MEL, CLIP),
    ):
        with pytest.raises(InputError, match="is a link to away, which is not there"):
            make()


def test_altered_clips_tell_the_recipe_and_the_arithmetic_that_made_them(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess(tiny_corpus, tmp_path / "set", MEL, CLIP)
    features, out = FeatureSet.open(tmp_path / "set"), tmp_path / "noise"
    noise, masks = AugmentConfig(by="noise"), AugmentConfig(by="specaugment")
    augment(features, out, noise, corpus=tiny_corpus)
    augment(features, tmp_path / "masks", masks)
    monkeypatch.setattr("clinaug_fast.native.ARITHMETIC", "another")
    told = "was made by a build or on a processor whose altered clips are others"
    with pytest.raises(InputError, match=told):
        augment(features, out, noise, corpus=tiny_corpus)
    assert augment(features, tmp_path / "masks", masks).already_done  # no sound, no kernel
    with pytest.raises(InputError, match="by is 'specaugment' there, 'noise' asked"):
        augment(features, tmp_path / "masks", noise, corpus=tiny_corpus)
    monkeypatch.setattr("clinaug_fast.augment.augment.RECIPE", 0)
    with pytest.raises(InputError, match=told):
        augment(features, tmp_path / "masks", masks)


def test_clips_that_librosa_altered_tell_its_version(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    librosa = pytest.importorskip("librosa")
    version = librosa.__version__
    preprocess(tiny_corpus, tmp_path / "set", MEL, CLIP)
    features, out, faster = FeatureSet.open(tmp_path / "set"), tmp_path / "faster", AugmentConfig(by="stretch")
    made = augment(features, out, faster, corpus=tiny_corpus).features
    assert made.lineage["librosa"] == version
    monkeypatch.setattr(librosa, "__version__", "0.1")
    with pytest.raises(InputError, match=rf"was made with librosa {version}; expected 0.1, which is installed"):
        augment(features, out, faster, corpus=tiny_corpus)
    about = json.loads((out / "features.json").read_text())
    del about["lineage"]["librosa"]  # as an earlier build made it
    about["fingerprint"] = feature_set_fingerprint(about, out / "index.parquet")
    (out / "features.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="was made by a build or on a processor whose altered clips are others"):
        augment(features, out, faster, corpus=tiny_corpus)
