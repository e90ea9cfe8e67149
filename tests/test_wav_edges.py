"""Plain WAV at its edges: chunks of a wrong size, segments of no samples, files of several formats in one batch."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import Recording
from conftest import MEL, sound
from test_wav import DATA, LIST, RATE, SAMPLES, chunk, fmt, riff

CLIP = ClipConfig(n_frames=32)
FLOATS = chunk(b"data", bytes(40))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        # libsndfile reads none of these: its search for the samples goes on behind the last whole entry
        (riff(fmt(), chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"abcd") + b"ICMT"), DATA), "chunk that is not known"),
        (riff(fmt(), chunk(b"fact", b""), DATA), "chunk that is not known"),
        (riff(fmt(), chunk(b"fact", b"ab"), DATA), "chunk that is not known"),
        (riff(fmt(3, bits=32), chunk(b"PEAK", bytes(12)), FLOATS), "chunk that is not known"),
        (riff(fmt(3, bits=32), chunk(b"PEAK", bytes(24)), FLOATS), "chunk that is not known"),
        # what is looked at would lie behind the end of the file, which AddressSanitizer tells
        (riff(b"fmt \x10\0\0\0"), "chunk that reaches past the end"),
        (riff(fmt(), DATA, b"JUNK\5\0\0\0abcd"), "chunk that reaches past the end"),
        (riff(fmt(), DATA, b"LIST\2\0\0\0IN"), "chunk that is not known"),
        (riff(fmt(), DATA, b"LIST\x11\0\0\0INFOISFT\5\0\0\0abcde"), "chunk that is not known"),
    ],
)
def test_chunks_of_a_wrong_size_are_left_to_libsndfile(tmp_path: Path, data: bytes, reason: str):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    assert native.read_wav(path) == reason
    assert native.wav_log_mel([path], MEL, CLIP).not_taken == {0: reason}


@pytest.mark.parametrize(("start_s", "end_s"), [(-0.001, None), (0.005, 0.00501), (0.015, None), (0.01, 0.005)])
def test_a_segment_of_no_samples_is_told(tmp_path: Path, start_s: float, end_s: float | None):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(fmt(), DATA))  # 0.015 s
    reason = "no samples in the segment"
    assert native.read_wav(path, start_s, end_s) == reason
    whole = CLIP.model_copy(update={"min_seconds": 0.0, "short": "tile"})
    assert native.wav_log_mel([path], MEL, whole, [(start_s, end_s)]).not_taken == {0: reason}


def test_times_of_a_segment_are_rounded_half_to_even(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(fmt(rate=2), DATA))  # so that a quarter of a second is half a sample
    for start_s, end_s in ((0.25, 10.25), (0.75, 10.75), (1.25, 11.25)):
        expected = SAMPLES[round(2 * start_s) : round(2 * end_s)]
        np.testing.assert_array_equal(native.read_wav(path, start_s, end_s).samples, expected)


def test_a_segment_may_end_half_a_second_behind_its_file_and_no_more(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(fmt(rate=8), DATA))  # 15 s
    assert len(native.read_wav(path, None, 15 + native.SEGMENT_OVERHANG_S).samples) == len(SAMPLES)
    assert native.read_wav(path, None, 15.501) == "the segment ends behind the file"


@pytest.mark.parametrize("first", ["PCM_16", "FLOAT"])
def test_files_of_several_formats_keep_their_order(tmp_path: Path, first: str):
    """int16 and float samples wait for their transform apart."""
    paths = [tmp_path / f"{i}.wav" for i in range(7)]
    for i, path in enumerate(paths):
        kind = ("PCM_16", "FLOAT")[(i + i // 3 + (first == "FLOAT")) % 2]
        soundfile.write(path, 0.5 * sound("hum", i), RATE, kind)
    alone = [native.wav_log_mel([path], MEL, CLIP).mels for path in paths]
    assert native.wav_log_mel(paths, MEL, CLIP).mels.tobytes() == np.concatenate(alone).tobytes()


def test_another_rate_is_told_wherever_the_format_stands(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(LIST, fmt(rate=2 * RATE), chunk(b"data", bytes(4 * RATE))))
    assert native.wav_log_mel([path], MEL, CLIP).not_taken == {0: "another sample rate"}


@pytest.mark.skipif(not os.path.exists("/sys/kernel/mm/transparent_hugepage/enabled"), reason="a file of Linux")
def test_a_file_that_ends_before_its_size_is_told():
    path = "/sys/kernel/mm/transparent_hugepage/enabled"  # some 4096 bytes, says the system, and has fewer
    assert native.read_wav(path) == "it became shorter while being read"


def test_the_peak_of_what_is_no_sound():
    x = np.array([0.5, np.nan, -0.25], np.float32)
    assert native.level(x).peak == 0.5
    assert native.level(np.array([0.5, -np.inf], np.float32)).peak == np.inf


@pytest.mark.parametrize("kind", ["PCM_16", "FLOAT"])
def test_all_windows_of_silence_are_kept(tmp_path: Path, kind: str):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(RATE), RATE, kind)
    batch = native.wav_log_mel([path], MEL, CLIP)
    assert batch.measured[["clips", "windows"]].tolist() == [(3, 3)]
    assert batch.numbers.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("kind", "channels"), [("PCM_16", 1), ("PCM_16", 2), ("FLOAT", 1), ("PCM_U8", 3)])
def test_what_is_measured_is_what_decode_measures(tmp_path: Path, kind: str, channels: int):
    path = tmp_path / "x.wav"
    samples = np.stack([sound("knock", channel) for channel in range(channels)], axis=1)
    samples[100:140], samples[200:300] = -1.0, 0.0
    soundfile.write(path, samples.clip(-1, 1), RATE, kind)
    (row,) = native.wav_log_mel([path], MEL, CLIP).measured
    alone = decode(Recording(path, path.name, "a"), RATE)
    level = [row[name] for name in ("peak", "clipped", "square_sum", "silent")]
    assert level == list(alone.level[1:])
    assert min(level) > 0
    assert row["mono_power"] == alone.mono_power
    assert (row["rate"], row["channels"], row["samples"]) == (RATE, channels, len(samples))


@pytest.mark.parametrize("n", [1000, 1001, 1003])
def test_the_shortest_and_the_longest_that_are_allowed_are_taken(tmp_path: Path, n: int):
    """Also where the frames over the rate, times the rate, are less than the frames, as 1001 at 8 kHz are."""
    path = tmp_path / "x.wav"
    soundfile.write(path, np.ones(n), RATE, "PCM_16")
    for clip, max_seconds in ((CLIP.model_copy(update={"min_seconds": 0.125}), 1.0), (CLIP, n / RATE)):
        assert native.wav_log_mel([path], MEL, clip, max_seconds=max_seconds).not_taken == {}
    soundfile.write(path, np.ones(999), RATE, "PCM_16")
    assert native.wav_log_mel([path], MEL, CLIP.model_copy(update={"min_seconds": 0.125})).not_taken == {0: "too short"}
    assert native.wav_log_mel([path], MEL, CLIP, max_seconds=998 / RATE).not_taken == {0: "too long"}
