"""Sound that is in no clip is counted: what lies behind a recording's last clip, or between clips."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.config import ClipConfig
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, MEL_OPTIONS, RATE


@pytest.mark.parametrize(
    ("stride", "seconds"),
    [
        (None, 1.2 - 4 * 31 * 64 / RATE),  # windows side by side
        (10, (9600 - 31 * 64) % 640 / RATE),  # that overlap
        (60, 1.2 - 2 * 31 * 64 / RATE),  # with gaps between them
        (1000, 1.2 - 31 * 64 / RATE),
    ],
)
def test_what_no_window_holds_is_counted(tiny_corpus: Path, tmp_path: Path, stride: int | None, seconds: float) -> None:
    clip = ClipConfig(n_frames=32, quiet_db=200.0) if stride is None else ClipConfig(n_frames=32, stride_frames=stride)
    counts = preprocess(tiny_corpus, tmp_path / "out", MEL, clip).counts
    assert counts.unused_seconds == pytest.approx(18 * seconds, abs=0.002)


def test_of_a_short_recording_all_is_used(tiny_corpus: Path, tmp_path: Path, cli) -> None:
    assert preprocess(tiny_corpus, tmp_path / "out", MEL, ClipConfig(n_frames=200)).counts.unused_seconds == 0.0
    done = cli("preprocess", tiny_corpus, tmp_path / "cut", *MEL_OPTIONS, "--n-frames", 96)
    assert "0.4 minutes, 0.1 in no clip (a smaller --stride-frames uses more)\n" in done.stdout
    assert "| In no clip | 0.002 hours, behind" in (tmp_path / "cut/README.md").read_text()
    done = cli("preprocess", tiny_corpus, tmp_path / "whole", *MEL_OPTIONS, "--n-frames", 200)
    assert "0.4 minutes\n" in done.stdout


def test_it_is_counted_in_seconds_whatever_the_rate_and_how_quiet(tmp_path: Path) -> None:
    """A recording at twice the contract's rate, of one loud window among silent ones, with 0.1 s behind the last."""
    window = 31 * 64 / RATE
    for label, seconds in (("a", 5 * window + 0.1), ("b", window + 0.1)):
        samples = np.zeros(round(2 * RATE * seconds), np.float32)
        samples[: round(2 * RATE * window)] = 0.1 * np.random.default_rng(0).standard_normal(round(2 * RATE * window))
        (tmp_path / "corpus" / label).mkdir(parents=True)
        soundfile.write(tmp_path / "corpus" / label / "x.wav", samples, 2 * RATE)
    counts = preprocess(tmp_path / "corpus", tmp_path / "out", MEL, ClipConfig(n_frames=32)).counts
    assert counts.quiet_clips == 4
    assert counts.unused_seconds == pytest.approx(0.2, abs=0.001)
