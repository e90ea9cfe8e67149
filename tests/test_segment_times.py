"""The times of segments: what can be meant in two ways, and half of a segment, is refused."""

import re
from pathlib import Path

import pytest

from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.errors import InputError


def times(folder: Path, text: str) -> list[tuple[float | None, float | None]]:
    (folder / "table.csv").write_text(text)
    return [(recording.start_s, recording.end_s) for recording in read_corpus(folder / "table.csv").recordings]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ('x.wav;a;0,5;1,25\ny.wav;b;"2";"3,5"', [(0.5, 1.25), (2.0, 3.5)]),
        ("x.wav;a; 0.5 ;1.25\ny.wav;b;2;  ", [(0.5, 1.25), (2.0, None)]),
        ("x.wav;a;0,500;1,250\ny.wav;b;2,000;3,125", [(0.5, 1.25), (2.0, 3.125)]),
        ("x.wav;a;0.500;1.250\ny.wav;b;1.234;3.125", [(0.5, 1.25), (1.234, 3.125)]),
        ("x.wav;a;1e0;2\ny.wav;b;;", [(1.0, 2.0), (None, None)]),
    ],
)
@pytest.mark.parametrize("separator", [";", "\t"])
def test_decimal_commas_are_read_where_columns_are_separated_otherwise(
    tmp_path: Path, rows: str, expected: list, separator: str
):
    text = f"\n\npath;label;start_s;end_s\n{rows}\n".replace(";", separator)
    assert times(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('path,label,start_s\nx.wav,a,"0,50"\ny.wav,b,1\n', "in row 2 its start_s is '0,50', a decimal comma"),
        ("path,label,end_s\nx.wav,a,1\ny.wav,b,00:01\n", "in row 3 its end_s is '00:01', no number"),
        ("path,label,end_s\nx.wav,a,n/a\ny.wav,b,1_0\n", "in row 2 its end_s is 'n/a', no number"),
        ("path,label,end_s\nx.wav,a,1\ny.wav,b,1_0\n", "in row 3 its end_s is '1_0', no number"),
        ("path;label;end_s\nx.wav;a;1,5\ny.wav;b;1.234,5\n", "a decimal comma, or one behind thousands"),
        ("path;label;start_s;end_s\nx.wav;a;0,5;1.234\ny.wav;b;;\n", "its start_s is '0,5', a decimal comma, or one"),
        ('path\tlabel\tend_s\nx.wav\ta\t900\ny.wav\tb\t"1,234"\n', "in row 3 its end_s is '1,234', a decimal comma"),
        ("path;label;end_s\nx.wav;a;1,2,3\ny.wav;b;2\n", "in row 2 its end_s is '1,2,3'"),
        ('path,label,end_s\nx.wav,a,"9,5"\ny.wav,b,"1,5"\n', "in row 2 its end_s is '9,5', a decimal comma"),
    ],
)
def test_a_time_that_is_no_number_or_may_be_another_is_refused(tmp_path: Path, text: str, wrong: str):
    told = rf"cannot be read as a table: .*{re.escape(wrong)}.*; expected seconds with a decimal point, such as 12\.5"
    with pytest.raises(InputError, match=told):
        times(tmp_path, text)


@pytest.mark.parametrize(
    ("header", "rows", "told"),
    [
        (
            "start_s,stop by",
            "x.wav,a,0.5,1|x.wav,b,1,2|y.wav,b,2,3",
            "gives 2 rows of x.wav no end_s, so that all last",
        ),
        ("end_s,from when", "x.wav,a,0.5,0|x.wav,b,1,0|y.wav,b,2,0", "no start_s, so that all begin where it does and"),
        ("start_s,end_s", "x.wav,a,0.5,|x.wav,b,1,|y.wav,b,0,2", "gives 2 rows of x.wav no end_s"),
        ("start_s,end_s", "x.wav,a,0.5,|./x.wav,b,1,|y.wav,b,0,2", "gives 2 rows of x.wav no end_s"),
        ("start_s,end_s", "x.wav,a,,|x.wav,b,1,|y.wav,b,0,2", "gives 2 rows of x.wav no end_s"),
        ("start_s,end_s", "x.wav,a,,|x.wav,b,,2|y.wav,b,0,2", "gives 2 rows of x.wav no start_s"),
        ("start_s,end_s", "x.wav,a,0.5,|x.wav,a,1,|y.wav,b,0,", "gives 2 rows of x.wav no end_s"),
    ],
)
def test_half_of_each_segment_is_refused(tmp_path: Path, header: str, rows: str, told: str):
    lines = rows.replace("|", "\n")
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        times(tmp_path, f"path,label,{header}\n{lines}\n")
    if header.split(",")[1] != "end_s":
        assert f"; not used are {header.split(',')[1]}. Give each its" in str(caught.value)


def test_one_open_begin_and_one_open_end_of_a_file_are_taken(tmp_path: Path):
    """And several of one label, in a table that knows ends."""
    rows = "x.wav,a,,2\nx.wav,b,2,4\nx.wav,a,4,\nx.wav,a,5,\ny.wav,b,1.5,\nz.wav,b,,"
    text = f"path,label,start_s,end_s\n{rows}\n"
    assert sorted(times(tmp_path, text), key=str) == sorted(
        [(None, 2.0), (2.0, 4.0), (4.0, None), (5.0, None), (1.5, None), (None, None)], key=str
    )


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_comma_before_two_digits_stands_behind_no_thousands(tmp_path: Path, separator: str):
    text = "path;label;start_s;end_s\nx.wav;a;1,25;2,50\ny.wav;b;3,75;\n".replace(";", separator)
    assert times(tmp_path, text) == [(1.25, 2.5), (3.75, None)]
    with pytest.raises(InputError, match="in row 3 its end_s is '123,456', a decimal comma, or one behind thousands"):
        times(tmp_path, "path;label;end_s\nx.wav;a;900\ny.wav;b;123,456\n".replace(";", separator))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("path;label;end_s\nx.wav;a;  \ny.wav;b;1_0\n", "in row 3 its end_s is '1_0', no number"),  # spaces are none
        ("path;label;end_s\nx.wav;a;1,5\ny.wav;b;n/a\n", "in row 3 its end_s is 'n/a', no number"),
        ("path;label;start_s;end_s\nx.wav;a;0;n/a\ny.wav;b;n/a;1\n", "in row 2 its end_s is 'n/a', no number"),
    ],
)
def test_the_first_row_with_a_time_that_is_no_number_is_told(tmp_path: Path, text: str, wrong: str):
    with pytest.raises(InputError, match=re.escape(wrong)):
        times(tmp_path, text)
