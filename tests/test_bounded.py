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
from clinaug_fast.gan import generate
from clinaug_fast.gan.train import train
from clinaug_fast.preprocess import cluster, pipeline, workers
from clinaug_fast.preprocess.memory import INTERPRETER_BYTES
from conftest import MEL
from test_preprocess import CLIP


def test_altered_recordings_wait_for_their_turn_in_small_numbers(monkeypatch) -> None:
    """One long recording in front, and all others would be made while it is and wait in memory."""
    begun = []
    monkeypatch.setattr(augment, "_copies_of", lambda *given: begun.append(given[-1]) or given[-1])
    parts = augment._parts(None, SimpleNamespace(each=range(100)), None, 3)
    for number, made in enumerate(parts):
        assert made == number
        assert len(begun) <= number + 2 * 3 + 1
    assert begun == list(range(100))


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
