"""Plain WAV by the extension: libsndfile's bits or left to it, whatever the header; the fused path equals the steps."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus.audio import LARGEST, decode, mixed
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Rejected
from conftest import MEL, sound

RATE = 8000
SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
FULL_SCALE = np.array([-1.0, -0.99999999, -1e-9, 0.0, 1e-9, 0.5, 0.99999999, 1.0])


def by_soundfile(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(samples as in the file, mono, rate)."""
    dtype = "int16" if soundfile.info(path).subtype == "PCM_16" else "float32"
    samples, rate = soundfile.read(path, dtype=dtype)
    return samples, mixed(samples) if samples.ndim == 2 else samples, rate


def waves(channels: int, seconds: float = 0.3) -> np.ndarray:
    sounds = [np.concatenate([sound("hiss", seed, seconds=seconds), FULL_SCALE]) for seed in range(channels)]
    return np.stack(sounds, axis=1)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def riff(*chunks: bytes) -> bytes:
    content = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def fmt(tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, align: int | None = None) -> bytes:
    align = channels * bits // 8 if align is None else align
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * align % 2**32, align, bits))


SAMPLES = (np.arange(-60, 60) * 500).astype("<i2")
DATA = chunk(b"data", SAMPLES.tobytes())
LIST = chunk(b"LIST", b"INFOISFT" + struct.pack("<I", 5) + b"abcd\0\0")


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
def test_samples_are_those_of_libsndfile(tmp_path: Path, format: str, subtype: str, channels: int):
    path = tmp_path / "x.wav"
    soundfile.write(path, waves(channels), 11025, subtype, format=format)
    samples, mono, rate = by_soundfile(path)
    wav = native.read_wav(path)
    assert not isinstance(wav, str), wav
    assert (wav.rate, wav.channels, wav.samples.dtype) == (rate, channels, mono.dtype)
    assert wav.samples.tobytes() == mono.tobytes()
    assert wav.level == native.level(samples, LARGEST.get(subtype, native.CLIPPED_FROM))


@pytest.mark.parametrize(
    "data",
    [
        riff(fmt(), DATA),
        riff(LIST, fmt(), chunk(b"fact", bytes(4)), LIST, DATA, LIST),
        riff(chunk(b"JUNK", b"odd"), fmt(), DATA),
        riff(fmt(), DATA) + b"\0",
        riff(fmt(), DATA) + bytes(7),
        riff(fmt(bits=8), chunk(b"data", bytes(range(255))))[:-1],  # the last chunk's padding is missing
    ],
)
def test_unusual_but_plain_files_are_read(tmp_path: Path, data: bytes):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    wav = native.read_wav(path)
    assert not isinstance(wav, str), wav
    np.testing.assert_array_equal(wav.samples, by_soundfile(path)[1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no RIFF/WAVE"),
        (b"RIFF\x04\0\0\0WAV", "no RIFF/WAVE"),
        (b"RF64" + riff(fmt(), DATA)[4:], "no RIFF/WAVE"),
        (b"RIFX" + riff(fmt(), DATA)[4:], "no RIFF/WAVE"),
        (riff(), "no samples"),
        (riff(fmt()), "no samples"),
        (riff(DATA, fmt()), "data before fmt"),
        (riff(fmt(), fmt(), DATA), "two fmt chunks"),
        (riff(fmt(), DATA, DATA), "two data chunks"),
        (riff(fmt(), chunk(b"data", b"")), "its length is left open, or there are no samples"),
        (riff(fmt(), b"data\xff\xff\xff\xff", SAMPLES.tobytes()), "its length is left open, or there are no samples"),
        (riff(fmt(), chunk(b"data", b"abc")), "its length is no whole number of samples"),
        (riff(fmt(), DATA)[:-2], "fewer samples than declared"),
        (riff(fmt(), b"LIST\xf0\xff\xff\xff", DATA), "chunk that reaches past the end"),
        (riff(fmt(), DATA, b"data\4\0\0"), "a chunk that was cut"),
        *(
            (riff(fmt(), DATA, chunk(b"LIST", b"INFO" + chunk(name, b"abcd"))), "chunk that is not known")
            for name in (b"data", b"exif", b"INFO")  # which libsndfile takes for chunks
        ),
        (riff(fmt(), chunk(b"slnt", bytes(4)), DATA), "chunk that is not known"),
        (riff(chunk(b"PEAK", bytes(16)), fmt(), DATA), "chunk that is not known"),
        (riff(chunk(b"fmt ", bytes(14)), DATA), "fmt chunk of an unknown size"),
        (riff(fmt(align=4), DATA), "block align is not that of the samples"),
        (riff(fmt(bits=12, align=2), DATA), "format 1 of 12 bits"),
        (riff(fmt(tag=7, bits=8), DATA), "format 7 of 8 bits"),
        (riff(fmt(tag=3), DATA), "format 3 of 16 bits"),
        (riff(fmt(tag=0xFFFE), DATA), "extensible fmt chunk of an unknown size"),
        (riff(fmt(channels=0), DATA), "0 channels"),
        (riff(fmt(channels=1025), DATA), "1025 channels"),
        (riff(fmt(rate=0), DATA), "sample rate out of range"),
        (riff(fmt(rate=2**31), DATA), "sample rate out of range"),
        (
            riff(fmt(3, bits=32), chunk(b"data", b"\0\0\xc0\x7f")),
            "NaN, infinity or a number that no sound has among the samples",
        ),
        (
            riff(fmt(3, bits=64), chunk(b"data", struct.pack("<d", 1e300))),
            "NaN, infinity or a number that no sound has among the samples",
        ),
    ],
)
def test_what_is_not_plain_is_left_to_libsndfile(tmp_path: Path, data: bytes, reason: str):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    assert native.read_wav(path) == reason
    assert native.wav_log_mel([path], MEL, ClipConfig()).not_taken


def test_what_is_no_file_is_left_to_libsndfile(tmp_path: Path):
    os.mkfifo(tmp_path / "fifo.wav")
    assert native.read_wav(tmp_path / "fifo.wav") == "no regular file"  # and does not wait for a writer
    assert native.read_wav(tmp_path) == "no regular file"
    assert native.read_wav(tmp_path / "none.wav") == "No such file or directory"


def test_a_file_that_has_grown_large_is_not_read_with_the_small_ones(tmp_path: Path):
    path = tmp_path / "x.wav"
    for n_bytes, reason in ((2**22, {}), (2**22 + 2, {0: "larger than what is read at once"})):
        path.write_bytes(riff(fmt(), chunk(b"data", bytes(n_bytes - 44))))
        assert path.stat().st_size == n_bytes
        assert native.wav_log_mel([path], MEL, ClipConfig(n_frames=32)).not_taken == reason
        assert not isinstance(native.read_wav(path), str)


def test_a_file_larger_than_a_riff_file_can_be_takes_no_memory_and_leaves_the_others(tmp_path: Path):
    good, large = tmp_path / "good.wav", tmp_path / "large.wav"
    for path in (good, large):
        soundfile.write(path, sound("hum", 0), RATE, "PCM_16")
    os.truncate(large, 2**43)  # sparse
    assert native.read_wav(large) == "larger than a RIFF file can be"
    batch = native.wav_log_mel([large, good], MEL, ClipConfig(n_frames=32))
    assert batch.not_taken == {0: "larger than a RIFF file can be"}
    assert batch.measured["clips"].astype(bool).tolist() == [False, True]


def test_a_nul_in_a_path_does_not_end_it(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(fmt(), DATA))
    for call in (
        lambda: native.read_wav(f"{path}\0y"),
        lambda: native.wav_log_mel([f"{path}\0y"], MEL, ClipConfig()),
        lambda: native.list_audio(f"{tmp_path}\0y", [".wav"]),
    ):
        with pytest.raises(ValueError, match="null byte"):
            call()


def test_names_of_any_bytes(tmp_path: Path):
    path = os.fsencode(tmp_path) + b"/\xff\xfe\xe4.wav"
    with open(path, "wb") as file:
        file.write(riff(fmt(), DATA))
    np.testing.assert_array_equal(native.read_wav(os.fsdecode(path)).samples, SAMPLES)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of every plain kind, with bytes of its header changed, taken out or put in, and maybe cut."""
    tag, bits = draw(st.sampled_from([(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)]))
    channels = draw(st.integers(1, 3))
    head = fmt(tag, channels, RATE, bits)
    if draw(st.booleans()):
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        head = chunk(b"fmt ", b"\xfe\xff" + head[10:24] + struct.pack("<HHI", 22, bits, 0) + guid)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.uniform(-1, 1, (20, channels))
    samples = values.astype(f"<f{bits // 8}").tobytes() if tag == 3 else rng.bytes(20 * channels * bits // 8)
    others = st.lists(st.sampled_from([LIST, chunk(b"fact", bytes(4)), chunk(b"JUNK", b"abc")]), max_size=2)
    data = bytearray(riff(*draw(others), head, *draw(others), chunk(b"data", samples), *draw(others)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(min(len(data), 12) - 1, min(len(data), 120) - 1))
        change = draw(st.sampled_from(["byte", "field", "insert", "remove", "cut"]))
        if change == "byte":
            data[at] = draw(st.integers(0, 255))
        elif change == "field":
            number = draw(st.sampled_from([0, 1, 2, 3, 16, 40, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF]))
            data[at : at + 4] = struct.pack("<I", number)
        elif change == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=9))
        elif change == "remove":
            del data[at : at + draw(st.integers(1, 9))]
        else:
            del data[max(1, draw(st.integers(at, len(data)))) :]
    return bytes(data)


@settings(max_examples=400)
@given(damaged())
@example(riff(fmt(), DATA))
def test_a_damaged_header_never_gives_other_samples(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.getbasetemp() / "damaged.wav"
    path.write_bytes(data)
    wav = native.read_wav(path)
    if isinstance(wav, str):
        return
    _, mono, rate = by_soundfile(path)  # libsndfile reads it too
    assert (wav.rate, wav.samples.tobytes()) == (rate, mono.tobytes())


def clips_step_by_step(recording: Recording, clip: ClipConfig) -> tuple[np.ndarray, list[int], int]:
    """(mels, kept windows, windows) by numpy and the single operations."""
    samples = decode(recording, MEL.sample_rate, clip.min_seconds).samples
    length = MEL.n_samples(clip.n_frames)
    if len(samples) < length:
        padded = np.concatenate([samples, np.zeros(length - len(samples), samples.dtype)])
        samples = np.resize(samples, length) if clip.short == "tile" else padded
    windows = np.lib.stride_tricks.sliding_window_view(samples, length)[:: clip.stride_frames * MEL.hop_length]
    kept = native.loud(native.window_energy(windows), clip.quiet_db)
    return native.log_mel(windows[kept], MEL), kept.tolist(), len(windows)


@pytest.mark.parametrize(
    "clip",
    [
        ClipConfig(n_frames=32),
        ClipConfig(n_frames=32, stride_frames=5, quiet_db=3.0),
        ClipConfig(n_frames=7, stride_frames=20, quiet_db=1.0),
        ClipConfig(n_frames=1000, short="pad"),
        ClipConfig(n_frames=1000, short="tile"),
    ],
)
@pytest.mark.parametrize(("subtype", "channels"), [("PCM_16", 1), ("PCM_16", 2), ("PCM_24", 1), ("FLOAT", 3)])
def test_the_fused_path_equals_the_steps(tmp_path: Path, clip: ClipConfig, subtype: str, channels: int):
    paths, segments = [], [(None, None), (0.25, None), (None, 1.0), (0.1001, 1.09999), (None, 1.6)]
    for i, label in enumerate(["knock", "hum", "hiss", "knock", "hum"]):
        paths.append(tmp_path / f"{i}.wav")
        samples = np.stack([sound(label, 7 * i + channel) for channel in range(channels)], axis=1)
        soundfile.write(paths[-1], np.clip(samples, -1, 1), RATE, subtype)
    batch = native.wav_log_mel(paths, MEL, clip, segments)
    expected = [
        clips_step_by_step(Recording(path, path.name, "a", start_s=start, end_s=end), clip)
        for path, (start, end) in zip(paths, segments, strict=True)
    ]
    assert batch.not_taken == {}
    assert batch.numbers.tolist() == [number for _, kept, _ in expected for number in kept]
    assert batch.measured[["clips", "windows"]].tolist() == [(len(kept), n) for _, kept, n in expected]
    assert batch.mels.tobytes() == np.concatenate([mels for mels, _, _ in expected]).tobytes()
    assert batch.measured["samples"].tolist() == [9600, 7600, 8000, 7999, 9600]
    assert min(batch.read_ns, batch.mel_ns) > 0


def test_one_bad_file_leaves_the_others_as_they_are(tmp_path: Path):
    clip = ClipConfig(n_frames=32)
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", sound("hum", i), RATE, "PCM_16")
    soundfile.write(tmp_path / "rate.wav", sound("hum", 3), 16000, "PCM_16")
    soundfile.write(tmp_path / "short.wav", sound("hum", 3)[:400], RATE, "PCM_16")
    soundfile.write(tmp_path / "long.wav", np.append(sound("hum", 3), 0.5), RATE, "PCM_16")
    names = ["0.wav", "missing.wav", "1.wav", "rate.wav", "short.wav", "long.wav", "2.wav"]
    batch = native.wav_log_mel([tmp_path / name for name in names], MEL, clip, max_seconds=9600 / RATE)
    reasons = {1: "No such file or directory", 3: "another sample rate", 4: "too short", 5: "too long"}
    assert batch.not_taken == reasons
    assert batch.measured["clips"].astype(bool).tolist() == [True, False, True, False, False, False, True]
    alone = [native.wav_log_mel([tmp_path / f"{i}.wav"], MEL, clip).mels for i in range(3)]
    assert batch.mels.tobytes() == np.concatenate(alone).tobytes()
    empty = native.wav_log_mel([], MEL, clip)
    assert (empty.mels.shape, len(empty.measured)) == ((0, 32, 32), 0)


def test_part_of_a_large_file_is_left_to_a_reader_that_seeks(tmp_path: Path):
    path = tmp_path / "large.wav"
    soundfile.write(path, np.zeros(2**21 + 1), RATE, "PCM_16")
    assert len(native.read_wav(path).samples) == 2**21 + 1
    assert native.read_wav(path, 1.0, 2.0) == "part of a large file"
    assert len(decode(Recording(path, path.name, "a", start_s=1.0, end_s=2.0), RATE).samples) == RATE


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 32767, 32768, 32769, 70000])
def test_level_and_energy_of_int16_are_exact(n: int):
    x = np.random.default_rng(n).integers(-32768, 32767, n, endpoint=True).astype(np.int16)
    x[: n // 2] = -32768
    wide = x.astype(np.int64)
    expected = (n, abs(wide).max(initial=0) / 2**15, (abs(wide) >= 32767).sum(), (wide**2).sum() / 2**30)
    assert native.level(x) == (*expected, (abs(wide) <= 32).sum())
    if n:
        assert native.window_energy(x[None]) == expected[3] / n
    pieces = [native.level(piece) for piece in np.array_split(x, 3)]
    assert pieces[0] + pieces[1] + pieces[2] == native.level(x)


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 4099])
def test_level_and_energy_of_float(n: int):
    x = np.random.default_rng(n).uniform(-1.2, 1.2, n).astype(np.float32)
    level, wide = native.level(x), x.astype(np.float64)
    assert level[:3] == (n, abs(wide).max(initial=0), (abs(wide) >= 1 - 2**-15).sum())
    assert level.silent == (abs(x) < np.float32(1e-3)).sum()
    assert level.square_sum == pytest.approx((wide**2).sum(), rel=1e-12)
    if n:
        assert native.window_energy(x[None])[0] == level.square_sum / n


def test_levels_are_those_of_any_strides_and_other_types_are_told():
    x = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)
    for view in (x[::-1], x[::3], x[:, 0], x.T, np.broadcast_to(x[0], (7, 2))):
        assert native.level(view) == native.level(view.copy())
    for wrong in (np.zeros(3, np.int32), np.zeros(3, ">i2")):
        with pytest.raises(ValueError, match=r"level: samples are of the buffer format '(i|>h)'; expected int16 or"):
            native.level(wrong)
    with pytest.raises(ValueError, match="window_energy: windows are float64; expected int16 or float32"):
        native.window_energy(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="an array has 1 dimensions; expected 2"):
        native.window_energy(np.zeros(3, np.float32))


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_energy_depends_on_the_samples_alone(dtype: type):
    x = (np.random.default_rng(0).standard_normal(3000) * (5000 if dtype is np.int16 else 0.2)).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(x, 777)[::13]
    energy = native.window_energy(windows)
    np.testing.assert_array_equal(energy, native.window_energy(np.ascontiguousarray(windows)))
    np.testing.assert_array_equal(energy, native.window_energy(np.repeat(windows, 2, axis=1)[:, ::2]))
    np.testing.assert_array_equal(energy, np.concatenate([native.window_energy(window[None]) for window in windows]))
    np.testing.assert_array_equal(native.window_energy(windows[:, ::-1]), native.window_energy(windows[:, ::-1].copy()))


def test_windows_below_the_loudest_by_quiet_db_are_dropped():
    windows = np.full((4, 100), 16000, np.int16)
    windows[1] //= 10
    windows[3] = 0
    energy = native.window_energy(windows)
    assert native.loud(energy, 19.9).tolist() == [0, 2]
    assert native.loud(energy, 20.0).tolist() == [0, 1, 2]
    assert native.loud(np.zeros(3), 20.0).tolist() == [0, 1, 2]
    assert native.loud_windows(windows, 19.9).tolist() == [0, 2]
    assert native.loud_windows(windows[3:], 19.9).tolist() == native.loud(energy[3:], 19.9).tolist() == [0]


def test_a_cut_file_is_rejected_by_decode(tmp_path: Path):
    path = tmp_path / "x.wav"
    path.write_bytes(riff(fmt(), DATA)[:-2])
    with pytest.raises(Rejected, match="the header declares 240 bytes of samples, the file holds 238"):
        decode(Recording(path, path.name, "a"), RATE)


def test_the_levels_of_pieces_add_up_to_that_of_the_whole():
    quiet, loud = np.array([0.0, 0.5, 1.0, 0.25], np.float32), np.array([0.0, -2.0, 1.0], np.float32)
    whole = native.level(np.concatenate([quiet, loud]))
    assert native.level(quiet) + native.level(loud) == native.level(loud) + native.level(quiet) == whole
