"""A run that is killed anywhere goes on: no clip is lost, doubled or changed; signals have their exit codes.

CLINAUG_KILLS sets how many times the process is killed at a random moment: 6 by default, 50 in CI.
"""

import errno
import functools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
import pytest

from clinaug_fast.errors import InputError, StoppedError
from clinaug_fast.preprocess import blocks, draft, workers
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.preprocess.stopping import Stopper
from clinaug_fast.runs import Silent
from conftest import MEL, MEL_OPTIONS, SUBJECT_PATTERN, Recorder, files, write_corpus
from test_preprocess import CLIP

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--subject-pattern", SUBJECT_PATTERN, "-j", "2")
KILLS = int(os.environ.get("CLINAUG_KILLS", "6"))

# The command in a process of its own with blocks of two recordings; each batch says so and takes a moment.
SLOWLY = """
import time
from clinaug_fast.preprocess import blocks, workers
from clinaug_fast.cli.main import run
blocks.BLOCK_RECORDINGS, work = 2, workers.clips_of_batch
def slowly(*x):
    print("batch", flush=True)
    time.sleep(MOMENT)
    return work(*x)
workers.clips_of_batch = slowly
run()
"""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 2)


def command(corpus: Path, out: Path, moment: float, *options: str) -> list[str]:
    code = SLOWLY.replace("MOMENT", repr(moment))
    return [sys.executable, "-c", code, "preprocess", str(corpus), str(out), *OPTIONS, *options]


def listen_to_ctrl_c() -> None:
    """Also where the suite runs in a shell's background, whose children inherit that it is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*x, preexec_fn=listen_to_ctrl_c, **how) -> subprocess.Popen:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(*x), preexec_fn=preexec_fn, **pipes, **how)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny corpus with a bad file."""
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "corpus")
    (corpus / "hum/p1_1.wav").write_bytes(b"")
    return corpus


@pytest.fixture
def expected(corpus: Path, tmp_path: Path) -> dict[str, bytes]:
    preprocess(corpus, tmp_path / "expected", MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    return files(tmp_path / "expected")


@pytest.mark.timeout(60 + 20 * KILLS)
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(corpus: Path, tmp_path: Path, expected: dict):
    seeded, kills, out = random.Random(0), 0, tmp_path / "out"
    whole = 0.4  # seconds from the start of the work to its end, about; 9 blocks of 0.08 s on two threads
    while kills < KILLS:
        with start(corpus, out, 0.08, "--max-bad", "0.5") as process:
            process.stdout.readline()  # the work begins
            time.sleep(seeded.uniform(0.0, 1.2 * whole))
            process.kill()
        assert process.returncode in (0, -signal.SIGKILL)
        kills += process.returncode == -signal.SIGKILL
        if out.exists():
            assert files(out) == expected
            shutil.rmtree(out)
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    assert files(out) == expected
    assert sorted(path.name for path in tmp_path.glob(".*")) == []


def test_a_signal_that_is_ignored_stays_so():
    """As a shell has it for its background jobs."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stopper() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop()
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_blocks_in_hand(
    corpus: Path, tmp_path: Path, expected: dict, number: int, exit_code: int
):
    out = tmp_path / "out"
    with start(corpus, out, 0.2, "--max-bad", "0.5", "--json") as process:
        process.stdout.readline()
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert process.returncode == exit_code
    assert "what is done is kept. Run the same command again to go on" in stderr
    assert json.loads(stdout.splitlines()[-1])["exit_code"] == exit_code
    assert not out.exists()
    done = len(list(tmp_path.glob(".out.draft/blocks/*.json")))
    assert 1 <= done < 9
    assert sorted(tmp_path.glob(".out.draft/blocks/.*")) == []
    listener = Recorder()
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5, progress=listener)
    assert sum(listener.totals) == listener.done == 18 - 2 * done
    assert files(out) == expected


@pytest.mark.parametrize("largest", [100, 2_000, 20_000])
def test_a_run_that_finds_no_room_says_so_and_goes_on(corpus: Path, tmp_path: Path, expected: dict, largest: int):
    """`largest` bytes fit a file: not the settings, not a block's index, not its shard."""
    out = tmp_path / "out"
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (largest, largest))
    with start(corpus, out, 0.0, "--max-bad", "0.5", preexec_fn=limit) as process:
        _, stderr = process.communicate()
    assert (process.returncode, out.exists()) == (6, False), stderr
    assert "Raise the limit on a file's size (ulimit -f), then run the same command again" in stderr
    if not list(tmp_path.glob(".out.draft/blocks/*.json")):
        assert list(tmp_path.glob(".*")) == []  # nothing to go on from
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    assert files(out) == expected
    assert list(tmp_path.glob(".*")) == []


def test_a_write_that_failed_late_is_told_although_a_second_flush_succeeds(corpus: Path, tmp_path: Path, monkeypatch):
    """As Linux does: an error of writing back is told to whoever asks first, once."""
    told = []

    def flush_once(path: Path) -> None:
        if path.suffix == ".npy" and not told:
            told.append(path)
            raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(draft, "flush", flush_once)
    with pytest.raises(OSError, match="No space left"):
        preprocess(corpus, tmp_path / "out", MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    assert told
    assert not (tmp_path / "out").exists()


def test_who_waits_for_the_blocks_in_hand_is_told_so(corpus: Path, tmp_path: Path):
    class Impatient(Recorder):
        def advance(self, steps: int = 1, note: str = "") -> None:
            super().advance(steps)
            notes.append(note)
            if len(notes) == 2:
                os.kill(os.getpid(), signal.SIGTERM)

    listener, notes = Impatient(), []
    with pytest.raises(StoppedError, match="stopped by SIGTERM"):
        preprocess(corpus, tmp_path / "out", MEL, CLIP, threads=2, progress=listener)
    assert notes[:2] == ["", ""]
    assert set(notes[2:]) == {"finishing the blocks in hand"}
    assert listener.done < sum(listener.totals)


def test_a_second_signal_stops_at_once(corpus: Path, tmp_path: Path):
    with start(corpus, tmp_path / "out", 3.0) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)  # a second one before the first is seen to would be one with it
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.glob(".out.draft/blocks/*.json")) == []


def test_a_second_process_on_the_same_output_is_refused(corpus: Path, tmp_path: Path):
    out = tmp_path / "out"
    with start(corpus, out, 0.5) as process:
        process.stdout.readline()
        with pytest.raises(InputError, match=r"another process is making .*out; expected one at a time. Wait for it"):
            preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN)
        process.kill()
    preprocess(corpus, out, MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)


def interrupted(corpus: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the draft of a run that broke in its fourth block."""

    def broken(*x):
        if list(out.parent.glob(".out.draft/blocks/00002.json")):
            raise ZeroDivisionError
        return work(*x)

    work = workers.clips_of_batch
    with monkeypatch.context() as patch:
        patch.setattr(workers, "clips_of_batch", broken)
        with pytest.raises(ZeroDivisionError):
            preprocess(corpus, out, MEL, CLIP)


def test_a_draft_made_with_other_settings_is_refused_by_name(corpus: Path, tmp_path: Path, monkeypatch):
    corpus = shutil.copytree(corpus, tmp_path / "corpus")
    interrupted(corpus, tmp_path / "out", monkeypatch)
    before = files(tmp_path / ".out.draft")
    with pytest.raises(
        InputError, match=r"out\.draft was made .*: mel\.n_mels is 32 there, 24 asked.* or remove .*out\.draft$"
    ):
        preprocess(corpus, tmp_path / "out", MEL.with_changes(n_mels=24), CLIP)
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "BLOCK_RECORDINGS", 3)
        with pytest.raises(InputError, match=r"block is '2 recordings or \d+ bytes' there, '3 recordings or"):
            preprocess(corpus, tmp_path / "out", MEL, CLIP)
    (corpus / "hum/p0_0.wav").unlink()
    with pytest.raises(InputError, match=r"the corpus's fingerprint is '\w{16}' there, '\w{16}' asked"):
        preprocess(corpus, tmp_path / "out", MEL, CLIP)
    assert files(tmp_path / ".out.draft") == before
    (tmp_path / ".out.draft/settings.json").write_text("[]")
    with pytest.raises(InputError, match=r"settings\.json is not a draft's settings\.json: it holds \[\]"):
        preprocess(corpus, tmp_path / "out", MEL, CLIP)


def test_a_draft_without_a_finished_block_holds_nobody_to_its_settings(corpus: Path, tmp_path: Path, expected: dict):
    (tmp_path / ".out.draft").mkdir()
    (tmp_path / ".out.draft/settings.json").write_text('{"mel.n_mels": 24}')  # killed before the first
    preprocess(corpus, tmp_path / "out", MEL, CLIP, subject_pattern=SUBJECT_PATTERN, max_bad=0.5)
    assert files(tmp_path / "out") == expected


@pytest.mark.parametrize(
    ("damaged", "content"),
    [
        ("set/shards/00001.npy", b""),
        ("blocks/00001.index.parquet", b""),
        ("blocks/00001.json", b""),
        ("blocks/00001.json", b"[]"),
        ("blocks/00001.json", b"{}"),
    ],
)
def test_a_block_that_lost_bytes_in_a_power_cut_is_made_anew(
    corpus: Path, tmp_path: Path, monkeypatch, damaged: str, content: bytes
):
    interrupted(corpus, tmp_path / "out", monkeypatch)
    path = tmp_path / ".out.draft" / damaged
    path.write_bytes(content or bytes(path.stat().st_size))
    preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5)
    preprocess(corpus, tmp_path / "expected", MEL, CLIP, max_bad=0.5)
    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_a_draft_left_beside_a_finished_set_is_removed(corpus: Path, tmp_path: Path, monkeypatch):
    def killed(path: Path, **how) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            preprocess(corpus, out, MEL, CLIP, max_bad=0.5)
    assert (tmp_path / ".out.draft").exists()
    before = files(out)
    assert preprocess(corpus, out, MEL, CLIP, max_bad=0.5).already_done
    assert not (tmp_path / ".out.draft").exists()
    assert files(out) == before


@pytest.mark.parametrize("killed", [False, True])
def test_a_worker_that_outlives_its_run_puts_nothing_into_the_next(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
):
    """Dask cannot interrupt a task: it may end, or begin, when another run has the same output."""
    left = {}

    def interrupted(job, rows, *x) -> None:
        left.update(job=job, rows=list(rows), open=ExitStack())
        left["draft"], _ = left["open"].enter_context(job.files.draft_of_shard(0))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("clinaug_fast.preprocess.pipeline.run_blocks", interrupted)
        if killed:
            patch.setattr(draft, "_has_blocks", lambda folder: True)  # its folder stays
        with pytest.raises(KeyboardInterrupt):
            preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5)
    ended = []

    def complete(files: BlockFiles, number: int, *x) -> None:
        complete_block(files, number, *x)
        if not ended:
            ended.append(True)
            nothing = pa.table({"label": pa.array([], pa.string())})
            with pytest.raises(FileNotFoundError):
                complete_block(left["job"].files, 0, left["draft"], "0" * 16, nothing, nothing, {})
            with pytest.raises(FileNotFoundError):
                workers.run_blocks(left["job"], left["rows"], 1, Silent())

    complete_block = BlockFiles.complete
    mel = MEL.with_changes(n_mels=24)
    with monkeypatch.context() as patch, left["open"]:
        patch.setattr(BlockFiles, "complete", complete)
        preprocess(corpus, tmp_path / "out", mel, CLIP, max_bad=0.5)
    assert ended
    preprocess(corpus, tmp_path / "expected", mel, CLIP, max_bad=0.5)
    assert files(tmp_path / "out") == files(tmp_path / "expected")
    assert sorted(tmp_path.glob(".*")) == []


def test_what_was_put_in_place_of_a_block_does_not_reach_a_set_of_other_settings(corpus: Path, tmp_path: Path):
    left = tmp_path / ".out.draft"
    (left / "set/shards").mkdir(parents=True)
    (left / "blocks").mkdir()
    (left / "settings.json").write_text('{"mel.n_mels": 24, "shard": null}')
    for name in ("set/shards/00077.npy", "blocks/00077.index.parquet"):
        (left / name).write_bytes(b"left")
    preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5)
    preprocess(corpus, tmp_path / "expected", MEL, CLIP, max_bad=0.5)
    assert files(tmp_path / "out") == files(tmp_path / "expected")
