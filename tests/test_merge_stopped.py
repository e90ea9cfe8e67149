"""A merge that was stopped midway, and tasks submitted anew: what is told of the parts that are left."""

from pathlib import Path

import pytest

from clinaug_fast.errors import InputError
from clinaug_fast.preprocess import blocks
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, files
from test_merge import Heard, corpus, make_parts  # noqa: F401 - a fixture
from test_preprocess import CLIP


def test_a_merge_that_was_begun_is_named_to_whoever_does_something_else(corpus: Path, tmp_path: Path, monkeypatch):  # noqa: F811
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


def test_a_task_that_makes_a_part_of_another_number_says_so(corpus: Path, tmp_path: Path):  # noqa: F811
    out, heard = tmp_path / "out", Heard()
    make_parts(corpus, out, 3)
    preprocess(corpus, out, MEL, CLIP, max_bad=0.5, part=Part(1, 3), progress=heard)
    assert not any("another number of parts" in warning for warning in heard.warnings)
    preprocess(corpus, out, MEL, CLIP, max_bad=0.5, part=Part(1, 2), progress=heard)
    assert any("out.part-0-of-3 is there, of another number of parts than this one, 1/2" in w for w in heard.warnings)
