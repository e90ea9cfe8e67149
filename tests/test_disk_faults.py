"""What is said, and left, where a disk or a file system fails in the middle of a call."""

import builtins
import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer

from clinaug_fast.audit.table import refuse_target
from clinaug_fast.cli.console import stage
from clinaug_fast.corpus import audio
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import Recording, read_corpus
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.errors import InputError
from clinaug_fast.features import feature_set
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import write_folds
from clinaug_fast.features.shards import Shard
from clinaug_fast.gan import run_folder
from clinaug_fast.json_files import read_json
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.deidentify import read_or_make_key
from clinaug_fast.preprocess.draft import draft_of, open_draft
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.runs import begun, flush, naming, put_in_place, sweep, where_pids_count, write_text
from conftest import MEL, MEL_OPTIONS, sound, write_corpus
from test_preprocess import CLIP

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
    assert "p2_0.wav'. Check the path, its rights and its disk" in done.stderr
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


def unlisted(monkeypatch: pytest.MonkeyPatch, end: str, times: int = 99) -> None:
    """The first `times` that somebody lists a folder whose path ends so he may not."""
    left, listdir, scandir = [times], os.listdir, os.scandir

    def refusing(listing: Callable) -> Callable:
        def listed(path: object = ".") -> object:
            if os.fspath(path).endswith(end) and left[0]:
                left[0] -= 1
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
            return listing(path)

        return listed

    monkeypatch.setattr(os, "listdir", refusing(listdir))
    monkeypatch.setattr(os, "scandir", refusing(scandir))


@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize("settings", [{"seed": 1}, {"seed": 2}])
def test_finished_blocks_that_cannot_be_listed_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, settings: dict
) -> None:
    folder = draft_of(tmp_path / "out")
    (folder / "blocks").mkdir(parents=True)
    (folder / "blocks/00000.json").write_text("{}")
    (folder / "settings.json").write_text('{"seed": 1}')
    unlisted(monkeypatch, "blocks", times)
    with pytest.raises(OSError, match="Permission denied"), open_draft(tmp_path / "out", settings):
        raise AssertionError("the draft was taken for an empty one")
    assert (folder / "blocks/00000.json").exists()


def test_nor_are_those_lost_that_could_be_listed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = draft_of(tmp_path / "out")
    (folder / "blocks").mkdir(parents=True)

    def fail_after_a_block() -> None:
        with open_draft(tmp_path / "out", {"seed": 1}):
            (folder / "blocks").mkdir(exist_ok=True)
            (folder / "blocks/00000.json").write_text("{}")
            unlisted(monkeypatch, "blocks")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_after_a_block()
    assert (folder / "blocks/00000.json").exists()


def test_a_part_that_cannot_be_listed_is_not_used_up(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, part=Part(0, 1)).out
    kept = shutil.copytree(part, tmp_path / "kept")
    merge([part], tmp_path / "out")
    kept.rename(part)
    (tmp_path / "out/shards/00000.npy").write_bytes(b"damaged")
    unlisted(monkeypatch, f"{part.name}/shards")
    with pytest.raises(OSError, match="Permission denied"):
        merge([part], tmp_path / "out")
    assert (part / "shards/00000.npy").exists()


def test_a_folder_that_cannot_be_listed_is_not_put_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "draft/deep").mkdir(parents=True)
    unlisted(monkeypatch, "deep")
    with pytest.raises(OSError, match="Permission denied"):
        put_in_place(tmp_path / "draft", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_users_draft_keeps_ours_from_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = left_behind(tmp_path / "k"), left_behind(tmp_path / "k")
    unlink = Path.unlink

    def sticky(path: Path, *how: object) -> None:
        if path == theirs:
            raise PermissionError(errno.EPERM, "not yours")
        unlink(path, *how)

    monkeypatch.setattr(Path, "unlink", sticky)
    sweep(tmp_path / "k")
    assert theirs.exists()
    assert not ours.exists()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_part_that_cannot_be_read_is_not_to_be_thrown_away(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    part = preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, part=Part(0, 1)).out
    monkeypatch.setattr(blocks.np, "load", failing(number))
    with pytest.raises(OSError, match=rf"{os.strerror(number)}: '.*/00000\.npy'") as caught:
        merge([part], tmp_path / "out")
    assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(("number", "advice"), [(errno.EIO, "Check its rights and its disk"), (None, "make it anew")])
def test_what_to_do_about_a_set_depends_on_what_is_wrong(
    tiny_features, monkeypatch: pytest.MonkeyPatch, number: int | None, advice: str
) -> None:
    error = OSError("not Parquet") if number is None else OSError(number, os.strerror(number), "index.parquet")

    def broken(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(feature_set.pq, "read_table", broken)
    with pytest.raises(InputError, match=advice) as caught:
        FeatureSet.open(tiny_features.path)
    assert str(caught.value).count("index.parquet") == 1


def test_a_lock_that_fails_is_named_and_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"Input/output error: '.*/\.out\.draft/lock'"), open_draft(tmp_path / "out", {}):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("told", ["No space left on device", "Failed to open local file '/a/b'. Detail: [errno 28]"])
def test_a_full_disk_is_told_with_its_file_once(capsys: pytest.CaptureFixture, told: str) -> None:
    with pytest.raises(typer.Exit) as caught, stage("split", True, True):
        raise OSError(errno.ENOSPC, told, "/a/b")
    assert caught.value.exit_code == 6
    assert json.loads(capsys.readouterr().out)["message"].count("/a/b") == 1


def test_names_that_are_bytes_or_paths_are_told_as_names(capsys: pytest.CaptureFixture) -> None:
    for name in (b"/a/b", Path("/a/b"), "/a/b"):
        with pytest.raises(typer.Exit), stage("split", True, True):
            raise OSError(errno.EIO, "Input/output error", name)
        message = json.loads(capsys.readouterr().out)["message"]
        assert message == "[Errno 5] Input/output error: '/a/b'. Check the path, its rights and its disk"


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


def test_what_has_passed_when_the_system_is_asked_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "x.flac", sound("hum", 0), 8000)
    recording, opened, refusals = Recording(tmp_path / "x.flac", "x.flac", "a"), audio.Onward, [1, 2, 3]

    def at_last(*asked: object) -> soundfile.SoundFile:
        if refusals:
            refusals.pop()
            raise soundfile.LibsndfileError(2)
        return opened(*asked)

    monkeypatch.setattr(audio, "Onward", at_last)
    assert len(decode(recording, 8000).samples) == 9600


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
    (tmp_path / "generator.safetensors").touch()
    with pytest.raises(InputError, match=r"cannot be read: unable to open file .*\. Check its disk"):
        run_folder._scaling_of(tmp_path / "generator.safetensors")
    monkeypatch.setattr(run_folder, "open", failing(errno.EMFILE), raising=False)
    with pytest.raises(OSError, match="Too many open files"):
        run_folder._scaling_of(tmp_path / "generator.safetensors")
