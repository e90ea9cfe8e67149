"""Does an augmentation help? The same classifier, fold by fold, with and without generated clips.

Takes a feature set, its folds and generated feature sets; leaves a folder with `evaluation.json` (settings and
fingerprints), one Parquet file of predictions a cell (arm, fold, seed) and `scores.json`, computed from these files
alone. A killed evaluation goes on from the cells that are stored.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.data.feature_set import FeatureSet
from clinaug_fast.data.folds import Folds
from clinaug_fast.data.lineage import unseen_rows
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.evaluate.scores import BASELINE, Predictions, score
from clinaug_fast.evaluate.training import log_probabilities, train_classifier
from clinaug_fast.runs import Progress, Silent, fingerprint, provenance, read_json, refuse_changed, write_json

SCHEMA_VERSION = 1
FEW_RECORDINGS = 5  # fewer of a label in a test part, and one recording moves its F1 by a tenth or more

CELL_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # of the test clip
        pa.field("recording", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("log_probabilities", pa.list_(pa.float32()), nullable=False),  # in the order of the feature set's labels
    ]
)


@dataclass(frozen=True)
class EvaluationResult:
    """What `evaluate` left."""

    out: Path
    scores: dict[str, Any]  # scores.json, see scores.score
    trained: int  # cells trained by this call; the others were stored


@dataclass(frozen=True)
class Cell:
    """One classifier of the evaluation."""

    arm: str
    fold: int
    seed: int

    def path(self, out: Path) -> Path:
        return out / "cells" / self.arm / f"fold_{self.fold}_seed_{self.seed}.parquet"


def evaluate(
    features: FeatureSet,
    folds: Folds,
    synthetic: Mapping[str, FeatureSet],
    out: Path,
    config: ClassifierConfig,
    *,
    only_folds: Sequence[int] = (),
    device: str = "cpu",
    progress: Progress | None = None,
) -> EvaluationResult:
    """Compare the arm `none` (the real clips of a fold's training part) with one arm for each set in `synthetic`.

    An arm trains on the same real clips and on all clips that its generated set has for the fold, for the same number
    of gradient steps and with the same seeds as `none`. `only_folds` trains these folds now; the scores cover every
    fold of which all cells are stored, so folds may be run one by one or on several machines.

    Nothing is trained before every arm and fold has passed the checks. Raises LeakageError where a generator has seen
    a subject that its fold tests, InputError for sets that do not fit together, NaN in a clip or an output folder
    made with other settings, SettingsError for an unusable arm name or fold.
    """
    progress = progress or Silent()
    chosen = sorted(set(only_folds)) or list(range(len(folds)))
    _check_labels(features, folds, chosen, progress)
    _check_arms(features, folds, synthetic, chosen)
    arms = [BASELINE, *synthetic]
    _begin(out, _settings(features, folds, synthetic, config), device)

    missing = [cell for cell in _cells(arms, chosen, config) if not cell.path(out).exists()]
    progress.start("training classifiers", len(missing) * config.steps)
    for (fold, arm), cells in _by_training_part(missing):
        train, test = folds.rows(features, fold)
        clips, classes = _training_part(features, train, synthetic.get(arm), fold)
        test_clips = torch.from_numpy(features.clips(test))
        for cell in cells:
            model = train_classifier(
                clips,
                classes,
                len(features.labels),
                config,
                _seed(config, cell),
                device=torch.device(device),
                on_step=lambda cell=cell: progress.advance(note=f"{cell.arm}, fold {cell.fold}, seed {cell.seed}"),
            )
            _write_cell(cell.path(out), features, test, log_probabilities(model, test_clips, torch.device(device)))
    scores = rescore(out)
    return EvaluationResult(out, scores, len(missing))
