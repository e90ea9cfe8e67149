"""Decoding: what comes out is mono at the contract's rate, and what cannot be used is rejected with its code."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus import audio
from clinaug_fast.corpus.audio import decode, inspect, mixed, wav_rate
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected
from conftest import MEL, sound, unprivileged

RATE = 8000


def recording(path: Path, start_s: float | None = None, end_s: float | None = None) -> Recording:
    return Recording(path, path.name, "label", start_s=start_s, end_s=end_s)


def rejected(path: Path, *segment: float, min_seconds: float = 0.0) -> tuple[Code, str]:
    with pytest.raises(Rejected) as caught:
        decode(recording(path, *segment), RATE, min_seconds)
    return caught.value.code, caught.value.reason


def write(path: Path, samples: np.ndarray, rate: int = RATE, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
def test_pcm16_at_the_contracts_rate_stays_as_it_is(tmp_path: Path, suffix: str):
    samples = (sound("hum", 0) * 32767).astype(np.int16)
    waveform = decode(recording(write(tmp_path / f"x.{suffix}", samples)), RATE)
    assert (waveform.samples.dtype, waveform.file_rate) == (np.int16, RATE)
    np.testing.assert_array_equal(waveform.samples, samples)


@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), [("wav", "FLOAT", 1e-7), ("flac", "PCM_24", 1e-6)])
def test_other_depths_become_float(tmp_path: Path, suffix: str, subtype: str, tolerance: float):
    samples = sound("hum", 0)
    waveform = decode(recording(write(tmp_path / f"x.{suffix}", samples, subtype=subtype)), RATE)
    assert waveform.samples.dtype == np.float32
    np.testing.assert_allclose(waveform.samples, samples, atol=tolerance)


@pytest.mark.parametrize(("suffix", "how"), [("ogg", {}), ("mp3", {}), ("opus", {"format": "OGG", "subtype": "OPUS"})])
def test_lossy_formats_decode_to_their_sound(tmp_path: Path, suffix: str, how: dict):
    samples = 0.4 * np.sin(2 * np.pi * 440 * np.arange(24000) / 24000)
    waveform = decode(recording(write(tmp_path / f"x.{suffix}", samples, 24000, **how)), 24000)
    assert waveform.samples.shape == samples.shape
    assert np.corrcoef(waveform.samples, samples)[0, 1] > 0.98


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_mixed_to_their_mean(tmp_path: Path, subtype: str, channels: int):
    samples = np.stack([sound("hiss", seed) for seed in range(channels)], axis=1)
    path = write(tmp_path / "x.wav", samples, subtype=subtype)
    waveform = decode(recording(path), RATE)
    assert waveform.samples.dtype == np.float32
    np.testing.assert_allclose(waveform.samples, soundfile.read(path)[0].mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("file_rate", [4000, 11025, 44100, 48000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_other_rates_are_resampled(tmp_path: Path, file_rate: int, subtype: str):
    path = write(tmp_path / "x.wav", sound("hum", 1, rate=file_rate), file_rate, subtype=subtype)
    waveform = decode(recording(path), RATE)
    expected = soxr.resample(soundfile.read(path)[0], file_rate, RATE, quality="HQ")
    assert (waveform.samples.dtype, waveform.file_rate) == (np.float32, file_rate)
    assert abs(len(waveform.samples) - round(1.2 * RATE)) <= 1
    np.testing.assert_allclose(waveform.samples, expected, atol=1e-5)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_segment_is_cut_out(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"x.{suffix}", sound("knock", 0))
    whole = decode(recording(path), RATE).samples
    for (start_s, end_s), (start, stop) in {
        (0.25, 0.5): (2000, 4000),
        (None, 0.5): (0, 4000),
        (0.25, None): (2000, 9600),
        (1.0, 1.7): (8000, 9600),  # annotations are rounded
        (0.2500999, 0.5000999): (2001, 4001),  # so are samples: 2000.7992 and 4000.7992
    }.items():
        np.testing.assert_array_equal(decode(recording(path, start_s, end_s), RATE).samples, whole[start:stop])


def test_a_segment_behind_the_end_is_empty(tmp_path: Path):
    path = write(tmp_path / "x.wav", sound("hum", 0))
    reason = "the segment from 5 s has no samples; the file holds 1.200 s. Correct the table, whose times are seconds"
    assert rejected(path, 5.0, 6.0) == (Code.EMPTY, reason)
    empty = write(tmp_path / "empty.wav", np.zeros(0))
    assert rejected(empty, 0.0, 1.0) == (Code.EMPTY, "the file has no samples; the file holds 0.000 s")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_segment_in_milliseconds_is_not_cut_at_the_end(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"x.{suffix}", sound("hum", 0))
    code, reason = rejected(path, 0.0, 900.0)
    assert (code, reason) == (
        Code.TRUNCATED,
        "the segment ends at 900 s, the file at 1.200 s. Correct the table, whose times are seconds",
    )
    assert native.wav_log_mel([path], MEL, ClipConfig(n_frames=32), [(0.0, 900.0)]).not_taken.keys() == {0}


def test_missing_empty_and_foreign_files_are_rejected(tmp_path: Path):
    assert rejected(tmp_path / "x.wav")[0] == Code.MISSING
    (tmp_path / "zero.wav").write_bytes(b"")
    assert rejected(tmp_path / "zero.wav") == (Code.EMPTY, "the file has no bytes")
    assert rejected(write(tmp_path / "none.wav", np.zeros(0)))[0] == Code.EMPTY
    (tmp_path / "text.wav").write_text("heart sounds\n" * 100)
    code, reason = rejected(tmp_path / "text.wav")
    assert (code, reason) == (Code.UNREADABLE, "not audio that can be read: Format not recognised.")
    (tmp_path / "folder.wav").mkdir()
    assert rejected(tmp_path / "folder.wav")[0] == Code.UNREADABLE


def test_a_file_that_may_not_be_read_is_rejected(tmp_path: Path):
    path = write(tmp_path / "x.wav", sound("hum", 0))
    path.chmod(0)
    with unprivileged():
        code, _ = rejected(path)
    assert code == Code.PERMISSION


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.6, 0.75, 0.9, 0.99])
@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff", "au", "caf", "w64"])
def test_a_cut_file_is_rejected(tmp_path: Path, suffix: str, kept: float):
    path = write(tmp_path / f"x.{suffix}", sound("hiss", 0, rate=44100, seconds=3.0), 44100)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    assert rejected(path)[0] == Code.TRUNCATED


def test_the_segment_before_the_cut_can_be_used(tmp_path: Path):
    path = write(tmp_path / "x.flac", sound("hiss", 0, rate=44100, seconds=3.0), 44100)
    whole = decode(recording(path, 0.0, 1.0), 44100).samples
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    np.testing.assert_array_equal(decode(recording(path, 0.0, 1.0), 44100).samples, whole)
    assert rejected(path, 1.0, 2.5)[0] == Code.TRUNCATED


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_file_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, size: int):
    samples = (sound("hum", 0) * 32767).astype(np.int16)
    path = write(tmp_path / "x.wav", samples)
    data = path.read_bytes()
    assert data[36:40] == b"data"
    path.write_bytes(data[:40] + struct.pack("<I", size) + data[44:])
    np.testing.assert_array_equal(decode(recording(path), RATE).samples, samples)


def test_a_codec_that_cannot_be_sought_in_is_read(tmp_path: Path):
    path = tmp_path / "x.wav"
    soundfile.write(path, sound("hum", 0), RATE, "GSM610")
    assert np.corrcoef(decode(recording(path), RATE).samples[: len(sound("hum", 0))], sound("hum", 0))[0, 1] > 0.9


@pytest.mark.parametrize("name", ["x.wav", "x.au"])
def test_a_segment_of_a_codec_that_cannot_be_sought_in_is_that_of_the_whole(tmp_path: Path, name: str):
    samples = np.concatenate([sound("hum", k) for k in range(10)])  # 12 s: more than is skipped at once
    path = write(tmp_path / name, samples, subtype="GSM610" if name == "x.wav" else "G721_32")
    whole = decode(recording(path), RATE).samples
    np.testing.assert_array_equal(
        decode(recording(path, 9.0, 9.5), RATE).samples, whole[9 * RATE : 9 * RATE + RATE // 2]
    )


def test_a_codec_that_soundfile_cannot_read_is_rejected_as_such(tmp_path: Path):
    code, reason = rejected(write(tmp_path / "x.aiff", sound("hum", 0), subtype="DWVW_16"))
    assert (code, reason) == (Code.UNREADABLE, "DWVW cannot be read. Encode it as WAV or FLAC")


@pytest.mark.parametrize("name", ["x.wav", "x.aiff"])
def test_too_long_goes_before_not_a_number(tmp_path: Path, name: str):
    samples = np.append(sound("hum", 0), np.nan)
    path = write(tmp_path / name, samples, subtype="FLOAT")
    with pytest.raises(Rejected, match="expected at most") as caught:
        decode(recording(path), RATE, max_seconds=1.0)
    assert caught.value.code == Code.TOO_LONG


@pytest.mark.parametrize(
    ("subtype", "rate"),
    [("PCM_16", RATE), ("PCM_U8", RATE), ("FLOAT", RATE), ("ALAW", RATE), ("GSM610", None), ("IMA_ADPCM", None)],
)
def test_the_size_of_a_packed_wav_file_does_not_bound_its_length(tmp_path: Path, subtype: str, rate: int | None):
    """GSM holds five samples a byte: it has to be opened to know how long it is."""
    assert wav_rate(write(tmp_path / "x.wav", sound("hum", 0), subtype=subtype)) == rate
    write(tmp_path / "x.flac", sound("hum", 0)).rename(tmp_path / "y.wav")
    assert wav_rate(tmp_path / "y.wav") is None
    for low, expected in ((1, None), (9, None), (10, 10)):
        assert wav_rate(write(tmp_path / "z.wav", sound("hum", 0), rate=low)) == expected
    head = bytearray((tmp_path / "z.wav").read_bytes())
    head[34:36] = struct.pack("<H", 4)  # bits a sample: two of them a byte
    (tmp_path / "z.wav").write_bytes(head)
    assert wav_rate(tmp_path / "z.wav") is None
    assert wav_rate(tmp_path / "missing.wav") is None


def test_a_file_named_raw_is_rejected(tmp_path: Path):
    for suffix in ("au", "snd", "vox", "gsm"):  # which libsndfile would play
        (tmp_path / f"x.{suffix}").write_bytes(np.random.default_rng(0).bytes(9000))
        for part in ({}, {"start_s": 0.1, "end_s": 0.3}):
            with pytest.raises(Rejected) as verdict:
                decode(Recording(tmp_path / f"x.{suffix}", f"x.{suffix}", "a", **part), 8000)
            assert (verdict.value.code, str(verdict.value)) == (
                Code.UNREADABLE,
                "RAW (header-less) is not read. Encode it as WAV or FLAC",
            )
    (tmp_path / "x.raw").write_bytes(bytes(1000))
    assert rejected(tmp_path / "x.raw") == (
        Code.UNREADABLE,
        "it is named .raw: samples without a header. Encode it as WAV",
    )


def test_a_file_in_a_folder_of_another_encoding_is_read(tmp_path: Path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    for name in ("x.wav", "x.flac", "x.ogg"):
        write(tmp_path / name, sound("hum", 0))
        expected = decode(recording(tmp_path / name), RATE).samples
        (tmp_path / name).rename(folder / name)
        np.testing.assert_array_equal(decode(recording(folder / name), RATE).samples, expected)


def test_other_chunks_before_the_samples_are_skipped(tmp_path: Path):
    samples = (sound("hum", 0) * 32767).astype(np.int16)
    data = write(tmp_path / "x.wav", samples).read_bytes()
    odd_chunk = b"note" + struct.pack("<I", 5) + b"hello" + b"\0"
    (tmp_path / "y.wav").write_bytes(data[:12] + odd_chunk + data[12:])
    np.testing.assert_array_equal(decode(recording(tmp_path / "y.wav"), RATE).samples, samples)
    (tmp_path / "y.wav").write_bytes(data[:12] + odd_chunk + data[12:-2])
    assert rejected(tmp_path / "y.wav")[0] == Code.TRUNCATED


def test_a_flac_file_that_leaves_its_length_open_is_rejected(tmp_path: Path):
    path = write(tmp_path / "x.flac", sound("hum", 0))
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # STREAMINFO: the last 36 bits before the MD5 sum are the number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    code, reason = rejected(path)
    assert code == Code.UNREADABLE
    assert "leaves its length open" in reason


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_number_are_rejected(tmp_path: Path, value: float):
    samples = np.stack([sound("hum", 0), sound("hum", 1)], axis=1)
    samples[77, 1] = value
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    assert rejected(path) == (Code.NON_FINITE, "1 sample is NaN or infinite")
    assert len(decode(recording(path, 0.5), RATE).samples)


@pytest.mark.parametrize("name", ["x.wav", "x.aiff"])  # by our own reader, and by libsndfile
def test_numbers_that_no_sound_has_are_rejected(tmp_path: Path, name: str):
    """Finite, but their sums and what a resampler makes of them may not be."""
    samples = np.stack([sound("hum", 0), sound("hum", 1)], axis=1).astype(np.float32)
    samples[77, 1] = -3e38
    code, reason = rejected(write(tmp_path / name, samples, subtype="FLOAT"))
    assert code == Code.NON_FINITE
    assert reason == "a sample is 3e+38, full scale being 1: no level that sound has"
    samples[77, 1] = 2**31  # integers that were never scaled
    assert np.isfinite(decode(recording(write(tmp_path / name, samples, subtype="FLOAT")), RATE).samples).all()


def test_a_recording_below_min_seconds_is_rejected(tmp_path: Path):
    path = write(tmp_path / "x.wav", sound("hum", 0, seconds=0.01))
    assert rejected(path, min_seconds=0.1) == (Code.TOO_SHORT, "0.010 s; expected at least 0.1 s")
    assert len(decode(recording(path), RATE, min_seconds=0.01).samples) == 80
    long = write(tmp_path / "long.wav", sound("hum", 0))
    assert rejected(long, 1.0, 1.05, min_seconds=0.1)[0] == Code.TOO_SHORT


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_S8"])
def test_flac_is_that_of_libsndfile_whatever_decodes_it(tmp_path: Path, channels: int, subtype: str):
    samples = np.stack([sound("knock", seed) for seed in range(channels)], axis=1)
    path = write(tmp_path / "x.flac", samples, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="int16" if subtype == "PCM_16" else "float32")
    waveform = decode(recording(path), RATE)
    assert (waveform.channels, waveform.level) == (channels, native.level(expected))
    mono = mixed(expected) if channels > 1 else expected
    assert (waveform.samples.dtype, waveform.samples.tobytes()) == (mono.dtype, mono.tobytes())


def test_plain_wav_and_flac_files_take_the_fast_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Others give the same samples, later."""

    def slow(*x):
        raise AssertionError("libsndfile decodes it")

    monkeypatch.setattr(audio, "read_frames", slow)
    for name, subtype in (("x.wav", "PCM_16"), ("y.wav", "PCM_16"), ("x.flac", "PCM_16")):
        assert len(decode(recording(write(tmp_path / name, sound("hum", 0), subtype=subtype)), RATE).samples) == 9600
    with pytest.raises(AssertionError, match="libsndfile"):
        decode(recording(write(tmp_path / "z.flac", sound("hum", 0), subtype="PCM_24")), RATE)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8, 0.99])
def test_a_damaged_flac_file_never_gives_other_samples(tmp_path: Path, at: float):
    path = write(tmp_path / "x.flac", sound("hiss", 0, rate=44100, seconds=3.0), 44100)
    whole = decode(recording(path), 44100).samples
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 0x55
    path.write_bytes(data)
    try:
        damaged = decode(recording(path), 44100).samples
    except Rejected:
        return
    np.testing.assert_array_equal(damaged, whole)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_recording_of_exactly_the_longest_duration_is_kept(tmp_path: Path, suffix: str):
    path = write(tmp_path / f"x.{suffix}", sound("hum", 0))
    assert len(decode(recording(path), RATE, max_seconds=1.2).samples) == 9600
    with pytest.raises(Rejected) as caught:
        decode(recording(path), RATE, max_seconds=1.1999)
    assert caught.value.code == Code.TOO_LONG


@pytest.mark.parametrize("n_samples", [3744, 3745])
def test_a_limit_in_hours_means_the_same_for_all_files(tmp_path: Path, n_samples: int):
    """0.00013 h are 3744 samples, but neither a whole number of seconds nor of any binary fraction of them."""
    limit, verdicts = 3600.0 * 0.00013, []
    for suffix in ("wav", "flac", "aiff"):
        path = write(tmp_path / f"x.{suffix}", sound("hum", 0)[:n_samples], subtype="PCM_16")
        try:
            decode(recording(path), RATE, max_seconds=limit)
        except Rejected as reason:
            verdicts.append(reason.reason)
    taken = native.wav_log_mel([tmp_path / "x.wav"], MEL, ClipConfig(n_frames=32), max_seconds=limit)
    long = n_samples > 3744
    assert taken.not_taken == ({0: "too long"} if long else {})
    assert verdicts == long * 3 * ["0.00013 h; expected at most 0.00013 h. Raise --max-duration if it is right"]


def test_a_flac_file_that_vanishes_is_read_by_who_has_it_open(tmp_path: Path):
    path = write(tmp_path / "x.flac", sound("hum", 0))
    whole = decode(recording(path), RATE).samples
    opened = audio.open_audio(recording(path))
    path.unlink()
    np.testing.assert_array_equal(decode(recording(path), RATE, file=opened).samples, whole)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT", "PCM_U8", "ALAW", "ULAW"])
@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_full_scale_is_the_formats_own(tmp_path: Path, subtype: str, rate: int):
    loud = 1.5 * np.sin(2 * np.pi * 5 * np.arange(4000) / RATE)
    n_clipped = np.count_nonzero(np.abs(loud) >= 1)
    path = write(tmp_path / "x.wav", np.clip(loud, -1, 1), rate, subtype=subtype)
    told = decode(recording(path), RATE).level.clipped
    assert n_clipped <= told <= n_clipped + 200  # a coarse format holds more to be full scale
    level = native.wav_log_mel([path], MEL.with_changes(sample_rate=rate), ClipConfig(n_frames=32)).measured[0]
    assert level["clipped"] in (told, 0) if subtype.endswith("LAW") else level["clipped"] == told
    quiet = write(tmp_path / "y.wav", 0.9 * np.clip(loud, -1, 1), rate, subtype=subtype)
    assert decode(recording(quiet), RATE).level.clipped == 0


@pytest.mark.parametrize("kind", ["SDS", "IRCAM", "AVR", "VOC", "PAF", "PVF", "SVX", "MAT5", "MPC2K"])
def test_formats_that_nobody_can_tell_whole_from_cut_are_not_read(tmp_path: Path, kind: str, capfd) -> None:
    """Whatever their name; of damaged SDS libsndfile would write to stdout."""
    soundfile.write(tmp_path / "x", sound("hum", 0), RATE, "PCM_16", format=kind)
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x.wav").write_bytes(data[:3000] + bytes(127) + data[3127:])
    code, reason = rejected(tmp_path / "x.wav")
    assert (code, reason.endswith(" is not read. Encode it as WAV or FLAC")) == (Code.UNREADABLE, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_and_a_folder_are_told_as_such(tmp_path: Path, make):
    make(tmp_path / "x.flac")
    with pytest.raises(Rejected, match="it is a pipe, a device or a folder; expected a file") as told:
        inspect(tmp_path / "x.flac")
    assert told.value.code is Code.UNREADABLE
