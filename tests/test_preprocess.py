"""Preprocessing: windows, the log-mels in the set, equal bytes for any number of threads, every file accounted for."""

import itertools
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast import native
from clinaug_fast.config import PRESETS, ClipConfig, MelConfig
from clinaug_fast.errors import InputError, RejectedError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess import workers
from clinaug_fast.preprocess.clips import cut
from clinaug_fast.preprocess.pipeline import PreprocessResult, preprocess
from conftest import CORPORA, LABELS, MEL, SUBJECT_PATTERN, Recorder, files, sound, write_corpus

CLIP = ClipConfig(n_frames=32)


def run(corpus: Path, out: Path, mel: MelConfig = MEL, clip: ClipConfig = CLIP, **how) -> PreprocessResult:
    return preprocess(corpus, out, mel, clip, **how)


@given(st.integers(0, 500), st.integers(1, 90), st.integers(1, 120), st.sampled_from(["pad", "tile"]))
def test_windows_start_every_stride_and_are_whole(n: int, length: int, stride: int, short: str):
    samples = np.arange(1, n + 1, dtype=np.int16)
    windows = cut(samples, length, stride, short)
    assert windows.dtype == np.int16
    if n < length:
        filler = np.resize(samples, length)[n:] if short == "tile" and n else np.zeros(length - n)
        assert windows.tolist() == [[*samples, *filler]]
    else:
        starts = range(0, n - length + 1, stride)
        assert windows.tolist() == [list(range(start + 1, start + 1 + length)) for start in starts]


@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 60), st.integers(2, 50), st.integers(0, 999))
def test_the_windows_of_a_clip_give_its_frames(n_frames: int, stride: int, hop_length: int, n_clips: int, tail: int):
    mel = MelConfig(sample_rate=8000, n_fft=64, hop_length=hop_length, n_mels=4)
    if n_frames == hop_length == 1:
        return
    length, step = mel.n_samples(n_frames), stride * hop_length
    n = length + (n_clips - 1) * step + tail % step
    windows = cut(np.zeros(n, np.float32), length, step, "pad")
    assert len(windows) == n_clips
    assert mel.n_frames(windows.shape[1]) == n_frames


def test_windows_below_the_loudest_are_quiet_and_silence_is_kept():
    def loud(windows: np.ndarray) -> list[int]:
        return native.loud(native.window_energy(windows), 40.0).tolist()

    levels = np.array([0.5, 0.0051, 0.0049, 0.0, 0.4])
    windows = np.sign(np.sin(np.arange(5 * 64))).reshape(5, 64) * levels[:, None]
    assert loud(windows.astype(np.float32)) == [0, 1, 4]
    assert loud(np.zeros((3, 64), np.int16)) == [0, 1, 2]
    assert loud(np.full((1, 64), -32768, np.int16)) == [0]


def test_a_clip_is_the_log_mel_of_its_window(tiny_corpus: Path, tmp_path: Path):
    run(tiny_corpus, tmp_path / "out", clip=CLIP.with_changes(stride_frames=20), subject_pattern=SUBJECT_PATTERN)
    features = FeatureSet.open(tmp_path / "out")
    recording, start_s = features.column("recording"), features.column("start_s")
    assert features.labels == list(LABELS)
    assert len(features) == 18 * 6  # (9600 - 31 * 64) // (20 * 64) + 1 a recording
    for k in range(0, len(features), 7):
        samples, _ = soundfile.read(tiny_corpus / recording[k], dtype="int16")
        first = round(start_s[k] * 8000)
        expected = native.log_mel(samples[first : first + MEL.n_samples(32)], MEL)
        np.testing.assert_array_equal(features.clips([k])[0], expected)
        assert features.column("id")[k] == f"{recording[k]}#{first // (20 * 64)}"
        assert features.column("subject")[k] == recording[k].split("/")[1][:2]


def test_counts_and_settings_are_told_and_stored(tiny_corpus: Path, tmp_path: Path):
    result = run(tiny_corpus, tmp_path / "out", subject_pattern=SUBJECT_PATTERN)
    counts = result.counts
    assert (counts.found, counts.kept, counts.rejected, counts.subjects) == (18, 18, {}, 3)
    assert (counts.without_subject, counts.file_rates, counts.quiet_clips) == (0, {"8000": 18}, 0)
    assert counts.clips == dict.fromkeys(LABELS, 6 * 4)
    assert counts.audio_seconds == pytest.approx(18 * 1.2)
    about = json.loads((tmp_path / "out/features.json").read_text())
    assert about["counts"]["found"] == 18
    assert about["clip"] == CLIP.model_dump()
    assert about["mel"] == MEL.model_dump()
    assert about["subject_pattern"] == SUBJECT_PATTERN
    assert about["lineage"]["kind"] == "corpus"
    assert (tmp_path / "out/rejected.jsonl").read_text() == ""


def test_equal_bytes_for_two_runs_and_for_any_number_of_threads(tiny_corpus: Path, tmp_path: Path):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    (corpus / "hum/p1_0.wav").write_bytes(b"")
    for name, threads in (("one", 1), ("again", 1), ("two", 2), ("five", 5)):
        run(corpus, tmp_path / name, threads=threads, max_bad=0.1)
    one = files(tmp_path / "one")
    assert one.keys() == {"README.md", "features.json", "index.parquet", "rejected.jsonl", "shards/00000.npy"}
    assert all(files(tmp_path / name) == one for name in ("again", "two", "five"))


def test_formats_rates_and_channels_mix(tmp_path: Path):
    corpus = tmp_path / "corpus"
    for label in LABELS:
        (corpus / label).mkdir(parents=True)
        for number, (suffix, rate, channels) in enumerate(
            [("wav", 8000, 1), ("flac", 16000, 2), ("ogg", 44100, 1), ("mp3", 22050, 2), ("wav", 11025, 2)]
        ):
            samples = np.stack([sound(label, number, rate=rate)] * channels, axis=1)
            soundfile.write(corpus / label / f"{number}.{suffix}", samples, rate)
    counts = run(corpus, tmp_path / "out", threads=2).counts
    assert (counts.found, counts.kept) == (15, 15)
    assert counts.file_rates == {"8000": 3, "11025": 3, "16000": 3, "22050": 3, "44100": 3}
    features = FeatureSet.open(tmp_path / "out")
    assert np.isfinite(features.clips()).all()
    level = features.clips().mean(axis=(1, 2))
    for label in LABELS:  # the same kind of sound stays as loud as it was, whatever the file
        of_label = level[features.column("label") == label]
        assert of_label.max() - of_label.min() < 2.0


def test_a_second_channel_of_the_same_sound_changes_no_fact(tiny_corpus: Path, tmp_path: Path):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "once")
    for path in sorted(corpus.rglob("*.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        samples[:800] = 0
        samples[900] = 32767
        soundfile.write(path, samples, rate)
        twice = tmp_path / "twice" / path.relative_to(corpus)
        twice.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(twice, np.stack([samples] * 2, axis=1), rate)
    facts = []
    for name in ("once", "twice"):
        run(tmp_path / name, tmp_path / f"{name}.set")
        facts.append(json.loads((tmp_path / f"{name}.set/features.json").read_text())["corpus_facts"])
    one, two = facts
    assert (one.pop("channels"), two.pop("channels")) == ({"1": 18}, {"2": 18})
    for about, name in ((one, "8000 Hz, 1 channel"), (two, "8000 Hz, 2 channels")):
        named = [of["named"] for of in about.pop("formats")["by_label"].values()]
        assert named == [{name: 6}] * len(LABELS)
    assert one == two
    assert one["clipped_share"]["min"] > 0 < one["silent_share"] < 0.2


def test_the_receipt_tells_resampling_apart(tmp_path: Path):
    write_corpus(tmp_path / "corpus", rate=16000)
    assert run(tmp_path / "corpus", tmp_path / "out").receipt["stages"]["resample"]["share"] > 0


def test_a_flac_file_named_wav_is_asked_for_its_length_first(tmp_path: Path):
    """A small file that says it holds a day of samples is rejected, not decoded into memory."""
    write_corpus(tmp_path / "corpus")
    bomb = tmp_path / "corpus" / LABELS[0] / "bomb.wav"
    with open(bomb, "wb") as file:
        soundfile.write(file, sound("hum", 0), 8000, "PCM_16", format="FLAC")
    data = bytearray(bomb.read_bytes())
    data[21:26] = bytes([data[21] & 0xF0, *(800_000_000).to_bytes(4, "big")])
    bomb.write_bytes(data + bytes(200_000))
    run(tmp_path / "corpus", tmp_path / "out", max_bad=0.5)
    rejected = [json.loads(line) for line in (tmp_path / "out/rejected.jsonl").read_text().splitlines()]
    assert [row["code"] for row in rejected] == ["TOO_LONG"]


def test_a_table_gives_segments_of_one_file(tmp_path: Path):
    samples = np.concatenate([sound("hum", 0), sound("hiss", 0)])
    soundfile.write(tmp_path / "operation.wav", samples, 8000, "PCM_16")
    (tmp_path / "table.csv").write_text(
        "path,label,subject,site,device,start_s,end_s\n"
        "operation.wav,hum,s1,north,mic 2,0,1.2\n"
        "operation.wav,hiss,s1,north,mic 2,1.2,\n"
        "operation.wav,hiss,s1,north,mic 2,0.7,\n"
    )
    counts = run(tmp_path / "table.csv", tmp_path / "out").counts
    assert (counts.found, counts.kept, counts.clips) == (3, 3, {"hiss": 4 + 6, "hum": 4})
    features = FeatureSet.open(tmp_path / "out")
    assert set(features.column("recording")) == {"operation.wav"}
    assert {features.column(name)[0] for name in ("subject", "site", "device")} == {"s1", "north", "mic 2"}
    starts = features.column("start_s")[features.column("label") == "hum"]
    np.testing.assert_allclose(starts, [0.0, 0.256, 0.512, 0.768])
    last = features.column("start_s").argmax()
    first = round(features.column("start_s")[last] * 8000)
    window = soundfile.read(tmp_path / "operation.wav", dtype="int16")[0][first : first + MEL.n_samples(32)]
    np.testing.assert_array_equal(features.clips([last])[0], native.log_mel(window, MEL))


@pytest.mark.parametrize("short", ["pad", "tile"])
def test_a_short_recording_is_one_clip(tmp_path: Path, short: str):
    corpus = write_corpus(tmp_path / "corpus", seconds=0.2)
    run(corpus, tmp_path / "out", clip=CLIP.with_changes(short=short))
    features = FeatureSet.open(tmp_path / "out")
    assert len(features) == 18
    samples, _ = soundfile.read(corpus / features.column("recording")[0], dtype="int16")
    window = np.resize(samples, 1984) if short == "tile" else np.pad(samples, (0, 1984 - 1600))
    np.testing.assert_array_equal(features.clips([0])[0], native.log_mel(window, MEL))


def test_quiet_clips_are_dropped_and_counted(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    samples = sound("hum", 0)
    samples[2048:4032] *= 1e-3
    soundfile.write(corpus / "hum/p0_0.wav", samples, 8000, "PCM_16")
    result = run(corpus, tmp_path / "out")
    features = FeatureSet.open(tmp_path / "out")
    assert (result.counts.quiet_clips, result.counts.clips["hum"]) == (1, 23)
    assert [i for i in features.column("id") if "hum/p0_0" in i] == [f"hum/p0_0.wav#{k}" for k in (0, 2, 3)]
    assert run(corpus, tmp_path / "all", clip=CLIP.with_changes(quiet_db=80.0)).counts.quiet_clips == 0


def test_threads_work_at_once_and_only_a_few_batches_ahead(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work, pairs, begun, ahead = workers.clips_of_batch, threading.Barrier(2), itertools.count(1), []

    class Slow(Recorder):
        def advance(self, steps: int = 1, note: str = "") -> None:
            super().advance(steps)
            time.sleep(0.01)  # long enough for the threads to run away

    def in_pairs(*x):
        pairs.wait(timeout=60)
        ahead.append(next(begun) - slow.done)
        return work(*x)

    slow = Slow()
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 1)
    monkeypatch.setattr(workers, "clips_of_batch", in_pairs)
    run(tiny_corpus, tmp_path / "out", threads=2, progress=slow)
    assert slow.done == 18
    assert 2 <= max(ahead) <= 5


def test_a_second_run_has_nothing_to_do_but_warns_as_the_first(tiny_corpus: Path, tmp_path: Path):
    first, second = Recorder(), Recorder()
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    shutil.copy(corpus / "hum/p0_0.wav", corpus / "loose.wav")
    for path in corpus.glob("*/*.wav"):
        samples = soundfile.read(path)[0]
        soundfile.write(
            path, {"hum": 0.01, "hiss": 0.1, "knock": 0.9}[path.parent.name] * samples / samples.max(), 8000
        )
    mel = MEL.with_changes(sample_rate=16000)
    made = run(corpus, tmp_path / "out", mel, progress=first)
    before = files(tmp_path / "out")
    again = run(corpus, tmp_path / "out", mel, progress=second)
    assert (made.already_done, again.already_done) == (False, True)
    assert made.counts == again.counts
    assert (sum(first.totals), first.done, sum(second.totals)) == (18, 18, 0)
    assert files(tmp_path / "out") == before
    assert first.warnings == second.warnings
    assert [warning.split(" ", 1)[1][:30] for warning in first.warnings] == [
        "audio file lies in no label's ",
        "subject of 18 of 18 recordings",
        "of 18 recordings were sampled ",
        "alone predicts the label: macr",
    ]
    assert "bands above 4000 Hz hold nothing. Try --sample-rate 8000" in first.warnings[2]


def test_a_set_is_on_disk_before_it_appears(tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def noted(descriptor: int) -> None:
        if not (tmp_path / "out").exists():
            flushed.add(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path / ".out.draft/set"))

    flushed = set()
    monkeypatch.setattr(os, "fsync", noted)
    run(tiny_corpus, tmp_path / "out")
    assert {*files(tmp_path / "out"), "shards", "."} <= flushed


def test_subjects_known_and_rates_high_enough_give_no_warning(tiny_corpus: Path, tmp_path: Path):
    listener = Recorder()
    run(tiny_corpus, tmp_path / "out", subject_pattern=SUBJECT_PATTERN, progress=listener)
    low = MEL.with_changes(sample_rate=16000, f_max=4000.0)
    run(tiny_corpus, tmp_path / "low", low, subject_pattern=SUBJECT_PATTERN, progress=listener)
    assert listener.warnings == []


def test_several_low_rates_are_told_one_by_one(tmp_path: Path):
    corpus, listener = write_corpus(tmp_path / "corpus"), Recorder()
    for number, rate in enumerate((4000, 6000, 6000)):
        soundfile.write(corpus / f"hum/p0_{number}_low.wav", sound("hum", number, rate=rate), rate)
    run(corpus, tmp_path / "out", subject_pattern=SUBJECT_PATTERN, progress=listener)
    (warning,) = listener.warnings
    assert "3 of 21 recordings were sampled below 8000 Hz, so their mel bands above half their rate hold" in warning
    assert "nothing: 2 at 6000 Hz, 1 at 4000 Hz. Try --sample-rate 6000 --f-max 3000" in warning


def test_another_setting_or_another_corpus_is_refused_by_name(tiny_corpus: Path, tmp_path: Path):
    corpus, out = shutil.copytree(tiny_corpus, tmp_path / "corpus"), tmp_path / "out"
    run(corpus, out)
    before = files(out)
    changed = r"clip.n_frames is 32 there, 16 asked; clip.stride_frames is .*; mel.n_mels is 32 there, 24 asked"
    with pytest.raises(InputError, match=changed):
        run(corpus, out, MEL.with_changes(n_mels=24), CLIP.with_changes(n_frames=16))
    with pytest.raises(InputError, match=r"subject_pattern is None there, '/.* asked"):
        run(corpus, out, subject_pattern=r"/(p\d)_")
    (corpus / "hum/p0_0.wav").unlink()
    with pytest.raises(InputError, match=r"the corpus's fingerprint is '\w{16}' there, '\w{16}' asked"):
        run(corpus, out)
    assert files(out) == before


def test_dask_without_its_extra_is_refused_before_the_corpus_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SettingsError, match=r"--dask needs Dask. Install it with: pip install 'clinaug-fast\[dask\]'"):
        run(tmp_path / "no corpus", tmp_path / "out", dask="tcp://127.0.0.1:8786")


def test_an_existing_folder_that_is_no_feature_set_is_refused(tiny_corpus: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    (tmp_path / "file").write_text("x")
    for name in ("out", "file"):
        with pytest.raises(InputError, match=f"{name} exists and is no feature set"):
            run(tiny_corpus, tmp_path / name)


def test_too_many_bad_files_are_told_after_writing_the_others(tiny_corpus: Path, tmp_path: Path):
    corpus, out = shutil.copytree(tiny_corpus, tmp_path / "corpus"), tmp_path / "out"
    (corpus / "hum/p1_0.wav").write_bytes(b"")
    (corpus / "hiss/p2_1.wav").write_text("text")
    sentence = r"2 of 18 recordings were rejected \(1 EMPTY, 1 UNREADABLE\); expected at most 5.0%.*rejected.jsonl"
    for _ in range(2):  # the second time nothing is to do, and the verdict is the same
        with pytest.raises(RejectedError, match=sentence):
            run(corpus, out)
        assert len(set(FeatureSet.open(out).column("recording"))) == 16
    rows = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert [(row["path"], row["code"]) for row in rows] == [("hiss/p2_1.wav", "UNREADABLE"), ("hum/p1_0.wav", "EMPTY")]
    assert all(row["reason"] for row in rows)
    allowed = run(corpus, out, max_bad=2 / 18)
    assert allowed.already_done
    assert (allowed.counts.kept, allowed.counts.rejected) == (16, {"EMPTY": 1, "UNREADABLE": 1})


def test_nothing_is_written_where_nothing_is_left(tmp_path: Path):
    (tmp_path / "table.csv").write_text("path,label\nx.wav,a\ny.wav,b\n")
    with pytest.raises(RejectedError, match=r"all 2 recordings .* nothing was written.*x\.wav: MISSING, no such file"):
        run(tmp_path / "table.csv", tmp_path / "out")
    corpus = write_corpus(tmp_path / "corpus")
    for path in [*corpus.glob("hum/*"), *corpus.glob("hiss/*")]:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"only the label 'knock' .*hiss/p0_0\.wav: EMPTY"):
        run(corpus, tmp_path / "out", max_bad=1.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "table.csv"]


@pytest.mark.parametrize("how", [{"threads": 0}, {"max_bad": -0.1}, {"max_bad": float("nan")}])
def test_wrong_options_are_refused_before_anything_is_read(tmp_path: Path, how: dict):
    with pytest.raises(SettingsError, match=next(iter(how))):
        run(tmp_path / "nowhere", tmp_path / "out", **how)


def test_empty_bands_are_refused_before_anything_is_read(tmp_path: Path):
    with pytest.raises(SettingsError, match="mel bands are empty"):
        run(tmp_path / "nowhere", tmp_path / "out", MEL.with_changes(n_mels=300))


@pytest.mark.corpus
@pytest.mark.parametrize(
    ("name", "preset", "pattern", "found", "labels", "subjects"),
    [("heart", "heart", None, 1000, 5, 0), ("esc10", "surgical", r"\d-(\d+)-", 400, 10, 304)],
)
def test_the_real_corpora_are_read_whole(name, preset, pattern, found, labels, subjects, tmp_path: Path):
    mel, clip = PRESETS[preset].mel, PRESETS[preset].clip
    counts = run(CORPORA / name, tmp_path / "out", mel, clip, subject_pattern=pattern, threads=2).counts
    assert (counts.found, counts.kept, counts.subjects, len(counts.clips)) == (found, found, subjects, labels)
    features = FeatureSet.open(tmp_path / "out")
    assert len(set(features.column("recording"))) == found
    assert features.clip_shape == (64, 64)
    assert np.isfinite(features.clips()).all()


def test_another_longest_duration_is_another_set(tiny_corpus: Path, tmp_path: Path):
    run(tiny_corpus, tmp_path / "out", max_hours=2.0)
    with pytest.raises(InputError, match=r"max_hours is 2\.0 there, 3\.0 asked"):
        run(tiny_corpus, tmp_path / "out", max_hours=3.0)
