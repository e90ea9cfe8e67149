"""`clinaug-fast audit`: what it tells, and the table whose subjects keep what is alike on one side of a split."""

import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from typer.testing import Result

from clinaug_fast.audit.sources import AT_LEAST, audit
from clinaug_fast.cli.audit import audit as command
from clinaug_fast.corpus.recordings import read_corpus

Cli = Callable[..., Result]
RATE = 4000


def cut(path: Path, seed: int, begin_s: float = 0.0) -> None:
    """Two seconds of the sound of this seed."""
    x = 0.1 * np.random.default_rng(seed).standard_normal(6 * RATE)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, x[round(begin_s * RATE) :][: 2 * RATE], RATE)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three cuts of one sound, two of another under two labels, three sounds of their own, an empty file."""
    folder = tmp_path / "corpus"
    for k in range(3):
        cut(folder / f"hum/a{k}.wav", 1, 0.7 * k)
    cut(folder / "hum/b.wav", 2)
    cut(folder / "saw/b again.wav", 2, 1.0)
    for k in range(3):
        cut(folder / f"saw/{k}.wav", 10 + k)
    (folder / "saw/empty.wav").write_bytes(b"")
    return folder


def table_of(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["path,label,subject", *rows]) + "\n")
    return path


def subjects(table: Path) -> dict[str, str | None]:
    read = read_corpus(table).table
    return dict(zip(read.column("path").to_pylist(), read.column("subject").to_pylist(), strict=True))


def test_the_default_is_the_librarys() -> None:
    assert inspect.signature(command).parameters["at_least"].default == AT_LEAST


def test_what_it_tells(cli: Cli, corpus: Path) -> None:
    done = cli("audit", corpus)
    assert done.exit_code == 0, done.output
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines[:6] == [
        "recordings 9",
        "not compared 1 1 EMPTY",
        "pairs alike 4 a correlation of 0.35 or more",
        "in groups 5 2 groups, the largest of 3 recordings",
        "sources told apart 6 groups, known subjects and files count once, other recordings each",
        "without a subject 4 alike to none; fill in those that you know",
    ]
    assert lines[7:10] == ["label recordings sources", "hum 4 2", "saw 5 5"]
    assert lines[11] == "most alike:"
    assert len(lines) == 16
    warning = "1 pair is alike, such as hum/b.wav and saw/b again.wav (0.99"
    assert warning in done.stderr
    assert "between labels: chance, or one of the labels is wrong" in done.stderr
    assert list(corpus.parent.iterdir()) == [corpus]


def test_the_table_keeps_a_source_together_and_claims_no_other_subject(cli: Cli, corpus: Path) -> None:
    table = corpus / "audited.csv"
    done = cli("audit", corpus, table, "--json", "--quiet")
    told = json.loads(done.stdout)
    assert (told["pairs"], told["pairs_between_labels"], told["pairs_between_subjects"], told["sources"]) == (
        4,
        1,
        0,
        6,
    )
    assert told["groups"] == [["hum/a0.wav", "hum/a1.wav", "hum/a2.wav"], ["hum/b.wav", "saw/b again.wav"]]
    assert told["labels"] == {"hum": {"recordings": 4, "sources": 2}, "saw": {"recordings": 5, "sources": 5}}
    found = subjects(table)
    assert found == {
        **dict.fromkeys(("hum/a0.wav", "hum/a1.wav", "hum/a2.wav"), "alike-1"),
        **dict.fromkeys(("hum/b.wav", "saw/b again.wav"), "alike-2"),
        **dict.fromkeys(("saw/0.wav", "saw/1.wav", "saw/2.wav", "saw/empty.wav")),
    }
    made = cli(
        "preprocess", table, corpus.parent / "features", "--preset", "heart", "--n-frames", "32", "--max-bad", "1"
    )
    assert made.exit_code == 0, made.output
    index = pq.read_table(corpus.parent / "features/index.parquet")
    kept = {name: subject for name, subject in found.items() if name != "saw/empty.wav"}
    assert {row["recording"]: row["subject"] for row in index.to_pylist()} == kept


@pytest.mark.parametrize("name", ["audited.csv", "audited.parquet"])
def test_subjects_that_are_known_are_kept_and_joined(cli: Cli, corpus: Path, tmp_path: Path, name: str) -> None:
    rows = ["hum/a0.wav,hum,P1", "hum/a1.wav,hum,P2", "hum/b.wav,hum,P2", "hum/a2.wav,hum,", "saw/b again.wav,saw,"]
    rows += ["saw/0.wav,saw,P3", "saw/1.wav,saw,P3", "saw/2.wav,saw,alike-1"]
    table = tmp_path / "there" / name
    table.parent.mkdir()
    done = cli("audit", table_of(corpus / "known.csv", *rows), table)
    assert done.exit_code == 0, done.output
    assert "1 pair is alike, such as hum/a0.wav and hum/a1.wav (0.99" in done.stderr
    assert "between subjects: chance, or one patient under two names" in done.stderr
    joined = ("hum/a0.wav", "hum/a1.wav", "hum/a2.wav", "hum/b.wav", "saw/b again.wav")
    expected = dict.fromkeys(joined, "P1 + P2") | {"saw/0.wav": "P3", "saw/1.wav": "P3", "saw/2.wav": "alike-1"}
    assert subjects(table) == {f"../corpus/{name}": subject for name, subject in expected.items()}
    again = audit(table)
    assert not again.between("subject").any()
    assert again.subjects == again.corpus.table.column("subject").to_pylist()


def test_new_names_are_nobodys(corpus: Path) -> None:
    rows = ["hum/a0.wav,hum,", "hum/a1.wav,hum,", "saw/0.wav,saw,alike-1", "saw/b again.wav,saw,", "hum/b.wav,hum,"]
    found = audit(table_of(corpus / "known.csv", *rows))
    assert found.subjects == ["alike-2", "alike-2", "alike-3", "alike-1", "alike-3"]


def test_segments_of_a_file_are_one_source_and_no_group(corpus: Path) -> None:
    (corpus / "cut.csv").write_text(
        "path,label,start_s,end_s\nhum/a0.wav,hum,0,1\nhum/a0.wav,hum,1,2\nsaw/0.wav,saw,0,1\nsaw/1.wav,saw,,\n"
    )
    found = audit(corpus / "cut.csv")
    assert (found.sources.tolist(), found.groups, found.subjects) == ([0, 0, 1, 2], [], [None] * 4)


def test_names_that_no_table_can_hold_are_told(cli: Cli, corpus: Path) -> None:
    cut(corpus / "saw/two\nlines.wav", 20)
    os.rename(corpus / "saw/2.wav", os.fsencode(corpus / "saw") + b"/\xff.wav")
    done = cli("audit", corpus, corpus / "audited.csv")
    assert done.exit_code == 0, done.output
    assert "2 recordings are not in" in done.stderr
    assert "Rename them" in done.stderr
    assert "1 EMPTY, 1 NAME" in done.stdout
    assert len(subjects(corpus / "audited.csv")) == 8


@pytest.mark.parametrize(
    ("table", "exit_code", "sentence"),
    [
        ("audited.txt", 2, "expected a name that ends in .csv or .parquet"),
        ("known.csv", 3, "exists; expected a new table. Name another, or remove it"),
        (f"{'n' * 245}.csv", 3, "File name too long"),
        ("nowhere/audited.csv", 3, "is no folder; expected one for the table. Make it"),
    ],
)
def test_a_table_that_cannot_be_written_is_refused_before_anything_is_read(
    cli: Cli, corpus: Path, table: str, exit_code: int, sentence: str
) -> None:
    known = table_of(corpus / "known.csv", "gone.wav,hum,", "gone too.wav,saw,")
    text = known.read_text()
    done = cli("audit", known, corpus / table)
    assert done.exit_code == exit_code
    assert sentence in done.stderr
    assert known.read_text() == text


def test_a_corpus_of_which_nothing_can_be_compared_is_refused(cli: Cli, tmp_path: Path) -> None:
    table = table_of(tmp_path / "gone.csv", "gone.wav,hum,", "gone too.wav,saw,")
    done = cli("audit", table, tmp_path / "audited.csv")
    assert done.exit_code == 3
    assert "can be compared (2 MISSING)" in done.stderr
    assert not (tmp_path / "audited.csv").exists()


def test_names_of_any_kind_are_told_and_written(cli: Cli, tmp_path: Path) -> None:
    names = ["hum/two  blanks.wav", 'saw/-x, "y" .wav', "saw/\u00e4 b.wav"]
    for name in names:
        cut(tmp_path / "corpus" / name, 1)
    done = cli("audit", tmp_path / "corpus", tmp_path / "audited.csv")
    assert done.exit_code == 0, done.output
    assert "hum/two  blanks.wav  saw/-x" in done.stdout
    assert "1 group, the largest of 3" in done.stdout
    assert subjects(tmp_path / "audited.csv") == {f"corpus/{name}": "alike-1" for name in names}


def test_what_is_left_out_is_told(cli: Cli, corpus: Path) -> None:
    cut(corpus / "stray.wav", 30)
    cut(corpus / ".hidden/x.wav", 31)
    done = cli("audit", corpus, "--quiet")
    assert "audio that lies in no label's sub-folder is left out: stray.wav" in done.stderr
    assert "the folder .hidden, hidden or a link to another in the corpus, is left out" in done.stderr


def test_paths_behind_links_lead_to_the_same_files(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cut(tmp_path / f"real/deep/sound/{name}.wav", 1)
    (tmp_path / "real/deep/tables").mkdir()
    table_of(tmp_path / "real/deep/tables/t.csv", "../sound/a.wav,hum,", "../sound/b.wav,saw,")
    (tmp_path / "link").symlink_to("real/deep/tables")
    done = cli("audit", tmp_path / "link/t.csv", tmp_path / "audited.csv", "--json")
    assert json.loads(done.stdout)["pairs"] == 1
    assert subjects(tmp_path / "audited.csv") == {f"real/deep/sound/{name}.wav": "alike-1" for name in "ab"}


def test_a_table_that_could_name_nothing_is_not_written(cli: Cli, tmp_path: Path) -> None:
    for label in ("hum", "saw"):
        cut(tmp_path / f"corpus/{label}/two\nlines.wav", 1)
    done = cli("audit", tmp_path / "corpus", tmp_path / "audited.csv")
    assert done.exit_code == 3
    assert "no table can name the recordings, such as hum/two\\nlines.wav" in done.stderr
    assert not (tmp_path / "audited.csv").exists()


@pytest.mark.parametrize(("suffix", "lost"), [(".csv", {"corpus/saw/0.wav"}), (".parquet", set())])
def test_a_subject_over_two_lines_is_in_no_csv_table(
    cli: Cli, corpus: Path, tmp_path: Path, suffix: str, lost: set[str]
) -> None:
    """`preprocess` would refuse all of it."""
    names = sorted(path.relative_to(tmp_path).as_posix() for path in corpus.rglob("*.wav"))
    whose = {"corpus/saw/0.wav": "two\nlines"}
    columns = {"path": names, "label": [name.split("/")[1] for name in names], "subject": list(map(whose.get, names))}
    pq.write_table(pa.table(columns), tmp_path / "given.parquet")
    done = cli("audit", tmp_path / "given.parquet", tmp_path / f"made{suffix}")
    assert done.exit_code == 0, done.output
    told = (
        "csv, since its label, subject, site or device goes over several lines: corpus/saw/0.wav. Name a .parquet table"
    )
    assert ("1 recording is not in" in done.stderr) is (told in done.stderr) is bool(lost)
    assert set(names) - set(read_corpus(tmp_path / f"made{suffix}").table.column("path").to_pylist()) == lost


def test_a_csv_table_that_could_hold_no_row_is_not_written(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    names = [f"corpus/hum/a{k}.wav" for k in range(3)] + ["corpus/saw/0.wav"]
    os.rename(corpus / "hum/a0.wav", corpus / "hum/a\n0.wav")
    names[0] = "corpus/hum/a\n0.wav"  # left out for its name, not for its site
    columns = {"path": names, "label": [name.split("/")[1] for name in names], "site": [None] + ["a\nb"] * 3}
    pq.write_table(pa.table(columns), tmp_path / "given.parquet")
    done = cli("audit", tmp_path / "given.parquet", tmp_path / "made.csv")
    assert done.exit_code == 3
    assert (
        "made.csv could hold no recording, such as corpus/hum/a1.wav: a label, subject, site or device" in done.stderr
    )
    assert not (tmp_path / "made.csv").exists()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_label_of_white_space_is_in_no_table(cli: Cli, corpus: Path, tmp_path: Path, suffix: str) -> None:
    cut(corpus / " /blank.wav", 40)
    done = cli("audit", corpus, tmp_path / f"made{suffix}")
    assert done.exit_code == 0, done.output
    assert "1 recording is not in" in done.stderr
    assert len(read_corpus(tmp_path / f"made{suffix}")) == 9


def test_a_table_in_a_linked_folder_leads_to_the_same_files(cli: Cli, tmp_path: Path, tiny_corpus: Path) -> None:
    (tmp_path / "real/deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/deep/er")
    assert cli("audit", tiny_corpus, tmp_path / "link/t.csv").exit_code == 0
    there = read_corpus(tmp_path / "link/t.csv")
    assert {os.path.realpath(found.path) for found in there.recordings} == {
        os.path.realpath(found.path) for found in read_corpus(tiny_corpus).recordings
    }


def test_a_link_to_nowhere_is_no_new_table(cli: Cli, tmp_path: Path, tiny_corpus: Path) -> None:
    (tmp_path / "t.csv").symlink_to("nowhere.csv")
    done = cli("audit", tiny_corpus, tmp_path / "t.csv")
    assert done.exit_code == 3
    assert "t.csv exists; expected a new table" in done.stderr


def test_columns_that_say_nothing_are_not_in_the_table(cli: Cli, tmp_path: Path, tiny_corpus: Path) -> None:
    assert cli("audit", tiny_corpus, tmp_path / "t.csv").exit_code == 0
    assert {*(tmp_path / "t.csv").read_text().splitlines()[0].split(",")} <= {"path", "label", "subject"}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_segments_that_begin_with_their_file_stay_readable(
    cli: Cli, tmp_path: Path, tiny_corpus: Path, suffix: str
) -> None:
    path = os.path.relpath(next(tiny_corpus.glob("hum/*.wav")), tmp_path)
    other = os.path.relpath(next(tiny_corpus.glob("hiss/*.wav")), tmp_path)
    rows = [f"{path},hum,0,0.6", f"{path},hum,0,1", f"{other},hiss,,", f"{path},hum,0.5,"]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,start_s,end_s", *rows]) + "\n")
    assert cli("audit", tmp_path / "t.csv", tmp_path / f"made.{suffix}").exit_code == 0
    corpora = [read_corpus(tmp_path / name) for name in ("t.csv", f"made.{suffix}")]
    times = [sorted((r.start_s or 0.0, r.end_s or 9.0) for r in corpus.recordings) for corpus in corpora]
    assert times[0] == times[1] == [(0.0, 0.6), (0.0, 1.0), (0.0, 9.0), (0.5, 9.0)]
