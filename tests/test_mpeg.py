"""MPEG audio is counted frame by frame: files without a length are read whole, damaged and joined ones are told."""

import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

from clinaug_fast.corpus import long_recording, mpeg
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.long_recording import open_long
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected
from conftest import MEL_OPTIONS

# Version 1, 2 and 2.5; the frames of the latter two are half as long.
RATES = {44100: 1152, 48000: 1152, 22050: 576, 16000: 576, 12000: 576, 8000: 576}
DELAY = 529  # samples of a decoder, which libsndfile takes off where a header tells a length
BIT_RATES = ("CONSTANT", "AVERAGE", "VARIABLE")


def encoded(rate: int = 44100, channels: int = 1, bit_rate: str = "VARIABLE", seconds: float = 4.0) -> bytes:
    """Faint at first, so that a variable bit rate begins with its lowest."""
    rng = np.random.default_rng(0)
    t = np.arange(round(rate * seconds)) / rate
    wave = np.where(t < seconds / 4, 0.01 * np.sin(2 * np.pi * 301 * t), 0.2 * rng.standard_normal(len(t)))
    file = io.BytesIO()
    samples = wave if channels == 1 else np.stack([wave, wave[::-1]], axis=1)
    soundfile.write(file, samples, rate, format="MP3", bitrate_mode=bit_rate, compression_level=0.5)
    return file.getvalue()


def counted(data: bytes) -> mpeg.Stream | None:
    return mpeg.count(io.BytesIO(data), 0, len(data))


def untold(data: bytes) -> bytes:
    """Without the frame that tells the length."""
    stream = counted(data)
    assert stream.told == stream.n_frames
    return data[stream.begin :]


def recording(path: Path, data: bytes, **segment) -> Recording:
    path.write_bytes(data)
    return Recording(path, path.name, "a", **segment)


@pytest.mark.parametrize("bit_rate", BIT_RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", sorted(RATES))
def test_frames_are_counted_with_a_header_and_without(rate: int, channels: int, bit_rate: str):
    data = encoded(rate, channels, bit_rate)
    stream = counted(data)
    bare = counted(untold(data))
    assert stream.frame_samples == bare.frame_samples == RATES[rate]
    assert stream.n_frames == bare.n_frames == stream.told
    assert stream.stop == len(data)
    assert stream.lost is bare.lost is bare.told is None
    # The encoder's delay and what fills its last frame come to less than three frames.
    assert 0 < stream.n_samples - 4 * rate <= 3 * RATES[rate]


@pytest.mark.parametrize("bit_rate", BIT_RATES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44100, 16000])
def test_a_file_that_tells_no_length_is_read_whole(rate: int, channels: int, bit_rate: str, tmp_path: Path):
    data = encoded(rate, channels, bit_rate)
    whole = decode(recording(tmp_path / "told.mp3", data), rate).samples
    found = decode(recording(tmp_path / "x.mp3", untold(data)), rate).samples
    assert len(found) == counted(data).n_samples - DELAY
    begin = 1105 - DELAY  # what an encoder's header says that it has put before the sound
    np.testing.assert_array_equal(found[begin : begin + len(whole)], whole)


def test_tags_before_between_and_behind_frames_hold_no_sound(tmp_path: Path):
    data = untold(encoded())
    size = 300  # 2 * 128 + 44, of which a size's bytes take seven bits
    tag = b"ID3\x04\0\0" + bytes([0, 0, 2, 44]) + b"\xff\xfb\xa0\xc4" * (size // 4)
    footed = b"ID3\x04\0\x10" + bytes([0, 0, 2, 44]) + bytes(size) + b"3DI\x04\0\x10" + bytes([0, 0, 2, 44])
    middle = counted(data).begin + len(data) // 2
    middle = data.index(data[:2], middle)  # of a frame, if by luck another one follows
    while counted(data[middle:]) is None or counted(data[middle:]).lost:
        middle = data.index(data[:2], middle + 1)
    plain = counted(data)
    for others in (tag + data, tag + footed + data, data[:middle] + tag + data[middle:]):
        for behind in (b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(56), bytes(5000), b"\xff" * 5000):
            stream = counted(others + behind)
            assert (stream.n_frames, stream.lost) == (plain.n_frames, None)
    found = decode(recording(tmp_path / "x.mp3", tag + footed + data + b"TAG" + bytes(125)), 44100).samples
    np.testing.assert_array_equal(found, decode(recording(tmp_path / "y.mp3", data), 44100).samples)


def test_a_header_that_tells_no_number_or_one_that_libsndfile_does_not_know_is_none(tmp_path: Path):
    data = encoded()
    at = data.index(b"Xing")
    whole = decode(recording(tmp_path / "x.mp3", untold(data)), 44100).samples
    for header in (b"Xing" + struct.pack(">II", 0, 9), b"Info" + struct.pack(">II", 1, 0)):
        changed = data[:at] + header + data[at + 12 :]
        assert counted(changed).told is None
        np.testing.assert_array_equal(decode(recording(tmp_path / "y.mp3", changed), 44100).samples, whole)
    frame = bytearray(data[: counted(data).begin])
    frame[4:] = bytes(len(frame) - 4)
    frame[36:54] = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(data), 9)
    found = decode(recording(tmp_path / "z.mp3", bytes(frame) + untold(data)), 44100).samples
    np.testing.assert_array_equal(found, whole)


@pytest.mark.parametrize(("off", "is_lost"), [(-1, False), (1, False), (-2, True), (2, True)])
def test_a_header_may_be_wrong_by_its_own_frame_alone(off: int, is_lost: bool):
    data = encoded()
    at = data.index(b"Xing")
    stream = counted(data[: at + 8] + struct.pack(">I", counted(data).n_frames + off) + data[at + 12 :])
    assert (stream.lost is not None) == is_lost


@pytest.mark.parametrize("piece", [1, 50, 417, 1000, 1 << 20])
def test_a_told_file_is_its_header_and_its_frames_in_any_pieces(piece: int, tmp_path: Path):
    data = untold(encoded(seconds=1.0))
    (tmp_path / "x.mp3").write_bytes(data)
    with mpeg.Told(tmp_path / "x.mp3", counted(data)) as told:
        whole = b"".join(iter(lambda: told.read(piece), b""))
        assert whole.endswith(data)
        assert counted(whole).told == counted(data).n_frames
        assert 0 < len(whole) - len(data) < 1500
        told.seek(-10, os.SEEK_END)
        assert told.read(100) == data[-10:]


@pytest.mark.parametrize("is_told", [True, False])
def test_a_cut_file_one_with_a_hole_and_joined_ones_are_told(is_told: bool, tmp_path: Path):
    data = encoded() if is_told else untold(encoded())
    stream = counted(data)
    third = len(data) // 3
    changed = {
        "cut": data[: 2 * third],
        "zeroed": data[:third] + bytes(4096) + data[third + 4096 :],
        "hole": data[:third] + data[third + 4096 :],
    }
    for name, other in changed.items():
        for segment in ({}, {"start_s": 0.1, "end_s": 0.5}, {"start_s": 3.0, "end_s": 3.5}):
            with pytest.raises(Rejected) as refusal:
                decode(recording(tmp_path / f"{name}.mp3", other, **segment), 44100)
            assert refusal.value.code is Code.TRUNCATED
            reason = str(refusal.value)
            if is_told:
                assert reason == f"its header tells {stream.told} frames, the file holds {counted(other).n_frames}"
            else:
                assert ("it holds no frames" in reason) or ("its last frame, at byte" in reason)
    joined = recording(tmp_path / "joined.mp3", data + data)
    if is_told:
        with pytest.raises(
            Rejected, match=rf"tells {stream.told} frames, the file holds \d+, of which the others would"
        ):
            decode(joined, 44100)
    else:
        assert len(decode(joined, 44100).samples) == 2 * stream.n_samples - DELAY


def test_pieces_and_segments_of_a_file_that_tells_no_length_are_those_of_the_whole(tmp_path: Path, monkeypatch):
    data = untold(encoded(seconds=12.0))
    whole = decode(recording(tmp_path / "x.mp3", data), 44100).samples
    for start in np.random.default_rng(0).integers(1, len(whole) - 20000, 20):
        part = Recording(tmp_path / "x.mp3", "x.mp3", "a", start_s=start / 44100, end_s=(start + 20000) / 44100)
        np.testing.assert_array_equal(decode(part, 44100).samples, whole[start : start + 20000])
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 100_001)
    work = open_long(Recording(tmp_path / "x.mp3", "x.mp3", "a"), 44100, 1.0)
    assert work.is_long
    with work.file:
        np.testing.assert_array_equal(
            np.concatenate(list(work.pieces(SimpleNamespace(decode=0.0, resample=0.0)))), whole
        )


def test_a_file_is_counted_once_for_all_its_segments_and_anew_where_it_changes(tmp_path: Path, monkeypatch):
    path, data = tmp_path / "x.mp3", untold(encoded())
    n_samples = counted(data).n_samples
    counts, count = [], mpeg.count
    monkeypatch.setattr(mpeg, "count", lambda *asked: counts.append(asked) or count(*asked))
    path.write_bytes(data)
    for start in (0.0, 1.0, 2.0):
        decode(Recording(path, "x.mp3", "a", start_s=start), 44100)
    assert len(counts) == 1
    longer = decode(recording(path, data + data), 44100)
    assert len(counts) == 2
    assert len(longer.samples) == 2 * n_samples - DELAY


def test_mp3_in_a_wav_file_is_read_whole(tmp_path: Path):
    data = untold(encoded(bit_rate="CONSTANT"))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44100, 16000, 1, 0, 12, 1, 2, 417, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"fact" + struct.pack("<II", 4, 4 * 44100)
    chunks += b"data" + struct.pack("<I", len(data)) + data
    wav = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    found = decode(recording(tmp_path / "x.wav", wav), 44100).samples
    np.testing.assert_array_equal(found, decode(recording(tmp_path / "x.mp3", data), 44100).samples)


def test_the_first_layers_are_counted_too():
    """Of layer I a frame of 32 kilobits at 32 kHz takes 48 bytes, of layer II 144; padding adds 4 and 1."""
    for layer, samples, size, slot in ((1, 384, 48, 4), (2, 1152, 144, 1)):
        header = bytes([0xFF, 0xF9 | (4 - layer) << 1, 0x18, 0xC0])
        padded = header[:2] + bytes([0x1A]) + header[3:]
        data = (header.ljust(size, b"\0") + padded.ljust(size + slot, b"\0")) * 5
        stream = counted(data)
        assert (stream.layer, stream.n_frames, stream.n_samples, stream.lost) == (layer, 10, 10 * samples, None)


def test_a_file_of_a_free_bit_rate_is_read_as_libsndfile_has_it(tmp_path: Path):
    """Of a constant rate at 16 kHz, whose frames are not padded, with the number of the rate taken out."""
    data = bytearray(untold(encoded(16000, bit_rate="CONSTANT")))
    stream = counted(bytes(data))
    size, rest = divmod(len(data), stream.n_frames)
    assert rest == 0
    for at in range(0, len(data), size):
        data[at + 2] &= 0x0F
    assert counted(bytes(data)) is None
    assert mpeg.has_free_rate(io.BytesIO(data), 0)
    path = tmp_path / "x.mp3"
    found = decode(recording(path, bytes(data)), 16000).samples
    assert abs(len(found) - stream.n_samples) <= 2 * stream.frame_samples


def test_erased_memory_behind_the_frames_is_passed_over():
    data = untold(encoded())
    stream = counted(data + b"\xff" * (1 << 20))
    assert (stream.n_frames, stream.lost) == (counted(data).n_frames, None)


def test_frames_of_a_free_bit_rate_and_what_is_no_stream_are_not_counted():
    assert counted(b"\xff\xfb\x00\xc4" + bytes(2000) + untold(encoded())) is None
    assert counted(b"") is counted(b"ID3") is counted(b"\xff\xfb\xa0") is counted(bytes(5000)) is None


@pytest.mark.parametrize("header", [b"Xing" + bytes(8), b"Xing" + struct.pack(">II", 1, 77)])
def test_a_header_without_frames_behind_it_is_no_stream(header: bytes, tmp_path: Path):
    data = encoded()
    at = data.index(b"Xing")
    frame = data[:at] + header + data[at + 12 : counted(data).begin]
    for behind in (b"", bytes(9000), untold(data)[:100]):
        assert counted(frame + behind) is None
        with pytest.raises(Rejected):
            decode(recording(tmp_path / "x.mp3", frame + behind), 44100)
    found = decode(recording(tmp_path / "x.mp3", frame + bytes(500) + untold(data)), 44100).samples
    np.testing.assert_array_equal(found, decode(recording(tmp_path / "y.mp3", untold(data)), 44100).samples)


@pytest.mark.parametrize(
    "before", [b"\0", b"\r\n", bytes(5000), b"APETAGEX" + bytes(90), b"\xff" * 33, bytes(range(256)) * 40]
)
@pytest.mark.parametrize("has_id3", [True, False])
def test_what_lies_before_the_first_frame_costs_nothing(before: bytes, has_id3: bool, tmp_path: Path):
    tag = b"ID3\x04\0\0" + bytes([0, 0, 0, 10]) + bytes(10) if has_id3 else b""
    whole = decode(recording(tmp_path / "x.mp3", untold(encoded())), 44100).samples
    found = decode(recording(tmp_path / "y.mp3", tag + before + untold(encoded())), 44100).samples
    np.testing.assert_array_equal(found, whole)
    inside = untold(encoded())[100:]  # of a stream that was recorded from its middle
    assert len(decode(recording(tmp_path / "z.mp3", inside), 44100).samples) == len(whole) - 1152


@pytest.mark.parametrize("is_told", [True, False])
@pytest.mark.parametrize("between", [b"", b"ID3\x04\0\0" + bytes([0, 0, 0, 10]) + bytes(10), bytes(3000)])
def test_frames_of_another_rate_behind_the_last_are_told(is_told: bool, between: bytes, tmp_path: Path):
    files = [encoded(rate) if is_told else untold(encoded(rate)) for rate in (44100, 48000)]
    with pytest.raises(Rejected, match=r"at byte \d+ frames of another kind begin, which would not be read"):
        decode(recording(tmp_path / "x.mp3", between.join(files)), 44100)


def test_a_first_frame_of_another_kind_is_skipped(tmp_path: Path):
    """A bit that flipped: it would be a stream of one frame."""
    data = bytearray(untold(encoded()))
    data[2] ^= 4
    whole = decode(recording(tmp_path / "y.mp3", untold(encoded())), 44100).samples
    assert len(decode(recording(tmp_path / "x.mp3", bytes(data)), 44100).samples) == len(whole) - 1152


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_no_bytes_are_too_strange(rest: bytes, head: bytes):
    for data in (rest, head + rest, b"\xff\xfb\xa0\xc4" + rest, b"ID3\x04\0\0" + rest, b"\xff\xf3\x18\xc4" * 3 + rest):
        stream = counted(data)
        assert stream is None or (0 <= stream.begin <= stream.stop and stream.n_frames)


def test_all_of_such_a_corpus_is_kept(cli: Callable[..., Result], tmp_path: Path):
    corpus = tmp_path / "corpus"
    for label, bit_rate in (("constant", "CONSTANT"), ("variable", "VARIABLE")):
        (corpus / label).mkdir(parents=True)
        (corpus / label / "p1_0.mp3").write_bytes(untold(encoded(8000, bit_rate=bit_rate)))
    result = cli("preprocess", corpus, tmp_path / "out", *MEL_OPTIONS, "--n-frames", "32")
    assert result.exit_code == 0
    facts = json.loads((tmp_path / "out/features.json").read_text())["corpus_facts"]
    assert facts["seconds"]["min"] == facts["seconds"]["max"] == pytest.approx(4.0, abs=0.2)
