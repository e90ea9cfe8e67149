"""Blocks on a Dask cluster of real processes: the same bytes, also when a worker is killed midway."""

import os
import signal
from pathlib import Path

import pytest

from clinaug_fast.errors import InputError
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.preprocess.receipt import show_receipt
from conftest import MEL, files, write_corpus
from test_preprocess import CLIP, Listener

distributed = pytest.importorskip("distributed", reason="the extra clinaug-fast[dask] is not installed")
dask = pytest.importorskip("dask")


@pytest.fixture
def cluster(tmp_path: Path):
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path / "dask"
    ) as cluster:
        yield cluster


def test_a_cluster_makes_the_same_bytes_though_a_worker_is_killed(
    cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 1)
    corpus = write_corpus(tmp_path / "corpus", seconds=20.0)
    (corpus / "hum/p1_1.wav").write_bytes(b"")
    preprocess(corpus, tmp_path / "here", MEL, CLIP, max_bad=0.5)
    victims = [worker.pid for worker in cluster.workers.values()]
    killed = []

    class Killer(Listener):
        def advance(self, steps: int = 1, note: str = "") -> None:
            super().advance(steps, note)
            if self.done == 3:
                os.kill(victims[0], signal.SIGKILL)
                killed.append(victims[0])

    listener = Killer()
    out = tmp_path / "there"
    address = cluster.scheduler_address
    result = preprocess(corpus, out, MEL, CLIP, max_bad=0.5, dask=address, progress=listener)
    assert killed
    assert listener.done == listener.total == result.counts.found == 18
    assert files(out) == files(tmp_path / "here")
    assert sorted(tmp_path.glob(".*")) == []
    assert result.receipt["threads"] is result.receipt["peak_memory_mib"] is None  # of the workers, not of this process
    assert "on a Dask cluster: " in show_receipt(result.receipt)


def test_an_address_where_nobody_answers_is_refused(tiny_corpus: Path, tmp_path: Path):
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(InputError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"),
    ):
        preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, dask="tcp://127.0.0.1:9")
