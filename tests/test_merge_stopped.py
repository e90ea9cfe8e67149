"""A merge that was stopped midway, and tasks submitted anew: what is told of the parts that are left."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from clinaug_fast.errors import InputError, RejectedError
from clinaug_fast.features.card import CARD
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, Recorder, files, write_corpus
from test_merge import make_parts
from test_preprocess import CLIP


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """With a file that is rejected."""
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum/p1_1.wav").write_bytes(b"")
    return corpus


def test_a_merge_that_was_begun_is_named_to_whoever_does_something_else(corpus: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    parts, out = make_parts(corpus, tmp_path / "out", 2), tmp_path / "out"
    move = BlockFiles.move_from

    def stopped(self, other: BlockFiles, number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt
        move(self, other, number)

    with monkeypatch.context() as patch:
        patch.setattr(BlockFiles, "move_from", stopped)
        with pytest.raises(KeyboardInterrupt):
            merge(parts, out)
    left = files(tmp_path)
    with pytest.raises(InputError, match=r"part-0-of-2 lacks block 0: a merge into 'out', .*begun\. Repeat that merge"):
        merge(parts, tmp_path / "other")
    with pytest.raises(
        InputError, match=r"shard is 'all, by merge' there, None asked.* or run clinaug-fast merge again"
    ):
        preprocess(corpus, out, MEL, CLIP, max_bad=0.5)
    assert files(tmp_path) == left
    merge(parts, out)
    preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5)
    assert files(out) == files(tmp_path / "one")


def test_a_task_that_makes_a_part_of_another_number_says_so(corpus: Path, tmp_path: Path):
    out, heard = tmp_path / "out", Recorder()
    make_parts(corpus, out, 3)
    preprocess(corpus, out, MEL, CLIP, max_bad=0.5, part=Part(1, 3), progress=heard)
    assert not any("another number of parts" in warning for warning in heard.warnings)
    preprocess(corpus, out, MEL, CLIP, max_bad=0.5, part=Part(1, 2), progress=heard)
    assert any("out.part-0-of-3 is there, of another number of parts than this one, 1/2" in w for w in heard.warnings)


def test_what_a_merge_has_moved_of_its_first_block_is_kept(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where the disk was full midway, say: the shard lies in the draft alone."""
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    parts, out = make_parts(corpus, tmp_path / "out", 2), tmp_path / "out"
    rename = os.rename

    def full(path: Path, to: Path) -> None:
        if str(path).endswith("index.parquet"):
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(path, to)

    with monkeypatch.context() as patch:
        patch.setattr(blocks.os, "rename", full)
        with pytest.raises(OSError, match="No space left"):
            merge(parts, out)
    with pytest.raises(InputError, match=r"out\.draft was made with other settings.* run clinaug-fast merge again"):
        preprocess(corpus, out, MEL.with_changes(n_mels=24), CLIP, max_bad=0.5)
    with pytest.raises(InputError, match=r"out\.part-0-of-2/shards/00000\.npy is missing"):
        merge(parts, tmp_path / "other")
    merge(parts, out)
    preprocess(corpus, tmp_path / "one", MEL, CLIP, max_bad=0.5)
    assert files(out) == files(tmp_path / "one")


def test_a_part_that_a_merge_used_up_is_not_done(corpus: Path, tmp_path: Path, monkeypatch):
    parts, out = make_parts(corpus, tmp_path / "out", 2), tmp_path / "out"
    for part in parts:
        about = json.loads((part / "part.json").read_text())
        (part / "part.json").write_text(json.dumps(about | {"max_bad": 0.0}))
    with pytest.raises(RejectedError, match="expected at most"):
        merge(parts, out)
    with pytest.raises(
        InputError, match=r"part-0-of-2 lacks blocks that a merge has moved\. Repeat that merge, or rem"
    ):
        preprocess(corpus, out, MEL, CLIP, max_bad=0.5, part=Part(0, 2))
    shutil.rmtree(out)
    for part in parts:
        shutil.rmtree(part)
    merge(make_parts(corpus, tmp_path / "out", 2), out)


def test_other_things_that_are_named_like_parts_are_none(corpus: Path, tmp_path: Path):
    heard = Recorder()
    (tmp_path / "out.part-0-of-2.bak").mkdir()
    (tmp_path / "out.part-0-of-3").write_text("no folder")
    preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5, part=Part(0, 2), progress=heard)
    assert not any("another number of parts" in warning for warning in heard.warnings)


def test_a_repeated_merge_writes_a_lost_card_again(corpus: Path, tmp_path: Path):
    parts, out = make_parts(corpus, tmp_path / "out", 2), tmp_path / "out"
    merge(parts, out)
    merged = files(out)
    (out / CARD).unlink()
    merge(parts, out)
    assert files(out) == merged
