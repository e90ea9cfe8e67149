"""Disks that go in the middle of a run, and such as know less than others: sticks, shares, what FUSE makes."""

import errno
import os
import resource
import shutil
from pathlib import Path

import pytest

from clinaug_fast.audit import sources
from clinaug_fast.audit.sources import audit
from clinaug_fast.cli.console import _sentence
from clinaug_fast.config import ClipConfig
from clinaug_fast.errors import InputError, ResourceError, SettingsError
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.evaluate.quality import quality
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.preprocess import blocks, draft, workers
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.runs import Silent
from conftest import MEL, files, write_corpus
from test_cross_validation import CONFIG, write_generated, write_real

CLIP = ClipConfig(n_frames=32)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    return write_real(tmp_path_factory.mktemp("sets") / "real")


@pytest.fixture(scope="module")
def folds(features: FeatureSet) -> Folds:
    return make_folds(features, 2)


def test_a_corpus_that_goes_with_its_disk_is_no_corpus_of_missing_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    corpus, away, out = write_corpus(tmp_path / "corpus"), tmp_path / "away", tmp_path / "out"
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 2)
    preprocess(corpus, tmp_path / "whole", MEL, CLIP)

    class Unplugging(Silent):
        done = 0

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.done += steps
            if self.done == 6:
                corpus.rename(away)

    with pytest.raises(InputError, match=r"corpus/.* is gone since the corpus was listed, maybe with its disk"):
        preprocess(corpus, out, MEL, CLIP, progress=Unplugging())
    assert not out.exists()
    away.rename(corpus)
    preprocess(corpus, out, MEL, CLIP)
    assert files(out) == files(tmp_path / "whole")


def test_one_file_that_goes_is_a_missing_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus, work = write_corpus(tmp_path / "corpus"), workers.clips_of_batch

    def late(*x):
        (corpus / "hum/p0_0.wav").unlink(missing_ok=True)
        return work(*x)

    monkeypatch.setattr(workers, "clips_of_batch", late)
    assert preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5).counts.rejected == {"MISSING": 1}


def test_an_audit_does_not_pass_over_what_its_disk_took_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    corpus, read = write_corpus(tmp_path / "corpus"), sources.read_flat

    def late(recording):
        if recording.relative == "hum/p0_1.wav":
            shutil.rmtree(corpus / "hum")
        return read(recording)

    monkeypatch.setattr(sources, "read_flat", late)
    with pytest.raises(InputError, match=r"corpus/hum is gone since the corpus was listed"):
        audit(corpus, threads=1)


def test_an_audit_passes_over_a_folder_whose_name_is_not_utf_8(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    os.rename(corpus / "hiss", os.fsencode(corpus / "hiss") + b"\xff")
    assert audit(corpus, threads=1).not_compared == {"NAME": 6}


def test_arms_that_some_disks_take_for_one_are_refused(tmp_path: Path, features, folds):
    made = write_generated(tmp_path / "made", features, folds)
    for arms, told in (
        ({"SE": made, "se": made}, "arms are named 'SE' and 'se'; expected names that differ in more than capitals"),
        ({"None": made}, "arms are named 'none' and 'None'"),
        ({"caf\u00e9": made, "cafe\u0301": made}, "arms are named"),
    ):
        for measure in (evaluate, quality):
            with pytest.raises(SettingsError, match=told):
                measure(features, folds, arms, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()


def test_a_name_that_a_disk_refuses_is_told_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, features, folds
):
    make = os.mkdir

    def refusing(path, *how, **more):
        if ":" in os.fspath(path):
            raise OSError(errno.EINVAL, "Invalid argument", path)
        make(path, *how, **more)

    made = write_generated(tmp_path / "made", features, folds)
    monkeypatch.setattr(os, "mkdir", refusing)
    with pytest.raises(SettingsError, match=r"an arm is named 'snr:10', of which this disk makes no folder \(Invalid"):
        evaluate(features, folds, {"snr:10": made}, tmp_path / "out", CONFIG)
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_files_that_have_another_number_each_time_are_locked_all_the_same(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    told = os.fstat

    def another(file: int) -> os.stat_result:
        mode, inode, *rest = told(file)
        return os.stat_result((mode, inode + 1, *rest))

    monkeypatch.setattr(draft.os, "fstat", another)
    assert preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP).counts.kept == 18


def test_no_draft_stays_where_an_open_file_keeps_its_folder(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As FUSE and NFS do, which rename what is removed while it is open."""
    unlink, close, hidden = os.unlink, os.close, tmp_path / ".out.draft/.fuse_hidden01"

    def kept(path, *how, **more) -> None:
        if os.fspath(path) == f"{tmp_path}/.out.draft/lock":
            os.rename(path, hidden)
        else:
            unlink(path, *how, **more)

    def last(file: int) -> None:
        close(file)
        hidden.unlink(missing_ok=True)

    monkeypatch.setattr(draft.os, "unlink", kept)
    monkeypatch.setattr(draft.os, "close", last)
    preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.receipt.json"]


@pytest.mark.parametrize(
    ("number", "limit", "kind", "told"),
    [
        (errno.EFBIG, resource.RLIM_INFINITY, ResourceError, "Name an output on another disk"),
        (errno.EFBIG, 1 << 40, ResourceError, "Raise the limit on a file's size"),
        (errno.EXDEV, 0, InputError, "remove it, or put a copy in its place"),
    ],
)
def test_what_a_disk_cannot_do_has_a_cure(monkeypatch: pytest.MonkeyPatch, number: int, limit: int, kind, told: str):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    sentence = _sentence(OSError(number, os.strerror(number), "a", None, "b"), "preprocess")
    assert isinstance(sentence, kind)
    assert told in str(sentence)
