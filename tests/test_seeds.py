"""Streams of random numbers: each purpose has its own, whatever numbers it shares with others."""

from pathlib import Path

import pytest

from clinaug_fast.config import ClassifierConfig
from clinaug_fast.evaluate import fold_quality
from clinaug_fast.evaluate.cross_validation import classifier_seed
from clinaug_fast.evaluate.predictions import Cell
from clinaug_fast.evaluate.quality import quality
from clinaug_fast.features.folds import make_folds
from clinaug_fast.seeds import derived_seed
from test_cross_validation import write_generated, write_real


def test_the_same_numbers_give_each_purpose_a_stream_of_its_own():
    purposes = ("steps of a GAN", "first weights of a GAN", "generated clips", "classifier", "order of clips")
    numbers = [(seed, fold, more) for seed in range(3) for fold in range(5) for more in range(5)]
    seeds = [derived_seed(purpose, *these) for purpose in purposes for these in numbers]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_a_trailing_zero_is_another_stream_where_the_purpose_is_another():
    for fold in range(5):
        trained = derived_seed("steps of a GAN", 0, fold)
        assert len({trained, derived_seed("generated clips", 0, fold, 0), classifier_seed(0, Cell("se", fold, 0))}) == 3


def test_the_same_again():
    assert derived_seed("generated clips", 1, 2, 3) == derived_seed("generated clips", 1, 2, 3)


def test_seeds_are_those_of_earlier_versions():
    """Others are other clips and scores of the same settings: count up what tells of that before this is changed."""
    assert derived_seed("generated clips", 1, 2, 3) == 1407523163
    assert derived_seed("noise of hum/p0_0.wav#0", 0, 1) == 447159220


def test_folds_and_their_halves_share_no_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def noted(purpose: str, *numbers: int) -> int:
        seeds.append((purpose, *numbers))
        return derived_seed(purpose, *numbers)

    seeds: list[tuple[str | int, ...]] = []
    monkeypatch.setattr(fold_quality, "derived_seed", noted)
    features = write_real(tmp_path / "real", subjects=16)
    folds = make_folds(features, 2)
    made = write_generated(tmp_path / "made", features, folds)
    config = ClassifierConfig(width=2, steps=1, batch_size=4, seed=7)
    quality(features, folds, {"made": made}, tmp_path / "q", config)
    own = [it for fold in range(2) for it in (("halves", 7, fold), ("embedder", 7, fold, 0), ("embedder", 7, fold, 1))]
    assert [it for it in seeds if it[0] in ("halves", "embedder")] == own
