"""Parts made by several machines become the very feature set of one; misfits are refused by name."""

import errno
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from clinaug_fast.errors import InputError, RejectedError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, MEL_OPTIONS, Recorder, files, write_corpus
from test_preprocess import CLIP

SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP")


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    for name in SLURM:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum/p1_1.wav").write_bytes(b"")
    (corpus / "notes.txt").write_text("x")
    return corpus


def make_parts(corpus: Path, out: Path, count: int, **how) -> list[Path]:
    how = {"max_bad": 0.5} | how
    return [preprocess(corpus, out, MEL, CLIP, part=Part(k, count), **how).out for k in range(count)]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_parts_are_the_feature_set_of_one_machine(corpus: Path, tmp_path: Path, count: int):
    one = preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5)
    parts = make_parts(corpus, tmp_path / "out", count)
    shards = {path.name: path.stat().st_ino for part in parts for path in part.glob("shards/*")}
    assert len(shards) == 5
    assert merge(parts[::-1], tmp_path / "out") == one.counts
    assert files(tmp_path / "out") == files(tmp_path / "one")
    assert {path.name: path.stat().st_ino for path in (tmp_path / "out/shards").iterdir()} == shards  # moved
    assert sorted(tmp_path.glob("*part*")) == sorted(tmp_path.glob(".*")) == []
    again = preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5)
    assert again.already_done


def test_other_files_that_came_while_the_parts_were_made_are_told_of(corpus: Path, tmp_path: Path):
    """Whatever the order of the parts, the set is the same."""
    for name, order in (("a", 1), ("b", -1)):
        parts = make_parts(corpus, tmp_path / name, 2)
        shutil.rmtree(parts[1])
        (corpus / "late.txt").write_text("x")
        preprocess(corpus, tmp_path / name, MEL, CLIP, part=Part(1, 2), max_bad=0.5)
        (corpus / "late.txt").unlink()
        heard = Recorder()
        merge(parts[::order], tmp_path / name, heard)
        told = f"{parts[1]} saw other files beside the recordings than {parts[0]} did"
        assert sum(text.startswith(told) for text in heard.warnings) == 1
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert FeatureSet.open(tmp_path / "a").about["counts"]["ignored"] == {".txt": 1}


def test_a_part_may_be_a_link(corpus: Path, tmp_path: Path):
    parts = make_parts(corpus, tmp_path / "out", 2)
    (tmp_path / "other").mkdir()
    parts[1].rename(tmp_path / "other/part")
    parts[1].symlink_to(tmp_path / "other/part")
    merge(parts, tmp_path / "out")
    preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5)
    assert files(tmp_path / "out") == files(tmp_path / "one")
    assert list((tmp_path / "other").iterdir()) == [*tmp_path.glob("*part*")] == []


def test_a_part_says_what_it_is_and_is_not_made_twice(corpus: Path, tmp_path: Path):
    first = preprocess(corpus, tmp_path / "out", MEL, CLIP, part=Part(1, 3))
    assert (first.out.name, first.counts, first.already_done) == ("out.part-1-of-3", None, False)
    assert json.loads((first.out / "part.json").read_text())["number"] == 1
    before = files(first.out)
    assert preprocess(corpus, tmp_path / "out", MEL, CLIP, part=Part(1, 3)).already_done
    assert files(first.out) == before
    with pytest.raises(InputError, match=r"mel\.n_mels is 32 there, 16 asked"):
        preprocess(corpus, tmp_path / "out", MEL.with_changes(n_mels=16), CLIP, part=Part(1, 3))


def test_a_merge_that_was_killed_goes_on(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5)
    parts, out = make_parts(corpus, tmp_path / "out", 2), tmp_path / "out"
    rename, left = blocks.os.rename, 9

    def killed(*x):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        rename(*x)

    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            merge(parts, out)
    assert not out.exists()
    merge(parts, out)
    assert files(out) == files(tmp_path / "one")


@pytest.mark.parametrize(
    ("number", "error", "sentence"),
    [(errno.EXDEV, InputError, "is on another disk than its parts"), (errno.EIO, OSError, os.strerror(errno.EIO))],
)
def test_a_merge_onto_another_disk_is_refused(
    corpus: Path, tmp_path: Path, monkeypatch, number: int, error: type, sentence: str
):
    def refused(*x):
        raise OSError(number, os.strerror(number))

    parts = make_parts(corpus, tmp_path / "out", 2)
    before = [files(part) for part in parts]
    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, "rename", refused)
        with pytest.raises(error, match=sentence):
            merge(parts, tmp_path / "out")
    assert [files(part) for part in parts] == before
    merge(parts, tmp_path / "out")


def test_a_merge_judges_as_one_run_would(corpus: Path, tmp_path: Path):
    one, merged = Recorder(), Recorder()
    preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5, progress=one)
    out = tmp_path / "out"
    parts = [preprocess(corpus, out, MEL, CLIP, part=Part(k, 2), max_bad=0.5 - 0.5 * k).out for k in (0, 1)]
    with pytest.raises(RejectedError, match=r"1 of 18 recordings were rejected \(.*expected at most 0\.0%"):
        merge(parts, out, merged)
    assert merged.warnings == one.warnings
    assert any("the subject of 17 of 17 recordings" in warning for warning in one.warnings)
    assert files(out) == files(tmp_path / "one")
    with pytest.raises(
        RejectedError, match=r"or raise --max-bad and make the parts anew, .*; where \S+out will do as it is"
    ):
        merge(parts, out)
    for part in parts:
        shutil.rmtree(part)
    merge(parts, out)


def test_what_a_merge_left_when_it_was_killed_at_its_end_is_removed(corpus: Path, tmp_path: Path):
    parts = make_parts(corpus, tmp_path / "out", 3)
    left = shutil.copytree(parts[1], tmp_path / "left")
    counts = merge(parts, tmp_path / "out")
    left.rename(parts[1])
    other = make_parts(corpus, tmp_path / "other", 2, max_hours=1.0)
    with pytest.raises(InputError, match=r"max_hours is 24\.0 there, 1\.0 asked"):
        merge([*parts, other[0]], tmp_path / "out")
    assert merge(parts, tmp_path / "out") == counts
    assert not any(part.exists() for part in parts)


def test_a_part_of_an_earlier_build_is_refused(corpus: Path, tmp_path: Path):
    (part,) = make_parts(corpus, tmp_path / "out", 1)
    about = json.loads((part / "part.json").read_text())
    del about["max_bad"]
    (part / "part.json").write_text(json.dumps(about | {"schema_version": 2}))
    with pytest.raises(InputError, match=r"part\.json is not of schema version 5\. Make the part anew"):
        merge([part], tmp_path / "out")


@pytest.mark.parametrize("field", ["number", "count", "n_blocks", "block", "made_with", "max_bad"])
def test_a_part_whose_json_lacks_a_field_is_refused(corpus: Path, tmp_path: Path, field: str):
    (part,) = make_parts(corpus, tmp_path / "out", 1)
    about = json.loads((part / "part.json").read_text())
    (part / "part.json").write_text(json.dumps(about | {field: None}))
    told = "in its made_with, it holds nothing" if field == "made_with" else f"its {field} is None"
    with pytest.raises(InputError, match=rf"part\.json is not a part's part\.json .*: {told}\. Restore"):
        merge([part], tmp_path / "out")
    assert part.exists()
    assert not (tmp_path / "out").exists()


def test_misfits_are_refused_by_name_and_nothing_is_moved(corpus: Path, tmp_path: Path, monkeypatch):
    parts, out = make_parts(corpus, tmp_path / "out", 3), tmp_path / "out"
    other = make_parts(corpus, tmp_path / "other", 3, max_hours=1.0)
    four = make_parts(corpus, tmp_path / "four", 4)
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "BLOCK_RECORDINGS", 5)
        fewer = make_parts(corpus, tmp_path / "fewer", 3)
        with pytest.raises(InputError, match=r"block is '4 recordings or \d+ bytes' there, '5 rec.* asked"):
            make_parts(corpus, tmp_path / "out", 3)
    copy = shutil.copytree(parts[0], tmp_path / "copy")
    before = [files(part) for part in (*parts, *other, *four, *fewer, copy)]
    for given, sentence in [
        (parts[:2], r"^part 2/3 is missing; expected all 3\. Make it with --shard, or name it$"),
        (parts[1:2], r"^the parts 0/3, 2/3 are missing; expected all 3\. Make them"),
        ([*parts, copy], r"out\.part-0-of-3 and .*copy are both part 0/3"),
        ([*parts[:2], other[2]], r"other\.part-2-of-3 is a part of another .*: max_hours is 1\.0 there, 24\.0 in"),
        ([*parts[:2], four[2]], r"four\.part-2-of-4 is a part of another feature set: number of parts is 4 there, 3"),
        ([*parts[:2], fewer[2]], r"fewer\.part-2-of-3 is .*: block is '5 rec.*' there, '4 recordings or"),
        ([*parts[:2], corpus], r"part\.json does not exist; expected a part's part\.json"),
    ]:
        with pytest.raises(InputError, match=sentence):
            merge(given, out)
    assert [files(part) for part in (*parts, *other, *four, *fewer, copy)] == before
    (parts[1] / "blocks/00004.json").unlink()
    with pytest.raises(InputError, match=r"out\.part-1-of-3 lacks block 4"):
        merge(parts, out)


@pytest.mark.parametrize(
    "harm",
    ["no shard", "cut shard", "no index", "other index", "other subjects", "other facts", "other JSON", "no digest"],
)
def test_a_damaged_part_is_refused_and_nothing_is_moved(corpus: Path, tmp_path: Path, harm: str):
    parts = make_parts(corpus, tmp_path / "out", 2)
    shard, index = sorted(parts[1].glob("shards/*"))[-1], sorted(parts[1].glob("blocks/*.index.parquet"))[-1]
    about, facts = (sorted(parts[1].glob(f"blocks/*.{suffix}"))[-1] for suffix in ("json", "facts.parquet"))
    match harm:
        case "no shard":
            shard.unlink()
        case "cut shard":
            os.truncate(shard, shard.stat().st_size - 4)
        case "no index":
            index.unlink()
        case "other index":
            index.write_bytes(index.read_bytes()[:-1] + b"x")
        case "other subjects" | "other facts":
            path = facts if harm == "other facts" else index
            rows = pq.read_table(path)
            columns = {name: rows[name] for name in rows.column_names} | {"subject": ["p9"] * len(rows)}
            pq.write_table(pa.table(columns, schema=rows.schema), path)
        case "other JSON":
            about.write_text("[]")
        case "no digest":
            about.write_text(json.dumps(json.loads(about.read_text()) | {"digests": {}}))
    left = [files(part) for part in parts]
    named = about.name if harm in ("other JSON", "no digest") else f"({shard.name}|{index.name}|{facts.name})"
    with pytest.raises(InputError, match=f"{named}.*Remove .* and make this part anew"):
        merge(parts, tmp_path / "out")
    assert [files(part) for part in parts] == left
    shutil.rmtree(parts[1])
    merge(make_parts(corpus, tmp_path / "out", 2), tmp_path / "out")


def test_the_shard_is_read_as_given_or_from_slurm(monkeypatch: pytest.MonkeyPatch):
    assert Part.parse("2/8") == Part(2, 8)
    for text in ("8/8", "1", "a/b", "-1/4", "1/0", "²/3", ""):
        with pytest.raises(SettingsError, match=r"expected I/N with I from 0 to N - 1"):
            Part.parse(text)
    with pytest.raises(SettingsError, match=r"SLURM_ARRAY_TASK_ID is ''.*Submit with sbatch --array=0-N"):
        Part.parse("slurm")
    for values, part in [(("3", "4"), Part(3, 4)), (("5", "4", "2"), Part(3, 4)), (("6", "3", "2", "2"), Part(2, 3))]:
        for name, value in zip(SLURM, values, strict=False):
            monkeypatch.setenv(name, value)
        assert Part.parse("slurm") == part
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    with pytest.raises(SettingsError, match=r"is 7 of 3 tasks from 2 in steps of 2; expected no gaps\."):
        Part.parse("slurm")


@pytest.mark.parametrize("how", [(), ("--shard", "slurm")])
def test_the_commands_of_a_slurm_array(
    cli: Callable[..., Result], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
):
    options = (*MEL_OPTIONS, "--n-frames", "32", "--max-bad", "0.5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        result = cli("preprocess", corpus, tmp_path / "out", *options, *how)
        assert result.exit_code == 0
        told = f"shard {task}/2 by SLURM_ARRAY_TASK_ID={task} and SLURM_ARRAY_TASK_COUNT=2: this task makes part {task}"
        assert (told in result.stderr) == (not how)
        set_ = shlex.quote(str(tmp_path / "out"))
        assert f"next, with all parts: clinaug-fast merge {set_}.part-*-of-2 {set_}\n" in result.stdout
    result = cli("merge", *sorted(tmp_path.glob("out.part*[0-9]")), tmp_path / "out")
    assert result.exit_code == 0
    assert f"{tmp_path / 'out'} is made of 2 parts: 18 recordings found, 17 kept, 68 clips" in result.stdout
    result = cli("merge", tmp_path / "out.part-0-of-2", tmp_path / "out")
    assert f"{tmp_path / 'out'} was made before: 18 recordings found, 17 kept, 68 clips" in result.stdout
    assert cli("preprocess", corpus, tmp_path / "one", *options, "--shard", "none").exit_code == 0
    assert files(tmp_path / "out") == files(tmp_path / "one")


def test_what_is_given_goes_before_the_array_and_an_array_of_one_must_say(
    cli: Callable[..., Result], corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = (*MEL_OPTIONS, "--n-frames", "32", "--max-bad", "0.5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "8")
    result = cli("preprocess", corpus, tmp_path / "out", *options, "--shard", "1/3")
    assert (result.exit_code, "SLURM" in result.stderr) == (0, False)
    assert (tmp_path / "out.part-1-of-3").is_dir()
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    before = sorted(tmp_path.iterdir())
    result = cli("preprocess", corpus, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert "this is task 5 of a SLURM array of one" in result.stderr
    assert "Give --shard I/N, or --shard none for the whole set" in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_killed_worker_left_is_not_in_a_part(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(folder: Path, *x) -> None:
        (folder / "blocks/.00002.another.77.draft").write_bytes(b"half a shard")
        raise KeyboardInterrupt

    whole = files(make_parts(corpus, tmp_path / "whole", 2)[0])
    with monkeypatch.context() as patch:
        patch.setattr("clinaug_fast.preprocess.pipeline.write_part", killed)
        with pytest.raises(KeyboardInterrupt):
            make_parts(corpus, tmp_path / "out", 2)
    assert list(tmp_path.glob("**/.*.77.draft"))
    assert files(make_parts(corpus, tmp_path / "out", 2)[0]).keys() == whole.keys()


def test_a_place_inside_a_part_is_refused(corpus: Path, tmp_path: Path):
    parts = make_parts(corpus, tmp_path / "out", 2)
    link = tmp_path / "link"
    link.symlink_to(parts[1], target_is_directory=True)
    before = [files(part) for part in parts]
    for out in (parts[0] / "set", parts[0], link / "set"):
        with pytest.raises(InputError, match=r"lies in .*part-\d-of-2, a part, which is used up"):
            merge(parts, out)
    assert [files(part) for part in parts] == before


def test_parts_are_left_where_the_set_that_was_made_before_is_damaged(corpus: Path, tmp_path: Path):
    out = preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5).out
    whole = files(out)
    parts = make_parts(corpus, out, 2)
    shard = next(out.glob("shards/*"))
    shard.unlink()
    with pytest.raises(InputError, match=rf"out was made before and is damaged \(shards/{shard.name}\); the parts, .*"):
        merge([*parts, parts[0]], out)
    shutil.rmtree(out)
    merge(parts, out)
    assert files(out) == whole
    parts = make_parts(corpus, out, 2)
    merge([*parts, parts[0]], out)  # the set is whole: the parts are used up once more, one of them named twice
    assert not any(part.exists() for part in parts)
    assert files(out) == whole


def test_a_disk_of_its_own_is_seen_before_anything_is_moved(corpus: Path, tmp_path: Path):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second disk")
    parts = make_parts(corpus, tmp_path / "out", 2)
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        there = shutil.copytree(parts[1], Path(elsewhere) / parts[1].name)
        for given, out in (([parts[0], there], tmp_path / "out"), (parts, Path(elsewhere) / "new/out")):
            with pytest.raises(InputError, match="is on another disk than its parts"):
                merge(given, out)
    assert list(tmp_path.glob(".*")) == []
    merge(parts, tmp_path / "out")


def test_linked_folders_of_shards_are_emptied_and_linked_shards_refused(corpus: Path, tmp_path: Path):
    one = preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5).out
    parts = make_parts(corpus, tmp_path / "out", 2)
    (parts[0] / "shards").rename(tmp_path / "scratch")
    (parts[0] / "shards").symlink_to(tmp_path / "scratch", target_is_directory=True)
    shard = next((parts[1] / "shards").iterdir())
    shard.rename(tmp_path / "moved.npy")
    shard.symlink_to(tmp_path / "moved.npy")
    with pytest.raises(InputError, match=rf"{shard.name} is a link, which would be moved"):
        merge(parts, tmp_path / "out")
    os.replace(tmp_path / "moved.npy", shard)
    merge(parts, tmp_path / "out")
    assert files(tmp_path / "out") == files(one)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not any(part.exists() for part in parts)
