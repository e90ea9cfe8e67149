"""A corpus that may be meant otherwise than it is read: columns that are nearly those asked for, folders the wrong way
round, more machines than work."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.errors import InputError
from conftest import MEL_OPTIONS, write_corpus

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--quiet")
Cli = Callable[..., Result]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Subject", "subject"), ("SITE", "site"), (" device", "device"), ("start", "start_s"), ("End", "end_s")],
)
def test_a_column_that_is_nearly_a_known_one_is_refused(tmp_path: Path, name: str, meant: str):
    path = tmp_path / "table.csv"
    path.write_text(f"path,label,{name}\nx.wav,a,1\ny.wav,b,2\n")
    with pytest.raises(InputError, match=f"has the column '{name}'; expected '{meant}'. Rename it, or take it out"):
        read_corpus(path)


def test_columns_that_are_not_used_are_told(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    names = sorted(file.relative_to(corpus) for file in corpus.rglob("*.wav"))
    lines = [f"{name},{name.parts[0]},p1,30" for name in names]
    (corpus / "table.csv").write_text("\n".join(["path,label,patient,age", *lines]))
    assert read_corpus(corpus / "table.csv").unused == ("patient", "age")
    for _ in range(2):  # also of a set that is there
        result = cli("preprocess", corpus / "table.csv", tmp_path / "out", *OPTIONS)
        assert result.exit_code == 0
        assert "has columns that are not used: patient, age. Used are path, label, subject, site" in result.stderr


@pytest.mark.parametrize(
    ("names", "same"),
    [
        (("a/x.wav", "b/x.wav"), ()),
        (("a/p1/x.wav", "b/p1/x.wav"), ("p1",)),
        (("a/p2/x.wav", "a/p1/deep/x.wav", "b/p1/x.wav", "b/p2/y.wav"), ("p1", "p2")),
        (("a/p1/x.wav", "a/p2/x.wav", "b/p1/x.wav"), ()),
        (("a/p1/x.wav", "b/p1/x.wav", "b/y.wav"), ()),
        (("a/p1/x.wav", "b/p2/x.wav"), ()),
    ],
)
def test_folders_that_every_label_has_are_seen(tmp_path: Path, names: tuple[str, ...], same: tuple[str, ...]):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert read_corpus(tmp_path).same_folders == same
    assert read_corpus(tmp_path, "^[^/]+/([^/]+)").same_folders == ()


def test_folders_the_wrong_way_round_are_told(cli: Cli, tmp_path: Path):
    for site in ("north", "south"):
        write_corpus(tmp_path / "corpus" / site)
    result = cli("preprocess", tmp_path / "corpus", tmp_path / "out", *OPTIONS)
    assert result.exit_code == 0
    assert "each label's folder has the same sub-folders: hiss, hum, knock. If these are subjects" in result.stderr


def test_a_part_without_work_is_told(cli: Cli, tiny_corpus: Path, tmp_path: Path):
    told = "part 1/2 has nothing to do: the corpus is cut into 1, each of at most 4096 recordings"
    for number in ("0", "1"):
        result = cli("preprocess", tiny_corpus, tmp_path / "out", *OPTIONS, "--shard", f"{number}/2")
        assert result.exit_code == 0
        assert (told in result.stderr) == (number == "1")


def test_folders_that_are_left_out_are_named(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    shutil.copytree(corpus / "hum", corpus / ".old")
    (corpus / "zoo").symlink_to(corpus / "hum")
    result = cli("preprocess", corpus, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 0
    assert "warning: 2 folders, hidden or links to others in the corpus, are left out: .old, zoo" in result.stderr
    (corpus / "zoo").unlink()
    result = cli("preprocess", corpus, tmp_path / "one", *OPTIONS)
    assert "warning: the folder .old, hidden or a link to another in the corpus, is left out" in result.stderr


def test_links_that_lead_nowhere_are_named(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "knocks").symlink_to(tmp_path / "share")  # not mounted
    (corpus / "hum" / "old").symlink_to("old")
    (corpus / "hum" / ".#hum_0.wav").symlink_to("someone@a.machine")  # as an editor leaves it
    (corpus / "hum" / "lost.wav").symlink_to(tmp_path / "share" / "lost.wav")
    result = cli("preprocess", corpus, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 4  # of the lost recording
    told = "warning: links that lead nowhere are left out, and all behind them: hum/old, knocks. Mount or mend"
    assert told in result.stderr
    rejected = [json.loads(line) for line in (tmp_path / "out" / "rejected.jsonl").read_text().splitlines()]
    assert [(row["path"], row["code"]) for row in rejected] == [("hum/lost.wav", "MISSING")]


def test_links_that_lead_nowhere_are_named_where_nothing_else_is_left(cli: Cli, tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    for label in ("a", "b"):
        (tmp_path / "corpus" / label).symlink_to(tmp_path / "share" / label)
    result = cli("preprocess", tmp_path / "corpus", tmp_path / "out", *OPTIONS)
    assert "(0 audio and 0 other files seen; links that lead nowhere: a, b); expected LABEL/FILE" in result.stderr
    shutil.copytree(write_corpus(tmp_path / "whole") / "hum", tmp_path / "corpus" / "hum")
    result = cli("preprocess", tmp_path / "corpus", tmp_path / "out", *OPTIONS)
    assert result.exit_code == 3
    assert "has one label, 'hum'; links that lead nowhere: a, b; expected two or more" in result.stderr


@pytest.mark.parametrize(("short", "how"), [("tile", "repeated"), ("pad", "followed by zeros")])
def test_clips_much_longer_than_the_recordings_are_told(
    cli: Cli, tiny_corpus: Path, tmp_path: Path, short: str, how: str
):
    mels = (*MEL_OPTIONS, "--quiet", "--short", short)  # recordings of 1.2 s
    result = cli("preprocess", tiny_corpus, tmp_path / "long", *mels, "--n-frames", 320)
    assert result.exit_code == 0
    told = f"no longer than 1.2 s, and a clip is 2.55 s long: they are {how} to that length"
    assert told in result.stderr
    assert "Try --n-frames 144" in result.stderr
    assert "no longer than" not in cli("preprocess", tiny_corpus, tmp_path / "out", *mels, "--n-frames", 288).stderr


@pytest.mark.parametrize(("one", "other"), [("P2", "P2 "), ("p2", "P2"), (" P2", "p2 ")])
def test_a_subject_in_two_spellings_is_refused(tmp_path: Path, one: str, other: str):
    path = tmp_path / "table.csv"
    path.write_text(f"path,label,subject\nx.wav,a,{one}\ny.wav,b,P1\nz.wav,a,{other}\n")
    with pytest.raises(InputError, match=f"has the subjects '{one}' and '{other}'; expected one spelling of each"):
        read_corpus(path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("s1", "\uff53\uff11"),  # as wide as other letters of a Japanese keyboard
        ("s-1", "s\u20111"),  # Word's hyphen that breaks no line
        ("s-1", "s\u20131"),
        ("s IV", "s \u2163"),
        ("7", "\uff17\ufe0f"),
        ("\u845b", "\u845b\U000e0100"),  # a variant of a Japanese name's letter
    ],
)
def test_a_subject_in_letters_that_look_alike_is_refused(tmp_path: Path, one: str, other: str):
    path = tmp_path / "table.csv"
    path.write_text(f"path,label,subject\nx.wav,a,{one}\ny.wav,b,P1\nz.wav,a,{other}\n")
    told = re.escape(f"has the subjects {one!a} and {other!a}; expected one spelling of each")
    with pytest.raises(InputError, match=told):
        read_corpus(path)


def test_raised_and_circled_numbers_are_other_subjects(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label,subject\nx.wav,a,P1\ny.wav,b,P\u00b9\nz.wav,a,P\u2460\n")
    assert read_corpus(path).table.num_rows == 3


def test_a_name_in_composed_and_in_decomposed_letters_is_in_two_spellings(tmp_path: Path):
    """As macOS and other systems write it: both look alike."""
    path = tmp_path / "table.csv"
    path.write_text("path,label,subject\nx.wav,a,M\u00fcller\ny.wav,b,P1\nz.wav,a,mu\u0308ller\n")
    with pytest.raises(InputError, match="has the subjects 'M\u00fcller' and 'mu\u0308ller'; expected one spelling"):
        read_corpus(path)
    path.write_text("path,label\nx.wav,\u00e9\ny.wav,b\nz.wav,e\u0301\n")
    with pytest.raises(InputError, match=r"has the labels 'e\\u0301' and '\\xe9'; expected one spelling of each"):
        read_corpus(path)


def test_a_label_in_two_spellings_is_refused_but_for_its_case(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label\nx.wav,s\ny.wav,S\nz.wav,s \n")
    with pytest.raises(InputError, match="has the labels 's' and 's '; expected one spelling of each"):
        read_corpus(path)
    path.write_text("path,label\nx.wav,s\ny.wav,S\n")  # of phonemes, say
    assert read_corpus(path).labels == ["S", "s"]


def test_labels_that_differ_in_case_alone_are_told(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    assert "differ in upper and lower case" not in cli("preprocess", corpus, tmp_path / "one", *OPTIONS).stderr
    shutil.copytree(corpus / "hum", corpus / "Hum")
    result = cli("preprocess", corpus, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 0
    assert "the labels 'Hum' and 'hum' differ in upper and lower case alone, and are taken for two" in result.stderr


def test_a_pattern_that_finds_one_subject_in_two_spellings_is_refused(tmp_path: Path):
    for name in ("a/p1_0.wav", "b/P1_0.wav"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(InputError, match="has the subjects 'p1' and 'P1'"):
        read_corpus(tmp_path, "/([pP][0-9])_")


def test_a_subject_that_means_nobody_is_told(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    names = sorted(file.relative_to(corpus) for file in corpus.rglob("*.wav"))
    for word, told in (("NA", True), ("unknown", True), ("p9", False)):
        lines = [f"{name},{name.parts[0]},{word if number % 2 else 'p1'}" for number, name in enumerate(names)]
        (corpus / "table.csv").write_text("\n".join(["path,label,subject", *lines]))
        result = cli("preprocess", corpus / "table.csv", tmp_path / word, *OPTIONS)
        assert result.exit_code == 0
        assert (f"the subject '{word}' is taken for one patient" in result.stderr) == told


def test_a_label_of_which_nothing_is_left_is_told(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "rare").mkdir()
    (corpus / "rare/p0_0.wav").write_bytes(b"no sound")
    why = "all recordings of such a label were rejected or quiet"
    told = f"no clip of rare is left: {why}, and the set has 3 labels, not 4"
    mild = (*OPTIONS, "--max-bad", "0.5")
    for _ in range(2):  # also of a set that is there
        result = cli("preprocess", corpus, tmp_path / "one", *mild)
        assert result.exit_code == 0
        assert told in result.stderr
    for number in range(2):
        assert cli("preprocess", corpus, tmp_path / "out", *mild, "--shard", f"{number}/2").exit_code == 0
    parts = sorted(tmp_path.glob("out.part*"))
    assert told in cli("merge", *parts, tmp_path / "out", "--quiet").stderr


@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u2060"])
def test_labels_that_differ_by_what_is_not_seen_are_refused(tmp_path: Path, unseen: str):
    table = tmp_path / "t.parquet"
    labels = ["normal", f"nor{unseen}mal", "wheeze"]
    pq.write_table(pa.table({"path": [f"{k}.wav" for k in range(3)], "label": labels}), table)
    with pytest.raises(InputError, match=re.escape(f"has the labels 'normal' and {labels[1]!a}; expected one")):
        read_corpus(table)


@pytest.mark.parametrize("other", ["hu\u00a0m", "\u200b hu m", "hu  m"])
def test_labels_of_other_white_space_are_refused(tmp_path: Path, other: str):
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": ["0.wav", "1.wav", "2.wav"], "label": ["hu m", other, "x"]}), table)
    with pytest.raises(InputError, match="expected one spelling of each"):
        read_corpus(table)


@pytest.mark.parametrize("name", ["subject\u200b", "subject_", "\ufeffpath", "label.", "SITE", "start_s\u200b"])
def test_a_column_whose_name_is_nearly_one_that_is_known_is_refused(tmp_path: Path, name: str):
    known = next(known for known in ("path", "label", "subject", "site", "start_s") if known in name.lower())
    columns = {"path": ["a.wav", "b.wav"], "label": ["a", "b"], "subject": ["p", "q"]}
    columns = {key: values for key, values in columns.items() if key != known} | {name: ["1", "2"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=re.escape(f"has the column {name!r}; expected '{known}'. Rename it")):
        read_corpus(tmp_path / "t.parquet")


def test_a_code_that_reads_like_a_number_is_another_subject(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label,subject\nx.wav,a,1e5\ny.wav,b,100000\n")
    assert [recording.subject for recording in read_corpus(path).recordings] == ["1e5", "100000"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("s-1", f"s{dash}1") for dash in "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58"),
        *(("\u845b", f"\u845b{selector}") for selector in "\ufe00\ufe0f\U000e0100\U000e01ef"),
        ("\u30ab1", "\uff761"),  # half as wide
        ("\u0f0b1", "\u0f0c1"),  # Tibetan's mark that breaks no line
    ],
)
def test_every_dash_selector_and_width_is_one_spelling(tmp_path: Path, one: str, other: str):
    path = tmp_path / "table.csv"
    path.write_text(f"path,label,subject\nx.wav,a,{one}\ny.wav,b,P1\nz.wav,a,{other}\n")
    with pytest.raises(InputError, match=re.escape(f"has the subjects {one!a} and {other!a}; expected one spelling")):
        read_corpus(path)


def test_letters_that_have_no_other_case_are_told_by_what_stands_for_them(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label,subject\nx.wav,a,Strau\u00df\ny.wav,b,STRAUSS\n")
    with pytest.raises(InputError, match="has the subjects 'Strau\u00df' and 'STRAUSS'; expected one spelling of each"):
        read_corpus(path)


def test_labels_that_differ_in_their_ends_are_shown_as_they_are_written(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_text("path,label\nx.wav,t\u00f6n\ny.wav,b\nz.wav,t\u00f6n \n")
    with pytest.raises(InputError, match="has the labels 't\u00f6n' and 't\u00f6n '; expected one spelling of each"):
        read_corpus(path)
