"""What runs short is the process or the machine: no verdict on a file, no fault of a set, but a cure."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
import typer

from clinaug_fast.cli.console import stage
from clinaug_fast.corpus import audio, recordings
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import Recording, read_corpus
from clinaug_fast.errors import InputError
from clinaug_fast.features import feature_set, verify
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from conftest import MEL

SMALL = MEL.with_changes(n_mels=3)
SHARDS, OPEN_FILES = 80, 64


@pytest.fixture
def many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureSet:
    monkeypatch.setattr(feature_set, "SHARD_BYTES", 1)  # one clip each
    with new_feature_set(tmp_path / "set", SMALL, 2, ["a", "b"], {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for k in range(SHARDS):
            about = {"recording": f"r{k}", "label": "ab"[k % 2], "start_s": 0.0}
            writer.add(np.full((3, 2), k, np.float32), id=f"r{k}#0", **about)
    features = FeatureSet.open(tmp_path / "set")
    assert len(features.about["shards"]) == SHARDS
    return features


def test_a_set_of_more_shards_than_files_may_be_open_is_read(many_shards: FeatureSet):
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from clinaug_fast.features.feature_set import FeatureSet\n"
        "features = FeatureSet.open(Path(sys.argv[1]))\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES}, {OPEN_FILES}))\n"
        "features.refuse_lost_shards()\n"
        "print(features.clips()[:, 0, 0].astype(int).tolist())\n"
    )
    command = [sys.executable, "-c", code, many_shards.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == list(range(SHARDS))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_is_no_fault_of_a_shard(many_shards: FeatureSet, monkeypatch: pytest.MonkeyPatch, number: int):
    def short(*x, **how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(np, "load", short)
    for read in (many_shards.clips, many_shards.refuse_lost_shards):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            read()
        assert caught.value.errno == number
        assert not isinstance(caught.value, InputError)


def test_a_disk_that_cannot_be_read_is_one(many_shards: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    def broken(*x, **how):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(np, "load", broken)
    with pytest.raises(InputError, match=r"00000\.npy cannot be read"):
        many_shards.clips([0])


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_is_no_verdict_on_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def short(*x, **how):
        raise OSError(number, os.strerror(number))

    (tmp_path / "x.flac").write_bytes(b"fLaC")
    monkeypatch.setattr(audio.os, "stat", short)
    with pytest.raises(OSError, match=os.strerror(number)):
        decode(Recording(str(tmp_path / "x.flac"), "x.flac", "label"), 8000, 0.0)


@pytest.mark.parametrize(
    ("error", "exit_code", "told"),
    [
        (RuntimeError("can't start new thread"), 6, "no more threads (can't start new thread). Raise"),
        (pa.lib.ArrowException("Failed to launch worker thread: Resource"), 6, "no more threads (Failed to launch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 6, "out of memory"),
        (ImportError("libx.so: failed to map segment from shared object"), 6, "out of memory (libx.so: failed"),
        (ImportError("libx.so: cannot create shared object descriptor: Cannot allocate memory"), 6, "out of memory"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might"), 6, "out of memory (CUDA error"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), 6, "out of memory (CUDA error"),
        (MemoryError(), 6, "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 6, "out of memory"),
        (OSError(errno.EMFILE, "Too many open files", "x.npy"), 6, "Raise the limit on open files (ulimit -n)"),
        (OSError(errno.ENFILE, "Too many open files in system"), 6, "Raise the limit on open files (ulimit -n)"),
        (OSError(errno.EIO, "Input/output error"), 3, "Check the path, its rights and its disk"),
        (RuntimeError("shapes differ"), 1, "this is a bug in clinaug-fast train"),
        (ImportError("No module named 'x'"), 1, "this is a bug in clinaug-fast train"),
        (ValueError("can't start new thread"), 1, "this is a bug in clinaug-fast train"),
    ],
)
def test_a_shortage_has_its_exit_code_and_a_cure(capsys, error: Exception, exit_code: int, told: str):
    with pytest.raises(typer.Exit) as caught, stage("train", True, True):
        raise error
    assert caught.value.exit_code == exit_code
    about = json.loads(capsys.readouterr().out)
    assert about["exit_code"] == exit_code
    assert told in about["message"]


@pytest.mark.parametrize(
    "told",
    [
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors might be reported elsewhere",
        "log_mel: CUDA says 'no kernel image is available for execution on the device' (...). Install it again",
        "log_mel: CUDA says 'the provided PTX was compiled with an unsupported toolchain.' (...). Install it again",
        "residual_se: CUDA says 'invalid device function' (...). Install it again",
        "residual_se: CUDA says 'CUDA driver version is insufficient for CUDA runtime version' (...). Update it",
    ],
)
def test_a_gpu_that_cannot_be_used_is_no_bug(capsys, told: str) -> None:
    with pytest.raises(typer.Exit) as caught, stage("train", True, True):
        raise RuntimeError(told)
    output = capsys.readouterr()
    assert caught.value.exit_code == 2
    message = json.loads(output.out)["message"]
    assert message == f"the GPU cannot be used. {told.splitlines()[0]}. Mend that, or give --device cpu"
    assert "Traceback" not in output.err


@pytest.mark.parametrize("told", ["Operation not permitted", "Permission denied"])
def test_a_library_that_may_not_be_mapped_is_no_want_of_memory(told: str) -> None:
    with pytest.raises(typer.Exit) as caught, stage("train", True, True):
        raise ImportError(f"libx.so: failed to map segment from shared object: {told}")
    assert caught.value.exit_code == 1


def short(*arguments, **how):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_a_shortage_is_no_damage(many_shards: FeatureSet, monkeypatch: pytest.MonkeyPatch):
    for name in ("fingerprint_shard", "feature_set_fingerprint"):
        with monkeypatch.context() as lacking:
            lacking.setattr(verify, name, short)
            with pytest.raises(OSError, match=os.strerror(errno.EMFILE)):
                verify.verify(many_shards.path)
    assert verify.verify(many_shards.path).whole


def test_want_of_memory_is_no_fault_of_a_table_or_an_index(
    many_shards: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def lacking(*arguments, **how):
        raise pa.ArrowMemoryError("malloc of size 857984 failed")

    (tmp_path / "t.csv").write_text("path,label\nx.wav,a\ny.wav,b\n")
    monkeypatch.setattr(pa.csv, "read_csv", lacking)
    monkeypatch.setattr(feature_set.pq, "read_table", lacking)
    for read in (lambda: read_corpus(tmp_path / "t.csv"), lambda: FeatureSet.open(many_shards.path)):
        with pytest.raises(MemoryError, match="malloc"):
            read()


def test_a_shortage_is_no_fault_of_a_folder(tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recordings.native, "list_audio", short)
    with pytest.raises(OSError, match=os.strerror(errno.EMFILE)) as caught:
        read_corpus(tiny_corpus)
    assert not isinstance(caught.value, InputError)
