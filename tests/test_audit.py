"""Recordings that share a stretch of sound are found whatever was done to them, and others are not."""

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import soxr

from clinaug_fast.audit.alike import HEARD, alike, has_enough
from clinaug_fast.audit.flat_sound import MOST_SECONDS, ORDER, RATE, flat, read_flat
from clinaug_fast.audit.sources import AT_LEAST, audit
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.errors import SettingsError
from clinaug_fast.runs import Silent

SECOND = RATE


def noise(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(round(seconds * rate))


def falling(seconds: float, seed: int = 0) -> np.ndarray:
    """As hearts and lungs do: nearly all power in the lowest hundredth of the band."""
    return scipy.signal.lfilter([1.0], [1.0, -0.99], noise(seconds, seed))


def score(one: np.ndarray, other: np.ndarray, at_least: float = 0.2) -> float:
    pairs = alike([flat(one), flat(other)], at_least, 1, Silent())
    return float(pairs.score[0]) if len(pairs.score) else 0.0


def brute_force(one: np.ndarray, other: np.ndarray) -> float:
    """The definition, distance by distance."""
    best = 0.0
    for begin in range(-len(one) + 1, len(other)):
        a = one[max(0, -begin) :][: max(0, len(other) - max(0, begin))]
        b = other[max(0, begin) :][: len(a)]
        a = a[: len(b)]
        energies = float(a @ a), float(b @ b)
        if len(a) >= HEARD and min(energies) >= HEARD:
            best = max(best, abs(float(a @ b)) / np.sqrt(energies[0] * energies[1]))
    return best


@pytest.mark.parametrize("lengths", [(1500, 1500), (1501, 2048), (1050, 3333), (3000, 1200)])
def test_scores_are_those_of_the_definition(lengths: tuple[int, int]) -> None:
    rng = np.random.default_rng(lengths[0])
    one, other = (rng.standard_normal(n).astype(np.float32) for n in lengths)
    other[100:700] += one[-600:]
    pairs = alike([one, other], 0.05, 1, Silent())
    assert (pairs.first.tolist(), pairs.second.tolist()) == ([0], [1])
    assert pairs.score[0] == pytest.approx(brute_force(one.astype(float), other.astype(float)), abs=1e-5)


def test_scores_of_pulses_are_those_of_the_definition() -> None:
    """A pulse alone in its 50 ms has an energy of 100, so that half a second's may lie in less."""
    x = np.zeros((6, 1320))
    for row, apart in enumerate((53, 53, 51, 55, 50, 53)):
        x[row, 7 * row :: apart] = 1.0
    sounds = [flat(row + 1e-4 * noise(0.66, seed)) for seed, row in enumerate(x)]
    pairs = alike(sounds, 0.2, 1, Silent())
    found = dict(zip(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True), pairs.score.tolist(), strict=True))
    for one in range(6):
        for other in range(one + 1, 6):
            exact = brute_force(sounds[one].astype(float), sounds[other].astype(float))
            assert found.get((one, other), 0.0) == pytest.approx(exact if exact >= 0.2 else 0.0, abs=1e-5)


def test_the_same_sound_reaches_a_limit_of_one() -> None:
    for seed in range(20):
        x = noise(2.5, seed)
        assert score(x, x, 1.0) == pytest.approx(1.0, abs=1e-6)
        assert score(x, x, 1.0) <= 1.0


def test_pairs_are_the_same_whatever_the_threads_and_the_order() -> None:
    rng = np.random.default_rng(3)
    sounds = [flat(noise(float(seconds), seed)) for seed, seconds in enumerate(rng.uniform(0.8, 4.0, 150))]
    for row in (10, 90, 149):
        sounds[row] = sounds[5][200:].copy()
    pairs = alike(sounds, AT_LEAST, 1, Silent())
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert found == [(a, b) for a in (5, 10, 90, 149) for b in (5, 10, 90, 149) if a < b]
    threaded = alike(sounds, AT_LEAST, 3, Silent())
    for name in ("first", "second", "score"):
        assert np.array_equal(getattr(pairs, name), getattr(threaded, name))
    turned = alike(sounds[::-1], AT_LEAST, 2, Silent())
    assert {(149 - b, 149 - a) for a, b in zip(turned.first, turned.second, strict=True)} == set(found)


@pytest.mark.parametrize("sound", [noise, falling])
def test_what_was_done_to_a_copy_hides_it_not(sound) -> None:
    x = sound(6.0, 1)
    one, other = x[: 4 * SECOND], x[2 * SECOND :]  # two cuts that share two seconds
    there_and_back = soxr.resample(soxr.resample(other, RATE, 44100), 44100, RATE)
    assert score(one, other) > 0.98
    assert score(one, -0.01 * other) > 0.98
    assert score(one, there_and_back + 0.2) > 0.9
    assert score(one, scipy.signal.lfilter([1.0, 0.5], [1.0, -0.4], other)) > 0.9  # another microphone
    assert score(one, other + 0.5 * np.std(np.diff(other)) * noise(4.0, 2)) > 0.5
    assert score(one, other * np.linspace(0.1, 3.0, len(other))) > 0.95  # a hand on the volume


def test_chance_stays_below_what_may_be_asked_for() -> None:
    sounds = [flat((noise if k % 2 else falling)(0.7 + 0.02 * k, k)) for k in range(100)]
    assert all(map(has_enough, sounds))
    assert len(alike(sounds, 0.2, 1, Silent()).score) == 0


def test_clicks_constants_and_silence_are_not_alike() -> None:
    quiet = np.zeros(3 * SECOND)
    clicks = [np.concatenate([quiet[:k], [1.0], quiet[k:]]) for k in (100, 2000)]
    steps = [np.where(np.arange(3 * SECOND) < k, 0.0, 0.3) for k in (100, 2000)]
    for sound in (quiet, quiet + 0.25, *clicks, *steps, np.ones(1), np.ones(0), noise(0.3)):
        assert not has_enough(flat(sound))
        assert np.isfinite(flat(sound)).all()
    # A word in silence beside an offset: the offset is no sound.
    assert score(np.concatenate([noise(1.0, 1), quiet + 0.1]), np.concatenate([noise(1.0, 2), quiet + 0.1])) == 0.0


def test_the_flat_sound_is_flat() -> None:
    x = falling(4.0) * np.linspace(0.2, 2.0, 4 * SECOND)
    made = flat(x)
    assert (made.dtype, len(made)) == (np.float32, len(x) - ORDER - 1)
    assert np.mean(made**2) == pytest.approx(1.0, abs=0.1)
    _, power = scipy.signal.welch(made, RATE, nperseg=128)
    assert power[4:-4].max() < 3.0 * power[4:-4].min()
    assert np.mean(made[:2000] ** 2) == pytest.approx(np.mean(made[-2000:] ** 2), rel=0.15)


def test_of_long_recordings_the_middle_is_read(tmp_path: Path) -> None:
    x = 0.1 * noise(50.0, rate=8000)
    soundfile.write(tmp_path / "long.wav", x, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "long.flac", x, 8000)
    soundfile.write(tmp_path / "middle.wav", x[10 * 8000 : 40 * 8000], 8000, subtype="FLOAT")
    long, flac, middle = (
        read_flat(Recording(tmp_path / name, name, "x")) for name in ("long.wav", "long.flac", "middle.wav")
    )
    assert len(long) == MOST_SECONDS * RATE - ORDER - 1
    assert np.array_equal(long, middle)
    assert np.corrcoef(flac, long)[0, 1] > 0.99
    segment = read_flat(Recording(tmp_path / "long.wav", "long.wav", "x", start_s=5.0, end_s=45.0))
    assert np.array_equal(segment, middle)


@pytest.mark.parametrize("at_least", [0.1, 1.5, float("nan")])
def test_a_limit_that_chance_reaches_is_refused(tmp_path: Path, at_least: float) -> None:
    with pytest.raises(SettingsError, match=r"expected 0.2 \(chance reaches less\) to 1"):
        audit(tmp_path, at_least=at_least)


@pytest.mark.corpus
def test_what_is_known_of_esc10_is_found(corpora: Path) -> None:
    found = audit(corpora / "esc10", threads=2)
    ids = found.corpus.table.column("id")
    pairs = {
        tuple(
            ids[int(rows[number])].as_py().rpartition("/")[2][:-4] for rows in (found.pairs.first, found.pairs.second)
        )
        for number in range(len(found.pairs.score))
    }
    assert pairs == {
        ("2-28314-A", "2-30322-A"),
        ("2-28314-B", "2-30322-B"),
        ("3-142601-A", "3-142605-A"),
        ("3-151080-A", "5-151085-A"),
    }
    assert found.not_compared == {"TOO_LITTLE_SOUND": 6}
    assert [len(rows) for rows in found.groups] == [2, 2, 2, 2]


def write_segments(folder: Path, rows: list[str]) -> Path:
    """Files of 8 s of noise each, and a table of their segments."""
    for name in sorted({row.split(",")[0] for row in rows}):
        sound = np.random.default_rng(int(name[1])).standard_normal(8 * 8000)
        soundfile.write(folder / name, 0.1 * sound, 8000)
    table = folder / "table.csv"
    table.write_text("\n".join(["path,label,subject,start_s,end_s", *rows]))
    return table


def test_two_patients_in_one_file_stay_two(tmp_path: Path) -> None:
    rows = ["r0.wav,a,p0,0,3", "r0.wav,b,p0,2,5", "r0.wav,b,p1,6,8", "r1.wav,a,p2,0,3", "r1.wav,b,p3,5,8"]
    found = audit(write_segments(tmp_path, rows))
    assert found.subjects == ["p0", "p0", "p1", "p2", "p3"]
    assert len(np.unique(found.sources)) == 4


def test_a_file_whose_subjects_are_not_given_is_one_source(tmp_path: Path) -> None:
    rows = ["r0.wav,a,,0,2", "r0.wav,b,,3,5", "r0.wav,a,,6,8"]
    rows += ["r1.wav,a,p0,0,2", "r1.wav,a,,3,5", "r1.wav,b,p1,6,8", "r2.wav,b,p2,0,2", "r2.wav,a,,6,8"]
    found = audit(write_segments(tmp_path, rows))
    assert len(np.unique(found.sources)) == 3
    assert found.subjects == [None] * 3 + ["p0 + p1"] * 3 + ["p2"] * 2  # a split refuses recordings that are half known


def test_segments_that_overlap_by_design_are_no_pairs_but_where_their_patients_differ(tmp_path: Path) -> None:
    rows = [
        "r0.wav,a,p0,0,3",
        "r0.wav,b,p0,1,4",
        "r1.wav,a,,0,3",
        "r1.wav,b,,1,4",
        "r3.wav,a,p4,0,3",
        "r3.wav,a,p4,0,4",
    ]
    found = audit(write_segments(tmp_path, rows))
    assert not len(found.pairs.score)
    assert len(np.unique(found.sources)) == 3
    found = audit(write_segments(tmp_path, ["r4.wav,a,p0,0,5", "r4.wav,b,p0,0.1,4"]))
    assert found.between("label").tolist() == [True]  # one stretch under two labels
    found = audit(write_segments(tmp_path, ["r2.wav,a,p0,0,3", "r2.wav,b,p1,1,4"]))
    assert found.between("subject").tolist() == [True]
    assert found.subjects == ["p0 + p1", "p0 + p1"]


def test_patients_of_one_file_that_share_the_least_of_time_are_one(tmp_path: Path) -> None:
    rows = ["r0.wav,a,p0,0,5", "r0.wav,b,p1,4.8,8", "r1.wav,a,p2,0,4", "r1.wav,b,p3,4,8"]
    found = audit(write_segments(tmp_path, rows))
    assert found.subjects == ["p0 + p1", "p0 + p1", "p2", "p3"]
    assert len(np.unique(found.sources)) == 3


def test_an_end_that_is_not_given_is_the_last_that_is(tmp_path: Path) -> None:
    found = audit(write_segments(tmp_path, ["r0.wav,a,p0,0,8", "r0.wav,b,p0,3,"]))
    assert found.between("label").tolist() == [True]


def test_names_that_are_made_up_are_no_other_spellings_of_given_ones(tmp_path: Path) -> None:
    rows = ["r0.wav,a,,0,8", "r1.wav,b,Alike-1,0,8", "r2.wav,b,p1,0,5", "r2.wav,a,p2,4,8", "r3.wav,a,P1 + P2,0,8"]
    table = write_segments(tmp_path, rows)
    soundfile.write(tmp_path / "r4.wav", soundfile.read(tmp_path / "r0.wav")[0], 8000)
    table.write_text(table.read_text() + "\nr4.wav,a,,0,8")
    assert audit(table).subjects == ["alike-2", "Alike-1", *["p1 + p2 + alike-3"] * 2, "P1 + P2", "alike-2"]


def test_a_sound_turned_upside_down_is_the_same():
    assert score(noise(2.0), -noise(2.0), 0.5) == pytest.approx(1.0, abs=1e-3)
