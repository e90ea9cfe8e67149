"""Memory stays bounded: one long file, many files, and what the limit may be."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.corpus import long_recording
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.preprocess import pipeline, workers
from clinaug_fast.preprocess.memory import INTERPRETER_BYTES, Budget, default_limit, parse_bytes
from conftest import MEL, MEL_OPTIONS, SECONDS, write_corpus
from test_preprocess import CLIP

# The command in a process of its own that tells by how many MiB its memory grew, at most, while the command ran.
MEASURED = """
import clinaug_fast.preprocess.pipeline
from clinaug_fast.cli.main import app
from clinaug_fast.preprocess.receipt import peak_memory_bytes
begun = peak_memory_bytes()
app(standalone_mode=False)
print("grew", (peak_memory_bytes() - begun) >> 20)
"""


def growth(corpus: Path, out: Path, *options: str) -> int:
    arguments = ["preprocess", str(corpus), str(out), *MEL_OPTIONS, "--n-frames", "64", *options]
    command = [sys.executable, "-c", MEASURED, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout.split("grew ")[1])


def long_file(path: Path, minutes: int) -> None:
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 8000, 1, "PCM_16") as file:
        for _ in range(minutes):
            file.write((rng.standard_normal(8000 * 60) * 3000).astype(np.int16))


def test_a_long_recording_takes_no_more_memory_than_a_piece(tmp_path: Path):
    """Decoded it is 58 MB in int16 and 115 MB in float32, its log-mels are 58 MB, its overlapping ones 460 MB."""
    corpus = write_corpus(tmp_path / "corpus")
    long_file(corpus / "hum/long.flac", 60)
    assert growth(corpus, tmp_path / "plain", "-j", "1") < 90
    assert growth(corpus, tmp_path / "overlapping", "-j", "1", "--stride-frames", "8") < 90


def noise(seconds: float, rate: int) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal(int(seconds * rate)) * 3000).astype(np.int16)


def test_a_small_wav_file_of_a_low_rate_takes_no_more_memory_than_a_piece(tmp_path: Path):
    """Resampled it is 160 MB, of 1 MB."""
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "hum/slow.wav", noise(5000, 100), 100)
    assert growth(corpus, tmp_path / "out", "-j", "1") < 150


def test_wav_files_that_resampling_makes_long_are_refused_before(tmp_path: Path):
    """A day and more; and a rate of 1 Hz, at which soxr gives nothing for a while, and then all at once."""
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "hum/slow.wav", noise(100_000, 10), 10)
    for name in ("slower.wav", "slower.aiff"):
        soundfile.write(corpus / "hum" / name, noise(3000, 1), 1)
    assert growth(corpus, tmp_path / "out", "-j", "1", "--max-bad", "0.5") < 60
    rejected = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    codes = {"hum/slow.wav": "TOO_LONG", "hum/slower.wav": "UNREADABLE", "hum/slower.aiff": "UNREADABLE"}
    assert {row["path"]: row["code"] for row in rejected} == codes


def test_overlapping_clips_of_a_recording_with_quiet_ones_are_not_all_copied(tmp_path: Path):
    """Their samples are 430 MB, of 0.9 MB in FLAC."""
    corpus = write_corpus(tmp_path / "corpus")
    samples = noise(55, 8000)
    samples[: len(samples) // 10] //= 1000
    soundfile.write(corpus / "hum/much.flac", samples, 8000)
    options = ("--n-fft", "512", "--hop-length", "512", "--stride-frames", "1", "--n-frames", "250", "--n-mels", "16")
    assert growth(corpus, tmp_path / "out", "-j", "1", *options) < 120


def test_overlapping_clips_of_a_small_wav_file_take_no_more_memory_than_a_piece(tmp_path: Path):
    """Its log-mels are 266 MB, of 4 MB in WAV."""
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "hum/much.wav", noise(260, 8000), 8000)
    assert growth(corpus, tmp_path / "out", "-j", "1", "--stride-frames", "1") < 120


def test_recordings_on_several_threads_wait_for_the_memory_of_the_run(tmp_path: Path, monkeypatch):
    class Watched(Budget):
        def __init__(self, n_bytes: int):
            super().__init__(n_bytes)
            made.append(self)

        @contextlib.contextmanager
        def hold(self, n_bytes: int):
            with super().hold(n_bytes):
                asked.append(n_bytes)
                left.append(self._free)
                time.sleep(0.01)
                yield

    made, asked, left = [], [], []
    monkeypatch.setattr(workers, "Budget", Watched)
    corpus = write_corpus(tmp_path / "corpus")
    for path in sorted(corpus.rglob("*.wav")):  # a plain WAV file needs no more than its log-mels
        soundfile.write(path.with_suffix(".flac"), *soundfile.read(path))
        path.unlink()
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 1)
    room = 4 * long_recording.COPIES * round(8000 * SECONDS)  # of each
    monkeypatch.setattr(pipeline, "_refuse_large_clips", lambda *x: None)
    pipeline.preprocess(corpus, tmp_path / "out", MEL, CLIP, threads=4, memory=INTERPRETER_BYTES + 2 * room)
    assert [budget.n_bytes for budget in made] == [2 * room]
    assert set(asked) == {room}
    assert min(left) == 0  # two at once, and never three: there is no room below nothing
    assert len(asked) == 18


def test_a_budget_hands_out_no_more_than_it_has():
    budget, held, most = Budget(100), [], []

    def work(n_bytes: int) -> None:
        with budget.hold(n_bytes):
            held.append(min(n_bytes, 100))
            most.append(sum(held))
            time.sleep(0.002)
            held.remove(min(n_bytes, 100))

    threads = [threading.Thread(target=work, args=(n,)) for n in (60, 50, 10, 1000, 40, 100, 1, 30) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(most) == 24
    assert max(most) <= 100


def test_sizes_are_read_and_small_ones_refused():
    assert [parse_bytes(text) for text in ("512M", "4G", "4gib", "1.5g", "600000000")] == [
        512 << 20,
        4 << 30,
        4 << 30,
        3 << 29,
        600000000,
    ]
    for text in ("", "M", "-1G", "many", "1X"):
        with pytest.raises(SettingsError, match=r"expected (a size such as 512M or 4G|at least 384M)"):
            parse_bytes(text)
    with pytest.raises(SettingsError, match=r"'100M'; expected at least 384M.*Raise it"):
        parse_bytes("100M")
    assert parse_bytes("384M") == 384 << 20
    assert 384 << 20 <= default_limit() <= 2 << 30


def test_clips_that_do_not_fit_on_as_many_threads_are_refused(tmp_path: Path):
    clip = CLIP.model_copy(update={"n_frames": 50_000})
    with pytest.raises(SettingsError, match="on 4 threads; expected at most 192 MiB, the memory limit less"):
        pipeline.preprocess(tmp_path, tmp_path / "out", MEL, clip, threads=4, memory=INTERPRETER_BYTES + (192 << 20))
    with pytest.raises(InputError, match="no audio"):  # on one they do
        pipeline.preprocess(tmp_path, tmp_path / "out", MEL, clip, threads=1, memory=INTERPRETER_BYTES + (192 << 20))


@pytest.mark.parametrize(("machine", "limit"), [(1 << 30, 384 << 20), (4 << 30, 1 << 30), (64 << 30, 2 << 30)])
def test_the_limit_is_a_quarter_of_a_small_machine(monkeypatch, machine: int, limit: int):
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": machine >> 12, "SC_PAGE_SIZE": 1 << 12}.get)
    assert default_limit() == limit


@pytest.mark.parametrize("text", ["1e400", "infG", "nan"])
def test_a_size_that_is_no_number_of_bytes_is_refused(text: str):
    with pytest.raises(SettingsError, match="expected a size such as 512M or 4G"):
        parse_bytes(text)
