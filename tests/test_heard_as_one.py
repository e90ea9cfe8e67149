"""What counts as one recording where clip ids name no window: evaluate counts as split does."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from clinaug_fast.evaluate.cross_validation import evaluate, score_stored
from clinaug_fast.features.feature_set import FeatureSet, heard_as_one, new_feature_set
from clinaug_fast.features.folds import make_folds
from test_cross_validation import CONFIG, LABELS, MEL, SIZE, stripes


def test_clips_whose_ids_name_no_window_are_their_recordings():
    ids = pa.chunked_array([["a.wav#0", "a.wav@0.0-1.0#3", "clip000", "b#x"]])
    recordings = pa.chunked_array([["a.wav", "a.wav", "c.wav", "b.wav"]])
    assert heard_as_one(ids, recordings).to_pylist() == ["a.wav", "a.wav@0.0-1.0", "c.wav", "b.wav"]


def test_evaluate_counts_recordings_as_split_does(tmp_path: Path):
    rng = np.random.default_rng(0)
    with new_feature_set(tmp_path / "set", MEL, SIZE, LABELS, {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for recording in range(8):
            label = LABELS[recording % 2]
            for _ in range(3):
                about = {"recording": f"{recording}.wav", "subject": f"s{recording}", "label": label, "start_s": 0.0}
                writer.add(stripes(label, rng), id=f"clip{len(writer):03}", **about)
    features = FeatureSet.open(tmp_path / "set")
    folds = make_folds(features, 2)
    split = np.array([fold["test_recordings"] for fold in folds.about["folds"]])
    evaluate(features, folds, {}, tmp_path / "out", CONFIG.with_changes(steps=1, seeds=1))
    scores = score_stored(tmp_path / "out")["arms"]["none"]
    assert scores["recording"]["tested"] == split.sum() == 8
    assert scores["window"]["tested"] == 24
