"""Sound that nothing here reads is rejected and not passed by; paths and other corpora that are taken at their word."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import Result

from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import FOREIGN_SUFFIXES, Recording, read_corpus
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.errors import InputError
from conftest import MEL_OPTIONS, write_corpus

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--quiet")
BEGIN = {".m4a": b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42isom", ".webm": b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01webm"}


@pytest.mark.parametrize("suffix", [*BEGIN, ".M4A", ".aac", ".wma"])
def test_sound_of_a_format_that_is_not_read_is_rejected_with_a_cure(
    cli: Callable[..., Result], tmp_path: Path, suffix: str
):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum" / f"p9_0{suffix}").write_bytes(BEGIN.get(suffix, b"\xff\xf1") + bytes(4000))
    result = cli("preprocess", corpus, tmp_path / "out", *OPTIONS)
    assert result.exit_code == 4
    assert "1 of 19 recordings were rejected (1 UNREADABLE)" in result.stderr
    (row,) = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    assert (row["path"], row["code"]) == (f"hum/p9_0{suffix}", "UNREADABLE")
    mend = "Convert it: ffmpeg -i OLD NEW.flac (a table has to name NEW.flac)"
    assert row["reason"] == f"{suffix.lower()} is not read. {mend}"
    counts = json.loads((tmp_path / "out/features.json").read_text())["counts"]
    assert (counts["found"], counts["kept"], counts["ignored"]) == (19, 18, {})
    assert cli("preprocess", corpus, tmp_path / "mild", *OPTIONS, "--max-bad", "0.1").exit_code == 0


def test_a_label_of_such_sound_alone_is_a_label(tmp_path: Path):
    for number, suffix in enumerate(sorted(FOREIGN_SUFFIXES)):
        folder = tmp_path / f"label{number}"
        folder.mkdir()
        (folder / f"x{suffix}").touch()
    assert len(read_corpus(tmp_path).labels) == len(FOREIGN_SUFFIXES)


def test_what_leads_up_from_a_link_is_where_the_link_leads(tmp_path: Path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/link").symlink_to(tmp_path / "elsewhere/deep")
    (tmp_path / "corpus/x.wav").write_bytes(b"not this one")
    (tmp_path / "elsewhere/x.wav").write_bytes(b"this one")
    table = tmp_path / "corpus/table.csv"
    table.write_text("path,label\nlink/../x.wav,a\nx.wav,b\n")
    corpus = read_corpus(table)
    path = {recording.label: recording.path for recording in corpus.recordings}
    assert os.path.realpath(path["a"]) == os.path.realpath(tmp_path / "elsewhere/x.wav")
    assert os.path.realpath(path["b"]) == os.path.realpath(tmp_path / "corpus/x.wav")
    assert sorted(corpus.table.column("bytes").to_pylist()) == [8, 12]
    table.write_text("path,label\nlink/../x.wav,a\n../elsewhere/x.wav,b\n")
    with pytest.raises(InputError, match=r"row 3 of .* repeats row 2: \.\./elsewhere/x\.wav"):
        read_corpus(table)


def test_one_label_is_told_with_the_way_out_that_there_is(tmp_path: Path):
    (tmp_path / "corpus/all").mkdir(parents=True)
    (tmp_path / "corpus/all/x.wav").touch()
    table = tmp_path / "table.csv"
    table.write_text("path,label\ncorpus/all/x.wav,all\n")
    way_out = "or, where no folders tell the labels, give a table with the columns path and label"
    for corpus, is_told in ((tmp_path / "corpus", True), (table, False)):
        with pytest.raises(InputError, match="has one label, 'all'; expected two or more") as caught:
            read_corpus(corpus)
        assert (way_out in str(caught.value)) == is_told


def test_a_table_of_another_kind_is_told_to_be_saved_as_csv(tmp_path: Path):
    (tmp_path / "table.tsv").write_text("path\tlabel\nx.wav\ta\n")
    with pytest.raises(InputError, match=r"table\.tsv is neither a folder .* or save the table as CSV$"):
        read_corpus(tmp_path / "table.tsv")
    with pytest.raises(InputError, match=r"nowhere\.tsv does not exist; expected a corpus\. Check the path$"):
        read_corpus(tmp_path / "nowhere.tsv")


def test_a_path_up_from_the_table_and_through_a_link_keeps_its_name(tmp_path: Path):
    (tmp_path / "disk/xyz").mkdir(parents=True)
    (tmp_path / "proj/meta").mkdir(parents=True)
    (tmp_path / "proj/data").symlink_to(tmp_path / "disk/xyz")
    table = tmp_path / "proj/meta/table.csv"
    table.write_text("path,label\n../data/x.wav,a\n./../data/y.wav,b\n")
    assert [recording.relative for recording in read_corpus(table).recordings] == ["../data/x.wav", "../data/y.wav"]
    table.write_text("path,label\n../data/x.wav,a\n../../proj/data/x.wav,b\n")
    with pytest.raises(InputError, match=r"row 3 of .* repeats row 2"):
        read_corpus(table)


def test_what_was_converted_is_ignored_beside_what_came_of_it(tmp_path: Path):
    for name in ("a/x.wav", "a/x.WebM", "a/y.webm", "b/x.wav", "b/z.flac", "b/z.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    corpus = read_corpus(tmp_path)
    assert [recording.relative for recording in corpus.recordings] == ["a/x.wav", "a/y.webm", "b/x.wav", "b/z.flac"]
    assert corpus.ignored == {".m4a": 1, ".webm": 1}


@pytest.mark.parametrize("n_bytes", [3, 2000, 15_000])
def test_a_cut_sphere_file_is_told(tmp_path: Path, n_bytes: int):
    path = tmp_path / "x.sph"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000, "PCM_16", format="NIST")
    whole = path.read_bytes()
    assert len(decode(Recording(path, "x.sph", "a"), 8000).samples) == 8000
    path.write_bytes(whole[:-n_bytes])
    with pytest.raises(Rejected, match="the header declares 16000 bytes of samples") as refusal:
        decode(Recording(path, "x.sph", "a"), 8000)
    assert refusal.value.code is Code.TRUNCATED


def test_a_file_that_is_named_by_two_ways_outside_is_refused(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "tables").mkdir()
    table = tmp_path / "tables/table.csv"
    table.write_text("path,label\n../real/x.wav,a\n../link/x.wav,b\n")
    with pytest.raises(InputError, match=r"row 3 of .* names \.\./link/x\.wav, which is the file \.\./real/x\.wav"):
        read_corpus(table)
    table.write_text("path,label,start_s,end_s\n../link/x.wav,a,0,1\n../link/x.wav,b,1,2\n")
    assert len(read_corpus(table)) == 2


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_a_cut_sphere_file_of_one_byte_a_sample_is_told(tmp_path: Path, subtype: str):
    """libsndfile writes what LDC's tools write as a number as the text 1."""
    path = tmp_path / "x.sph"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 8000), 8000, subtype, format="NIST")
    assert len(decode(Recording(path, "x.sph", "a"), 8000).samples) == 8000
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(Rejected, match="the header declares 8000 bytes of samples, the file holds 3976"):
        decode(Recording(path, "x.sph", "a"), 8000)
