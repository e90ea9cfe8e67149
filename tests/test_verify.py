"""verify: a whole set passes, and each kind of damage is told by the name of its file."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinaug_fast.config import ClipConfig
from clinaug_fast.errors import InputError, cannot_be_read
from clinaug_fast.features import verify as module
from clinaug_fast.features.feature_set import INDEX_SCHEMA, FeatureSet, feature_set_fingerprint, new_feature_set
from clinaug_fast.features.places import misplaced
from clinaug_fast.features.shards import fingerprint_shard
from clinaug_fast.features.verify import Report, verify
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL


@pytest.fixture(scope="module")
def made(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set preprocessed from the tiny corpus and one file that is no audio."""
    folder = tmp_path_factory.mktemp("verify")
    corpus = shutil.copytree(tiny_corpus, folder / "corpus")
    (corpus / "hum" / "p9_0.wav").write_bytes(b"no audio")
    preprocess(corpus, folder / "set", MEL, ClipConfig(n_frames=32), subject_pattern=r"/(p\d)_", max_bad=0.5)
    return folder / "set"


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "set")


def sealed(path: Path, about: dict, index: pa.Table | None = None) -> None:
    """Write changed content with a fingerprint that fits, so that the checks behind it are reached."""
    if index is not None:
        pq.write_table(index, path / "index.parquet")
    about["fingerprint"] = feature_set_fingerprint(about, path / "index.parquet")
    (path / "features.json").write_text(json.dumps(about))


def only_problem(report: Report) -> tuple[str, str]:
    assert len(report.problems) == 1, report.problems
    assert not report.whole
    return report.problems[0]["file"], report.problems[0]["problem"]


def first_shard(path: Path) -> Path:
    return path / FeatureSet.open(path).about["shards"][0]["file"]


def test_a_whole_set_has_no_problem(made: Path) -> None:
    report = verify(made, threads=2)
    assert report.whole, report.problems
    assert report.clips == len(FeatureSet.open(made))
    assert len(report.checks) == 8


def test_a_generated_set_without_counts_is_checked_too(tmp_path: Path) -> None:
    with new_feature_set(tmp_path / "set", MEL, 8, ["a", "b"], {"kind": "generated"}) as writer:
        for k in range(6):
            clip = np.full((MEL.n_mels, 8), k, np.float32)
            writer.add(clip, id=f"{k}", recording=f"{k}", label="ab"[k % 2], start_s=0.0, fold=0)
    assert verify(tmp_path / "set").whole
    with open(tmp_path / "set" / "shards" / "00000.npy", "r+b") as file:
        file.truncate(300)
    name, problem = only_problem(verify(tmp_path / "set"))
    assert name == "shards/00000.npy"
    assert "cut short" in problem


@pytest.mark.parametrize("place", [0, 200, -1])
def test_one_changed_byte_of_a_shard_is_found(copy: Path, place: int) -> None:
    shard = first_shard(copy)
    content = bytearray(shard.read_bytes())
    content[place] ^= 1
    shard.write_bytes(content)
    name, problem = only_problem(verify(copy))
    assert name == shard.relative_to(copy).as_posix()
    assert "digest" in problem


def test_a_missing_shard_is_named(copy: Path) -> None:
    shard = first_shard(copy)
    shard.unlink()
    assert only_problem(verify(copy)) == (shard.relative_to(copy).as_posix(), "it is missing")


@pytest.mark.parametrize("instead", ["/dev/zero", "pipe"])
def test_a_shard_without_an_end_is_named(copy: Path, instead: str) -> None:
    shard = first_shard(copy)
    shard.unlink()
    os.mkfifo(shard) if instead == "pipe" else shard.symlink_to(instead)
    assert only_problem(verify(copy)) == (shard.relative_to(copy).as_posix(), "it is not a regular file")


def test_a_foreign_shard_is_named(copy: Path) -> None:
    (copy / "shards" / "99999.npy").write_bytes(b"x")
    assert only_problem(verify(copy))[0] == "shards/99999.npy"


def test_a_shard_of_another_shape_under_its_right_digest(copy: Path) -> None:
    about = FeatureSet.open(copy).about
    sealed(copy, about | {"n_frames": about["n_frames"] + 1})
    assert all("expected float32" in problem["problem"] for problem in verify(copy).problems)
    assert len(verify(copy).problems) == len(about["shards"])


def test_a_changed_setting_breaks_the_fingerprint(copy: Path) -> None:
    about = json.loads((copy / "features.json").read_text())
    about["mel"]["floor"] = 1e-9
    (copy / "features.json").write_text(json.dumps(about))
    assert "fingerprint" in only_problem(verify(copy))[1]


@pytest.mark.parametrize("content", ["", "[]", '{"schema_version": 99}', "{"])
def test_a_features_json_of_nothing(copy: Path, content: str) -> None:
    (copy / "features.json").write_text(content)
    assert only_problem(verify(copy))[0] == "features.json"


def test_a_features_json_without_its_fields(copy: Path) -> None:
    (copy / "features.json").write_text('{"schema_version": 1, "fingerprint": "0", "shards": [{}]}')
    assert "features.json" in verify(copy).damaged


def test_an_index_that_cannot_be_read(copy: Path) -> None:
    (copy / "index.parquet").write_bytes(b"PAR1 no")
    assert "index.parquet" in verify(copy).damaged


def changed(index: pa.Table, name: str, row: int, value: object) -> pa.Table:
    values = index.column(name).to_pylist()
    values[row] = value
    field = INDEX_SCHEMA.field(name).with_nullable(True)
    return index.set_column(index.schema.get_field_index(name), field, pa.array(values, field.type))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("id", "hiss/p0_0.wav#0", "1 ids come twice, the first is 'hiss/p0_0.wav#0'"),
        ("id", None, "the column id lacks 1 values"),
        ("row", 0, "2 places in shards are pointed to never or more than once, the first is row 0 of shards/00000.npy"),
        ("row", -1, "1 rows point outside the shards, the first is row 7"),
        ("row", 10**6, "1 rows point outside the shards, the first is row 7"),
        ("shard", 77, "1 rows point outside the shards, the first is row 7"),
        ("row", None, "the column row lacks 1 values"),
        ("shard", None, "the column shard lacks 1 values"),
        ("label", None, "the column label lacks 1 values"),
        ("recording", None, "the column recording lacks 1 values"),
        ("label", "unknown", "does not list"),
    ],
)
def test_rows_of_the_index_that_do_not_fit(copy: Path, name: str, value: object, told: str) -> None:
    features = FeatureSet.open(copy)
    sealed(copy, features.about, changed(features.index, name, 7, value))
    report = verify(copy)
    assert any(p["file"] == "index.parquet" and told in p["problem"] for p in report.problems), report.problems
    assert not any("cannot be checked" in p["problem"] for p in report.problems)


def test_a_lost_row_is_found(copy: Path) -> None:
    features = FeatureSet.open(copy)
    sealed(copy, features.about, features.index.slice(1))
    assert "index.parquet" in verify(copy).damaged


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("found", 99, "found is 99"),
        ("kept", 17, "recordings are kept"),
        ("clips", {"hiss": 1}, "clips by label"),
        ("subjects", 4, "subjects are known"),
    ],
)
def test_counts_that_do_not_add_up(copy: Path, name: str, value: object, told: str) -> None:
    about = FeatureSet.open(copy).about
    about["counts"][name] = value
    sealed(copy, about)
    assert any(told in problem["problem"] for problem in verify(copy).problems)


def test_a_lost_line_of_rejected_jsonl(copy: Path) -> None:
    (copy / "rejected.jsonl").write_text("")
    name, problem = only_problem(verify(copy))
    assert name == "rejected.jsonl"
    assert "UNREADABLE" in problem
    (copy / "rejected.jsonl").unlink()
    assert only_problem(verify(copy))[0] == "rejected.jsonl"


@pytest.mark.parametrize(
    ("now", "told"), [(lambda text: text.replace("p9_0", "p8_0"), "digest"), (lambda text: text + "{}\n", "None: 1")]
)
def test_a_changed_line_of_rejected_jsonl(copy: Path, now: Callable[[str], str], told: str) -> None:
    lines = copy / "rejected.jsonl"
    lines.write_text(now(lines.read_text()))
    name, problem = only_problem(verify(copy))
    assert name == "rejected.jsonl"
    assert told in problem


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        verify(tmp_path / "none")


def test_a_part_is_told_from_a_set(tmp_path: Path) -> None:
    (tmp_path / "part.json").write_text("{}")
    with pytest.raises(InputError, match="merge"):
        verify(tmp_path)


def test_a_row_just_behind_its_shard_is_outside(copy: Path) -> None:
    features = FeatureSet.open(copy)
    behind = features.about["shards"][0]["rows"]
    sealed(copy, features.about, changed(features.index, "row", 7, behind))
    assert any("1 rows point outside the shards, the first is row 7" in p["problem"] for p in verify(copy).problems)


def test_a_shard_of_another_type_under_its_right_digest(copy: Path) -> None:
    features = FeatureSet.open(copy)
    np.save(first_shard(copy), np.load(first_shard(copy)).astype(np.float64))
    features.about["shards"][0]["xxh3_64"] = fingerprint_shard(first_shard(copy))
    sealed(copy, features.about)
    assert "it holds float64" in only_problem(verify(copy))[1]


def test_unknown_subjects_are_no_subject(tiny_corpus: Path, tmp_path: Path) -> None:
    preprocess(tiny_corpus, tmp_path / "set", MEL, ClipConfig(n_frames=32))
    assert verify(tmp_path / "set").whole


def test_counts_of_two_labels_that_changed_places(copy: Path) -> None:
    about = FeatureSet.open(copy).about
    clips = about["counts"]["clips"]
    clips["hiss"], clips["hum"] = clips["hiss"] + 1, clips["hum"] - 1
    sealed(copy, about)
    assert "clips by label" in only_problem(verify(copy))[1]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("fingerprint_shard", "shards/00000.npy"),
        ("feature_set_fingerprint", "index.parquet"),
        ("read_versioned", "features.json"),
    ],
)
@pytest.mark.parametrize("code", [errno.ESTALE, errno.EACCES, errno.EIO])
def test_what_the_disk_does_not_give_is_not_damaged(made: Path, cli, monkeypatch, name: str, file: str, code: int):
    def fails(*given, **named):
        error = OSError(code, os.strerror(code), str(made / file))
        raise cannot_be_read(made / file, error, "Make it anew") if name == "read_versioned" else error

    monkeypatch.setattr(module, name, fails)
    done = cli("verify", made)
    assert done.exit_code == 3
    assert f"{made / file} cannot be read: {os.strerror(code)}. Check its rights and its disk" in done.stderr
    assert "damaged" not in done.stdout + done.stderr


def test_a_link_to_itself_is_damage(made: Path, tmp_path: Path):
    copy = shutil.copytree(made, tmp_path / "set")
    for name in ("index.parquet", "shards/00000.npy"):
        (copy / name).unlink()
        (copy / name).symlink_to((copy / name).name)
    assert {"index.parquet", "shards/00000.npy"} <= set(verify(copy).damaged)


def test_a_lost_index_is_told_with_the_shards_that_are_there(made: Path, tmp_path: Path):
    copy = shutil.copytree(made, tmp_path / "set")
    (copy / "index.parquet").unlink()
    report = verify(copy)
    assert (report.shards, report.damaged) == (1, ["index.parquet"])


@pytest.mark.parametrize("where", ["shards", "n_clips"])
def test_another_number_of_clips_than_the_index_has_is_told(copy: Path, where: str) -> None:
    about = json.loads((copy / "features.json").read_text())
    if where == "n_clips":
        about["n_clips"] += 1
    else:
        about["shards"][0]["rows"] += 1
    told = list(misplaced(about, pq.read_table(copy / "index.parquet", schema=INDEX_SCHEMA), INDEX_SCHEMA))
    assert len(told) == 1
    assert re.match(r"it has (\d+) rows, features.json says \d+ clips, its shards hold \d+$", told[0])
