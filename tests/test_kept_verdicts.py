"""A verdict that is kept until its block ends holds on to nothing that it came through."""

import shutil
from pathlib import Path

import numpy as np
import soundfile

from clinaug_fast.corpus.verdicts import Code, Rejected, Unopened
from clinaug_fast.preprocess import workers
from conftest import MEL_OPTIONS, sound


def test_no_verdict_keeps_the_sound_it_is_of(cli, tiny_corpus: Path, tmp_path: Path, monkeypatch) -> None:
    """Frames and buffers of every rejected recording would stay in memory, whatever --mem-limit says."""
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    bad = np.append(sound("hum", 0), np.nan)
    soundfile.write(corpus / "hum/nan.w64", bad, 8000, "FLOAT", format="W64")
    soundfile.write(corpus / "hum/cut.flac", sound("hiss", 0), 8000)
    whole = (corpus / "hum/cut.flac").read_bytes()
    (corpus / "hum/cut.flac").write_bytes(whole[: len(whole) * 3 // 4])
    (corpus / "hum/gone.wav").symlink_to("nowhere.wav")
    kept, work = {}, workers.clips_of_batch

    def remember(recordings, batch, settings, sink, verdicts, budget):
        numbers = work(recordings, batch, settings, sink, verdicts, budget)
        kept.update(verdicts.rejected)
        return numbers

    monkeypatch.setattr(workers, "clips_of_batch", remember)
    done = cli("preprocess", corpus, tmp_path / "out", *MEL_OPTIONS, "--n-frames", 32, "--max-bad", 1)
    assert done.exit_code == 0, done.stderr
    assert sorted(verdict.code for verdict in kept.values()) == [Code.MISSING, Code.NON_FINITE, Code.TRUNCATED]
    for verdict in kept.values():
        assert (verdict.__traceback__, verdict.__context__, verdict.__cause__) == (None, None, None)


def test_a_verdict_alone_is_the_same_verdict() -> None:
    for kind in (Rejected, Unopened):
        alone = kind(Code.MISSING, "no such file").alone()
        assert (type(alone), alone.code, alone.reason, str(alone)) == (
            kind,
            Code.MISSING,
            "no such file",
            "no such file",
        )
