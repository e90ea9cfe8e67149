"""The demo corpus: reproducible to the byte, well formed, and each sound what its physics says."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clinaug_fast.demo.corpus import LABELS, SUBJECT_PATTERN, demo_procedure, demo_recording, write_demo_corpus
from clinaug_fast.demo.sources import SOUNDS
from clinaug_fast.demo.synthesis import RATE
from clinaug_fast.errors import InputError
from conftest import files

SEED = 5
PROCEDURES = range(1, 9)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "corpus"
    assert write_demo_corpus(out, seed=SEED, n_procedures=3, takes=2)
    return out


def dry(label: str, procedure: int, seconds: float = 2.0) -> np.ndarray:
    """A sound without room and microphone, scaled to unit RMS."""
    rng = np.random.default_rng([SEED, procedure])
    x = SOUNDS[label](rng, round(seconds * RATE), demo_procedure(SEED, procedure).tools)
    return x / np.sqrt(np.mean(x**2))


def power(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Hz, power) of a windowed spectrum."""
    return np.fft.rfftfreq(len(x), 1 / RATE), np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2


def level_db(x: np.ndarray, seconds: float) -> np.ndarray:
    """Level of consecutive stretches of `seconds`."""
    length = round(seconds * RATE)
    return 10 * np.log10(np.mean(x[: len(x) // length * length].reshape(-1, length) ** 2, axis=1) + 1e-12)


def pitch_hz(x: np.ndarray, low: float, high: float) -> float:
    """The fundamental between `low` and `high` whose first ten harmonics stand out most from what lies between them."""
    hz, spectrum = power(x)
    candidates = np.arange(low, high, 0.5)
    near = [np.interp(candidates * k, hz, np.log(spectrum)) for k in range(1, 11)]
    between = [np.interp(candidates * (k + 0.5), hz, np.log(spectrum)) for k in range(1, 11)]
    return float(candidates[np.argmax(np.mean(near, axis=0) - np.mean(between, axis=0))])


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(corpus: Path, tmp_path: Path) -> None:
    write_demo_corpus(tmp_path / "again", seed=SEED, n_procedures=3, takes=2)
    write_demo_corpus(tmp_path / "other", seed=SEED + 1, n_procedures=1, takes=1)
    assert files(tmp_path / "again") == files(corpus)
    first = f"{LABELS[0]}/p01_{LABELS[0]}_1.wav"
    assert files(tmp_path / "other")[first] != files(corpus)[first]


def test_a_recording_is_the_same_alone_and_in_the_corpus(corpus: Path) -> None:
    for label in reversed(LABELS):
        stored, _ = soundfile.read(corpus / label / f"p03_{label}_2.wav", dtype="int16")
        np.testing.assert_array_equal(demo_recording(SEED, 3, label, 2), stored)


def test_labels_subjects_counts_and_format(corpus: Path) -> None:
    recordings = sorted(corpus.rglob("*.wav"))
    assert [p.name for p in sorted(corpus.iterdir()) if p.is_dir()] == LABELS == sorted(SOUNDS)
    assert len(recordings) == 3 * 6 * 2
    assert {re.search(SUBJECT_PATTERN, p.name)[1] for p in recordings} == {"p01", "p02", "p03"}
    for path in recordings:
        about = soundfile.info(path)
        assert (about.samplerate, about.channels, about.subtype) == (44100, 1, "PCM_16")
        assert 1.0 <= about.duration <= 2.2
        assert path.name.split("_")[1] == path.parent.name
    assert "SYNTHETIC" in (corpus / "README.txt").read_text()


def test_recordings_are_neither_clipped_nor_silent_nor_offset_and_differ_in_level() -> None:
    levels = []
    for procedure in PROCEDURES:
        for label in LABELS:
            x = demo_recording(SEED, procedure, label, 1) / 32768
            assert np.abs(x).max() < 0.9
            assert abs(x.mean()) < 1e-4
            assert level_db(x, 0.05).min() > -70  # no microphone is silent
            levels.append(10 * np.log10(np.mean(x**2)))
    assert np.std(levels) > 4
    assert -60 < min(levels) < max(levels) < -8


def test_procedures_differ_in_room_and_tools() -> None:
    scenes = [demo_procedure(SEED, procedure) for procedure in PROCEDURES]
    for value in ("echo_s", "fan_hz", "beep_hz", "tilt_db", "gain_db"):
        assert len({getattr(scene, value) for scene in scenes}) == len(scenes)
    assert len({scene.tools.saw_hz for scene in scenes}) == len(scenes)
    between = np.std([level_db(demo_recording(SEED, p, "suction", 1)[:RATE] / 32768, 1.0) for p in PROCEDURES])
    assert between > 2


@pytest.mark.parametrize(("label", "motor", "sag"), [("sawing", "saw_hz", 0.18), ("reaming", "reamer_hz", 0.3)])
def test_motors_turn_at_their_own_speed_and_sag_under_load(label: str, motor: str, sag: float) -> None:
    relative = []
    for procedure in PROCEDURES:
        nominal = getattr(demo_procedure(SEED, procedure).tools, motor)
        x = dry(label, procedure)
        relative += [pitch_hz(x[i : i + RATE // 4], 50, 300) / nominal for i in range(0, len(x), RATE // 4)]
    # Under full load the scrape hides the motor; by chance about a fifth of the stretches would lie in the range.
    right = [r for r in relative if 1 - sag < r < 1.08]
    assert len(right) > 0.7 * len(relative)
    assert np.ptp(right) > 0.5 * sag


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_the_arcs_pulse_with_the_rectified_mains(procedure: int) -> None:
    mains_hz = demo_procedure(SEED, procedure).tools.mains_hz
    envelope = dry("coagulation", procedure) ** 2
    hz, spectrum = power(np.minimum(envelope, 8.0))  # sparks aside
    candidates = (hz > 70) & (hz < 180)
    assert abs(hz[candidates][np.argmax(spectrum[candidates])] - 2 * mains_hz) < 2


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_suction_is_a_wide_hiss_without_blows(procedure: int) -> None:
    x = dry("suction", procedure)
    hz, spectrum = power(x)
    octaves = [spectrum[(hz >= low) & (hz < 2 * low)].sum() for low in (250, 500, 1000, 2000)]
    assert max(octaves) < 0.9 * sum(octaves)  # no octave has it all
    assert np.abs(x).max() < 12
    assert np.ptp(level_db(x, 0.1)) > 1  # and it is not stationary


def blows(x: np.ndarray) -> np.ndarray:
    """Seconds at which the level jumps by 9 dB or more within 20 ms, to within 15 dB of the loudest."""
    level = level_db(x, 0.01)
    jump = np.flatnonzero((level[2:] - level[:-2] > 9) & (level[2:] > level.max() - 15))
    return jump[np.diff(jump, prepend=-100) > 6] * 0.01


@pytest.mark.parametrize("procedure", PROCEDURES)
def test_insertion_is_a_handful_of_blows_that_ring_and_die_away(procedure: int) -> None:
    x = dry("insertion", procedure)
    starts = blows(x)
    assert 2 <= len(starts) <= 12
    level = level_db(x, 0.01)
    loudest = int(np.argmax(level))
    assert level[loudest] - level[min(loudest + 20, len(level) - 1)] > 6


def test_blows_of_insertion_are_more_regular_than_adjustment() -> None:
    def unevenness(label: str) -> float:
        gaps = [np.diff(blows(dry(label, procedure))) for procedure in range(1, 25)]
        return float(np.mean([np.std(g) / np.mean(g) for g in gaps if len(g) > 1]))

    assert unevenness("insertion") < unevenness("adjustment")


def test_a_complete_corpus_is_reused(corpus: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in corpus.rglob("*")}
    assert not write_demo_corpus(corpus, seed=SEED, n_procedures=3, takes=2)
    assert {path: path.stat().st_mtime_ns for path in corpus.rglob("*")} == before


def test_what_is_not_this_corpus_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"seed is {SEED} there, 9 asked"):
        write_demo_corpus(corpus, seed=9, n_procedures=3, takes=2)
    with pytest.raises(InputError, match=r"is no demo corpus, as it has no demo_corpus\.json"):
        write_demo_corpus(tmp_path, seed=SEED)
    out = tmp_path / "corpus"
    write_demo_corpus(out, seed=SEED, n_procedures=1, takes=1)
    (out / "sawing" / "p01_sawing_1.wav").unlink()
    with pytest.raises(InputError, match=r"lost 1 of its 6 recordings, sawing/p01_sawing_1.wav"):
        write_demo_corpus(out, seed=SEED, n_procedures=1, takes=1)
