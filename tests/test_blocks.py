"""Blocks: where they are cut, shards that grow, and recordings too long for memory, which must not change a bit."""

import errno
import io
import itertools
import json
import math
import os
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from clinaug_fast import native
from clinaug_fast.config import ClipConfig
from clinaug_fast.corpus import long_recording
from clinaug_fast.corpus.audio import open_audio
from clinaug_fast.corpus.recordings import Recording
from clinaug_fast.corpus.verdicts import Code, Rejected
from clinaug_fast.errors import SettingsError
from clinaug_fast.features import shards
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.shards import NPY_HEADER_BYTES, Shard, fingerprint_shard
from clinaug_fast.preprocess import blocks, clips, workers
from clinaug_fast.preprocess.blocks import BlockFiles, cut_into_blocks
from clinaug_fast.preprocess.clips import ClipSettings, Seconds
from clinaug_fast.preprocess.pipeline import preprocess
from clinaug_fast.preprocess.workers import Job, run_blocks
from clinaug_fast.runs import Silent
from conftest import MEL, files, sound, write_corpus

CLIP = ClipConfig(n_frames=32)


def listing(n_bytes: list[int | None], paths: list[str] | None = None) -> pa.Table:
    paths = paths or [f"{k}.wav" for k in range(len(n_bytes))]
    return pa.table({"path": paths, "bytes": pa.array(n_bytes, pa.int64())})


@given(st.lists(st.none() | st.integers(0, 100 << 20), min_size=1, max_size=60), st.integers(1, 8))
def test_blocks_follow_one_another_and_are_as_large_as_they_may_be(n_bytes: list[int | None], most: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCK_RECORDINGS", most)
        cut = cut_into_blocks(listing(n_bytes))
    assert [row for block in cut for row in block] == list(range(len(n_bytes)))
    size = [sum(n_bytes[row] or 0 for row in block) for block in cut]
    assert all(len(block) == 1 or total <= blocks.BLOCK_BYTES for block, total in zip(cut, size, strict=True))
    assert all(1 <= len(block) <= most for block in cut)
    for k in range(len(cut) - 1):
        assert len(cut[k]) == most or size[k] + (n_bytes[cut[k].stop] or 0) > blocks.BLOCK_BYTES


def test_a_block_may_be_full_to_the_byte():
    assert cut_into_blocks(listing([64 << 20, 64 << 20, 1])) == [range(2), range(2, 3)]
    assert cut_into_blocks(listing([64 << 20, (64 << 20) + 1])) == [range(1), range(1, 2)]


def test_segments_of_one_file_count_its_bytes_once():
    assert len(cut_into_blocks(listing([100 << 20] * 9, ["a.wav"] * 9))) == 1
    assert len(cut_into_blocks(listing([100 << 20] * 9))) == 9


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_a_shard_is_what_numpy_saves(sizes: list[int], data: st.DataObject):
    kept = np.zeros((0, 3, 2), np.float32)
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed and gone with the test
    shard = Shard(file, (3, 2), data.draw(st.integers(0, 40), "expected"))
    for k, n in enumerate(sizes):
        some = np.random.default_rng(k).normal(size=(n, 3, 2)).astype(np.float32)
        mark = shard.rows
        shard.append(some)
        numbers = np.flatnonzero([data.draw(st.booleans()) for _ in range(n)])
        shard.keep(mark, numbers)
        kept = np.concatenate([kept, some[numbers]])
    digest = shard.finish()
    expected = io.BytesIO()
    np.save(expected, kept)
    assert Path(file.name).read_bytes() == expected.getvalue()
    assert digest == fingerprint_shard(Path(file.name))


@pytest.mark.parametrize(("cached", "begun"), [(0, 1), (3 << 20, 3), (math.inf, None)])
def test_a_shard_that_outgrows_the_cache_lets_go_of_what_it_sent(tmp_path: Path, monkeypatch, cached: float, begun):
    monkeypatch.setattr(shards, "ON_THEIR_WAY_BYTES", 1 << 20)
    left: list[tuple[int, int]] = []
    monkeypatch.setattr(native, "let_go", lambda descriptor, first, n_bytes: left.append((first, n_bytes)))
    clips = np.ones((1, 512, 512), np.float32)  # of 1 MiB
    with open(tmp_path / "shard", "w+b") as file:
        shard = Shard(file, (512, 512), 8, cached)
        for _ in range(6):
            shard.append(clips)
        told = [] if begun is None else list(range(begun, 6))
        assert left == [(NPY_HEADER_BYTES, n << 20) for n in told]  # the header is written again; the last is under way
        shard.hold()
        left.clear()
        for _ in range(4):
            shard.append(clips)
        assert not left  # it may be moved
        shard.keep(6, np.arange(1, 3))
        for _ in range(4):
            shard.append(clips)
        assert not left  # all of it is read once more, for its digest
        shard.finish()
    np.testing.assert_array_equal(np.load(tmp_path / "shard"), np.broadcast_to(clips, (12, 512, 512)))


def test_the_cache_lets_go_of_what_is_on_disk_alone(tmp_path: Path):
    with open(tmp_path / "some", "w+b") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        native.let_go(file.fileno(), 0, 1 << 20)  # nothing may be there yet
        os.fsync(file.fileno())
        file.seek(0)
        before = file.read()
        native.let_go(file.fileno(), 100, (1 << 20) - 100)
        file.seek(0)
        assert file.read() == before


@pytest.mark.parametrize("expected", [0, 2, 1000])
def test_a_shard_takes_no_more_of_the_disk_than_its_clips(tmp_path: Path, expected: int):
    clips = np.ones((2, 3, 1000), np.float32)
    with open(tmp_path / "shard", "w+b") as file:
        shard = Shard(file, (3, 1000), expected)
        shard.append(clips)
        assert (tmp_path / "shard").stat().st_size <= NPY_HEADER_BYTES + clips.nbytes  # set aside, not yet the file's
        shard.finish()
    about = (tmp_path / "shard").stat()
    assert about.st_size == NPY_HEADER_BYTES + clips.nbytes
    assert 512 * about.st_blocks < 2 * about.st_size + (64 << 10)


def test_a_machine_of_another_arithmetic_makes_no_blocks(tmp_path: Path):
    settings = ClipSettings(MEL, CLIP, 60.0)
    job = Job(settings, tmp_path, BlockFiles(tmp_path, tmp_path), 1 << 30, False, None, arithmetic="baseline abacus")
    with pytest.raises(SettingsError, match=r"expected 'baseline abacus', as asked for\. Set CLINAUG_ISA=baseline"):
        run_blocks(job, [], 1, Silent())


@pytest.mark.parametrize("stride", [8, 32, 70])
def test_recordings_in_pieces_give_the_bytes_of_whole_ones(tmp_path: Path, monkeypatch, stride: int):
    corpus = write_corpus(tmp_path / "corpus")
    for number, (suffix, rate, channels, subtype) in enumerate(
        [("flac", 8000, 1, "PCM_16"), ("flac", 16000, 2, "PCM_24"), ("aiff", 11025, 1, "FLOAT"), ("ogg", 8000, 2, None)]
    ):
        samples = np.concatenate([sound("hum", k, rate=rate) * (k != 1 or 1e-4) for k in range(4)])
        soundfile.write(corpus / f"hum/{number}.{suffix}", np.stack([samples] * channels, axis=1), rate, subtype)
    clip = CLIP.with_changes(stride_frames=stride)
    whole = preprocess(corpus, tmp_path / "whole", MEL, clip).counts
    assert whole.quiet_clips > 0
    lengths = []
    work = long_recording.LongRecording.pieces

    def counted(self, seconds):
        lengths.append(0)
        for samples in work(self, seconds):
            lengths[-1] += 1
            yield samples

    monkeypatch.setattr(long_recording.LongRecording, "pieces", counted)
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 5000)
    for threads in (1, 3):
        assert preprocess(corpus, tmp_path / f"pieces{threads}", MEL, clip, threads=threads).counts == whole
    assert len(lengths) == 8
    assert min(lengths) > 4
    one, three, expected = (files(tmp_path / name) for name in ("pieces1", "pieces3", "whole"))
    assert one == three
    for name in ("index.parquet", "shards/00000.npy", "rejected.jsonl"):
        assert one[name] == expected[name]


def test_a_codec_that_cannot_be_sought_in_is_decoded_in_pieces_too(tmp_path: Path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "hum/long.aiff", np.concatenate([sound("hum", k) for k in range(4)]), 8000, "GSM610")
    whole = preprocess(corpus, tmp_path / "whole", MEL, CLIP).counts
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 5000)
    assert preprocess(corpus, tmp_path / "pieces", MEL, CLIP).counts == whole
    assert whole.rejected == {}
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


@pytest.mark.parametrize("short", ["pad", "tile"])
def test_recordings_in_pieces_may_be_shorter_than_a_window_and_too_short(tmp_path: Path, monkeypatch, short: str):
    corpus = write_corpus(tmp_path / "corpus")
    of = (("hum/a.flac", 2, 8000), ("knock/b.flac", 2, 8000), ("knock/c.flac", 1, 8000), ("knock/d.flac", 1, 16000))
    for k, (name, n, rate) in enumerate(of):
        samples = np.concatenate([sound(label, k, rate=rate) for label in ("hum", "hiss")[:n]])
        soundfile.write(corpus / name, samples, rate)
    clip = CLIP.with_changes(n_frames=400, short=short, min_seconds=1.5)
    preprocess(corpus, tmp_path / "whole", MEL, clip, max_bad=1.0)
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 5000)
    preprocess(corpus, tmp_path / "pieces", MEL, clip, max_bad=1.0)
    whole, pieces = files(tmp_path / "whole"), files(tmp_path / "pieces")
    assert whole["rejected.jsonl"].count(b"TOO_SHORT") == 20
    assert pieces == whole


def test_the_native_route_gives_the_bytes_of_the_general_one(tiny_corpus: Path, tmp_path: Path, monkeypatch):
    corpus = shutil.copytree(tiny_corpus, tmp_path / "corpus")
    soundfile.write(corpus / "hum/stereo.wav", np.stack([sound("hum", 1), sound("hiss", 2)], axis=1), 8000)
    soundfile.write(corpus / "hum/float.wav", sound("hum", 3), 8000, "FLOAT")
    soundfile.write(corpus / "hum/deep.wav", sound("knock", 3), 8000, "PCM_24")
    soundfile.write(corpus / "hum/fast.wav", sound("knock", 4, rate=16000), 16000)
    (corpus / "hum/text.wav").write_text("text")
    preprocess(corpus, tmp_path / "native", MEL, CLIP, max_bad=0.5)
    monkeypatch.setattr(clips, "WAV_BYTES", 0)
    monkeypatch.setattr(clips, "wav_rate", lambda path: None)
    monkeypatch.setattr(native, "wav_log_mel", None)
    monkeypatch.setattr(native, "read_wav", lambda *x: "not now")
    preprocess(corpus, tmp_path / "general", MEL, CLIP, max_bad=0.5)
    assert files(tmp_path / "native") == files(tmp_path / "general")


def test_a_long_recording_that_breaks_off_leaves_no_clip(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 3000)
    corpus = write_corpus(tmp_path / "corpus")
    bad = np.concatenate([sound("hum", 0), [np.nan], sound("hum", 1)])
    soundfile.write(corpus / "hum/p0_5.aiff", bad, 8000, "FLOAT")
    counts = preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.1).counts
    assert (counts.found, counts.kept, counts.rejected) == (19, 18, {"NON_FINITE": 1})
    monkeypatch.undo()
    (corpus / "hum/p0_5.aiff").unlink()
    preprocess(corpus, tmp_path / "without", MEL, CLIP)
    assert files(tmp_path / "out")["shards/00000.npy"] == files(tmp_path / "without")["shards/00000.npy"]


def test_a_long_recording_that_holds_less_than_it_declares_is_rejected(tmp_path: Path):
    soundfile.write(tmp_path / "x.wav", sound("hum", 0, seconds=1.0), 8000)
    with open_audio(Recording(tmp_path / "x.wav", "x.wav", "hum")) as file, pytest.raises(Rejected) as refusal:
        list(long_recording.LongRecording(replace(file, stop=9000), 8000, 1.0).pieces(Seconds()))
    assert refusal.value.code is Code.TRUNCATED


def write_corpus_half_in_flac(folder: Path) -> Path:
    corpus = write_corpus(folder)
    for path in list(corpus.glob("*/*_0.wav")):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".flac"), samples, rate)
        path.unlink()
    return corpus


@pytest.mark.parametrize("written", [0, 4, 16])
def test_where_writing_fails_nobody_waits_for_ever(tmp_path: Path, monkeypatch, written: int):
    def full(self: Shard, clips: np.ndarray) -> None:
        if next(appended) >= written:
            raise OSError(errno.ENOSPC, "full")
        append(self, clips)

    append, appended = Shard.append, itertools.count()
    monkeypatch.setattr(Shard, "append", full)
    monkeypatch.setattr(workers, "PENDING_BYTES", 1)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 1)
    corpus = write_corpus_half_in_flac(tmp_path / "corpus")
    with pytest.raises(OSError, match="full"):
        preprocess(corpus, tmp_path / "out", MEL, CLIP, threads=4)
    assert list(tmp_path.glob(".*")) == []


def test_clips_that_wait_for_their_turn_are_written_in_order(tmp_path: Path, monkeypatch):
    corpus = write_corpus_half_in_flac(tmp_path / "corpus")
    preprocess(corpus, tmp_path / "plain", MEL, CLIP)
    monkeypatch.setattr(workers, "PENDING_BYTES", 1)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 2)
    preprocess(corpus, tmp_path / "waiting", MEL, CLIP, threads=4)
    assert files(tmp_path / "plain") == files(tmp_path / "waiting")


def test_recordings_that_take_long_are_dealt_in_few(tmp_path: Path, monkeypatch):
    def counting(recordings, rows: range, *rest):
        dealt.append([Path(recordings.paths[row]).suffix for row in rows])
        return clips_of_batch(recordings, rows, *rest)

    clips_of_batch, dealt = workers.clips_of_batch, []
    monkeypatch.setattr(workers, "clips_of_batch", counting)
    corpus = write_corpus_half_in_flac(tmp_path / "corpus")
    for suffix, n in ((".flac", 20), (".wav", 200)):
        original = next(corpus.glob(f"hum/*{suffix}"))
        for i in range(n):
            os.link(original, corpus / "hum" / f"z{suffix}{i:03d}{suffix}")
    preprocess(corpus, tmp_path / "out", MEL, CLIP)
    assert max(batch.count(".flac") for batch in dealt) == 8
    assert max(map(len, dealt)) == 64


@pytest.mark.parametrize("pending_bytes", [1, workers.PENDING_BYTES])
def test_one_thread_at_a_time_writes_a_shard(tiny_corpus: Path, tmp_path: Path, monkeypatch, pending_bytes: int):
    def slow_append(self: Shard, clips: np.ndarray) -> None:
        assert writing.acquire(blocking=False), "two threads write at once"
        time.sleep(0.005)  # time for others to come
        append(self, clips)
        writing.release()

    append, writing = Shard.append, threading.Lock()
    preprocess(tiny_corpus, tmp_path / "plain", MEL, CLIP)
    monkeypatch.setattr(Shard, "append", slow_append)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 1)
    monkeypatch.setattr(workers, "PENDING_BYTES", pending_bytes)
    preprocess(tiny_corpus, tmp_path / "slow", MEL, CLIP, threads=3)
    assert files(tmp_path / "slow") == files(tmp_path / "plain")


def test_many_blocks_are_one_feature_set(tiny_corpus: Path, tmp_path: Path, monkeypatch):
    preprocess(tiny_corpus, tmp_path / "one", MEL, CLIP)
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 4)
    for threads in (1, 2, 5):
        preprocess(tiny_corpus, tmp_path / f"many{threads}", MEL, CLIP, threads=threads)
    assert files(tmp_path / "many1") == files(tmp_path / "many2") == files(tmp_path / "many5")
    one, many = FeatureSet.open(tmp_path / "one"), FeatureSet.open(tmp_path / "many1")
    assert len(many.about["shards"]) == 5
    assert one.index.drop(["shard", "row"]).equals(many.index.drop(["shard", "row"]))
    assert one.about["counts"] == many.about["counts"]
    assert one.about["corpus_facts"] == many.about["corpus_facts"]
    np.testing.assert_array_equal(one.clips(), many.clips())


def test_a_block_without_a_clip_has_an_empty_shard(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", 2)
    corpus = write_corpus(tmp_path / "corpus")
    for name in ("hum/p0_0.wav", "hum/p0_1.wav"):
        (corpus / name).write_bytes(b"")
    preprocess(corpus, tmp_path / "out", MEL, CLIP, max_bad=0.5)
    features = FeatureSet.open(tmp_path / "out")
    assert [entry["rows"] for entry in features.about["shards"]] == [8, 8, 8, 0, 8, 8, 8, 8, 8]
    assert features.clips().shape == (64, 32, 32)


def test_two_segments_of_one_file_are_one_block():
    assert cut_into_blocks(listing([blocks.BLOCK_BYTES - 1] * 2, ["a.wav"] * 2)) == [range(2)]


def test_rejected_recordings_stand_in_the_order_of_the_corpus_whichever_was_decoded_first(tmp_path: Path, monkeypatch):
    corpus, work, last = write_corpus(tmp_path / "corpus"), workers.clips_of_batch, threading.Event()
    for name in ("hiss/p0_0.wav", "knock/p2_1.wav"):
        (corpus / name).write_bytes(b"no sound")

    def late(recordings, rows, *x):
        if rows.start == 0:
            assert last.wait(10)
        numbers = work(recordings, rows, *x)
        if rows.stop == 18:
            last.set()
        return numbers

    monkeypatch.setattr(workers, "clips_of_batch", late)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 9)
    preprocess(corpus, tmp_path / "out", MEL, CLIP, threads=2, max_bad=0.5)
    rejected = map(json.loads, (tmp_path / "out/rejected.jsonl").read_text().splitlines())
    assert [row["path"] for row in rejected] == ["hiss/p0_0.wav", "knock/p2_1.wav"]


@pytest.mark.parametrize("n", [4, 18])
def test_the_times_of_each_block_are_counted_once(tiny_corpus: Path, tmp_path: Path, monkeypatch, n: int):
    monkeypatch.setattr(blocks, "BLOCK_RECORDINGS", n)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 2)
    made = preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP)
    assert made.receipt["audio_hours"] == round(18 * 1.2 / 3600, 4)
