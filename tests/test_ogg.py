"""OGG files are looked at page by page: libsndfile leaves damaged pages out, and later sound comes too early."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.corpus import ogg
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected

RATE, SECONDS = 48000, 12
SUBTYPES = ("VORBIS", "OPUS")


@pytest.fixture(scope="module", params=SUBTYPES)
def whole(request: pytest.FixtureRequest) -> bytes:
    """Not of one write, which libsndfile's Vorbis does not survive."""
    return encoded(request.param)


def encoded(subtype: str, seconds: int = SECONDS) -> bytes:
    file = io.BytesIO()
    wave = 0.1 * np.random.default_rng(3).standard_normal(RATE * seconds)
    with soundfile.SoundFile(file, "w", RATE, 1, format="OGG", subtype=subtype) as sound:
        for first in range(0, len(wave), 20000):
            sound.write(wave[first : first + 20000])
    return file.getvalue()


def lost(data: bytes) -> str | None:
    return ogg.lost(io.BytesIO(data), len(data))


def pages(data: bytes) -> list[int]:
    """Where they begin."""
    begins = [0]
    while (begin := begins[-1]) < len(data):
        n_lengths = data[begin + 26]
        begins.append(begin + 27 + n_lengths + sum(data[begin + 27 : begin + 27 + n_lengths]))
    return begins[:-1]


def refused(path: Path, data: bytes) -> str:
    """Why no part of a file may be used, not even before the damage."""
    path.write_bytes(data)
    reasons = set()
    for segment in ({}, {"start_s": 0.5, "end_s": 1.0}, {"start_s": 5.0, "end_s": 9.0}, {"start_s": 11.0}):
        with pytest.raises(Rejected) as refusal:
            decode(Recording(path, path.name, "a", **segment), RATE)
        assert refusal.value.code is Code.TRUNCATED
        reasons.add(str(refusal.value))
    (reason,) = reasons
    return reason


def test_a_bit_that_flipped_is_told_wherever_it_is(whole: bytes, tmp_path: Path):
    begins = pages(whole)
    assert len(begins) > 8
    for begin in (*begins[2:4], begins[-1]):
        flipped = bytearray(whole)
        flipped[begin + 200] ^= 4
        assert (
            refused(tmp_path / "x.ogg", bytes(flipped))
            == f"its page at byte {begin} is not whole: its checksum is wrong"
        )


def test_pages_that_are_missing_are_told(whole: bytes, tmp_path: Path):
    begins = pages(whole)
    first, last = begins[4], begins[6]
    reason = refused(tmp_path / "x.ogg", whole[:first] + whole[last:])
    number = int.from_bytes(whole[last + 18 : last + 22], "little")
    assert reason == f"before its page at byte {first} others are missing: it has the number {number}"


def test_zeros_in_place_of_pages_are_told(whole: bytes, tmp_path: Path):
    begins = pages(whole)
    inside, later = begins[4] + 10, begins[6] + 10
    reason = refused(tmp_path / "x.ogg", whole[:inside] + bytes(later - inside) + whole[later:])
    assert reason.startswith(f"its page at byte {begins[4]} is not whole") or reason.startswith("before its page")


def test_streams_that_were_joined_are_told(whole: bytes, tmp_path: Path):
    reason = refused(tmp_path / "x.ogg", whole + whole)
    assert reason.startswith(f"at byte {len(whole)} another stream begins, and only the first would be read")


def test_what_lies_between_pages_and_behind_them_does_no_harm(whole: bytes, tmp_path: Path):
    begins = pages(whole)
    at = begins[5]
    for data in (whole[:at] + b"Ogg" + bytes(100_000) + whole[at:], whole + b"TAG" + bytes(125), whole + bytes(70_000)):
        assert lost(data) is None
    path = tmp_path / "x.ogg"
    path.write_bytes(whole)
    samples = decode(Recording(path, "x.ogg", "a"), RATE).samples
    path.write_bytes(whole[:at] + b"Ogg" + bytes(1000) + whole[at:])
    np.testing.assert_array_equal(decode(Recording(path, "x.ogg", "a"), RATE).samples, samples)


def test_a_page_that_begins_across_what_is_looked_at_at_once_is_found(whole: bytes):
    at = pages(whole)[5]
    for n in range(ogg.LOOKED_AT - 6, ogg.LOOKED_AT + 3):
        assert lost(whole[:at] + bytes(n) + whole[at:]) is None
        cut = whole[:at] + bytes(n) + whole[at : at + 40]
        assert lost(cut) == f"its last page, at byte {at + n}, is not whole"


def test_a_broadcast_that_was_recorded_from_its_middle_is_whole(whole: bytes):
    """Its headers come first, with the numbers 0 and 1 and maybe 2, and then its sound, with any numbers."""
    begins = pages(whole)
    later = bytearray(whole)
    for begin, stop in zip(begins, [*begins[1:], len(whole)], strict=True):
        if int.from_bytes(later[begin + 6 : begin + 14], "little", signed=True) > 0:
            number = int.from_bytes(later[begin + 18 : begin + 22], "little") + 1000
            later[begin + 18 : begin + 22] = number.to_bytes(4, "little")
            later[begin + 22 : begin + 26] = bytes(4)
            checksum = _by_the_book(bytes(later[begin:stop]))
            later[begin + 22 : begin + 26] = checksum.to_bytes(4, "little")
    assert bytes(later) != whole
    assert lost(bytes(later)) is None


def _by_the_book(page: bytes) -> int:
    """RFC 3533: the polynomial 0x04C11DB7, begun with zero, bit by bit."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def test_how_much_the_last_page_adds_is_told_where_it_is_clear():
    data = encoded("VORBIS")
    begins = pages(data)
    before, last = (int.from_bytes(data[begin + 6 : begin + 14], "little") for begin in begins[-2:])
    assert 0 < last - before < RATE * SECONDS

    def added(data: bytes) -> int | None:
        return ogg.samples_of_last_page(io.BytesIO(data), len(data))

    assert added(data) == added(data + b"tags, OggS\0 among them" + bytes(40)) == last - before
    assert added(data[begins[-1] :]) is None  # one page alone
    assert added(data + encoded("OPUS")) is None  # of another stream
    assert added(b"") is None


@pytest.mark.parametrize("of_last", [True, False])
def test_a_last_page_without_sound_does_not_count(tmp_path: Path, of_last: bool):
    """As some streams end (RFC 3533), with the place of the last sound or with none."""
    data = encoded("VORBIS")
    last = data[pages(data)[-1] :]
    place = last[6:14] if of_last else b"\xff" * 8
    number = int.from_bytes(last[18:22], "little") + 1
    empty = last[:5] + b"\4" + place + last[14:18] + number.to_bytes(4, "little") + bytes(5)
    empty = empty[:22] + ogg._checksum(empty).to_bytes(4, "little") + empty[26:]
    longer = data + empty
    assert ogg.samples_of_last_page(io.BytesIO(longer), len(longer)) == ogg.samples_of_last_page(
        io.BytesIO(data), len(data)
    )
    (tmp_path / "x.ogg").write_bytes(longer)
    whole = decode(Recording(tmp_path / "x.ogg", "x.ogg", "a"), RATE).samples
    for start in (len(whole) - 30_000, len(whole) - 300):
        segment = Recording(tmp_path / "x.ogg", "x.ogg", "a", start_s=start / RATE)
        np.testing.assert_array_equal(decode(segment, RATE).samples, whole[start:])


@pytest.mark.parametrize("n", [1, 4, 20, 26, 30])
def test_a_file_that_was_cut_within_the_head_of_a_page_is_told(whole: bytes, n: int):
    at = pages(whole)[5]
    assert lost(whole[: at + n]) == f"its last page, at byte {at}, is not whole"


def test_streams_that_begin_together_are_not_joined():
    """As Skeleton's does, whose pages hold no sound (RFC 3533): all first pages come before any other."""
    beside, data = encoded("OPUS", 1), encoded("VORBIS", 2)
    assert lost(beside[: pages(beside)[1]] + data) is None


def with_checksums(data: bytes, changes: dict[int, tuple[int, int]]) -> bytes:
    """Pages by their byte, with another place where their sound ends and another number."""
    changed, ends = bytearray(data), [*pages(data)[1:], len(data)]
    for begin, stop in zip(pages(data), ends, strict=True):
        if begin in changes:
            place, number = changes[begin]
            changed[begin + 6 : begin + 14] = place.to_bytes(8, "little", signed=True)
            changed[begin + 18 : begin + 22] = number.to_bytes(4, "little")
            changed[begin + 22 : begin + 26] = bytes(4)
            changed[begin + 22 : begin + 26] = _by_the_book(bytes(changed[begin:stop])).to_bytes(4, "little")
    return bytes(changed)


def test_a_long_header_of_a_broadcast_that_was_recorded_from_its_middle_is_no_sound():
    """A page on which no packet ends has no place, -1: of a header, say, that holds a picture."""
    data = encoded("VORBIS", 2)
    begins = pages(data)
    place = {begin: int.from_bytes(data[begin + 6 : begin + 14], "little", signed=True) for begin in begins}
    sound = [begin for begin in begins if place[begin] > 0]
    later = {begin: (place[begin], 1000 + number) for number, begin in enumerate(sound)}
    assert lost(with_checksums(data, {begins[1]: (-1, 1)} | later)) is None
    later[sound[1]] = (place[sound[1]], 5000)
    assert lost(with_checksums(data, later)) == (
        f"before its page at byte {sound[1]} others are missing: it has the number 5000"
    )


def test_pages_of_streams_side_by_side_are_counted_each_by_their_own_numbers():
    one, other = encoded("OPUS", 1), encoded("VORBIS", 2)
    (a, b), (c, d) = ((pages(data)[1], pages(data)[3]) for data in (one, other))
    together = one[:a] + other[:c] + one[a:b] + other[c:d] + one[b:] + other[d:]
    assert lost(together) is None
    next_page = pages(other)[4]
    assert "others are missing" in lost(one[:a] + other[:c] + one[a:b] + other[c:d] + one[b:] + other[next_page:])
