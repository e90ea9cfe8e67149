"""Sizes of clips that train takes: those named where others come have no empty bands under the set's contract."""

from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.config import PRESETS, GanConfig
from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import make_folds
from clinaug_fast.gan.models import check_clip_shape
from clinaug_fast.gan.train import train
from clinaug_fast.mel import empty_bands

HEART = PRESETS["heart"].mel


@pytest.mark.parametrize(
    ("n_mels", "advised"), [(124, 112), (121, 112), (119, 112), (60, 64), (70, 64), (74, 80), (5, 16), (111, 112)]
)
def test_the_size_that_is_named_has_no_empty_bands(n_mels: int, advised: int):
    with pytest.raises(InputError, match=f"clips are {n_mels} mels x 64 frames.* --n-mels {advised} --n-frames 64 "):
        check_clip_shape((n_mels, 64), HEART.with_changes(n_mels=n_mels))
    assert not empty_bands(HEART.with_changes(n_mels=advised))


def test_without_a_contract_the_nearest_size_is_named():
    assert empty_bands(HEART.with_changes(n_mels=128))
    with pytest.raises(InputError, match="--n-mels 128 --n-frames 64 "):
        check_clip_shape((124, 64))


def test_train_names_a_size_that_suits_the_set(tmp_path: Path):
    mel = HEART.with_changes(n_mels=124)
    with new_feature_set(tmp_path / "set", mel, 16, ["a", "b"], {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for k in range(8):
            about = {"recording": f"r{k}", "subject": f"s{k}", "label": "ab"[k % 2], "start_s": 0.0}
            writer.add(np.zeros((124, 16), np.float32), id=f"r{k}#0", **about)
    features = FeatureSet.open(tmp_path / "set")
    with pytest.raises(InputError, match=r"clips are 124 mels x 16 frames.* --n-mels 112 --n-frames 16 "):
        train(features, make_folds(features, 2), tmp_path / "run", GanConfig(width=2, steps=1))
    assert not (tmp_path / "run").exists()
