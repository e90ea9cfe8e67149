"""The frames of an open audio file from any place on: exactly those that decoding the whole file gives there.

libsndfile seeks, but not in every codec to the sample: what lies before is decoded wherever it matters.
"""

import os
from functools import lru_cache

import numpy as np
import soundfile

from clinaug_fast.corpus import ogg
from clinaug_fast.corpus.verdicts import Code, Rejected, looked_at

RECENT_FILES = 64  # of which what was found is kept: each segment that a table names would ask for it anew
SKIPPED_AT_ONCE = 1 << 16  # frames
# Of MP3 so much is decoded before what is wanted, 32 to 64 of its own frames: with 12 nothing came out wrong, with 4
# some did. From a multiple on, since its decoder rounds alike at each fourth of them alone.
MP3_RUN_UP = 32 * 1152


def read_frames(file: soundfile.SoundFile, start: int, stop: int, *, there: bool = False) -> np.ndarray:
    """Frames [start, stop), (T,) or (T, channels): int16 where they have 16 bits, or else float32.

    `file` is open at its begin, or `there`, at `start`. Raises Rejected where it ends before.
    """
    try:
        if not there:
            go_to(file, start)
        samples = file.read(stop - start, dtype="int16" if file.subtype == "PCM_16" else "float32")
    except soundfile.LibsndfileError as error:
        raise Rejected(Code.TRUNCATED, f"decoding stopped before the end: {error.error_string}") from None
    if len(samples) < stop - start:
        reason = f"{start + len(samples)} of {file.frames} declared samples could be decoded"
        raise Rejected(Code.TRUNCATED, reason)
    return samples


def go_to(file: soundfile.SoundFile, start: int) -> None:
    """From its begin to the frame `start`; codecs that cannot be sought in, such as GSM, decode what lies before."""
    skipped = _decoded_before(file, start) if start else 0
    try:
        if start > skipped:
            file.seek(start - skipped)
    except soundfile.LibsndfileError:
        skipped = start
    while skipped and (n := len(file.read(min(skipped, SKIPPED_AT_ONCE), dtype="int16"))):
        skipped -= n


def _decoded_before(file: soundfile.SoundFile, start: int) -> int:
    """How many of the frames before `start` are decoded, so that those from there on are right.

    Frames of MP3 build on some before, those of Opus on all: at rates below 48 kHz no run-up was long enough, and none
    of MP3 at rates below 32 kHz, whose frames are half as long, rounds alike. Of Vorbis's last page and ALAC's last
    packet libsndfile 1.2.2 takes all for sound, and is off by what is none.
    """
    if file.subtype.startswith("MPEG") and file.samplerate >= 32000:
        return start - max(0, start // MP3_RUN_UP - 1) * MP3_RUN_UP
    if file.subtype.startswith(("MPEG", "OPUS", "ALAC")):
        return start
    if file.subtype == "VORBIS" and start >= (last_page := _last_page_of(file)):
        return start - max(0, last_page - 1)
    return 0


def _last_page_of(file: soundfile.SoundFile) -> int:
    """The frame with which the last page of a Vorbis file begins; 0 where that is not known."""
    with looked_at():
        n_frames = _samples_of_last_page(file.name, stamp_of(os.stat(file.name)))
    return 0 if n_frames is None else max(0, file.frames - n_frames)


@lru_cache(RECENT_FILES)
def _samples_of_last_page(path: bytes, stamp: tuple[int, ...]) -> int | None:
    with open(path, "rb") as pages:
        return ogg.samples_of_last_page(pages, stamp[0])


def stamp_of(about: os.stat_result) -> tuple[int, ...]:
    """What a file's content is known by, its size first."""
    return about.st_size, about.st_mtime_ns, about.st_ino, about.st_dev
