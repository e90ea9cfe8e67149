"""The sound that clips were cut from, and how it is told that it is another's."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from clinaug_fast.augment.sources import sources_of, waveform
from clinaug_fast.config import ClipConfig
from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL

CLIP = ClipConfig(n_frames=32)


def test_sound_that_lacks_a_window_or_is_compared_with_no_number_is_not_that_of_the_set(tmp_path: Path, tiny_corpus):
    preprocess(tiny_corpus, tmp_path / "set", MEL, CLIP)
    features = FeatureSet.open(tmp_path / "set")
    sources = sources_of(features, tiny_corpus)
    source, clip = sources.each[0], features.clips([0])[0]
    assert waveform(source, clip, sources, features).shape == (9600,)
    short = dataclasses.replace(source, windows=np.array([0, 99]))
    for which, first_clip in ((short, clip), (source, clip * np.nan)):
        with pytest.raises(InputError, match=r"does not hold the sound that .*set was made of"):
            waveform(which, first_clip, sources, features)


def test_the_longest_recording_is_as_long_as_the_set_says_in_hours(tmp_path: Path, tiny_corpus):
    preprocess(tiny_corpus, tmp_path / "set", MEL, CLIP, max_hours=0.5)
    features = FeatureSet.open(tmp_path / "set")
    assert sources_of(features, tiny_corpus).settings.max_seconds == 1800.0


@pytest.mark.parametrize("what", ["clip", "name"])
def test_a_set_that_tells_of_other_clips_is_refused(tmp_path: Path, tiny_corpus, monkeypatch, what: str):
    preprocess(tiny_corpus, tmp_path / "set", MEL, CLIP)
    features = FeatureSet.open(tmp_path / "set")
    if what == "clip":
        features.about["clip"]["n_frames"] = 48
        told = "does not tell how clips were cut: its clip has 48 frames, its clips 32"
    else:
        ids = [f"x{name}" for name in features.index.column("id").to_pylist()]
        features = dataclasses.replace(features, index=features.index.set_column(0, "id", [ids]))
        told = "has clips of 'xhiss/p0_0.wav', which are not windows of"
    with pytest.raises(InputError, match=told):
        sources_of(features, tiny_corpus)
