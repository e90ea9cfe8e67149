"""What is said, and left, where a disk or a file system fails in the middle of a call."""

import builtins
import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.audit.table import refuse_target
from clinaug_fast.corpus import audio
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import Recording, read_corpus
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.errors import InputError
from clinaug_fast.features.folds import write_folds
from clinaug_fast.features.shards import Shard
from clinaug_fast.gan import run_folder
from clinaug_fast.json_files import read_json
from clinaug_fast.preprocess.deidentify import read_or_make_key
from clinaug_fast.runs import begun, flush, naming, where_pids_count, write_text
from conftest import MEL_OPTIONS, sound, write_corpus

# In front of libc's: one file cannot be looked at.
NO_LOOK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
int fstatat(int folder, const char* name, struct stat* about, int flags) {
  if (strstr(name, "p2_0.wav")) { errno = EIO; return -1; }
  return ((int (*)(int, const char*, struct stat*, int))dlsym(RTLD_NEXT, "fstatat"))(folder, name, about, flags);
}
"""


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def left_behind(path: Path) -> Path:
    """What a process that was killed left of a draft of `path`."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    draft = path.with_name(f".{path.name}.{where_pids_count()}.{gone.pid}-0a0a0a0a-0.draft")
    draft.write_text("secret")
    return draft


def test_a_disk_that_fails_while_a_folder_is_listed_makes_no_other_corpus(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (tmp_path / "no_look.c").write_text(NO_LOOK)
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "expected the C compiler that built the extension"
    build = [compiler, "-shared", "-fPIC", "-o", tmp_path / "no_look.so", tmp_path / "no_look.c", "-ldl"]
    subprocess.run(build, check=True)
    program = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()"]
    command = [*program, "preprocess", corpus, tmp_path / "out", *MEL_OPTIONS]
    done = subprocess.run(
        [*command, "--n-frames", "32"],
        env=os.environ | {"LD_PRELOAD": str(tmp_path / "no_look.so")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert f"[Errno 5] Input/output error: '{corpus}/" in done.stderr
    assert "p2_0.wav'. Make the folder readable" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("number", "is_of_the_name"), [(errno.EIO, False), (errno.ESTALE, False), (errno.EACCES, True)]
)
def test_nor_while_the_files_of_a_table_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_of_the_name: bool
) -> None:
    table = tmp_path / "t.csv"
    table.write_text("path,label\nx.wav,a\ny.wav,b\n")
    stat = os.stat

    def look(path: str, *how: object, **more: object) -> os.stat_result:
        if str(path).endswith("y.wav"):
            raise OSError(number, os.strerror(number), path)
        return stat(path, *how, **more)

    monkeypatch.setattr(os, "stat", look)
    if is_of_the_name:
        assert read_corpus(table).table.num_rows == 2
    else:
        with pytest.raises(OSError, match=r"y\.wav"):
            read_corpus(table)


def test_a_key_is_made_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    path = tmp_path / "study.key"
    key = read_or_make_key(path, tmp_path / "out")
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_or_make_key(path, tmp_path / "out") == key
    assert [file.name for file in tmp_path.iterdir()] == ["study.key"]


def test_of_two_who_make_a_key_there_the_first_has_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "study.key", "0f" * 32

    def meanwhile(*_: object) -> None:
        path.write_text(other)
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", meanwhile)
    assert read_or_make_key(path, tmp_path / "out").hex() == other


def test_no_copy_of_a_key_stays(tmp_path: Path) -> None:
    path = tmp_path / "study.key"
    read_or_make_key(path, tmp_path / "out")
    draft = left_behind(path)
    read_or_make_key(path, tmp_path / "out")
    assert not draft.exists()


def test_a_key_is_on_disk_before_anything_is_made_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda file: flushed.append(os.readlink(f"/proc/self/fd/{file}")))
    read_or_make_key(tmp_path / "study.key", tmp_path / "out")
    assert flushed[0].startswith(f"{tmp_path}/.study.key.")
    assert flushed[1:] == [str(tmp_path)]


def test_drafts_of_what_stands_are_removed(tiny_folds, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text("{}")
    drafts = [left_behind(tmp_path / "run/run.json")]
    assert begun(tmp_path / "run", "run.json", "other things")
    assert write_folds(tiny_folds, tmp_path / "folds.json")
    drafts.append(left_behind(tmp_path / "folds.json"))
    assert not write_folds(tiny_folds, tmp_path / "folds.json")
    assert not any(draft.exists() for draft in drafts)


def test_a_table_that_is_tried_is_never_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", failing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        refuse_target(tmp_path / "audited.csv")
    assert not (tmp_path / "audited.csv").exists()


@pytest.mark.parametrize(("number", "verdict"), [(errno.EMFILE, None), (errno.ENOENT, Code.MISSING)])
def test_what_libsndfile_does_not_tell_of_a_file_is_asked_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, verdict: Code | None
) -> None:
    soundfile.write(tmp_path / "x.flac", sound("hum", 0), 8000)

    def unopened(*_: object) -> None:
        def refuse(path: object, *how: object) -> None:
            raise OSError(number, os.strerror(number), path)

        monkeypatch.setattr(audio, "open", refuse, raising=False)
        raise soundfile.LibsndfileError(2)  # "System error."

    monkeypatch.setattr(audio, "Onward", unopened)
    recording = Recording(tmp_path / "x.flac", "x.flac", "a")
    with pytest.raises(Rejected if verdict else OSError) as caught:
        decode(recording, 8000)
    monkeypatch.setattr(audio, "open", builtins.open, raising=False)
    if verdict:
        assert caught.value.code == verdict
    else:
        assert caught.value.errno == number


def test_a_close_that_fails_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "x.ogg", sound("hum", 0), 8000)
    recording = Recording(tmp_path / "x.ogg", "x.ogg", "a")
    expected = decode(recording, 8000).samples
    close = soundfile.SoundFile.close

    def failing_close(file: soundfile.SoundFile) -> None:
        if not file.closed:
            close(file)
            raise soundfile.LibsndfileError(-1)

    monkeypatch.setattr(soundfile.SoundFile, "close", failing_close)
    np.testing.assert_array_equal(decode(recording, 8000).samples, expected)


def test_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.json").write_text("{}")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing(errno.EIO))
        for call in (lambda: flush(tmp_path / "x.json"), lambda: write_text(tmp_path / "y", "y")):
            with pytest.raises(OSError, match=r"Input/output error: '.*/(x\.json|\.y\..*)'"):
                call()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_text", failing(errno.EIO))
        with pytest.raises(OSError, match=r"x\.json'"):
            read_json(tmp_path / "x.json", "a value")
    with open("/dev/full", "r+b", buffering=0) as full, pytest.raises(OSError, match="/dev/full") as caught:
        Shard(full, (2, 2), 1)
    assert caught.value.errno == errno.ENOSPC


def test_so_is_one_of_which_an_error_has_but_a_text(tmp_path: Path) -> None:
    """As pyarrow's have."""
    with pytest.raises(OSError, match=r"^x\.parquet: error closing file$"), naming("x.parquet"):
        raise OSError("error closing file")


def test_weights_that_cannot_be_read_need_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unopened(*_: object) -> None:
        raise RuntimeError("unable to open file <generator.safetensors> in read-only mode: Input/output error (5)")

    monkeypatch.setattr(run_folder, "safe_open", unopened)
    with pytest.raises(InputError, match=r"cannot be read: unable to open file .*\. Check its disk"):
        run_folder._scaling_of(tmp_path / "generator.safetensors")
