"""Sets that `preprocess`, `augment`, `train` and `generate` make: none is done that lost a shard, and bars end full."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.augment import augment as augmenting
from clinaug_fast.augment.augment import _shown, augment
from clinaug_fast.config import AugmentConfig, ClipConfig, GanConfig
from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.runs import Silent
from conftest import MEL, RATE, files, sound, write_corpus


def test_a_made_set_that_has_lost_a_shard_is_not_done(tmp_path: Path, tiny_features, tiny_folds):
    small = GanConfig(width=2, latent_dim=8, steps=1, batch_size=6, n_critic=1)
    train(tiny_features, tiny_folds, tmp_path / "run", small, only_folds=[1])
    made, altered = tmp_path / "made", tmp_path / "altered"
    for again in (False, True):
        for make, out in (
            (lambda: generate(tmp_path / "run", tiny_features, tiny_folds, made, only_folds=[1]), made),
            (lambda: augment(tiny_features, altered, AugmentConfig(by="specaugment")), altered),
        ):
            if again:
                with pytest.raises(InputError, match=r"\.npy"):
                    make()
            else:
                make()
                next(out.rglob("*.npy")).unlink()


def test_recordings_that_begin_in_silence_are_altered_too_some_windows_at_a_time(tmp_path: Path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    silent = np.arange(round(1.2 * RATE)) < RATE // 4
    soundfile.write(corpus / "hum/p0_0.wav", np.where(silent, 0.0, sound("hum", 0)), RATE)
    preprocess(corpus, tmp_path / "set", MEL, ClipConfig(n_frames=32))
    features, config = FeatureSet.open(tmp_path / "set"), AugmentConfig(by="noise")
    assert "hum/p0_0.wav#0" not in features.column("id")
    augmenting.augment(features, tmp_path / "one", config, corpus=corpus)
    monkeypatch.setattr(augmenting, "WINDOWS_AT_ONCE", 3)
    augmenting.augment(features, tmp_path / "other", config, corpus=corpus)
    assert files(tmp_path / "one") == files(tmp_path / "other")


def test_what_is_done_ends_at_what_was_to_do(tmp_path: Path, tiny_corpus: Path, tiny_features, tiny_folds):
    class Counted(Silent):
        def __init__(self):
            self.left: list[int] = []

        def start(self, title: str, total: int) -> None:
            self.left.append(total)

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.left[-1] -= steps

    each = [Counted() for _ in range(4)]
    small = GanConfig(width=2, latent_dim=8, steps=2, batch_size=6, n_critic=1)
    preprocess(tiny_corpus, tmp_path / "set", MEL, ClipConfig(n_frames=32), progress=each[0])
    augment(tiny_features, tmp_path / "altered", AugmentConfig(by="specaugment", copies=2), progress=each[1])
    train(tiny_features, tiny_folds, tmp_path / "run", small, only_folds=[1], progress=each[2])
    generate(tmp_path / "run", tiny_features, tiny_folds, tmp_path / "made", only_folds=[1], progress=each[3])
    assert all(progress.left and not any(progress.left) for progress in each)


def test_an_audited_table_in_place_of_the_folder_is_told_as_another_corpus(tmp_path: Path, tiny_corpus: Path):
    """Whoever preprocessed the folder gave a pattern; whoever augments its clips gives none."""
    preprocess(tiny_corpus, tmp_path / "set", MEL, ClipConfig(n_frames=32), subject_pattern=r"(p\d)_")
    rows = [f"{path},{path.parent.name},{path.name[:2]}" for path in sorted(tiny_corpus.rglob("*.wav"))]
    (tmp_path / "audited.csv").write_text("\n".join(["path,label,subject", *rows]) + "\n")
    told = r"set was made with the subject pattern '\(p\\\\d\)_', but .*audited\.csv has a subject column"
    with pytest.raises(InputError, match=told):
        augment(
            FeatureSet.open(tmp_path / "set"),
            tmp_path / "noise",
            AugmentConfig(by="noise"),
            corpus=tmp_path / "audited.csv",
        )


@pytest.mark.parametrize("change", [{"seed": 1}, {"copies": 2}, {"mask": 0.3}])
def test_masks_of_other_settings_are_refused_by_name(tmp_path: Path, tiny_features, change):
    config = AugmentConfig(by="specaugment")
    augment(tiny_features, tmp_path / "out", config)
    name = next(iter(change))
    with pytest.raises(InputError, match=f"{name} is {getattr(config, name)} there, {change[name]} asked"):
        augment(tiny_features, tmp_path / "out", config.with_changes(**change))


def test_a_lost_picture_of_several_copies_is_drawn_as_it_was(tmp_path: Path, tiny_features):
    config = AugmentConfig(by="specaugment", copies=2)
    picture = augment(tiny_features, tmp_path / "out", config).picture
    drawn = picture.read_bytes()
    picture.unlink()
    assert augment(tiny_features, tmp_path / "out", config).already_done
    assert picture.read_bytes() == drawn


def test_the_picture_shows_each_label_by_its_own_clips(tiny_features):
    assert [set(tiny_features.classes[rows]) for rows in _shown(tiny_features)] == [{0}, {1}, {2}]
