"""Folds: no group on both sides, every label on both sides, or a refusal that shows the table."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features import folds
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds, show_table, write_folds
from clinaug_fast.features.lineage import generated_lineage
from clinaug_fast.runs import own_fingerprint
from clinaug_fast.shown import columns
from conftest import MEL

SMALL = MEL.with_changes(n_mels=2)


def features_of(path: Path, clips: list[tuple[str, str | None, str]], labels: list[str]) -> FeatureSet:
    """Clips as (recording, subject, label)."""
    with new_feature_set(path, SMALL, 1, labels, {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for k, (recording, subject, label) in enumerate(clips):
            clip = np.full((2, 1), k, np.float32)
            writer.add(clip, id=str(k), recording=recording, subject=subject, label=label, start_s=0.0)
    return FeatureSet.open(path)


@given(
    st.integers(2, 5),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2), st.integers(1, 3)), min_size=30, max_size=120),
    st.booleans(),
)
def test_every_split_is_honest_or_refused(tmp_path_factory, n_folds, drawn, with_subjects):
    clips = []
    for number, (subject, label, n) in enumerate(drawn):
        clips += [(f"r{number}", f"s{subject}" if with_subjects else None, "abc"[label])] * n
    features = features_of(tmp_path_factory.mktemp("f") / "set", clips, sorted({label for *_, label in clips}))
    try:
        folds = make_folds(features, n_folds)
    except InputError:
        return
    tested = []
    for fold in range(n_folds):
        train, test = folds.rows(features, fold)
        assert sorted([*train, *test]) == list(range(len(features)))
        assert not set(features.groups[train]) & set(features.groups[test])
        assert set(features.groups[test]) == folds.test_groups(fold)
        assert set(features.classes[train]) == set(features.classes[test]) == set(range(len(features.labels)))
        tested += test.tolist()
    assert sorted(tested) == list(range(len(features)))


def split_exists(subjects: dict[str, str], labels: str, n_folds: int) -> bool:
    """Tries every assignment of the subjects (name -> their labels)."""
    for assigned in itertools.product(range(n_folds), repeat=len(subjects)):
        tested = [
            {label for k, own in zip(assigned, subjects.values(), strict=True) if k == f for label in own}
            for f in range(n_folds)
        ]
        if all(own == set(labels) for own in tested):
            return True
    return False


@pytest.mark.parametrize("seed", range(40))
def test_a_split_is_found_where_one_exists(tmp_path: Path, seed: int):
    # A few subjects with some labels each and recordings in very uneven numbers: the greedy splitter alone fails often.
    rng = np.random.default_rng(seed)
    labels, n_folds = "abcd"[: rng.integers(2, 5)], int(rng.integers(2, 4))
    own = {f"s{k}": "".join(rng.permutation(list(labels))[: rng.integers(1, len(labels) + 1)]) for k in range(6)}
    clips = [(f"{s}{label}{k}", s, label) for s in own for label in own[s] for k in range(rng.choice([1, 2, 5, 20]))]
    features = features_of(tmp_path / "set", clips, sorted({label for *_, label in clips}))
    if split_exists(own, "".join(features.labels), n_folds):
        folds = make_folds(features, n_folds)
        assert len(folds) == n_folds
        for fold in range(n_folds):
            for part in folds.rows(features, fold):
                assert set(features.classes[part]) == set(range(len(features.labels)))
    else:
        with pytest.raises(InputError):
            make_folds(features, n_folds)


def test_a_split_is_found_wherever_each_label_has_subjects_of_its_own(tmp_path: Path):
    clips = [(f"{label}{k}", f"{label}{k}", label) for label in "abc" for k in range(5)]
    folds = make_folds(features_of(tmp_path / "set", clips, list("abc")), 5)
    assert [fold["test_recordings"] for fold in folds.about["folds"]] == [[1, 1, 1]] * 5


def test_a_recording_counts_once_however_many_clips_it_gave(tmp_path: Path):
    clips = [(f"{label}{k}", None, label) for label in "ab" for k in range(4) for _ in range(1 + 20 * (k == 0))]
    folds = make_folds(features_of(tmp_path / "set", clips, list("ab")), 2)
    assert [fold["test_recordings"] for fold in folds.about["folds"]] == [[2, 2], [2, 2]]
    assert folds.about["group_by"] == "recording"


def test_segments_of_one_recording_count_for_each_of_their_labels(tmp_path: Path):
    clips = [(f"operation{k}", None, label) for k in range(4) for label in "ab" for _ in range(3)]
    folds = make_folds(features_of(tmp_path / "set", clips, list("ab")), 2)
    assert [fold["test_recordings"] for fold in folds.about["folds"]] == [[2, 2], [2, 2]]


def test_each_segment_of_a_recording_counts(tmp_path: Path):
    with new_feature_set(tmp_path / "set", SMALL, 1, ["a", "b"], {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for operation in range(12):
            for label in "ab":
                for segment in range(15 if operation < 4 else 1):
                    name = f"o{operation}.wav@{segment}.0-{segment + 1}.0"
                    about = {"recording": f"o{operation}.wav", "subject": f"p{operation}", "label": label}
                    for window in range(2):
                        writer.add(np.zeros((2, 1), np.float32), id=f"{label}/{name}#{window}", start_s=0.0, **about)
    for seed in range(3):
        folds = make_folds(FeatureSet.open(tmp_path / "set"), 4, seed)
        tested = np.array([fold["test_recordings"] for fold in folds.about["folds"]])
        assert tested.sum(axis=0).tolist() == [68, 68]
        assert 15 <= tested.min() <= tested.max() <= 20  # one subject of many segments in each fold


def test_generated_clips_are_not_split(tiny_features: FeatureSet, tiny_folds: Folds, tmp_path: Path):
    lineage = generated_lineage(tiny_features, tiny_folds, "run", [0])
    with new_feature_set(tmp_path / "made", MEL, 32, tiny_features.labels, lineage) as writer:
        for number, label in enumerate(tiny_features.labels * 6):
            clip = np.zeros((32, 32), np.float32)
            writer.add(clip, id=str(number), recording=str(number), label=label, start_s=0.0, fold=0)
    with pytest.raises(InputError, match=r"made holds generated clips.*Split the feature set that they"):
        make_folds(FeatureSet.open(tmp_path / "made"), 2)


def test_the_seed_decides(tiny_features: FeatureSet):
    assert make_folds(tiny_features, 3, 1).about == make_folds(tiny_features, 3, 1).about
    splits = {json.dumps(make_folds(tiny_features, 3, seed).about["folds"]) for seed in range(5)}
    assert len(splits) > 1


def test_a_label_of_too_few_subjects_is_refused_with_the_table(tmp_path: Path):
    clips = [(f"{label}{k}", f"s{k}", label) for label, n in (("common", 6), ("rare", 2)) for k in range(n)]
    features = features_of(tmp_path / "set", clips, ["common", "rare"])
    with pytest.raises(InputError, match=r"folds is 3, but .* 2 subjects.*\n  common +6\n  rare +2\nLower --folds"):
        make_folds(features, 3)


def test_subjects_that_tie_labels_together_are_refused_with_the_table(tmp_path: Path):
    # Each label has two subjects that must part, but three subjects cannot part in pairs over two folds.
    clips = [(f"{label}{s}", s, label) for label, subjects in (("a", "12"), ("b", "23"), ("c", "13")) for s in subjects]
    features = features_of(tmp_path / "set", clips, ["a", "b", "c"])
    with pytest.raises(
        InputError, match=r"no split into 2 folds .*\n +fold 0 +fold 1\n(  [abc] +[012] +[012]\n){3}Lower"
    ):
        make_folds(features, 2)


def test_one_fold_and_one_label_are_refused(tiny_features: FeatureSet, tmp_path: Path):
    with pytest.raises(SettingsError, match="folds is 1; expected at least 2"):
        make_folds(tiny_features, 1)
    with pytest.raises(InputError, match="has one label, 'a'"):
        make_folds(features_of(tmp_path / "set", [("r", None, "a"), ("q", None, "a")], ["a"]), 2)


def test_folds_of_another_set_and_folds_that_are_not_there_are_refused(
    tiny_features: FeatureSet, square_features: FeatureSet, tiny_folds: Folds
):
    with pytest.raises(InputError, match="the folds are of the feature set"):
        tiny_folds.rows(square_features, 0)
    for fold in (-1, 3):
        with pytest.raises(SettingsError, match=f"fold is {fold}; expected 0 to 2"):
            tiny_folds.rows(tiny_features, fold)


def test_folds_are_written_once(tiny_features: FeatureSet, square_features: FeatureSet, tmp_path: Path):
    path = tmp_path / "folds.json"
    folds = make_folds(tiny_features, 3)
    assert write_folds(folds, path)
    before = path.read_bytes()
    assert not write_folds(make_folds(tiny_features, 3), path)
    with pytest.raises(InputError, match="folds is 3 there, 2 asked; seed is 0 there, 7 asked"):
        write_folds(make_folds(tiny_features, 2, seed=7), path)
    with pytest.raises(InputError, match=rf"features is '{tiny_features.fingerprint}' there, '.*' asked"):
        write_folds(make_folds(square_features, 3), path)
    assert path.read_bytes() == before
    assert Folds.load(path) == folds


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", r"is not a folds\.json"),
        ("[]", r"is not a folds\.json .*: it holds \[\]\. Restore the file"),
        ('{"schema_version": 0}', r"is not of schema version 1\. Run split again"),
        ("{}", r"is not of schema version 1\. Run split again"),
        ('{"schema_version": 1}', r"is not a folds\.json .*: its features is None\. Restore the file"),
    ],
)
def test_a_file_that_is_no_folds_json_is_refused(tmp_path: Path, text: str, sentence: str):
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(InputError, match=sentence):
        Folds.load(tmp_path / "folds.json")


def test_folds_that_were_edited_are_refused(tiny_folds: Folds, tmp_path: Path):
    about = json.loads(json.dumps(tiny_folds.about))
    about["folds"][0]["test_groups"].pop()
    (tmp_path / "folds.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="was changed after it was made"):
        Folds.load(tmp_path / "folds.json")


def test_every_subject_of_a_recording_is_tested(tmp_path: Path):
    """Segments of one file may be of several patients."""
    clips = [(f"r{k}", f"{who}{k}", label) for k in range(6) for who in "pq" for label in ("a", "b")]
    features = features_of(tmp_path / "set", clips, ["a", "b"])
    folds = make_folds(features, 3)
    assert set().union(*(folds.test_groups(fold) for fold in range(3))) == set(features.groups)


def test_a_recording_with_and_without_a_subject_is_refused(tmp_path: Path):
    clips = [(f"r{k}", who, label) for k in range(6) for who in (f"p{k}", None) for label in ("a", "b")]
    with pytest.raises(InputError, match=r"12 clips have no subject .* the first is of 'r0'; .* Complete the table"):
        make_folds(features_of(tmp_path / "set", clips, ["a", "b"]), 3)


def test_what_the_groups_are_is_told(tmp_path: Path):
    for known, told in ((8, "subject"), (0, "recording"), (4, "subject, else recording")):
        clips = [(f"r{k}", f"s{k}" if k < known else None, "ab"[k % 2]) for k in range(8)]
        assert make_folds(features_of(tmp_path / told, clips, ["a", "b"]), 2).about["group_by"] == told


def test_dealt_folds_are_rather_even_and_the_seed_deals_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = {"s0": (1, 9), "s1": (9, 1), "s2": (20, 1), "s3": (1, 20), "s4": (1, 1), "s5": (1, 1)}
    counted = [(s, label, n) for s, counts in own.items() for label, n in zip("ab", counts, strict=True)]
    clips = [(f"{s}{label}{k}", s, label) for s, label, n in counted for k in range(n)]
    features = features_of(tmp_path / "set", clips, ["a", "b"])
    one_for_all = [np.arange(len(clips)), *[np.arange(0)] * 2]
    monkeypatch.setattr(folds, "_balanced", lambda *x: iter([one_for_all]))
    made = [make_folds(features, 3, seed).about["folds"] for seed in range(6)]
    tables = [np.array([fold["test_recordings"] for fold in split]) for split in made]
    dealt = [
        np.array([np.bincount(features.classes[test], minlength=2) for test in split])
        for split in folds._dealt(features.groups, 3, 0)
    ]
    best_tenth = np.quantile([folds._unevenness(table) for table in dealt if folds._is_whole(table)], 0.1)
    assert all(folds._is_whole(table) and folds._unevenness(table) <= best_tenth for table in tables)
    assert any(split != made[0] for split in made)
    assert make_folds(features, 3, 4).about["folds"] == made[4]


def test_balanced_splits_are_not_one_split_again(tmp_path: Path):
    clips = [(f"r{k}", f"s{k}", "ab"[k % 2]) for k in range(24)]
    features = features_of(tmp_path / "set", clips, ["a", "b"])
    splits = folds._balanced(features.classes, features.groups, 3, 0)
    assert len({str([test.tolist() for test in split]) for split in splits}) > 1


def test_many_folds_are_shown_in_blocks_that_80_columns_hold():
    labels, table = ["hum", "\u65e5\u672c\u8a9e", "x" * 90], np.arange(36).reshape(12, 3)
    lines = show_table(labels, table).splitlines()
    assert [line.split()[::2] for line in lines if "fold" in line] == [["fold"] * 4] * 3
    numbers = [int(n) for line in lines if line.startswith("  hum") for n in line.split()[1:]]
    assert numbers == table[:, 0].tolist()
    ends = {columns(line) for line in lines if line and "xx" not in line}
    assert len(ends) == 1
    assert max(ends) <= 80
    assert all(len(line) > 90 for line in lines if "xx" in line)  # it moves its own row alone


def test_a_group_that_the_first_and_the_last_fold_test_is_refused(tiny_folds: Folds, tmp_path: Path):
    about = json.loads(json.dumps(tiny_folds.about))
    about["folds"][2]["test_groups"].append(about["folds"][0]["test_groups"][0])
    (tmp_path / "folds.json").write_text(json.dumps(about | {"fingerprint": own_fingerprint(about)}))
    with pytest.raises(InputError, match="in two folds"):
        Folds.load(tmp_path / "folds.json")


def test_what_is_uneven_is_so_from_fold_to_fold():
    def told(*tested: int) -> str | None:
        return Folds({"folds": [{"test_recordings": [n, n]} for n in tested]}).uneven()

    assert told(4, 8) is None
    assert told(4, 9) == "fold 1 tests 18 recordings and fold 0 8: subjects differ much in size, or there are few"
    assert folds._unevenness(np.array([[1, 10], [1, 10]])) == 0.0
    assert folds._unevenness(np.array([[1, 1], [3, 3]])) == pytest.approx(0.5)
