"""Streams of random numbers: each purpose has its own, whatever numbers it shares with others."""

from clinaug_fast.evaluate.cross_validation import classifier_seed
from clinaug_fast.evaluate.predictions import Cell
from clinaug_fast.seeds import derived_seed


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
