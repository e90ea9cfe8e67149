"""--on-error fail ends in an error wherever a recording was rejected: now, before a resume, or in what stands."""

from pathlib import Path

import pytest

from clinaug_fast.preprocess import blocks
from conftest import MEL_OPTIONS, write_corpus

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--quiet", "--max-bad", "0.5")
FAIL = (*OPTIONS, "--on-error", "fail")
TOLD = "1 recording was rejected before, and --on-error is fail. Repair or take out what was, and name a new output"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = write_corpus(tmp_path / "corpus")
    (folder / "hiss/junk.wav").write_bytes(b"junk")
    return folder


@pytest.mark.parametrize("part", [(), ("--shard", "0/2")])
def test_what_stands_is_looked_at(cli, corpus: Path, tmp_path: Path, part: tuple[str, ...]):
    assert cli("preprocess", corpus, tmp_path / "out", *OPTIONS, *part).exit_code == 0
    result = cli("preprocess", corpus, tmp_path / "out", *FAIL, *part)
    assert result.exit_code == 4
    assert TOLD in result.stderr
    assert cli("preprocess", corpus, tmp_path / "out", *OPTIONS, *part).exit_code == 0
    (corpus / "hiss/junk.wav").unlink()
    for _ in range(2):
        assert cli("preprocess", corpus, tmp_path / "new", *FAIL, *part).exit_code == 0


def test_what_was_done_before_a_resume_is_looked_at(cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 7)
    with monkeypatch.context() as patch:
        complete = blocks.BlockFiles.complete

        def only_the_first(files: blocks.BlockFiles, number: int, *given: object) -> None:
            if number:
                raise KeyboardInterrupt
            complete(files, number, *given)

        patch.setattr(blocks.BlockFiles, "complete", only_the_first)
        assert cli("preprocess", corpus, tmp_path / "out", *OPTIONS, "-j", "1").exit_code == 130
    result = cli("preprocess", corpus, tmp_path / "out", *FAIL)
    assert result.exit_code == 4
    assert TOLD in result.stderr
    assert not (tmp_path / "out").exists()
    assert cli("preprocess", corpus, tmp_path / "out", *OPTIONS).exit_code == 0
