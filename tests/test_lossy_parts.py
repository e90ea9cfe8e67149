"""Parts of files whose frames build on those before them, segments and pieces alike, are those of the whole file."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from clinaug_fast.corpus import long_recording
from clinaug_fast.corpus.audio import decode
from clinaug_fast.corpus.long_recording import open_long
from clinaug_fast.corpus.recordings import Recording

RATE, SECONDS = 48000, 20  # Opus knows no 44.1 kHz
# Where Opus predicts from further back, and frames of MP3 are half as long.
LOW_RATES = {"opus16": 16000, "opus24": 24000, "mp3low": 22050}
FORMATS = {
    "mp3": {"format": "MP3", "compression_level": 0.9},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "mp3low": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5},
    **{suffix: {"format": "OGG", "subtype": "OPUS"} for suffix in ("opus", "opus16", "opus24")},
    "caf": {"format": "CAF", "subtype": "ALAC_16"},
    "flac": {"format": "FLAC", "subtype": "PCM_24"},
}
SOUGHT_IN = (".mp3", ".ogg", ".flac")


@pytest.fixture(scope="module", params=[(suffix, channels) for suffix in FORMATS for channels in (1, 2)])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound that comes and goes, so that the encoder saves bits for later frames; not of one write, which libsndfile's
    Vorbis does not survive."""
    suffix, channels = request.param
    file_rate = LOW_RATES.get(suffix, RATE)
    t = np.arange(RATE * SECONDS) / file_rate
    swell = (1 + np.sin(2 * np.pi * t / 1.3)) ** 4 / 16
    noise = np.random.default_rng(5).standard_normal(len(t))
    wave = swell * (0.1 * noise + 0.3 * np.sin(2 * np.pi * 440 * t)) + 0.2 * np.sin(2 * np.pi * t * (200 + 30 * t))
    path = tmp_path_factory.mktemp("lossy") / f"x.{suffix}"
    with soundfile.SoundFile(path, "w", file_rate, channels, **FORMATS[suffix]) as file:
        for first in range(0, len(wave), 20000):
            part = wave[first : first + 20000]
            file.write(part if channels == 1 else np.stack([part, part[::-1]], axis=1))
    return path


def test_a_segment_is_that_of_the_whole_file(path: Path):
    rate = soundfile.info(path).samplerate
    whole = decode(Recording(path, path.name, "a"), rate).samples
    draw = np.random.default_rng(0).integers
    anywhere, late = (25, 15) if path.suffix in SOUGHT_IN else (6, 4)  # where all before is decoded each takes long
    for start in (*draw(1, len(whole) - rate, anywhere), *draw(len(whole) - rate, len(whole) - 10, late)):  # last page
        stop = min(start + rate // 2, len(whole))
        segment = Recording(path, path.name, "a", start_s=start / rate, end_s=stop / rate)
        np.testing.assert_array_equal(decode(segment, rate).samples, whole[start:stop])


@pytest.mark.corpus
def test_segments_of_what_others_encoded_are_those_of_the_whole_files(corpora: Path):
    """Their last pages hold more than the sound, by hundreds of samples."""
    for path in sorted((corpora / "esc10").rglob("*.ogg"))[::20]:
        whole = decode(Recording(path, path.name, "a"), 44100).samples
        for start in (1, 176_400, len(whole) - 20_000, len(whole) - 10):
            segment = Recording(path, path.name, "a", start_s=start / 44100)
            np.testing.assert_array_equal(decode(segment, 44100).samples, whole[start:], err_msg=f"{path} {start}")


@pytest.mark.parametrize("rate", [RATE, 16000])
def test_the_pieces_are_the_whole_file(path: Path, rate: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 100_001)
    recording = Recording(path, path.name, "a")
    work = open_long(recording, rate, 1.0)
    assert work.is_long
    with work.file:
        pieces = list(work.pieces(SimpleNamespace(decode=0.0, resample=0.0)))
    assert len(pieces) > 8
    np.testing.assert_array_equal(np.concatenate(pieces), decode(recording, rate).samples)
