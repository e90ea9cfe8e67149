"""Two patients' segments of one file share no sound, however the table is sorted."""

import os
from pathlib import Path

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast.corpus.overlaps import refuse_shared_sound
from clinaug_fast.corpus.recordings import read_corpus
from clinaug_fast.errors import InputError
from conftest import MEL_OPTIONS, RATE, sound

Segment = tuple[str, float | None, float | None, str]


def table(folder: Path, *segments: Segment) -> Path:
    rows = [",".join("" if value is None else str(value) for value in (*segment, "hum")) for segment in segments]
    rows = ["path,start_s,end_s,subject,label", *rows, "other.wav,,,,hiss"]
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    return folder / "table.csv"


def is_refused(path: Path) -> bool:
    try:
        corpus = read_corpus(path)
        refuse_shared_sound(corpus.table, corpus.root)
    except InputError:
        return True
    return False


seconds = st.integers(0, 6)
segments = st.tuples(st.sampled_from(["a.wav", "b.wav"]), seconds, seconds, st.sampled_from(["p", "q", "r", ""]))


@given(st.lists(segments, min_size=1, max_size=8, unique_by=lambda row: row[:3]))
def test_it_is_refused_where_two_subjects_share_sound(tmp_path_factory: pytest.TempPathFactory, drawn: list[Segment]):
    rows = [(path, min(a, b), max(a, b) + 1, who) for path, a, b, who in drawn]
    rows = list({row[:3]: row for row in rows}.values())
    shared = any(
        one[0] == two[0] and one[3] and two[3] and one[3] != two[3] and max(one[1], two[1]) < min(one[2], two[2])
        for one in rows
        for two in rows
    )
    assert is_refused(table(tmp_path_factory.mktemp("t"), *rows)) == shared


def test_a_link_inside_the_corpus_leads_to_the_same_sound(tmp_path: Path):
    (tmp_path / "again").symlink_to(".")
    (tmp_path / "link.wav").symlink_to("a.wav")
    for other in ("again/a.wav", "link.wav", "again/link.wav"):
        assert is_refused(table(tmp_path, ("a.wav", 0, 2, "p"), (other, 1, 3, "q")))
        assert not is_refused(table(tmp_path, ("a.wav", 0, 2, "p"), (other, 2, 3, "q")))
        assert not is_refused(table(tmp_path, ("a.wav", 0, 2, "p"), (other, 1, 3, "p")))


def test_a_link_to_a_name_that_is_not_utf8(tmp_path: Path):
    there = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    os.mkdir(there)
    (tmp_path / "link").symlink_to(there)
    assert is_refused(table(tmp_path, ("link/a.wav", 0, 2, "p"), ("link/a.wav", 1, 3, "q")))
    assert not is_refused(table(tmp_path, ("link/a.wav", 0, 2, "p"), ("link/b.wav", 1, 3, "q")))


def test_times_that_were_computed_may_touch(tmp_path: Path):
    assert not is_refused(table(tmp_path, ("a.wav", 0.0, 0.1 + 0.2, "p"), ("a.wav", 0.3, None, "q")))


@pytest.mark.parametrize(
    ("one", "other"),
    [(("a.wav", 1, None, "p"), ("a.wav", 2, None, "q")), (("a.wav", None, 3, "p"), ("a.wav", None, 2, "q"))],
)
def test_segments_without_an_end_or_without_a_start_share_sound_too(tmp_path: Path, one: Segment, other: Segment):
    assert is_refused(table(tmp_path, one, other))


def test_a_whole_file_holds_its_segments(cli, tmp_path: Path):
    soundfile.write(tmp_path / "a.wav", sound("hum", 0), RATE)
    path = table(tmp_path, ("a.wav", None, None, "p"), ("a.wav", 0.5, 0.9, "q"))
    result = cli("preprocess", path, tmp_path / "out", *MEL_OPTIONS)
    assert result.exit_code == 3
    told = "a.wav of subject 'p' and a.wav@0.5-0.9 of subject 'q' share sound; expected segments of different subjects"
    assert told in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_segment_inside_another_of_its_subject_hides_none_of_it(tmp_path: Path):
    rows = [("a.wav", 0, 10, "p"), ("a.wav", 1, 2, "p"), ("a.wav", 3, 4, "q")]
    assert is_refused(table(tmp_path, *rows))


def test_a_sample_that_two_subjects_share_is_refused(tmp_path: Path):
    assert is_refused(table(tmp_path, ("a.wav", 0.0, 1.0 + 1 / 44100, "p"), ("a.wav", 1.0, 2.0, "q")))
    assert not is_refused(table(tmp_path, ("a.wav", 0.0, 1.0 + 1e-9, "p"), ("a.wav", 1.0, 2.0, "q")))
