"""What is begun ahead, kept or sent does not grow with the corpus, nor with threads beyond what memory has room for."""

import json
import pickle
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from clinaug_fast.augment import augment
from clinaug_fast.config import GanConfig
from clinaug_fast.corpus.origins import label_by_origin
from clinaug_fast.errors import InputError
from clinaug_fast.features import feature_set
from clinaug_fast.gan import generate
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess import cluster, pipeline, workers
from clinaug_fast.preprocess.memory import INTERPRETER_BYTES
from conftest import MEL
from test_preprocess import CLIP


def test_altered_recordings_wait_for_their_turn_in_small_numbers(monkeypatch) -> None:
    """One long recording in front, and all others would be made while it is and wait in memory."""
    begun = []
    monkeypatch.setattr(augment, "_with_first_clips", lambda features, sources: ((it, None) for it in sources.each))
    monkeypatch.setattr(augment, "_copies_of", lambda *given: begun.append(given[-2]) or given[-2])
    parts = augment._parts(None, SimpleNamespace(each=range(100)), None, 3)
    for number, made in enumerate(parts):
        assert made == number
        assert len(begun) <= number + 2 * 3 + 1
    assert sorted(begun) == list(range(100))  # threads are not as orderly as what they make


def test_no_more_threads_begin_batches_than_memory_has_room_for(tiny_corpus: Path, tmp_path: Path, monkeypatch) -> None:
    asked = []

    class Pool(workers.ThreadPoolExecutor):
        def __init__(self, threads: int):
            asked.append(threads)
            super().__init__(threads)

    monkeypatch.setattr(workers, "ThreadPoolExecutor", Pool)
    of_a_batch = 2 * (workers.BATCH_BYTES + workers.PENDING_BYTES)
    for threads, room, expected in ((64, 6, 6), (64, 64, 64), (5, 6, 5), (64, 1, workers.FEWEST_BATCHES)):
        memory = INTERPRETER_BYTES + room * of_a_batch
        out = tmp_path / f"{threads} {room}"
        pipeline.preprocess(tiny_corpus, out, MEL, CLIP, threads=threads, memory=memory)
        assert asked.pop() == expected
        assert json.loads(out.with_name(f"{out.name}.receipt.json").read_text())["threads"] == expected


def test_a_worker_of_a_cluster_has_its_own_bounds(tiny_corpus: Path, tmp_path: Path, monkeypatch) -> None:
    """It is told the threads, and not by way of `preprocess`; what waits is bounded as what is under way is."""
    bounds, within = [], workers.within_memory
    monkeypatch.setattr(pipeline, "within_memory", lambda n, memory: n)
    monkeypatch.setattr(
        workers, "within_memory", lambda n, memory: bounds.append((n, within(n, memory))) or bounds[-1][1]
    )
    memory = INTERPRETER_BYTES + 6 * 2 * (workers.BATCH_BYTES + workers.PENDING_BYTES)
    pipeline.preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, threads=5, memory=memory)
    assert bounds == [(5, 5), (10, 6)]


def test_clips_that_fit_on_the_threads_that_there_are_memory_for_are_not_refused(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    memory = INTERPRETER_BYTES + 4 * 2 * (workers.BATCH_BYTES + workers.PENDING_BYTES)
    long = CLIP.with_changes(n_frames=12_000)
    assert pipeline.preprocess(tiny_corpus, tmp_path / "out", MEL, long, threads=64, memory=memory)


def test_of_clips_that_are_no_numbers_the_first_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(feature_set, "CLIPS_AT_ONCE", 4)
    with feature_set.new_feature_set(tmp_path / "set", MEL, 8, ["a"], {"kind": "corpus"}) as writer:
        for k in range(19):
            clip = np.full((MEL.n_mels, 8), np.nan if k in (6, 7, 17) else 0.0, np.float32)
            writer.add(clip, id=f"clip {k}", recording=f"{k}", label="a", start_s=0.0)
    made = feature_set.FeatureSet.open(tmp_path / "set")
    made.refuse_not_finite(np.arange(6))
    with pytest.raises(InputError, match=r"3 of 14 clips of .* hold NaN or infinity, the first is 'clip 6'"):
        made.refuse_not_finite(np.arange(5, 19))


def test_a_task_of_a_cluster_carries_its_own_rows_alone(monkeypatch) -> None:
    distributed = pytest.importorskip("distributed")

    @dataclass(frozen=True)
    class Job:
        gone: frozenset[str] | None = None

    sent = []
    monkeypatch.setattr(distributed, "Client", lambda address: nullcontext())
    monkeypatch.setattr(cluster, "_wait_for_workers", lambda *given: None)
    monkeypatch.setattr(cluster, "_as_they_end", lambda client, tasks, *given: sent.extend(tasks) or iter(()))
    table = pa.table({"path": [f"a label/a recording {k:06}.wav" for k in range(20_000)]})
    blocks = [(number, table.slice(1000 * number, 1000)) for number in range(20)]
    cluster.run_blocks_on_dask("tcp://nowhere", Job(), blocks, 1, None, lambda: False)
    assert [task.rows for task in sent] == [rows for _, rows in blocks]
    assert sum(len(pickle.dumps(task.rows, 5)) for task in sent) < 1.5 * len(pickle.dumps(table, 5))


def test_one_very_long_name_costs_as_much_as_it_is_long() -> None:
    names = [f"device {k}" for k in range(3000)] + ["x" * 1_000_000]  # as fixed-width text 12 GB
    n = len(names)
    found = label_by_origin(pa.chunked_array([names]), np.zeros(n, int), np.arange(n), ["a"], "device")
    assert found["different"] == n


def test_generate_keeps_of_each_label_what_it_shows(tmp_path: Path, tiny_features, tiny_folds, monkeypatch) -> None:
    train(
        tiny_features, tiny_folds, tmp_path / "run", GanConfig(width=2, latent_dim=8, steps=2, batch_size=6, n_critic=1)
    )
    drawn = []
    monkeypatch.setattr(generate, "save_real_above", lambda path, real, shown, *given: drawn.extend(shown))
    generate.generate(tmp_path / "run", tiny_features, tiny_folds, tmp_path / "made")
    assert [clips.base for clips in drawn] == [None] * 3
    monkeypatch.setattr(generate, "BATCH", 2)  # and names go on from one batch to the next
    run, out = tmp_path / "run", tmp_path / "more"
    made = generate.generate(run, tiny_features, tiny_folds, out, n_per_label=5, only_folds=[1]).features
    expected = [f"fold1/{label}/{number:05d}" for label in tiny_features.labels for number in range(5)]
    assert made.column("id").tolist() == made.column("recording").tolist() == expected
