"""Blocks on a Dask cluster of real processes: the same bytes, also when a worker is killed midway."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from clinaug_fast.corpus import audio
from clinaug_fast.corpus.verdicts import Code, Unopened
from clinaug_fast.errors import InputError, RejectedError, ResourceError, StoppedError
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess import cluster as cluster_module
from clinaug_fast.preprocess.clips import ClipSettings
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.preprocess.receipt import show_receipt
from clinaug_fast.preprocess.workers import Job
from conftest import MEL, Recorder, files, write_corpus
from test_preprocess import CLIP

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

    class Killer(Recorder):
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
    assert listener.done == sum(listener.totals) == result.counts.found == 18
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


def test_a_cluster_without_workers_is_told_and_can_be_left(tiny_corpus: Path, tmp_path: Path, monkeypatch):
    class Leaver(Recorder):
        def start(self, title: str, total: int) -> None:  # signals are caught from here on
            super().start(title, total)
            timer.start()

    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(cluster_module, "LOOK_S", 0.2)
    monkeypatch.setattr(cluster_module, "WAIT_S", 0.4)
    with distributed.LocalCluster(n_workers=0, dashboard_address=None, local_directory=tmp_path / "dask") as empty:
        how = {"dask": empty.scheduler_address}
        with pytest.raises(InputError, match=r"the Dask scheduler at 'tcp.*' has had no worker for 0.4 s"):
            preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, **how)
        monkeypatch.setattr(cluster_module, "WAIT_S", 60.0)
        try:
            with pytest.raises(StoppedError, match="stopped by SIGTERM"):
                preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, **how, progress=Leaver())
        finally:
            timer.cancel()
    assert not (tmp_path / "out").exists()


@pytest.fixture
def scheduler(tmp_path: Path):
    """(process, address) of a scheduler without workers."""
    place = tmp_path / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    with subprocess.Popen([*command, "--scheduler-file", place]) as process:
        try:
            address = None
            while address is None:
                assert process.poll() is None
                time.sleep(0.1)
                with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):  # not there yet, or half of it
                    address = json.loads(place.read_text())["address"]
            yield process, address
        finally:
            process.kill()


LOST = r"connection to the Dask scheduler at 'tcp.*was lost"


def test_a_scheduler_lost_before_a_worker_came_is_told(scheduler, tiny_corpus: Path, tmp_path: Path):
    process, address = scheduler

    class Killer(Recorder):
        def start(self, title: str, total: int) -> None:
            super().start(title, total)
            timer.start()

    timer = threading.Timer(1.0, process.kill)
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(ResourceError, match=LOST):
        preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, dask=address, progress=Killer())


def test_a_lost_scheduler_is_told_and_the_run_goes_on_later(scheduler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 1)
    corpus, out = write_corpus(tmp_path / "corpus", seconds=20.0), tmp_path / "out"
    process, address = scheduler

    class Killer(Recorder):
        def advance(self, steps: int = 1, note: str = "") -> None:
            super().advance(steps, note)
            process.kill()

    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-nanny", "--no-dashboard"]
    with subprocess.Popen([*command, "--local-directory", tmp_path / "dask"]) as worker:
        try:
            with pytest.raises(ResourceError, match=LOST):
                preprocess(corpus, out, MEL, CLIP, dask=address, progress=Killer())
        finally:
            worker.kill()
    preprocess(corpus, out, MEL, CLIP)
    preprocess(corpus, tmp_path / "one", MEL, CLIP)
    assert files(out) == files(tmp_path / "one")


def test_what_a_worker_logs_holds_no_key_and_no_name(cluster, tiny_corpus: Path, tmp_path: Path):
    key = bytes(range(32))
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    (corpus / "hum/Jane_Doe.wav").write_bytes(b"no audio")
    how = {"dask": cluster.scheduler_address, "deidentify_key": key, "fail_at_first": True}
    with pytest.raises(RejectedError, match="Jane_Doe"):  # for the eyes of whoever has the corpus
        preprocess(corpus, tmp_path / "out", MEL, CLIP, **how)
    with distributed.Client(cluster) as client:
        logs = repr((client.get_worker_logs(), client.get_scheduler_logs()))
    assert repr(key)[2:-1] not in logs
    assert "Jane_Doe" not in logs
    settings = ClipSettings(MEL, CLIP, 3600.0)
    job = Job(settings, corpus, blocks.BlockFiles(tmp_path, tmp_path), 1 << 30, False, key)
    task = cluster_module._Task(job, 3, pa.table({"id": ["hum/Jane_Doe.wav"]}), 1)
    assert repr(task) == "block 3"
    assert repr(key) not in repr(job)


def test_a_worker_that_does_not_see_a_file_ends_the_run(cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus = write_corpus(tmp_path / "corpus")
    hidden = corpus / "hum/p1_1.wav"
    aside = tmp_path / "aside.wav"
    address, out = cluster.scheduler_address, tmp_path / "out"

    class Hider(Recorder):
        """The file is gone once it was listed, and for this process is there."""

        def start(self, title: str, total: int) -> None:
            super().start(title, total)
            hidden.rename(aside)

    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: Path(path) == hidden)
        with pytest.raises(InputError, match=r"a Dask worker on \S+ cannot read \S+hum/p1_1\.wav \(no such file\)"):
            preprocess(corpus, out, MEL, CLIP, dask=address, progress=Hider())
    assert not out.exists()
    aside.rename(hidden)
    counts = preprocess(corpus, tmp_path / "gone", MEL, CLIP, dask=address, max_bad=0.5, progress=Hider()).counts
    assert counts.rejected == {"MISSING": 1}
    aside.rename(hidden)
    preprocess(corpus, tmp_path / "one", MEL, CLIP)
    preprocess(corpus, out, MEL, CLIP, dask=address)
    assert files(out) == files(tmp_path / "one")


def test_a_worker_is_not_believed_about_the_others_where_one_file_is_gone(cluster, tmp_path: Path, monkeypatch):
    corpus, out = write_corpus(tmp_path / "corpus"), tmp_path / "out"
    gone = min((corpus / "hum").iterdir())

    class Unmounted(Recorder):
        """Workers see nothing; this process sees all but one file."""

        def start(self, title: str, total: int) -> None:
            super().start(title, total)
            corpus.rename(tmp_path / "elsewhere")

    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != gone)
    with pytest.raises(InputError, match=r"a Dask worker on \S+ cannot read"):
        preprocess(corpus, out, MEL, CLIP, dask=cluster.scheduler_address, progress=Unmounted())
    assert sorted(tmp_path.glob(".*")) == []  # no block was judged


def test_a_disk_that_fails_on_a_worker_is_no_verdict_on_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(path: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    (tmp_path / "there.wav").write_bytes(b"x")
    monkeypatch.setattr(audio, "os", SimpleNamespace(stat=failing))
    with pytest.raises(Unopened, match="Stale file handle") as verdict:
        audio.inspect(tmp_path / "there.wav")
    assert verdict.value.code == Code.UNREADABLE


def test_a_worker_with_threads_of_its_own_makes_one_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    at_work, most = [], []

    def counted(job, rows, *x):
        at_work.append(job)
        time.sleep(0.05)
        most.append(len(at_work))
        at_work.pop()
        return work(job, rows, *x)

    work = cluster_module.run_blocks
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 2)
    monkeypatch.setattr(cluster_module, "run_blocks", counted)
    corpus = write_corpus(tmp_path / "corpus")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=4, processes=False, dashboard_address=None, local_directory=tmp_path / "dask"
    ) as threads:
        preprocess(corpus, tmp_path / "out", MEL, CLIP, dask=threads.scheduler_address)
    assert len(most) == 9
    assert max(most) == 1
