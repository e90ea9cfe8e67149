"""Several runs at once in the threads of one process: each as if it were alone."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from clinaug_fast.config import ClassifierConfig, GanConfig
from clinaug_fast.errors import InputError
from clinaug_fast.evaluate.cross_validation import evaluate, score_stored
from clinaug_fast.evaluate.predictions import Cell
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess.draft import open_draft
from clinaug_fast.preprocess.memory import frugal_arrow
from clinaug_fast.runs import atomic_file, atomic_folder
from conftest import files

SMALL = GanConfig(width=2, latent_dim=8, steps=2, batch_size=6, n_critic=1, seed=5)
CLASSIFIER = ClassifierConfig(width=2, steps=2, batch_size=8, seeds=1)

pytestmark = pytest.mark.usefixtures("one_thread")


def at_once(*calls: Callable[[], object]) -> list[BaseException]:
    """What they raised."""
    raised, gate = [], threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> None:
        gate.wait()
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_generators_trained_at_once_are_those_trained_alone(tiny_features, tiny_folds, tmp_path):
    train(tiny_features, tiny_folds, tmp_path / "alone", SMALL)
    alone, state = files(tmp_path / "alone"), torch.get_rng_state()
    for k in range(4):
        fold_of = partial(train, tiny_features, tiny_folds, tmp_path / f"run{k}", SMALL)
        assert not at_once(*(partial(fold_of, only_folds=[fold]) for fold in range(3)))
        assert files(tmp_path / f"run{k}") == alone
    assert torch.equal(torch.get_rng_state(), state)


def test_classifiers_trained_at_once_are_those_trained_alone(tiny_features, tiny_folds, tmp_path):
    evaluate(tiny_features, tiny_folds, {}, tmp_path / "alone", CLASSIFIER)
    alone = files(tmp_path / "alone")
    for k in range(4):
        fold_of = partial(evaluate, tiny_features, tiny_folds, {}, tmp_path / f"evaluation{k}", CLASSIFIER)
        assert not at_once(*(partial(fold_of, only_folds=[fold]) for fold in range(3)))
        assert files(tmp_path / f"evaluation{k}") == alone


def test_scores_are_of_all_folds_that_are_stored_when_they_are_written(
    tiny_features, tiny_folds, tmp_path, monkeypatch
):
    """Another process stores a fold, and its scores, while this one scores what it has seen."""
    out = tmp_path / "out"
    evaluate(tiny_features, tiny_folds, {}, out, CLASSIFIER)
    whole = (out / "scores.json").read_bytes()
    late = Cell("none", 2, 0).path(out)
    stored = late.read_bytes()
    late.unlink()

    def scored(*x):
        made = score(*x)
        late.write_bytes(stored)
        return made

    from clinaug_fast.evaluate import cross_validation

    score = cross_validation.score
    monkeypatch.setattr(cross_validation, "score", scored)
    assert score_stored(out)["folds"] == [0, 1, 2]
    assert (out / "scores.json").read_bytes() == whole


def test_drafts_of_one_file_in_several_threads_are_apart(tmp_path: Path):
    with atomic_file(tmp_path / "x") as one, atomic_file(tmp_path / "x") as other:
        one.write_text("1")
        other.write_text("2")
    assert (tmp_path / "x").read_text() == "1"
    one, other = atomic_folder(tmp_path / "f"), atomic_folder(tmp_path / "f")
    (one.__enter__() / "a").write_text("1")
    (other.__enter__() / "b").write_text("2")
    other.__exit__(None, None, None)
    with pytest.raises(OSError, match="not empty"):
        one.__exit__(None, None, None)
    assert files(tmp_path) == {"x": b"1", "f/b": b"2"}
    assert not list(tmp_path.glob(".*"))


def test_of_two_splits_at_once_one_is_refused(tiny_features, tmp_path):
    splits = [make_folds(tiny_features, 3, seed) for seed in (1, 2)]
    for k in range(20):
        path = tmp_path / f"{k}.json"
        (error,) = at_once(*(partial(write_folds, split, path) for split in splits))
        assert isinstance(error, InputError)
        assert "was made with other settings: seed is" in str(error)
        assert Folds.load(path).about in [split.about for split in splits]
    assert not list(tmp_path.glob(".*"))


def test_who_begins_while_a_draft_is_removed_keeps_what_it_makes(tmp_path: Path):
    """The first one has found nothing to keep, and lets go of its draft while others begin."""
    out, made = tmp_path / "out", []

    def make(name: str) -> None:
        with open_draft(out, {"shard": "none", "name": name}) as draft:
            draft.files(sidecars_stay=False)
            np.save(draft.set / "shards/0.npy", np.zeros(3))
            assert np.load(draft.set / "shards/0.npy").shape == (3,)
            made.append(name)

    def make_often(name: str) -> None:
        for _ in range(300):
            with suppress_busy():
                make(name)

    assert not at_once(*(partial(make_often, name) for name in "abc"))
    assert made
    assert list(tmp_path.iterdir()) == []


@contextmanager
def suppress_busy() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        if "another process is making" not in str(error):
            raise


def test_a_lock_goes_with_its_run_although_a_child_has_it_open(tmp_path: Path):
    out, settings = tmp_path / "out", {"shard": "none"}
    with open_draft(out, settings) as draft:
        (draft.folder / "blocks").mkdir()
        (draft.folder / "blocks/00000.json").write_text("{}")  # so that it stays
        child = os.fork()
        if not child:
            signal.pause()
    try:
        with open_draft(out, settings) as draft:
            assert draft is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_arrows_allocator_is_as_before_after_the_last_of_several_runs():
    before = pa.default_memory_pool().backend_name
    one, other = frugal_arrow(), frugal_arrow()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == "system"
    other.__exit__(None, None, None)
    assert pa.default_memory_pool().backend_name == before
