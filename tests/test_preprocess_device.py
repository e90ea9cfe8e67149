"""`preprocess` by way of a device: order, batching and reuse of its buffers, with the CPU standing in for a GPU."""

# ruff: noqa: E402
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import Result

soundfile = pytest.importorskip("soundfile")  # `make test-cuda` runs where it may be missing

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, MelConfig
from clinaug_fast.corpus import long_recording
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess import double_buffer, workers
from clinaug_fast.preprocess.double_buffer import LANES, DoubleBuffer
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL, MEL_OPTIONS, files, sound, write_corpus
from test_preprocess import CLIP


class CpuLane:
    """Computes when it is waited for, as late as a device may, and spoils its memory before it is filled again."""

    def __init__(self, mel: MelConfig, length: int, clip_shape: tuple[int, int]):
        self.mel, self.capacity, self.length = mel, double_buffer.lane_capacity(length, clip_shape), length
        self.memory = np.zeros(4 * self.capacity * length, np.uint8)
        self.mels = np.empty((self.capacity, *clip_shape), np.float32)
        self.started: tuple[int, np.dtype] | None = None

    def windows(self, dtype: np.dtype) -> np.ndarray:
        assert self.started is None, "filled while the device works on it"
        return self.memory[: dtype.itemsize * self.capacity * self.length].view(dtype).reshape(-1, self.length)

    def start(self, n: int, dtype: np.dtype) -> None:
        assert 0 < n <= self.capacity
        assert self.started is None
        self.started = n, dtype

    def finish(self) -> np.ndarray:
        (n, dtype), self.started = self.started, None
        native.log_mel(self.windows(dtype)[:n], self.mel, out=self.mels[:n])
        self.memory.view(np.int16)[:] = 12345
        return self.mels[:n]


def cpu_lanes(mel: MelConfig, length: int, clip_shape: tuple[int, int]) -> list[CpuLane]:
    return [CpuLane(mel, length, clip_shape) for _ in range(LANES)]


SMALL = MelConfig(sample_rate=8000, n_fft=64, hop_length=32, n_mels=4)
LENGTH = SMALL.n_samples(3)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["int16", "float32"])), max_size=8), st.integers(1, 4))
def test_log_mels_come_in_the_order_of_the_windows(pushed: list[tuple[int, str]], capacity: int):
    rng = np.random.default_rng(0)
    given = [(rng.standard_normal((n, LENGTH)) * 1000).astype(dtype) for n, dtype in pushed]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(double_buffer, "LANE_BYTES", 4 * LENGTH * capacity)
        lanes = cpu_lanes(SMALL, LENGTH, (4, 3))
    assert lanes[0].capacity == capacity
    expected = b"".join(native.log_mel(windows, SMALL).tobytes() for windows in given)
    for _ in range(2):  # the lanes serve again
        emitted: list[np.ndarray] = []
        buffer = DoubleBuffer(lanes, emitted.append)
        for windows in given:
            passing = windows.copy()
            buffer.push(passing)
            passing.fill(0)
        buffer.flush()
        assert b"".join(mels.tobytes() for mels in emitted) == expected


def test_what_is_dropped_is_not_emitted_and_the_lanes_are_free(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(double_buffer, "LANE_BYTES", 4 * LENGTH * 2)
    lanes, emitted = cpu_lanes(SMALL, LENGTH, (4, 3)), []
    buffer = DoubleBuffer(lanes, emitted.append)
    buffer.push(np.zeros((5, LENGTH), np.float32))
    n = sum(map(len, emitted))
    buffer.drop()
    buffer.flush()
    assert sum(map(len, emitted)) == n < 5
    assert all(lane.started is None for lane in lanes)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    use_instead(monkeypatch, "an abacus")


def use_instead(
    monkeypatch: pytest.MonkeyPatch,
    arithmetic: str,
    lanes: Callable[[MelConfig, int, tuple[int, int]], list[CpuLane]] = cpu_lanes,
) -> None:
    def stand_in(device: str) -> workers.Accelerator | None:
        return None if device == "cpu" else workers.Accelerator(lanes, arithmetic)

    monkeypatch.setattr(workers, "accelerator_of", stand_in)
    monkeypatch.setattr("clinaug_fast.preprocess.pipeline.accelerator_of", stand_in)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.parametrize("lane_bytes", [1, 1 << 16, 8 << 20])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_device_makes_the_set_that_the_cpu_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lane_bytes: int, threads: int
):
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "hum/float.wav", sound("hum", 3), 8000, "FLOAT")
    soundfile.write(corpus / "hum/fast.wav", sound("knock", 4, rate=16000), 16000)
    soundfile.write(corpus / "hum/long.flac", np.tile(sound("hum", 5), 4), 8000)
    soundfile.write(corpus / "hum/nan.wav", np.full(9600, np.nan), 8000, "FLOAT")
    clip = ClipConfig(n_frames=32, stride_frames=20, quiet_db=6.0)
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 20000)
    monkeypatch.setattr(double_buffer, "LANE_BYTES", lane_bytes)
    monkeypatch.setattr(workers, "BATCH_RECORDINGS", 5)
    preprocess(corpus, tmp_path / "cpu", MEL, clip, max_bad=0.5)
    preprocess(corpus, tmp_path / "device", MEL, clip, max_bad=0.5, device="cuda", threads=threads)
    made, expected = files(tmp_path / "device"), files(tmp_path / "cpu")
    assert FeatureSet.open(tmp_path / "device").about["device"] == "cuda"
    assert {name for name in made if made[name] != expected[name]} <= {"features.json", "README.md"}
    assert made["shards/00000.npy"] == expected["shards/00000.npy"]
    with pytest.raises(InputError, match="device is 'cuda' there, 'cpu' asked"):
        preprocess(corpus, tmp_path / "device", MEL, clip, max_bad=0.5)


@pytest.mark.parametrize("at", [1, 2, 5, 9])
def test_a_device_that_fails_is_told_as_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int):
    """Not sent the same windows again, though a long recording flushes behind itself."""
    begun: list[int] = []

    class FailingLane(CpuLane):
        def start(self, n: int, dtype: np.dtype) -> None:
            super().start(n, dtype)
            begun.append(n)
            if len(begun) == at:
                raise torch.OutOfMemoryError("CUDA out of memory")

    def failing_lanes(mel: MelConfig, length: int, clip_shape: tuple[int, int]) -> list[CpuLane]:
        return [FailingLane(mel, length, clip_shape) for _ in range(LANES)]

    corpus = tmp_path / "corpus"
    for label in ("hum", "knock"):
        (corpus / label).mkdir(parents=True)
        soundfile.write(corpus / label / "long.flac", np.tile(sound(label, 5), 8), 8000)
    monkeypatch.setattr(long_recording, "PIECE_VALUES", 20000)
    monkeypatch.setattr(double_buffer, "LANE_BYTES", 1 << 16)
    use_instead(monkeypatch, "an abacus", failing_lanes)
    with pytest.raises(torch.OutOfMemoryError):
        preprocess(corpus, tmp_path / "out", MEL, CLIP, device="cuda")
    assert len(begun) == at
    use_instead(monkeypatch, "an abacus")
    made = preprocess(corpus, tmp_path / "out", MEL, CLIP, device="cuda").out
    preprocess(corpus, tmp_path / "again", MEL, CLIP, device="cuda")
    assert files(made) == files(tmp_path / "again")


@pytest.mark.parametrize("part", [None, Part(0, 2)])
def test_gpus_that_round_otherwise_make_no_set_together(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: Part | None
):
    use_instead(monkeypatch, "an abacus")
    first = made_on_it(tiny_corpus, tmp_path / "a", part)
    use_instead(monkeypatch, "a slide rule")
    if part is None:
        with pytest.raises(InputError, match=r"an abacus' there, '.*a slide rule' asked"):
            preprocess(tiny_corpus, tmp_path / "a", MEL, CLIP, device="cuda")
        return
    second = made_on_it(tiny_corpus, tmp_path / "b", Part(1, 2))
    with pytest.raises(InputError, match="arithmetic"):
        merge([first, second], tmp_path / "out")


def made_on_it(corpus: Path, out: Path, part: Part | None) -> Path:
    return preprocess(corpus, out, MEL, CLIP, device="cuda", part=part).out


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_written(
    cli: Callable[..., Result], tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = cli("preprocess", tiny_corpus, tmp_path / "out", *MEL_OPTIONS, "--n-frames", "32", "--device", "cuda")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "device is cuda, but torch sees no CUDA device here. Use --device cpu" in result.stderr
    assert os.listdir(tmp_path) == []
    with pytest.raises(SettingsError, match=r"device is 'tpu'; expected cpu or cuda"):
        preprocess(tiny_corpus, tmp_path / "out", MEL, CLIP, device="tpu")


@pytest.mark.cuda
@pytest.mark.parametrize("threads", [1, 3])
def test_a_gpu_makes_the_set_that_the_cpu_makes(tiny_corpus: Path, tmp_path: Path, threads: int):
    mel = MEL.with_changes(log="db")
    preprocess(tiny_corpus, tmp_path / "cpu", mel, CLIP)
    preprocess(tiny_corpus, tmp_path / "one", mel, CLIP, device="cuda")
    preprocess(tiny_corpus, tmp_path / "gpu", mel, CLIP, device="cuda", threads=threads)
    made, expected = FeatureSet.open(tmp_path / "gpu"), FeatureSet.open(tmp_path / "cpu")
    assert files(tmp_path / "gpu") == files(tmp_path / "one")
    assert made.index.equals(expected.index)
    np.testing.assert_allclose(made.clips(), expected.clips(), atol=0.05)
