"""The feature set: what is written is read back, in any order, and nothing that was changed is taken for whole."""

import errno
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.errors import InputError
from clinaug_fast.features import feature_set
from clinaug_fast.features.feature_set import (
    FeatureSet,
    cut_from,
    feature_set_fingerprint,
    fingerprint_with,
    new_feature_set,
)
from clinaug_fast.features.folds import make_folds
from conftest import MEL, files

LINEAGE = {"kind": "corpus", "corpus": "0" * 16}
SMALL = MEL.with_changes(n_mels=3)


def write(path: Path, clips: np.ndarray, **columns: list) -> FeatureSet:
    with new_feature_set(path, SMALL, clips.shape[2], ["a", "b"], LINEAGE) as writer:
        for k, clip in enumerate(clips):
            more = {name: values[k] for name, values in columns.items()}
            writer.add(clip, **({"id": str(k), "recording": f"r{k}", "label": "ab"[k % 2], "start_s": k / 7} | more))
    return FeatureSet.open(path)


@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 9), st.randoms(use_true_random=False))
def test_clips_and_columns_come_back_in_any_order(tmp_path_factory, n, n_frames, a_shard, random):
    clips = np.random.default_rng(n).normal(size=(n, 3, n_frames)).astype(np.float32)
    subjects = [random.choice([None, "001", "Ä b"]) for _ in range(n)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feature_set, "SHARD_BYTES", 4 * 3 * n_frames * a_shard)
        features = write(tmp_path_factory.mktemp("set") / "out", clips, subject=subjects)
    assert len(features) == n
    assert features.clip_shape == (3, n_frames)
    assert len(features.about["shards"]) == -(-n // a_shard)
    assert features.mel == SMALL
    assert features.column("subject").tolist() == subjects
    assert features.column("start_s").tolist() == [k / 7 for k in range(n)]
    assert features.classes.tolist() == [k % 2 for k in range(n)]
    assert features.column("fold").tolist() == [None] * n
    np.testing.assert_array_equal(features.clips(), clips)
    rows = [random.randrange(n) for _ in range(random.randrange(2 * n))]
    np.testing.assert_array_equal(features.clips(rows), clips[rows])
    mask = np.arange(n) % 3 == 0
    np.testing.assert_array_equal(features.clips(mask), clips[mask])


def test_groups_are_subjects_where_known(tmp_path: Path):
    features = write(tmp_path / "out", np.zeros((3, 3, 2), np.float32), subject=["s", None, "s"])
    assert features.groups.tolist() == ["subject:s", "recording:r1", "subject:s"]


def test_equal_clips_give_equal_bytes(tmp_path: Path):
    clips = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    one, two = write(tmp_path / "one", clips), write(tmp_path / "two", clips)
    assert files(one.path) == files(two.path)
    other = write(tmp_path / "other", clips + 1)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_a_shard_is_a_plain_npy(tmp_path: Path):
    clips = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    write(tmp_path / "out", clips)
    np.testing.assert_array_equal(np.load(tmp_path / "out/shards/00000.npy", mmap_mode="r"), clips)


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path):
    def fail() -> None:
        with new_feature_set(tmp_path / "out", SMALL, 2, ["a"], LINEAGE) as writer:
            writer.add(np.zeros((3, 2), np.float32), id="0", recording="r", label="a", start_s=0.0)
            raise RuntimeError("midway")

    with pytest.raises(RuntimeError, match="midway"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_second_clip_of_one_id_and_a_clip_of_another_shape_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="two clips have the id 'x'"):
        write(tmp_path / "out", np.zeros((2, 3, 2), np.float32), id=["x", "x"])
    with pytest.raises(ValueError, match=r"float64 \(3, 2\); expected float32 \(3, 2\)"):
        write(tmp_path / "out", np.zeros((1, 3, 2)))
    assert list(tmp_path.iterdir()) == []


def _edit_json(path: Path) -> None:
    about = json.loads((path / "features.json").read_text())
    (path / "features.json").write_text(json.dumps(about | {"labels": ["knock", "hum", "hiss"]}))


def _edit_index(path: Path) -> None:
    index = pyarrow.parquet.read_table(path / "index.parquet")
    pyarrow.parquet.write_table(index.slice(1), path / "index.parquet")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_edit_json, "changed after it was made"),
        (_edit_index, "changed after it was made"),
        (lambda path: (path / "features.json").unlink(), "does not exist; expected a feature set's features.json"),
        (lambda path: (path / "features.json").write_text("{"), "is not a feature set's features.json"),
        (lambda path: (path / "features.json").write_text('{"schema_version": 9}'), "not of schema version 1"),
        (lambda path: (path / "index.parquet").unlink(), r"index.parquet cannot be read"),
    ],
)
def test_a_damaged_set_is_not_opened(tiny_features: FeatureSet, tmp_path: Path, damage, sentence: str):
    shutil.copytree(tiny_features.path, tmp_path / "set")
    damage(tmp_path / "set")
    with pytest.raises(InputError, match=sentence):
        FeatureSet.open(tmp_path / "set")


def test_a_label_that_the_set_does_not_list_is_told(tiny_features: FeatureSet, tmp_path: Path):
    """In a set that somebody changed, fingerprint and all."""
    path = shutil.copytree(tiny_features.path, tmp_path / "set")
    about = json.loads((path / "features.json").read_text())
    about["labels"][0] = "unheard"
    about["fingerprint"] = feature_set_fingerprint(about, path / "index.parquet")
    (path / "features.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"index\.parquet is not as it was made: it has the label '.+', which"):
        make_folds(FeatureSet.open(path))


@pytest.mark.parametrize("keep", [0.0, 0.5])
def test_a_cut_shard_is_named(tiny_features: FeatureSet, tmp_path: Path, keep: float):
    shutil.copytree(tiny_features.path, tmp_path / "set")
    shard = tmp_path / "set/shards/00000.npy"
    shard.write_bytes(shard.read_bytes()[: int(shard.stat().st_size * keep)])
    with pytest.raises(InputError, match=r"00000\.npy cannot be read"):
        FeatureSet.open(tmp_path / "set").clips([0])


def test_a_foreign_shard_is_named(tiny_features: FeatureSet, tmp_path: Path):
    shutil.copytree(tiny_features.path, tmp_path / "set")
    np.save(tmp_path / "set/shards/00000.npy", np.zeros((36, 32, 31), np.float32))
    with pytest.raises(InputError, match=r"holds float32 \(36, 32, 31\); expected float32 \(36, 32, 32\)"):
        FeatureSet.open(tmp_path / "set").clips()


def test_the_recording_of_a_clip_is_its_id_without_the_last_number():
    ids = pa.array(["a/x.wav#0", "a/x#1.wav#12", "x.wav@0.0-1.0#3", "fold0/hiss/00001", "x#y"])
    assert cut_from(ids).to_pylist() == ["a/x.wav", "a/x#1.wav", "x.wav@0.0-1.0", "fold0/hiss/00001", "x#y"]


def test_a_part_is_told_from_a_set(tmp_path: Path):
    (tmp_path / "part.json").write_text("{}")
    with pytest.raises(InputError, match=r"is a part of a feature set\. Run clinaug-fast merge on all parts"):
        FeatureSet.open(tmp_path)


def test_a_clip_may_lie_in_any_order(tmp_path: Path):
    clips = np.random.default_rng(0).normal(size=(3, 3, 5)).astype(np.float32)
    features = write(tmp_path / "set", np.asfortranarray(clips))
    np.testing.assert_array_equal(features.clips(), clips)


@pytest.mark.parametrize("limit", [1, 4096])  # bytes of a file: less than a header, less than a shard
def test_a_full_disk_is_told_as_one(tmp_path: Path, limit: int):
    """numpy's own writer loses the error's number when it can write a part."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(tmp_path / "set", np.zeros((9, 3, 100), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_the_words_of_a_warning_are_no_part_of_the_fingerprint():
    def of(warning: str | None, macro_f1: float = 0.9, hours: float = 1.0) -> str:
        facts = {"shortcut": {"macro_f1": macro_f1, "warning": warning}, "by_label": {"warning": {"hours": hours}}}
        return fingerprint_with("an index", {"corpus_facts": facts})

    assert of("distrust it") == of("trust no score") == of(None)
    assert len({of("x"), of("x", macro_f1=0.8), of("x", hours=2.0)}) == 3  # a label may have that name
