"""Files and folders that appear whole, and fingerprints that tell things apart."""

import errno
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.errors import InputError
from clinaug_fast.json_files import read_json, write_json
from clinaug_fast.runs import (
    atomic_file,
    atomic_folder,
    begun,
    claim,
    fingerprint,
    fingerprint_file,
    own_fingerprint,
    put_in_place,
    refuse_changed,
    where_pids_count,
    write_text,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values))
def test_a_fingerprint_ignores_the_order_of_keys_only(value: dict):
    assert fingerprint(value) == fingerprint(dict(reversed(value.items())))
    assert fingerprint(value) != fingerprint(value | {"one more": 1})
    assert fingerprint([value]) != fingerprint(value)


def test_a_fingerprint_knows_where_a_part_ends(tmp_path: Path):
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")
    told = b"\2" + bytes(7) + b"ab\1" + bytes(7) + b"c"  # each part behind its length
    assert fingerprint(b"ab", b"c") == hashlib.blake2b(told, digest_size=8).hexdigest()
    assert len(fingerprint()) == 16
    for name, data in (("a", b"x"), ("b", b"x"), ("c", b"y")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (fingerprint_file(tmp_path / name) for name in "abc")
    assert a == b != c


def test_json_comes_back_and_leaves_no_draft(tmp_path: Path):
    value = {"ä": [1, 2.5, None], "b": {"c": True}}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json", "a value") == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"x": float("nan")})
    assert read_json(tmp_path / "x.json", "a value") == value
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    out = tmp_path / "deep" / "out"
    with atomic_folder(out) as draft:
        (draft / "file").write_text("x")
        assert not out.exists()
    assert (out / "file").read_text() == "x"
    with pytest.raises(InputError, match="exists already"), atomic_folder(out):
        pass

    def interrupted() -> None:
        with atomic_folder(tmp_path / "other") as draft:
            (draft / "file").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == ["deep"]
    assert os.listdir(out.parent) == ["out"]


def test_the_draft_of_a_killed_process_is_removed_and_that_of_a_living_one_is_not(tmp_path: Path):
    node = where_pids_count()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        for process in (living, dead):
            (tmp_path / f".out[1].{node}.{process.pid}.draft").mkdir()
            (tmp_path / f".x.json.{node}.{process.pid}.draft").write_text("x")
        left = [f".out[1].json.{node}.{dead.pid}.draft", f".out[1].{node}.my.draft"]
        left += [f".{name}.other{node}.{dead.pid}.draft" for name in ("out[1]", "x.json")]  # of another machine
        left += [f".out[1].{platform.node()}.123.{dead.pid}.draft"]  # of another container of this one's name
        for name in left:
            (tmp_path / name).write_text("x")
        with atomic_folder(tmp_path / "out[1]"):
            pass
        write_json(tmp_path / "x.json", [])
        left += [f".{name}.{node}.{living.pid}.draft" for name in ("out[1]", "x.json")]
        assert sorted(os.listdir(tmp_path)) == sorted([*left, "out[1]", "x.json"])
        living.communicate(b"\n")


def test_a_draft_of_another_users_living_process_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def not_ours(*x):
        raise PermissionError

    draft = tmp_path / f".out.{where_pids_count()}.1.draft"
    draft.mkdir()
    monkeypatch.setattr(os, "kill", not_ours)
    with atomic_folder(tmp_path / "out"):
        pass
    assert sorted(os.listdir(tmp_path)) == [draft.name, "out"]


def test_a_link_to_nowhere_is_no_new_folder(tmp_path: Path):
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(InputError, match="exists already"), atomic_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_is_begun_by_its_mark_and_hidden_files_are_none(tmp_path: Path):
    assert not begun(tmp_path / "none", "run.json", "other things than a run")
    (tmp_path / ".DS_Store").touch()
    assert not begun(tmp_path, "run.json", "other things than a run")
    (tmp_path / "notes").touch()
    with pytest.raises(InputError, match="holds other things than a run; expected a new folder"):
        begun(tmp_path, "run.json", "other things than a run")
    (tmp_path / "run.json").touch()
    assert begun(tmp_path, "run.json", "other things than a run")


def test_a_setting_that_only_one_side_knows_is_a_change(tmp_path: Path):
    for stored, asked in (({"a": 1, "b": 2}, {"a": 1}), ({"a": 1}, {"a": 1, "b": 2})):
        with pytest.raises(InputError, match="b is "):
            refuse_changed(tmp_path, stored, asked)


def test_changed_settings_are_named(tmp_path: Path):
    refuse_changed(tmp_path, {"a": 1}, {"a": 1})
    with pytest.raises(InputError, match="b is 2 there, 3 asked; c is None there, 'x' asked"):
        refuse_changed(tmp_path, {"a": 1, "b": 2}, {"a": 1, "b": 3, "c": "x"})


def note_flushes_and_renames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens from now on: the names in `folder` that are flushed, and "renamed"."""
    happened = []

    def flush(descriptor: int) -> None:
        happened.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), folder))

    def noted(rename: Callable) -> Callable:
        def renamed(old: Path, new: Path) -> None:
            happened.append("renamed")
            rename(old, new)

        return renamed

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(os, "rename", noted(os.rename))
    monkeypatch.setattr(os, "replace", noted(os.replace))
    return happened


def test_a_file_is_on_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    happened = note_flushes_and_renames(tmp_path, monkeypatch)
    with atomic_file(tmp_path / "x") as draft:
        draft.write_text("x")
    assert happened == [draft.name, "renamed"]


def test_what_claims_a_name_is_on_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    happened = note_flushes_and_renames(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "link", lambda draft, path: happened.append(f"{draft.name} linked"))
    assert claim(tmp_path / "mark", "x")
    draft, linked, folder = happened
    assert (linked, folder) == (f"{draft} linked", ".")


def test_a_folder_is_on_disk_before_it_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "draft/deep").mkdir(parents=True)
    (tmp_path / "draft/deep/file").write_text("x")
    happened = note_flushes_and_renames(tmp_path, monkeypatch)
    put_in_place(tmp_path / "draft", tmp_path / "out")
    assert set(happened[:3]) == {"draft", "draft/deep", "draft/deep/file"}
    assert happened[3:] == ["renamed", "."]


def test_a_disk_that_fails_is_told_and_one_that_cannot_flush_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", failing)
    for number in (errno.EIO, errno.ENOSPC):
        with pytest.raises(OSError, match=os.strerror(number)):
            write_text(tmp_path / "x", "x")
        assert os.listdir(tmp_path) == []
    for number in (errno.EINVAL, errno.EOPNOTSUPP):
        write_text(tmp_path / str(number), "x")
        assert (tmp_path / str(number)).read_text() == "x"


def test_the_draft_of_a_killed_process_of_our_number_is_removed_and_our_own_is_not(tmp_path: Path):
    """In a container each process may be number 1."""
    (tmp_path / f".x.json.{where_pids_count()}.{os.getpid()}-00000000-1.draft").write_text("x")
    with atomic_file(tmp_path / "x.json") as draft:
        draft.write_text("x")
        write_json(tmp_path / "x.json", [])
        assert sorted(os.listdir(tmp_path)) == [draft.name, "x.json"]


def test_a_files_own_fingerprint_knows_neither_itself_nor_who_made_it():
    about = {"a": 1, "fingerprint": "0", "provenance": {"python": "3.11"}}
    assert own_fingerprint(about) == own_fingerprint({"a": 1}) != own_fingerprint({"a": 2})
