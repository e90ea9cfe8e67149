"""Cut files are told from whole ones, by what their containers declare."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

from clinaug_fast.corpus import containers
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.containers import W64_RIFF, cut
from clinaug_fast.corpus.recordings import Recording
from conftest import sound

RATE = 8000
CHUNKED = {
    "wav": {"format": "WAV"},
    "big-endian wav": {"format": "WAV", "endian": "BIG"},
    "extensible wav": {"format": "WAVEX", "subtype": "PCM_24"},
    "rf64": {"format": "RF64"},
    "aiff": {"format": "AIFF", "subtype": "PCM_S8"},
    "aifc": {"format": "AIFF", "subtype": "FLOAT"},
    "au": {"format": "AU"},
    "little-endian au": {"format": "AU", "endian": "LITTLE"},
    "caf": {"format": "CAF"},
    "w64": {"format": "W64"},
}
PAGED = {"vorbis": {"format": "OGG"}, "opus": {"format": "OGG", "subtype": "OPUS"}}
MEASURED = {"flac": {"format": "FLAC"}, "mp3": {"format": "MP3"}}  # by libsndfile
OPEN = {
    "wav": (36, b"data", "<I", (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)),
    "aiff": (38, b"SSND", ">I", (0x7F000008, 0x7F000006)),
    "au": (8, b"", ">I", (0xFFFFFFFF,)),
    "caf": (52, b"data", ">q", (-1,)),
}

HEADERS = {
    "wav": (b"data", containers.WAV),
    "big-endian wav": (b"data", containers.BIG_ENDIAN_WAV),
    "aifc": (b"SSND", containers.AIFF),
    "w64": (containers.W64_DATA, containers.W64),
}


def verdict(data: bytes) -> str | None:
    return cut(io.BytesIO(data), len(data))


def encoded(how: dict[str, str], seconds: float = 1.2) -> bytes:
    """An odd number of samples, so that chunks are padded."""
    file = io.BytesIO()
    soundfile.write(file, sound("hiss", 0, rate=RATE, seconds=seconds)[:-1], RATE, **how)
    return file.getvalue()


@pytest.mark.parametrize("kind", sorted(CHUNKED | PAGED | MEASURED))
def test_a_whole_file_is_whole(kind: str):
    data = encoded((CHUNKED | PAGED | MEASURED)[kind])
    assert verdict(data) is None
    assert verdict(data + b"TAG" + bytes(125)) is None


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("kind", sorted(CHUNKED))
def test_a_container_says_how_many_bytes_are_missing(kind: str, kept: float):
    data = encoded(CHUNKED[kind])
    reason = verdict(data[: int(len(data) * kept)])
    declared, held = map(
        int, re.fullmatch(r"the header declares (\d+) bytes of samples, the file holds (\d+)", reason).groups()
    )
    assert declared - held == pytest.approx(len(data) * (1 - kept), abs=20)


@pytest.mark.parametrize("kind", sorted(PAGED))
def test_an_ogg_file_cut_anywhere_within_a_page_is_found(kind: str):
    data = encoded(PAGED[kind], seconds=5.0)
    begins = [page.start() for page in re.finditer(b"OggS\0", data)]
    assert len(begins) > 3
    for n_bytes in range(begins[1], len(data)):
        page = max(begin for begin in begins if begin <= n_bytes)
        expected = None if n_bytes == page else f"its last page, at byte {page}, is not whole"
        assert verdict(data[:n_bytes]) == expected


@pytest.mark.parametrize("kind", sorted(OPEN))
def test_a_size_left_open_is_taken_as_it_is(kind: str):
    data = encoded(CHUNKED[kind])
    at, name, layout, sizes = OPEN[kind]
    begin = data.index(name, at) + len(name)
    for size in sizes:
        piped = data[:begin] + struct.pack(layout, size) + data[begin + struct.calcsize(layout) :]
        assert verdict(piped) is None
        assert verdict(piped[: len(data) // 2]) is None


@pytest.mark.parametrize("kind", sorted(HEADERS))
@pytest.mark.parametrize("declared", [0, 1000, 2001])
def test_samples_beside_those_declared_are_told(kind: str, declared: int):
    """0: a recorder was switched off; other numbers: more than 4 GiB, modulo that."""
    data, name, chunks = encoded(CHUNKED[kind]), *HEADERS[kind]
    begin = data.index(name, chunks.begin)
    header = chunks.header.pack(name, declared + (chunks.header.size if chunks.counts_header else 0))
    samples = data[begin + len(header) :]
    more = len(samples) - declared
    assert f"declares {declared} bytes of samples, {more} more follow" in verdict(data[:begin] + header + samples)
    paused = samples[: declared + 1] + bytes(100) + samples[declared + 101 :]
    assert f"declares {declared} bytes of samples, {more} more follow" in verdict(data[:begin] + header + paused)
    if not declared:  # a recorder that was switched off may have heard nothing until then
        assert "declares 0 bytes of samples, 9000 more follow" in verdict(data[:begin] + header + bytes(9000))
    whole = data[:begin] + header + samples[:declared] + bytes(-declared % chunks.alignment)
    harmless = [b"", samples[:7], chunks.header.pack(b"LIST", 9000) + bytes(9000), b"ID3\x04" + bytes(range(256)) * 40]
    for behind in harmless + [bytes(9000)] * bool(declared):
        assert verdict(whole + behind) is None


@pytest.mark.parametrize("kind", ["wav", "big-endian wav", "aifc", "w64", "au", "little-endian au"])
@pytest.mark.parametrize("share", [0.6, 0.9])
def test_fewer_samples_than_declared_that_follow_are_told_as_well(kind: str, share: float):
    data = encoded(CHUNKED[kind])
    if kind.endswith("au"):
        order = "little" if kind.startswith("little") else "big"
        begin = int.from_bytes(data[4:8], order)
        declared = int((len(data) - begin) * share)
        changed = data[:8] + declared.to_bytes(4, order) + data[12:]
    else:
        name, chunks = HEADERS[kind]
        at = data.index(name, chunks.begin)
        begin = at + chunks.header.size
        declared = int((len(data) - begin) * share) // 8 * 8
        header = chunks.header.pack(name, declared + (chunks.header.size if chunks.counts_header else 0))
        changed = data[:at] + header + data[begin:]
    more = len(data) - begin - declared
    assert f"declares {declared} bytes of samples, {more} more follow" in verdict(changed)
    assert verdict(changed[: begin + declared + 1000]) is None  # a size that is a little wrong
    assert verdict(changed[: begin + declared] + bytes(100_000)) is None  # room
    assert verdict(changed[: begin + declared] + b"\xff" * 100_000) is None  # of flash memory
    for tag in (b"APETAGEX", b"LYRICSBEGIN", b"ID3"):
        assert verdict(changed[: begin + declared] + tag + bytes(range(256)) * 9) is None
    if kind in ("wav", "big-endian wav", "aifc"):  # a chunk that was cut itself
        assert verdict(changed[: begin + declared] + chunks.header.pack(b"LIST", 9000) + bytes(range(256)) * 9) is None
    waking = changed[: begin + declared] + bytes(100_000) + data[-100:]
    assert "more follow" in verdict(waking)


@pytest.mark.parametrize("declared", [0, 1999, 2001])
def test_letters_at_the_begin_of_a_sound_are_no_chunk(declared: int):
    """0x2020 is a sample of -36 dB; the size of such a chunk would be some 500 MB."""
    data, (name, chunks) = encoded(CHUNKED["wav"]), HEADERS["wav"]
    at = data.index(name, chunks.begin)
    sound = b"    " * 3000
    assert "more follow" in verdict(data[:at] + chunks.header.pack(name, declared) + b"x" * declared + sound)
    unpadded = b"x" * declared + b"LIST" + struct.pack("<I", 3000) + bytes(3000)
    assert declared == 0 or verdict(data[:at] + chunks.header.pack(name, declared) + unpadded) is None


def test_a_recording_of_4_gib_and_more_is_told_though_it_begins_with_silence(tmp_path: Path):
    """A file with a hole, of 4 GiB + 4000 bytes of samples in a header that can tell 4000."""
    path = tmp_path / "x.wav"
    data = encoded(CHUNKED["wav"])
    at = data.index(b"data")
    with open(path, "wb") as file:
        file.write(data[:at] + b"data" + struct.pack("<I", 4000) + data[at + 8 : at + 4008])
        file.truncate(at + 8 + 4000 + (1 << 32))
    with open(path, "rb") as file:
        reason = cut(file, path.stat().st_size)
    assert f"declares 4000 bytes of samples, {1 << 32} more follow" in reason


def test_w64_of_a_length_left_open_is_taken_as_it_is(tmp_path: Path):
    """As ffmpeg leaves it in a pipe."""
    data = bytearray(encoded(CHUNKED["w64"]))
    whole = soundfile.read(io.BytesIO(data))[0]
    at = data.index(containers.W64_DATA) + 16
    for size in ((1 << 63) - 1, (1 << 63) - 25):
        data[at : at + 8] = struct.pack("<Q", size)
        assert verdict(bytes(data)) is None
        (tmp_path / "x.w64").write_bytes(data)
        recording = Recording(tmp_path / "x.w64", "x.w64", "a")
        np.testing.assert_array_equal(decode(recording, RATE).samples * 2.0**-15, whole)


@example(b"name" + b"\x7f" + b"\xff" * 31, b"caff....")
@example(b"\xff" * 48, W64_RIFF + bytes(24))
@example(b"", b"OggS\0")
@example(b"\0", b".snd")
@given(
    st.binary(max_size=200),
    st.sampled_from([b"RIFF....WAVE", b"FORM....AIFF", b"caff....", W64_RIFF + bytes(24), b".snd", b"OggS\0"]),
)
def test_no_header_is_too_strange(rest: bytes, head: bytes):
    reason = verdict(head + rest)
    assert reason is None or "bytes of samples" in reason or "not whole" in reason


def test_a_file_of_nothing_but_empty_chunks_is_given_up():
    file = io.BytesIO(b"RIFF....WAVE" + bytes(1 << 20))
    assert cut(file, 1 << 20) is None
    assert file.tell() < 1 << 17


@pytest.mark.parametrize("kind", HEADERS)
def test_a_chunk_of_odd_length_before_the_samples_is_passed_over_with_its_padding(kind: str):
    name, chunks = HEADERS[kind]
    whole, size, padding = encoded(CHUNKED[kind]), 3, bytes(1)
    if kind == "w64":
        size, padding = 24 + 3, bytes(5)
    at = whole.index(name)
    odd = whole[:at] + chunks.header.pack(b"odd ", size) + b"abc" + padding + whole[at:]
    assert verdict(odd) is None
    assert re.match(r"the header declares \d+ bytes of samples, the file holds", verdict(odd[:-5000]) or "")


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_a_sphere_file_of_one_byte_a_sample_need_not_tell_it(subtype: str):
    whole = encoded({"format": "NIST", "subtype": subtype})
    silent = re.sub(rb"sample_n_bytes -\w+ 1\n", lambda line: b" " * (len(line[0]) - 1) + b"\n", whole)
    assert silent != whole
    assert verdict(silent) is None
    assert re.match(r"the header declares \d+ bytes of samples, the file holds", verdict(silent[:-5000]) or "")


def test_what_sox_leaves_in_aiff_is_open_for_any_frame():
    for frame in range(1, 256):
        whole = bytearray(encoded(CHUNKED["aiff"]))
        at = whole.index(b"SSND") + 4
        whole[at : at + 4] = struct.pack(">I", 0x7F000000 // frame * frame + 8)
        assert verdict(bytes(whole)) is None, frame


@pytest.mark.parametrize("size", [0x7FFFFFFF, 0x7FFFF000])
def test_what_goes_on_behind_a_size_left_open_is_no_fault(tmp_path: Path, size: int):
    """More than 2 GiB from a pipe; the file is sparse."""
    head = bytearray(encoded(CHUNKED["wav"])[:44])
    head[40:44] = struct.pack("<I", size)
    with open(tmp_path / "x.wav", "wb+") as file:
        file.write(head)
        for at in (44 + size, 44 + size + 1000):
            file.seek(at)
            file.write(b"\x81\x92" * 500)
        n_bytes = file.seek(0, 1)
        file.seek(0)
        assert cut(file, n_bytes) is None


def sphere(fields: bytes, size: bytes = b"   1024\n") -> bytes:
    return (b"NIST_1A\n" + size + fields + b"end_head\n").ljust(1024)


SPHERE = b"channel_count -i 1\nsample_count -i 1000000\nsample_n_bytes -i 2\n"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (sphere(SPHERE) + bytes(5000), "the header declares 2000000 bytes of samples, the file holds 5000"),
        (sphere(SPHERE)[:500], "the header declares 2000000 bytes of samples, the file holds 0"),
        (sphere(SPHERE + b"sample_coding -s26 pcm,embedded-shorten-v2.00\n") + bytes(5000), None),  # packed
        (sphere(b"channel_count -i 1\nsample_n_bytes -i 2\n") + b"\nsample_count -i 1000000\n", None),  # of the sound
        (sphere(SPHERE, b"     no\n"), None),
        (b"NIST_1A\n", None),
    ],
)
def test_a_sphere_file_is_judged_by_what_its_header_alone_tells(data: bytes, expected: str | None):
    assert verdict(data) == expected


@pytest.mark.parametrize(("kind", "begin"), [("wav", 44), ("rf64", None), ("aiff", None), ("w64", None)])
def test_a_file_cut_right_behind_the_header_of_its_samples_holds_none(kind: str, begin: int | None):
    data = encoded(CHUNKED[kind])
    name, chunks = HEADERS.get({"aiff": "aifc", "rf64": "wav"}.get(kind, kind))
    behind = data.index(name, chunks.begin) + chunks.header.size
    assert begin in (None, behind)
    if kind == "rf64":
        assert verdict(data[:behind]).endswith("the file holds 0")
    else:
        assert verdict(data[:behind]) == f"the header declares {len(data) - behind} bytes of samples, the file holds 0"


def test_an_au_file_cut_within_its_header_holds_nothing():
    data = encoded(CHUNKED["au"])
    assert data[4:8] == struct.pack(">I", 24)
    assert verdict(data[:20]) == f"the header declares {len(data) - 24} bytes of samples, the file holds 0"


def test_a_file_that_shrinks_while_it_is_looked_at_is_left_to_who_reads_it():
    data = encoded(CHUNKED["wav"])
    for n_bytes in (13, 19, 38, 43):
        assert cut(io.BytesIO(data[:n_bytes]), len(data)) is None


def test_the_large_form_of_wav_has_two_names_and_two_places_for_a_size():
    """EBU's RF64 and ITU's BW64; the size in ds64 counts where that of the chunk is left open."""
    data = encoded(CHUNKED["rf64"])
    at = data.index(b"data", 12)
    n_bytes = struct.unpack_from("<Q", data, data.index(b"ds64") + 16)[0]
    assert data[at + 4 : at + 8] == b"\xff" * 4
    for whole in (
        b"BW64" + data[4:],
        data[: at + 4] + struct.pack("<I", n_bytes) + data[at + 8 :],
        data.replace(struct.pack("<Q", n_bytes), bytes(8))[: at + 4] + struct.pack("<I", n_bytes) + data[at + 8 :],
    ):
        assert verdict(whole) is None
        told = f"the header declares {n_bytes} bytes of samples, the file holds {n_bytes - 5000}"
        assert verdict(whole[: at + 8 + n_bytes - 5000]) == told


@pytest.mark.parametrize("kind", sorted(HEADERS))
@pytest.mark.parametrize("n_bytes", [100, 1000])
def test_a_recorder_that_was_switched_off_soon_is_told_too(kind: str, n_bytes: int):
    data, name, chunks = encoded(CHUNKED[kind]), *HEADERS[kind]
    begin = data.index(name, chunks.begin)
    header = chunks.header.pack(name, chunks.header.size if chunks.counts_header else 0)
    samples = data[begin + len(header) :][:n_bytes]
    assert f"declares 0 bytes of samples, {n_bytes} more follow" in verdict(data[:begin] + header + samples)


def test_a_chunk_is_none_that_is_longer_than_what_follows_the_samples():
    """Four letters in the sound; the file as a whole would have room for it."""
    data, (name, chunks) = encoded(CHUNKED["wav"]), HEADERS["wav"]
    head = data[: data.index(name, chunks.begin)] + chunks.header.pack(name, 3000) + b"x" * 3000
    behind = bytes(range(256)) * 12
    assert verdict(head + b"abcd" + struct.pack("<I", 2000) + behind) is None
    assert "3080 more follow" in verdict(head + b"abcd" + struct.pack("<I", 4000) + behind)


@pytest.mark.parametrize("name", [b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"_PMX", b"JUNK"])
def test_a_known_chunk_that_was_cut_itself_is_no_sound(name: bytes):
    data, (samples, chunks) = encoded(CHUNKED["wav"]), HEADERS["wav"]
    head = data[: data.index(samples, chunks.begin)] + chunks.header.pack(samples, 3000) + b"x" * 3000
    assert verdict(head + name + struct.pack("<I", 9000) + bytes(range(256)) * 9) is None


def test_what_reads_like_a_chunk_is_sound_where_there_are_none():
    data = encoded(CHUNKED["au"])
    head = data[:8] + struct.pack(">I", 3000) + data[12:3024]
    assert "2312 more follow" in verdict(head + b"LIST" + struct.pack(">I", 2304) + bytes(range(256)) * 9)


def test_samples_of_a_size_left_open_end_with_the_file():
    data = encoded(CHUNKED["wav"])
    piped = data[:40] + b"\xff" * 4 + data[44:]
    assert containers.place_of_samples(io.BytesIO(piped), len(piped)) == (44, len(piped))
    assert containers.place_of_samples(io.BytesIO(data + b"TAG" + bytes(125)), len(data) + 128) == (44, len(data))
