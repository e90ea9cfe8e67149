"""A table as spreadsheets save it: what would lose a recording or read it otherwise is refused with its line."""

import csv
import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import Result

from clinaug_fast.corpus.recordings import Corpus, read_corpus
from clinaug_fast.errors import InputError
from conftest import MEL_OPTIONS

HEADER = "path,label,subject,note"
ROWS = [f"{k}.wav,{'ab'[k % 2]},p{k},n{k}" for k in range(8)]
AS_UTF_8 = r"Save it as CSV in UTF-8, comma-separated \(Excel: 'CSV UTF-8'\)"


def saved(folder: Path, text: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def with_rows(rows: dict[int, str]) -> str:
    """The table with these rows in place of its own; line k + 2 of the file is row k."""
    return "\n".join([HEADER, *(rows.get(k, row) for k, row in enumerate(ROWS))]) + "\n"


def names(corpus: Corpus) -> list[str]:
    return [recording.relative for recording in corpus.recordings]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ({2: '2.wav,a,p2,"two'}, 9),  # open to the end of the file
        ({2: '2.wav,a,"p2,n2'}, 9),
        ({2: '2.wav,"a,p2,n2'}, 9),
        ({2: '"2.wav,a,p2,n2'}, 9),
        ({7: '7.wav,b,p7,"'}, 9),
        ({2: '2.wav,a,p2,"two', 5: '5.wav,b,p5,"five'}, 7),  # the second closes the first
        ({2: '2.wav,a,"p2,n2', 5: '5.wav,b,"p5,n5'}, 7),
        ({2: '2.wav,"a,p2,n2', 5: '5.wav,"b,p5,n5'}, 7),
        ({2: '"2.wav,a,p2,n2', 5: '"5.wav,b,p5,n5'}, 7),
        ({2: '2.wav,a,p2,"said" twice'}, 4),
    ],
)
def test_a_quote_that_is_not_closed_is_refused_with_its_line(tmp_path: Path, rows: dict[int, str], line: int):
    sentence = rf"line {line} of .*table\.csv is no row: .+\. Close or remove its quote"
    with pytest.raises(InputError, match=sentence):
        read_corpus(saved(tmp_path, with_rows(rows)))


def test_a_quote_behind_the_first_read_is_seen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("clinaug_fast.corpus.table_file.READ_AT_ONCE", 16)
    with pytest.raises(InputError, match=r"line 9 of .* is no row"):
        read_corpus(saved(tmp_path, with_rows({6: '6.wav,a,p6,"six'})))


@pytest.mark.parametrize(
    "note",
    ['"two\nlines"', '"two\r\nlines, and a ""word"""', '"5"" tube"', '5" tube', '"a, b"', '""', '"\n\n"', '"Müller"'],
)
@pytest.mark.parametrize("begin", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_that_are_closed_and_marks_within_a_cell_lose_no_row(tmp_path: Path, note: str, begin: str, end: str):
    text = with_rows({2: f"2.wav,a,p2,{note}", 5: f"5.wav,b,p5,{note}"}).replace("\n", end)
    corpus = read_corpus(saved(tmp_path, begin + text))
    assert names(corpus) == [f"{k}.wav" for k in range(8)]
    assert [recording.subject for recording in corpus.recordings] == [f"p{k}" for k in range(8)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_a_table_in_utf_16_is_refused_with_a_cure(tmp_path: Path, encoding: str):
    mark = "" if encoding == "utf-16" else "\ufeff"
    with pytest.raises(InputError, match=rf"table\.csv is in UTF-16\. {AS_UTF_8}"):
        read_corpus(saved(tmp_path, (mark + with_rows({})).encode(encoding)))


@pytest.mark.parametrize("text", ["path,label,gerät\nx.wav,a,1\ny.wav,b,2\n", "path,label\nx.wav,gesäß\ny.wav,b\n"])
def test_a_table_in_another_encoding_is_exit_code_3(cli: Callable[..., Result], tmp_path: Path, text: str):
    path = saved(tmp_path, text.encode("cp1252"))
    with pytest.raises(InputError, match=rf"table\.csv cannot be read as a table: .+\. {AS_UTF_8}"):
        read_corpus(path)
    result = cli("preprocess", path, tmp_path / "out", *MEL_OPTIONS)
    assert result.exit_code == 3
    assert "Save it as CSV in UTF-8" in result.stderr


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("Start (s)", "start_s"),
        ("start_ms", "start_s"),
        ("onset", "start_s"),
        ("Start_S", "start_s"),
        ("End [sec]", "end_s"),
        ("offset", "end_s"),
        ("begin", "start_s"),
        ("beginning (s)", "start_s"),
        ("tmin", "start_s"),
        ("Stop time", "end_s"),
        ("stop_sec", "end_s"),
        ("tmax", "end_s"),
        ("Subject ID", "subject"),
        ("subject_no", "subject"),
        ("label ", "label"),
    ],
)
def test_a_column_that_means_a_known_one_is_refused(tmp_path: Path, name: str, meant: str):
    with pytest.raises(InputError) as caught:
        read_corpus(saved(tmp_path, f"path,label,{name}\nx.wav,a,1\ny.wav,b,2\n"))
    assert f"has the column {name!r}; expected {meant!r}. Rename it, or take it out" in str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_table_is_read_whatever_separates_its_columns(tmp_path: Path, separator: str, quote: str):
    rows = [("path", "label", "subject", "start_s", "end_s", "note")]
    rows += [("x.wav", "a", "007", "0.5", "1.25", "1"), ("y.wav", "b", "p, q; r\ts", "", " 3", "2")]
    text = "".join(
        separator.join(f'"{cell}"' if quote or cell[1:2] == "," else cell for cell in row) + "\n" for row in rows
    )
    recordings = read_corpus(saved(tmp_path, text)).recordings
    times = [(recording.start_s, recording.end_s) for recording in recordings]
    assert [recording.subject for recording in recordings] == ["007", "p, q; r\ts"]
    assert times == [(0.5, 1.25), (None, 3.0)]


def test_rows_of_more_or_fewer_cells_than_columns_are_refused_with_a_cure(tmp_path: Path):
    for text, told in [
        ("path,label\nBP1,N.wav,a\ny.wav,b\n", r"Expected 2 columns, got 3.*Put a cell that .* in double quotes, or"),
        ("path,label\nx.wav,a,\ny.wav,b\n", r"Expected 2 columns, got 3.*or remove what stands behind the last one"),
        (
            "path,label,subject\nx.wav,a,p\ny.wav,b\n",
            r"Expected 3 columns, got 2.*Give each row a cell for each column",
        ),
        ("My corpus\npath,label\nx.wav,a\ny.wav,b\n", r"Remove the lines above the names of the columns"),
        ("sep=;\npath;label\nx.wav;a\ny.wav;b\n", r"begins with the line 'sep=;', .* Remove the line"),
    ]:
        with pytest.raises(InputError, match=told):
            read_corpus(saved(tmp_path, text))


@pytest.mark.parametrize("first", ['"note; x\nmore",path,label', "path,label,x;path;label;subject;site"])
def test_commas_separate_where_they_give_a_path_and_a_label(tmp_path: Path, first: str):
    rows = ("n,x.wav,a\nn,y.wav,b\n", "x.wav,a,n\ny.wav,b,n\n")[first.startswith("path")]
    assert names(read_corpus(saved(tmp_path, f"{first}\n{rows}"))) == ["x.wav", "y.wav"]


def test_a_begin_and_an_end_of_other_names_are_told_at_once(tmp_path: Path):
    told = "has the columns 'begin' and 'end'; expected 'start_s' and 'end_s'. Rename them, or take them out"
    with pytest.raises(InputError, match=re.escape(told)):
        read_corpus(saved(tmp_path, "path,label,begin,end\nx.wav,a,0,1\ny.wav,b,1,2\n"))


@pytest.mark.parametrize("name", ["notes", "pathology", "labeller", "sited", "startle", "weekend", "subjective"])
def test_a_column_that_means_something_else_is_left_unused(tmp_path: Path, name: str):
    assert read_corpus(saved(tmp_path, f"path,label,{name}\nx.wav,a,1\ny.wav,b,2\n")).unused == (name,)


def test_a_header_with_spaces_names_what_is_expected(tmp_path: Path):
    told = r"has the columns ' path' and ' label'; expected 'path' and 'label'\. Rename them, or take them out"
    with pytest.raises(InputError, match=told):
        read_corpus(saved(tmp_path, " path, label\nx.wav,a\ny.wav,b\n"))


@pytest.mark.parametrize("blank", [" ", "\t", "  ", "\u00a0", "\u3000"])
def test_a_blank_cell_counts_as_empty(tmp_path: Path, blank: str):
    with pytest.raises(InputError, match=r"row 2 of .* has the path 'x\.wav' and no label\. Correct it"):
        read_corpus(saved(tmp_path, f"path,label\nx.wav,{blank}\ny.wav,b\n"))
    corpus = read_corpus(saved(tmp_path, f"path,label,subject,device\nx.wav,a,{blank},{blank}\ny.wav,b,p,d\n"))
    assert [(recording.subject, recording.device) for recording in corpus.recordings] == [(None, None), ("p", "d")]


def test_rows_without_anything_are_passed_by(tmp_path: Path):
    corpus = read_corpus(saved(tmp_path, "path,label,start_s\nx.wav,a,\n,,\ny.wav,b,1\n, ,\n,,\n"))
    assert names(corpus) == ["x.wav", "y.wav"]
    with pytest.raises(InputError, match=r"row 4 of .* repeats row 2: x\.wav"):  # and are counted
        read_corpus(saved(tmp_path, "path,label\nx.wav,a\n,\nx.wav,a\n"))
    with pytest.raises(InputError, match=r"row 3 of .* has no path and the label 'b'"):
        read_corpus(saved(tmp_path, "path,label\nx.wav,a\n,b\n"))
    with pytest.raises(InputError, match="has no rows"):
        read_corpus(saved(tmp_path, "path,label\n,\n,\n"))


def test_a_repeated_row_of_another_label_tells_both_and_what_is_not_used(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        read_corpus(saved(tmp_path, "path,label,from,to\ny.wav,b,0,1\nx.wav,a,0,1\nx.wav,b,1,2\n"))
    told = str(caught.value)
    assert told.startswith(
        f"row 4 of {tmp_path / 'table.csv'} repeats row 3: x.wav, with the label 'b' in place of 'a'"
    )
    assert "tell segments by columns named start_s and end_s; not used are from, to" in told
    with pytest.raises(InputError, match=r"row 3 of .* repeats row 2: x\.wav\. Remove one of them$"):
        read_corpus(saved(tmp_path, "path,label\nx.wav,a\nx.wav,a\n"))


@pytest.mark.parametrize(
    "spellings",
    [
        ("7", "007"),
        ("7", "7.0"),
        ("7", "7."),
        ("7", "7E+00"),
        ("007", "7.00"),
        ("1E+05", "100000"),
        ("1.5e+01", "15"),
        ("0", "00"),
        ("Anna  B", "anna b"),
        ("A\u00a0B", "A B"),
        ("p\u200b1", "p1"),
        ("p1\ufeff", "p1"),
        ("p\u00ad1", "p1"),
    ],
)
def test_a_subject_in_two_spellings_of_spreadsheets_is_refused(tmp_path: Path, spellings: tuple[str, str]):
    with pytest.raises(InputError, match=r"has the subjects .+ and .+; expected one spelling of each"):
        read_corpus(saved(tmp_path, "path,label,subject\nx.wav,a,{}\ny.wav,b,{}\n".format(*spellings)))


@pytest.mark.parametrize(
    "names",
    [
        *(("1.1", "1.10"), ("1a", "01a"), ("7", "7.5"), ("10", "100"), ("p1", "p01"), ("1e5", "1e6"), ("-7", "7")),
        *(("10e3", "01e4"), ("0e12", "00e7")),  # codes
        ("2024010112000000000000000000001", "2024010112000000000000000000002"),
    ],
)
def test_names_that_may_be_two_persons_are_two_subjects(tmp_path: Path, names: tuple[str, str]):
    corpus = read_corpus(saved(tmp_path, "path,label,subject\nx.wav,a,{}\ny.wav,b,{}\n".format(*names)))
    assert tuple(recording.subject for recording in corpus.recordings) == names


@pytest.mark.parametrize(
    "remark",
    [
        '"murmur, grade II\nsystolic, loud, at apex\nfollow-up, ok"',
        '"{\n  ""rate"": 8000,\n  ""bits"": 16,\n  ""gain"": 1\n}"',
        '"one, two, three\u2028four, five, six\x0cseven, eight, nine"',
        f'"{"z" * 200_000}"',
    ],
)
def test_long_remarks_in_quotes_are_read(tmp_path: Path, remark: str):
    assert len(read_corpus(saved(tmp_path, f"path,label,remark\nx.wav,a,{remark}\ny.wav,b,\nz.wav,a,ok\n"))) == 3


@pytest.mark.parametrize(
    "columns", ["subject,subject_id", "start_s,start_time", "label_2,site_1", "offset_text,onset of"]
)
def test_columns_beside_the_known_ones_may_be_named_like_them(tmp_path: Path, columns: str):
    corpus = read_corpus(saved(tmp_path, f"path,label,{columns}\nx.wav,a,0,0\ny.wav,b,1,1\n"))
    assert len(corpus) == 2
    assert {*corpus.unused} == {*columns.split(",")} - {"subject", "start_s"}


def test_a_date_in_start_time_is_no_segment(tmp_path: Path):
    assert read_corpus(saved(tmp_path, "path,label,start_time\nx.wav,a,12:30 h\ny.wav,b,12:31 h\n")).unused == (
        "start_time",
    )


@pytest.mark.parametrize(
    "text",
    [
        'path,label\nr/1,"A\nr/2,B"\nr/4,B\n',
        'label,path\n"A,1.wav\nB",2.wav\nA,3.wav\n',
        'path,label,subject\n1.wav,"A,p1\n2.wav,B",p2\n3.wav,A,p3\n',
        'path,label,subject,note\nr/1,A,p,"5 inch\nr/2,B,q,\nr/3,A,r,6 inch"\nr/4,B,s,\n',
    ],
)
def test_quotes_that_swallow_recordings_are_refused_wherever_they_close(tmp_path: Path, text: str):
    with pytest.raises(InputError, match=r"is no row: .*Close or remove its quote, or the line break"):
        read_corpus(saved(tmp_path, text))


@pytest.mark.parametrize(
    ("name", "cells"), [("Start (s)", ("NA", "2.5")), ("onset", ('"1,5"', '"2,5"')), ("End (s)", (1, 2))]
)
def test_times_of_another_name_are_refused_though_some_are_no_numbers(tmp_path: Path, name: str, cells: tuple):
    with pytest.raises(InputError, match=r"has the column .* Rename it, or take it out"):
        read_corpus(saved(tmp_path, "path,label,{}\nx.wav,a,{}\ny.wav,b,{}\n".format(name, *cells)))


def test_columns_of_one_name_that_are_not_used_are_told(tmp_path: Path):
    assert read_corpus(saved(tmp_path, "path,label,note,note\nx.wav,a,1,2\ny.wav,b,3,4\n")).unused == ("note", "note")
    with pytest.raises(InputError, match="has the column 'onset'; expected 'start_s'"):
        read_corpus(saved(tmp_path, "path,label,onset,onset\nx.wav,a,1,2\ny.wav,b,3,4\n"))


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.large_string())], ids=str
)
def test_times_of_another_name_are_refused_whatever_arrow_calls_text(tmp_path: Path, kind: pa.DataType):
    onsets = pa.array(["0.00", "0.71"]).cast(kind)
    pq.write_table(pa.table({"path": ["x.wav", "y.wav"], "label": ["a", "b"], "onset": onsets}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has the column 'onset'; expected 'start_s'"):
        read_corpus(tmp_path / "t.parquet")


def test_a_damaged_parquet_file_is_named(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": [f"{k}.wav" for k in range(4000)], "label": ["a", "b"] * 2000}), path)
    content = bytearray(path.read_bytes())
    content[40:400] = bytes(360)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"t\.parquet cannot be read as a table"):
        read_corpus(path)


@pytest.mark.parametrize("name", ["path", "label", "subject", "site", "device"])
def test_a_known_column_that_is_there_twice_is_refused(tmp_path: Path, name: str):
    text = f"path,label,subject,site,device,{name}\nx.wav,a,p,s,d,1\ny.wav,b,q,s,d,2\n"
    with pytest.raises(InputError, match=rf"has {name} more than once; expected each column once"):
        read_corpus(saved(tmp_path, text))


def test_long_remarks_are_read_wherever_the_path_stands(tmp_path: Path):
    remark = '"a cough, then, a bark\nno cough, no, bark\n"'
    corpus = read_corpus(saved(tmp_path, f"label,path,remark\na,x.wav,{remark}\nb,y.wav,\n"))
    assert names(corpus) == ["x.wav", "y.wav"]


def test_the_known_columns_tell_what_separates_them(tmp_path: Path):
    corpus = read_corpus(saved(tmp_path, "path,label,heard; maybe; by; whom\nx.wav,a,1\ny.wav,b,2\n"))
    assert (names(corpus), corpus.unused) == (["x.wav", "y.wav"], ("heard; maybe; by; whom",))


def test_a_disk_that_fails_is_no_fault_of_the_tables_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def failing(path: Path) -> pa.Table:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("clinaug_fast.corpus.table_file._read_csv", failing)
    with pytest.raises(OSError, match=r"Input/output error: .*table\.csv"):
        read_corpus(saved(tmp_path, with_rows({})))


@pytest.mark.parametrize("kind", [pa.int16(), pa.float32(), pa.decimal128(12, 2)], ids=str)
def test_times_of_another_name_are_refused_whatever_numbers_they_are(tmp_path: Path, kind: pa.DataType):
    onsets = pa.array([0, 1], pa.int8()).cast(kind)
    pq.write_table(pa.table({"path": ["x.wav", "y.wav"], "label": ["a", "b"], "onset": onsets}), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has the column 'onset'; expected 'start_s'"):
        read_corpus(tmp_path / "t.parquet")


def test_a_known_column_may_stand_beside_one_spelled_like_it(tmp_path: Path):
    corpus = read_corpus(
        saved(tmp_path, "path,label,start_s,end_s,StartS,sub-ject,subject\nx.wav,a,0,1,5,s,p\ny.wav,b,0,1,5,s,q\n")
    )
    assert corpus.unused == ("StartS", "sub-ject")


@pytest.mark.parametrize("by", [";", "\t"])
def test_names_in_capitals_are_told_whatever_separates_them(tmp_path: Path, by: str):
    with pytest.raises(InputError, match=r"has the columns 'Path' and 'Label'; expected 'path' and 'label'"):
        read_corpus(saved(tmp_path, "Path,Label\nx.wav,a\ny.wav,b\n".replace(",", by)))


def test_the_limit_of_the_process_on_cells_stays(tmp_path: Path):
    before = csv.field_size_limit()
    read_corpus(saved(tmp_path, 'path,label\n"x.wav",a\ny.wav,b\n'))
    assert csv.field_size_limit() == before


def test_rows_are_counted_as_a_spreadsheet_shows_them_and_of_parquet_from_one(tmp_path: Path):
    table = pa.table({"path": ["x.wav", "y.wav"], "label": ["a", None]})
    (tmp_path / "table.csv").write_text("path,label\nx.wav,a\ny.wav,\n")
    pq.write_table(table, tmp_path / "table.parquet")
    for name, row in (("table.csv", 3), ("table.parquet", 2)):
        with pytest.raises(InputError, match=f"^row {row} of .*{name} has the path 'y.wav' and no label"):
            read_corpus(tmp_path / name)
