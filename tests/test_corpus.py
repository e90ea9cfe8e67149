"""A corpus read from a folder or a table: every file is a recording, ignored or refused, in a fixed order."""

import os
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.errors import InputError, SettingsError
from conftest import LABELS, SUBJECT_PATTERN, unprivileged


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def table(root: Path, text: str, name: str = "table.csv") -> Path:
    root.mkdir(exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root / name


def test_from_the_begin_is_from_nought(tmp_path: Path):
    corpora = [
        read_corpus(table(tmp_path, f"path,label,start_s,end_s\nx.wav,a,{start},1\ny.wav,b,{start},\n"))
        for start in ("0", "", "0.0")
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 1
    assert all(corpus.table.equals(corpora[0].table) for corpus in corpora)


def test_a_folder_gives_label_subject_and_order(tiny_corpus: Path):
    corpus = read_corpus(tiny_corpus, SUBJECT_PATTERN)
    names = [f"{label}/p{subject}_{take}.wav" for label in LABELS for subject in range(3) for take in range(2)]
    assert [recording.relative for recording in corpus.recordings] == names
    assert [recording.id for recording in corpus.recordings] == names
    assert [recording.label for recording in corpus.recordings] == [name.split("/")[0] for name in names]
    assert [recording.subject for recording in corpus.recordings] == [name[-8:-6] for name in names]
    assert all(recording.path == str(tiny_corpus / recording.relative) for recording in corpus.recordings)
    assert {recording.subject for recording in read_corpus(tiny_corpus).recordings} == {None}


def test_a_folder_sorts_its_files_into_recordings_ignored_and_unlabelled(tmp_path: Path):
    touch(tmp_path, "b/deep/er/1.FLAC", "b/0.mp3", "a/x.Wav", "a/._x.wav", "a/notes.txt", "a/LICENSE", "loose.ogg")
    touch(tmp_path, ".hidden/y.wav", "b/MORE.TXT")
    corpus = read_corpus(tmp_path)
    assert [recording.relative for recording in corpus.recordings] == ["a/x.Wav", "b/0.mp3", "b/deep/er/1.FLAC"]
    assert [recording.label for recording in corpus.recordings] == ["a", "b", "b"]
    assert corpus.ignored == {".txt": 2, ".wav": 1, "no suffix": 1}
    assert corpus.unlabelled == ["loose.ogg"]


def test_linked_folders_are_followed_once(tmp_path: Path):
    touch(tmp_path / "elsewhere", "1.wav")
    touch(tmp_path / "corpus", "a/1.wav")
    (tmp_path / "corpus/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus/a/loop").symlink_to(tmp_path / "corpus")
    names = [recording.relative for recording in read_corpus(tmp_path / "corpus").recordings]
    assert names == ["a/1.wav", "b/1.wav"]


def test_a_link_does_not_rename_a_folder(tmp_path: Path):
    touch(tmp_path, "normal/a.wav", "murmur/b.wav")
    (tmp_path / "healthy").symlink_to("normal")
    corpus = read_corpus(tmp_path)
    assert [recording.label for recording in corpus.recordings] == ["murmur", "normal"]
    assert corpus.left_out == ["healthy"]


def test_the_fingerprint_sees_what_matters(tmp_path: Path):
    def fingerprint(pattern: str | None = None) -> str:
        return read_corpus(tmp_path / "c", pattern).fingerprint

    touch(tmp_path / "c", "a/p1.wav", "b/p2.wav")
    seen = {fingerprint(), fingerprint(r"/(p\d)")}
    shutil.copytree(tmp_path / "c", tmp_path / "d")
    assert read_corpus(tmp_path / "d").fingerprint in seen
    touch(tmp_path / "c", "a/notes.txt")
    assert fingerprint() in seen
    (tmp_path / "c/a/p1.wav").write_bytes(b"xy")
    seen.add(fingerprint())
    (tmp_path / "c/a/p1.wav").rename(tmp_path / "c/a/p3.wav")
    seen.add(fingerprint())
    touch(tmp_path / "c", "b/p4.wav")
    seen.add(fingerprint())
    assert len(seen) == 5
    rows = "path,label,subject\na.wav,x,{}\nb.wav,y,{}\n"  # end to end, the subjects are the same
    one, other = (read_corpus(table(tmp_path, rows.format(*pair))) for pair in (("p1", "11"), ("p11", "1")))
    assert one.fingerprint != other.fingerprint
    (tmp_path / "a.wav").touch()  # empty, and not there before
    assert read_corpus(table(tmp_path, rows.format("p1", "11"))).fingerprint != one.fingerprint


def test_the_size_of_each_file_stays_with_it_when_a_table_is_sorted(tmp_path: Path):
    for name, n_bytes in (("a.wav", 3), ("b.wav", 1), ("c.wav", 2)):
        (tmp_path / name).write_bytes(bytes(n_bytes))
    corpus = read_corpus(table(tmp_path, "path,label\nc.wav,x\na.wav,y\nnone.wav,y\nb.wav,x\n"))
    sizes = dict(zip(*(corpus.table.column(name).to_pylist() for name in ("path", "bytes")), strict=True))
    assert sizes == {"a.wav": 3, "b.wav": 1, "c.wav": 2, "none.wav": None}


@pytest.mark.parametrize(
    ("pattern", "subject"), [(r"/(\w+)_", "p1"), (r"(?P<take>\d+)\.wav|(?P<subject>p\d+)", "p1"), ("^(.)", "a")]
)
def test_the_subject_is_the_patterns_group(tmp_path: Path, pattern: str, subject: str):
    corpus = read_corpus(touch(tmp_path, "a/p1_0.wav", "b/p1_1.wav"), pattern)
    assert corpus.recordings[0].subject == subject


@pytest.mark.parametrize(
    ("pattern", "error", "sentence"),
    [
        ("(", SettingsError, r"'\(' is no regular expression"),
        (r"p\d", SettingsError, "has no group"),
        (r"/(p\d)_", InputError, "finds no subject in 'b/q.wav'"),
        (r"(x)?", InputError, "finds no subject in 'a/p1_0.wav'"),
        (r"(x*)", InputError, "finds no subject in 'a/p1_0.wav'"),
    ],
)
def test_a_pattern_that_does_not_work_is_refused(tmp_path: Path, pattern: str, error: type, sentence: str):
    with pytest.raises(error, match=sentence):
        read_corpus(touch(tmp_path, "a/p1_0.wav", "b/q.wav"), pattern)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), r"has no audio in sub-folders \(0 audio and 0 other files seen\)"),
        (("a/readme.txt", "loose.wav"), r"has no audio in sub-folders \(1 audio and 1 other files seen\)"),
        (("a/1.wav", "a/2.wav"), "has one label, 'a'; expected two or more"),
    ],
)
def test_a_folder_without_two_labels_is_refused(tmp_path: Path, names: tuple[str, ...], sentence: str):
    with pytest.raises(InputError, match=sentence):
        read_corpus(touch(tmp_path, *names))


def test_a_path_that_is_no_corpus_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist; expected a corpus"):
        read_corpus(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is neither a folder nor"):
        read_corpus(touch(tmp_path, "audio.wav") / "audio.wav")


def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, "a/1.wav", "b/1.wav", "c/1.wav")
    monkeypatch.chdir(tmp_path)  # the folders above it are not for everybody
    for folder in (".", "a", "b"):
        Path(folder).chmod(0o755)
    Path("c").chmod(0)
    with unprivileged(), pytest.raises(InputError, match=r"Permission denied: '(\./)?c'"):
        read_corpus(Path("."))


def test_a_name_that_is_not_utf8_is_escaped_and_refused(tmp_path: Path):
    touch(tmp_path, "a/1.wav")
    os.mkdir(os.fsencode(tmp_path) + b"/b")
    with open(os.fsencode(tmp_path) + b"/b/\xff.wav", "wb"):
        pass
    first, second = read_corpus(tmp_path).recordings
    assert (first.relative, first.refused) == ("a/1.wav", None)
    assert (second.relative, second.label) == (r"b/\xff.wav", "b")
    assert "not UTF-8" in second.refused


def test_a_pattern_is_not_asked_of_a_refused_name(tmp_path: Path):
    touch(tmp_path, "a/p1.wav", "b/p2.wav")
    with open(os.fsencode(tmp_path) + b"/b/\xff.wav", "wb"):
        pass
    corpus = read_corpus(tmp_path, r"/(p\d)")
    assert [recording.subject for recording in corpus.recordings] == ["p1", "p2", None]


def test_a_table_gives_its_columns_as_they_are_written(tmp_path: Path):
    path = table(
        tmp_path,
        "label,path,age,subject,site,device,start_s,end_s\n"
        "NA,sub/x.wav,61,007,OR 2,,0,1.5\n"
        '1,"sub/../y, z.wav",,,,"mic ""A""",,\n'
        "NA,sub/x.wav,61,007,,,1.5,\n",
    )
    y, whole, tail = read_corpus(path).recordings[::-1][0], *read_corpus(path).recordings[:2]
    assert (y.path, y.relative, y.id) == (str(tmp_path / "y, z.wav"), "y, z.wav", "y, z.wav")
    assert (y.label, y.subject, y.device, y.start_s, y.end_s) == ("1", None, 'mic "A"', None, None)
    assert (whole.id, whole.subject, whole.label, whole.site) == ("sub/x.wav@0.0-1.5", "007", "NA", "OR 2")
    assert (tail.id, tail.start_s, tail.end_s) == ("sub/x.wav@1.5-end", 1.5, None)


def test_line_breaks_in_quotes_are_read_in_a_table_of_any_length(tmp_path: Path):
    """Arrow reads a megabyte at a time, and would end one within the quotes."""
    rows = [f'{i:05d}.wav,{i % 2},"first line\nsecond line, {"x" * 100}"' for i in range(12_000)]
    path = table(tmp_path, "\n".join(["path,label,remark", *rows]))
    assert path.stat().st_size > 1 << 20
    assert read_corpus(path).table.column("path").to_pylist() == [f"{i:05d}.wav" for i in range(12_000)]


def test_a_table_may_name_files_anywhere(tmp_path: Path):
    touch(tmp_path / "elsewhere", "x.wav", "y.wav")
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    table(tmp_path / "here", f"path,label\n{tmp_path}/elsewhere/x.wav,a\n../elsewhere/y.wav,b\n")
    for folder in ("here", "link"):
        corpus = read_corpus(tmp_path / folder / "table.csv")
        assert [recording.relative for recording in corpus.recordings] == ["../elsewhere/x.wav", "../elsewhere/y.wav"]
        assert all(Path(recording.path).exists() for recording in corpus.recordings)


def test_a_file_is_one_recording_by_whatever_path(tmp_path: Path):
    touch(tmp_path / "here", "x.wav", "y.wav")
    (tmp_path / "link").symlink_to(tmp_path / "here")
    path = table(tmp_path / "here", f"path,label\n{tmp_path}/link/x.wav,a\ny.wav,b\nx.wav,b\n")
    with pytest.raises(InputError, match=r"row 4 of .* repeats row 2: x\.wav"):
        read_corpus(path)


def test_a_parquet_table_is_the_same_corpus_as_its_csv(tmp_path: Path):
    rows = {"path": ["x.wav", "y.wav"], "label": ["a", "b"], "subject": [1, 2], "start_s": [0, 2], "end_s": [1, None]}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "table.parquet")
    csv = table(tmp_path, "path,label,subject,start_s,end_s\nx.wav,a,1,0,1\ny.wav,b,2,2,\n")
    assert read_corpus(tmp_path / "table.parquet").recordings == read_corpus(csv).recordings


def test_pandas_word_for_nothing_is_no_subject(tmp_path: Path):
    rows = {"path": ["x.wav", "y.wav"], "label": ["a", "b"], "subject": [7.0, float("nan")]}
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "table.parquet")
    assert [recording.subject for recording in read_corpus(tmp_path / "table.parquet").recordings] == ["7", None]


def test_a_pattern_gives_a_tables_subjects_unless_it_has_them(tmp_path: Path):
    path = table(tmp_path, "path,label\np1.wav,a\np2.wav,b\n")
    assert [recording.subject for recording in read_corpus(path, r"(p\d)").recordings] == ["p1", "p2"]
    path = table(tmp_path, "path,label,subject\np1.wav,a,s\np2.wav,b,\n")
    with pytest.raises(SettingsError, match="has a subject column, and a subject pattern is given"):
        read_corpus(path, r"(p\d)")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot be read as a table"),
        ("path,label\n", "has no rows"),
        ("file,label\nx.wav,a\n", r"has the columns file, label; expected path and label.*Add path"),
        ("file;class\nx.wav;a\n", r"Add path and label"),
        ("path,label\nx.wav,a\n,b\n", "row 3 of .* has no path and the label 'b'"),
        ("path,label\nx.wav,\ny.wav,b\n", "row 2 of .* has the path 'x.wav' and no label"),
        ("path,label\nx.wav,a\ny.wav,b\nx.wav,b\n", "row 4 of .* repeats row 2: x.wav"),
        ("path,label\nx.wav,a\ny.wav,b\n../corpus/./x.wav,b\n", "row 4 of .* repeats row 2: x.wav"),
        ("path,label,start_s,end_s\nx.wav,a,0,1\nx.wav,b,0,1\n", "row 3 of .* repeats row 2: x.wav@0.0-1.0"),
        ("path,label,start_s,end_s\nx.wav,a,2,1\ny.wav,b,0,1\n", "row 2 of .* goes from 2.0 to 1.0 s"),
        ("path,label,start_s,end_s\nx.wav,a,2,2\ny.wav,b,0,1\n", "row 2 of .* goes from 2.0 to 2.0 s"),
        ("path,label,start_s\nx.wav,a,-1\ny.wav,b,0\n", "goes from -1.0 to None s"),
        ("path,label,end_s\nx.wav,a,nan\ny.wav,b,inf\n", "goes from None to nan s"),
        ("path,label,end_s\nx.wav,a,1\ny.wav,b,inf\n", "row 3 of .* goes from None to inf s"),
        ("path,label,start_s\nx.wav,a,soon\n", "cannot be read as a table.*soon"),
        ("path,label\nx.wav,a\ny.wav,a\n", "has one label, 'a'"),
        ("path,label,label\nx.wav,a,a\n", "has label more than once; expected each column once"),
        ("path,label\nx\0.wav,a\ny.wav,b\n", r"row 2 of .* has the path 'x\\x00.wav'"),
    ],
)
def test_a_wrong_table_is_refused_with_its_row(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(InputError, match=sentence):
        read_corpus(table(tmp_path / "corpus", text))


def test_a_start_of_zero_without_an_end_is_the_whole_file(tmp_path: Path):
    (tmp_path / "table.csv").write_text("path,label,start_s,end_s\nx.wav,a,0,\ny.wav,b,,\n")
    assert [recording.id for recording in read_corpus(tmp_path / "table.csv").recordings] == ["x.wav", "y.wav"]
    (tmp_path / "table.csv").write_text("path,label,start_s,end_s\nx.wav,a,,\ny.wav,b,,\nx.wav,a,0,\n")
    with pytest.raises(InputError, match=r"row 4 of .* repeats row 2: x\.wav"):
        read_corpus(tmp_path / "table.csv")


@pytest.mark.parametrize("column", ["path", "label", "subject"])
def test_the_fingerprint_sees_names_beyond_the_rows_that_are_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
):
    monkeypatch.setattr("clinaug_fast.corpus.recordings.ROWS_AT_ONCE", 2)
    rows = [{"path": f"{k}.wav", "label": "ab"[k % 2], "subject": f"p{k}"} for k in range(5)]
    seen = set()
    for last in ("7.wav", "8.wav"):
        text = "".join(
            f"{row['path']},{row['label']},{row['subject']}\n"
            for row in [*rows, rows[0] | {"path": "6.wav", column: last}]
        )
        seen.add(read_corpus(table(tmp_path, f"path,label,subject\n{text}")).fingerprint)
    assert len(seen) == 2


def test_the_order_of_a_tables_rows_is_of_no_consequence(tmp_path: Path):
    rows = ["x.wav,a,2,3", "x.wav,b,0,1", "y.wav,b,,", "x.wav,a,1,2"]
    one, other = (
        read_corpus(table(tmp_path, "\n".join(["path,label,start_s,end_s", *some]))) for some in (rows, rows[::-1])
    )
    assert one.table.equals(other.table)
    assert one.fingerprint == other.fingerprint
