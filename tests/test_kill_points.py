"""SIGKILL before each change of a name on disk: the next run ends with the same bytes and leaves nothing beside."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, MEL_OPTIONS, files, write_corpus
from test_preprocess import CLIP

# For n = 1, 2, ... until a run is not killed any more: the command in folder n, a copy of `begin`, killed before its
# n-th change, then once more; two at a time. Runs are forked from one process that has imported everything and has no
# thread.
KILLER = """
import itertools, json, os, shutil, signal, sys
import clinaug_fast.preprocess.merge, clinaug_fast.preprocess.pipeline
from clinaug_fast.cli.main import run
from clinaug_fast.preprocess import blocks

begin, sys.argv[1:] = sys.argv[1], sys.argv[2:]
blocks.BLOCK_RECORDINGS = 9

def counted(change):
    def killing(*x, **how):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*x, **how)
    return killing

def in_fork(folder, kill_before):
    global left
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    os.chdir(folder)
    for stream in (1, 2):
        os.dup2(os.open(f"../said.{folder}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    left = kill_before
    for name in ("mkdir", "rename", "replace", "unlink", "rmdir"):
        setattr(os, name, counted(getattr(os, name)))
    try:
        run()
    except SystemExit as end:
        os._exit(end.code or 0)

def started(n):
    shutil.copytree(begin, str(n))
    if pid := os.fork():
        return pid
    with open(f"status.{n}", "w") as file:
        json.dump((in_fork(str(n), n), in_fork(str(n), 0)), file)
    os._exit(0)

statuses, under_way = [], [started(1), started(2)]
for n in itertools.count(1):
    os.waitpid(under_way.pop(0), 0)
    with open(f"status.{n}") as file:
        statuses.append(json.load(file))
    if statuses[-1][0] != signal.SIGKILL:
        break
    under_way.append(started(n + 2))
os.waitpid(under_way[0], 0)
print(json.dumps(statuses))
"""


def kill_everywhere(begin: Path, where: Path, *command: str) -> list[Path]:
    """The folders in which `command` was killed and repeated, from the first change to none."""
    where.mkdir()
    killer = [sys.executable, "-c", KILLER, str(begin), *command, "--quiet"]
    done = subprocess.run(killer, cwd=where, stdout=subprocess.PIPE, check=True)
    statuses = json.loads(done.stdout)
    for n, status in enumerate(statuses, start=1):
        assert status == ([9, 0] if n < len(statuses) else [0, 0]), (n, (where / f"said.{n}").read_text())
    return [where / str(n) for n in range(1, len(statuses) + 1)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two blocks, one with a bad file."""
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 9)
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum/p1_1.wav").write_bytes(b"")
    return corpus


@pytest.mark.parametrize("part", [None, Part(1, 2)])
def test_preprocess_killed_anywhere_goes_on(corpus: Path, tmp_path: Path, part: Part | None):
    (tmp_path / "begin").mkdir()
    one = preprocess(corpus, tmp_path / "expected", MEL, CLIP, max_bad=0.5, part=part).out
    receipt, shard = ("out.receipt.json", ()) if part is None else ("receipt.json", ("--shard", str(part)))
    options = (*MEL_OPTIONS, "--n-frames", "32", "-j", "1", "--max-bad", "0.5", *shard)
    ended = kill_everywhere(tmp_path / "begin", tmp_path / "killed", "preprocess", str(corpus), "out", *options)
    assert len(ended) > 20
    out = one.name.replace("expected", "out")
    for folder in ended:
        made, wanted = files(folder / out), files(one)
        if part is None:
            assert set(names(folder)) - {receipt} == {out}
        else:
            assert names(folder) == [out]
            made.pop(receipt, None)
            del wanted[receipt]
        assert made == wanted
    assert (ended[-1] / receipt if part is None else ended[-1] / out / receipt).exists()


def test_merge_killed_anywhere_goes_on(corpus: Path, tmp_path: Path):
    preprocess(corpus, tmp_path / "expected", MEL, CLIP, max_bad=0.5)
    (tmp_path / "begin").mkdir()
    for number in (0, 1):
        preprocess(corpus, tmp_path / "begin/out", MEL, CLIP, max_bad=0.5, part=Part(number, 2))
    parts = [f"out.part-{number}-of-2" for number in (0, 1)]
    ended = kill_everywhere(tmp_path / "begin", tmp_path / "killed", "merge", *parts, "out")
    assert len(ended) > 20
    for folder in ended:
        assert names(folder) == ["out"]
        assert files(folder / "out") == files(tmp_path / "expected")
