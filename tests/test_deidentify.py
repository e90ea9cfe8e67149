"""De-identified rows hold no name, keep equal names equal, and their key stays outside."""

import json
import os
import re
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus.recordings import Recording, read_corpus
from clinaug_fast.errors import RejectedError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.verify import verify
from clinaug_fast.preprocess.deidentify import (
    key_check,
    keyed_hash,
    public_fields,
    public_suffixes,
    read_or_make_key,
    rejected_row,
)
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
NAMES = {"relative": "Murmur/Doe_Jane/visit1.wav", "subject": "Doe_Jane", "site": "St Elsewhere", "device": "SN-778"}
RECORDING = Recording(path=Path("/srv/clinic") / NAMES["relative"], label="Murmur", start_s=1.5, **NAMES)


def test_without_a_key_everything_stays() -> None:
    assert rejected_row(RECORDING, "EMPTY", "why", None) == {
        "path": RECORDING.relative,
        "start_s": 1.5,
        "end_s": None,
        "code": "EMPTY",
        "reason": "why",
    }


def test_under_a_key_no_name_is_left() -> None:
    reason = f"{RECORDING.path} cannot be read"
    text = json.dumps([public_fields(RECORDING, KEY), rejected_row(RECORDING, "UNREADABLE", reason, KEY)])
    for name in ("Doe", "Jane", "visit1", "Elsewhere", "778", "clinic", ".wav", "cannot be read"):
        assert name not in text
    assert "Murmur" in text  # the label is what the set is for
    assert "UNREADABLE" in text


def test_equal_names_stay_equal_and_others_do_not() -> None:
    one, two = public_fields(RECORDING, KEY), public_fields(replace(RECORDING, start_s=9.0), KEY)
    assert (one["subject"], one["recording"]) == (two["subject"], two["recording"])
    assert one["id"] != two["id"]
    assert rejected_row(RECORDING, "EMPTY", "", KEY)["recording"] == one["recording"]
    assert all(re.fullmatch("[0-9a-f]{24}", one[name]) for name in ("id", "recording", "subject", "site", "device"))
    assert public_fields(replace(RECORDING, subject=None), KEY)["subject"] is None


def test_each_kind_of_name_has_a_hash_of_its_own() -> None:
    fields = public_fields(Recording("x", "x", label="x", subject="x", site="x", device="x"), KEY)
    assert len({fields[name] for name in ("recording", "subject", "site", "device")} | {"x"}) == 5


@given(st.text(), st.text())
def test_hashes_tell_names_kinds_and_keys_apart(a: str, b: str) -> None:
    assert (keyed_hash(KEY, "subject", a) == keyed_hash(KEY, "subject", b)) == (a == b)
    assert keyed_hash(KEY, "subject", a) != keyed_hash(KEY, "site", a)
    assert keyed_hash(KEY, "subject", a) != keyed_hash(OTHER, "subject", a)


def test_a_name_that_is_not_utf8_has_a_hash() -> None:
    assert keyed_hash(KEY, "recording", os.fsdecode(b"a/\xff.wav")) != keyed_hash(KEY, "recording", "a/.wav")


def test_the_key_check_tells_keys_apart_and_not_the_key() -> None:
    assert key_check(KEY) != key_check(OTHER)
    assert KEY.hex() not in key_check(KEY)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "study.key"
    key = read_or_make_key(path, tmp_path / "set")
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_or_make_key(path, tmp_path / "set") == key
    assert read_or_make_key(tmp_path / "other.key", tmp_path / "set") != key
    assert [file.name for file in path.parent.iterdir()] == ["study.key"]


def test_many_at_once_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: read_or_make_key(tmp_path / "k", tmp_path / "set"), range(32)))
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "inside",
    ["set/k", "set/deep/k", "set/../set/k", "set.part-0-of-4/k", ".set.draft/set/k", ".set.part-1-of-4.draft/k"],
)
def test_a_key_inside_the_set_is_refused(tmp_path: Path, inside: str) -> None:
    with pytest.raises(SettingsError, match="lies inside"):
        read_or_make_key(tmp_path / inside, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["set", "set.receipt.json", "x/../set"])
def test_a_key_where_the_output_will_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(SettingsError, match="is where the output will be"):
        read_or_make_key(tmp_path / place, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_link_into_the_set_is_inside(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    with pytest.raises(SettingsError, match="lies inside"):
        read_or_make_key(tmp_path / "link" / "k", tmp_path / "set")


@pytest.mark.parametrize("content", [b"", b"secret", b"00" * 16, b"\xff" * 64, b"zz" * 32])
def test_a_file_that_is_no_key_is_refused_and_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(SettingsError, match="64 hex digits") as told:
        read_or_make_key(tmp_path / "k", tmp_path / "set")
    assert "secret" not in str(told.value)
    assert (tmp_path / "k").read_bytes() == content


def test_a_folder_is_no_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"is a folder; expected a file, such as .*/key\. Name one"):
        read_or_make_key(tmp_path, tmp_path / "out")


def test_a_folder_of_a_like_name_is_outside(tmp_path: Path) -> None:
    assert read_or_make_key(tmp_path / "set.keys" / "k", tmp_path / "set")


def test_the_order_of_a_deidentified_set_tells_no_order_of_names(tiny_corpus: Path, tmp_path: Path) -> None:
    out = preprocess(tiny_corpus, tmp_path / "out", MEL, ClipConfig(n_frames=32), deidentify_key=KEY).out
    recordings = list(dict.fromkeys(FeatureSet.open(out).column("recording")))
    names = sorted(path.relative_to(tiny_corpus).as_posix() for path in tiny_corpus.rglob("*.wav"))
    assert recordings == sorted(keyed_hash(KEY, "recording", name) for name in names)
    assert recordings != [keyed_hash(KEY, "recording", name) for name in names]


def test_no_file_of_a_deidentified_set_holds_a_name(tiny_corpus: Path, tmp_path: Path) -> None:
    """Not in the index, the rejected, the card, nor in what was asked or ignored; equal for equal keys."""
    corpus = shutil.copytree(tiny_corpus, tmp_path / "Doe_Clinic")
    names = {"p0": "Jane_Doe", "p1": "Max_Roe", "p2": "Ann_Poe"}
    for file in list(corpus.rglob("*.wav")):
        file.rename(file.with_name(file.name.replace(file.name[:2], names[file.name[:2]])))
    (corpus / "hum" / "Jane_Doe_9.wav").write_bytes(b"no audio")
    (corpus / "hum" / "letter.to Ann_Poe").write_text("Dear")
    how = {"subject_pattern": "(Jane_Doe|Max_Roe|Ann_Poe)", "max_bad": 0.5, "deidentify_key": KEY}
    for out in ("one", "two"):
        preprocess(corpus, tmp_path / out, MEL, ClipConfig(n_frames=32), **how)
    features = FeatureSet.open(tmp_path / "one")
    assert features.about["counts"]["subjects"] == 3
    assert features.about["counts"]["ignored"] == {"of any suffix": 1}
    assert len(set(features.column("recording"))) == 18
    files = [file for file in (tmp_path / "one").rglob("*") if file.is_file()]
    assert len(files) >= 5
    for file in [*files, tmp_path / "one.receipt.json"]:
        content = file.read_bytes()
        for name in ("Doe", "Roe", "Poe", "Jane", ".wav", KEY.hex()):
            assert name.encode() not in content, file
        if file in files:
            assert (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes() == content
    assert verify(tmp_path / "one").whole
    guessed = read_corpus(corpus, how["subject_pattern"]).fingerprint
    assert features.lineage["corpus"] != guessed  # which a good guess would confirm


def test_it_is_told_where_names_and_reasons_are_to_be_had(tiny_corpus: Path, tmp_path: Path) -> None:
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    (corpus / "hum" / "Jane_Doe.wav").write_bytes(b"no audio")
    clip, how = ClipConfig(n_frames=32), {"deidentify_key": KEY, "max_bad": 0.0}
    with pytest.raises(RejectedError, match=r"rejected\.jsonl gives each code; a run without --deidentify"):
        preprocess(corpus, tmp_path / "out", MEL, clip, **how)
    for file in corpus.rglob("*.wav"):
        file.write_bytes(b"no audio")
    with pytest.raises(RejectedError, match=r"UNREADABLE \(names and reasons without --deidentify, in another output"):
        preprocess(corpus, tmp_path / "none", MEL, clip, **how)


def test_of_no_ignored_files_none_are_counted() -> None:
    assert public_suffixes({}, KEY) == {} == public_suffixes({}, None)
    assert public_suffixes({".txt": 2, ".Doe": 1}, KEY) == {"of any suffix": 3}
