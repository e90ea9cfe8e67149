"""What the tests share: a tiny corpus, feature sets and folds for it, the command line in-process, what may be skipped.

Fixtures of session scope are read only: a test that changes one works on a copy.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from typer.testing import CliRunner, Result

from clinaug_fast import _native
from clinaug_fast.cli.main import app
from clinaug_fast.config import MelConfig
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.runs import Silent

# Properties are tried on the same examples every time, and leave no database in the checkout.
hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=60)
hypothesis.settings.load_profile("repeatable")

LABELS = ("hiss", "hum", "knock")
SUBJECTS = 3
TAKES = 2
RATE = 8000
SECONDS = 1.2
SUBJECT_PATTERN = r"/(p\d)_"
# The contract of the tiny corpus and of the tiny feature sets, also as options.
MEL = MelConfig(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=32)
MEL_OPTIONS = ("--sample-rate", "8000", "--n-fft", "256", "--hop-length", "64", "--n-mels", "32")
CORPORA = Path(os.environ.get("CLINAUG_CORPORA") or Path(__file__).parents[2] / "shared" / "data")


class Recorder(Silent):
    """A Progress that remembers: the steps of each phase, those done by their notes, and what was warned of."""

    def __init__(self):
        self.totals, self.notes, self.warnings = [], Counter(), []

    @property
    def done(self) -> int:
        return sum(self.notes.values())

    def start(self, title: str, total: int) -> None:
        self.totals.append(total)

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.notes[note] += steps

    def warn(self, text: str) -> None:
        self.warnings.append(text)


# What CI systems and clusters set would change what the commands print, or which part of the work they do.
for name in [name for name in os.environ if name.startswith("SLURM_")]:
    del os.environ[name]
for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS", "NO_COLOR", "CLICOLOR_FORCE", "COLUMNS"):
    os.environ.pop(name, None)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder by their paths in it, hidden ones and those without a suffix too."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.fixture(autouse=True)
def seeded_layers() -> None:
    """torch draws the first weights of a layer from its global generator."""
    torch.manual_seed(0)


def why_no_cuda() -> str:
    """What keeps a test marked `cuda` from running here; "" where nothing does."""
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return "" if _native.cuda_compiler else "the extension was built without a CUDA compiler"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") and (reason := why_no_cuda()):
        if os.environ.get("CLINAUG_REQUIRE_CUDA") == "1":
            pytest.fail(f"CLINAUG_REQUIRE_CUDA is 1, but {reason}")
        pytest.skip(reason)
    if item.get_closest_marker("corpus") and not CORPORA.is_dir():
        pytest.skip(f"no real corpora in {CORPORA}; CLINAUG_CORPORA may name their folder")


@pytest.fixture(params=_native.instruction_sets)
def instruction_set(request: pytest.FixtureRequest) -> str:
    """Each that runs here."""
    return request.param


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """An operator's test table runs on both."""
    return torch.device(request.param)


def sound(label: str, seed: int, rate: int = RATE, seconds: float = SECONDS) -> np.ndarray:
    """(T,) float64 in [-1, 1]: a sound of the tiny corpus."""
    rng = np.random.default_rng([LABELS.index(label), seed])
    t = np.arange(round(rate * seconds)) / rate
    noise = 0.05 * rng.standard_normal(len(t))
    if label == "hum":
        return 0.4 * np.sin(2 * np.pi * rng.uniform(200, 400) * t) + noise
    if label == "knock":
        return 0.8 * np.exp(-30 * (t % 0.3)) * np.sin(2 * np.pi * rng.uniform(800, 1200) * t) + noise
    return 4 * noise


def write_corpus(folder: Path, **how: Any) -> Path:
    """LABEL/pSUBJECT_TAKE.wav, PCM16."""
    import soundfile  # the kernels' tests run on GPU machines that lack it

    gains = np.random.default_rng(0)  # so that level does not tell the label
    for label in LABELS:
        (folder / label).mkdir(parents=True)
        for subject in range(SUBJECTS):
            for take in range(TAKES):
                path = folder / label / f"p{subject}_{take}.wav"
                samples = 10 ** gains.uniform(-1.5, 0) * sound(label, 10 * subject + take, **how)
                soundfile.write(path, samples, how.get("rate", RATE), "PCM_16")
    return folder


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 labels x 3 subjects x 2 takes of 1.2 s at 8 kHz."""
    return write_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


def write_features(path: Path, mel: MelConfig, n_frames: int, clips_a_recording: int = 2) -> FeatureSet:
    """3 labels x 6 subjects, one recording a label and subject: a bright band that tells the label, and noise."""
    rng = np.random.default_rng(0)
    with new_feature_set(path, mel, n_frames, LABELS, {"kind": "corpus", "corpus": "0" * 16}) as writer:
        for number, label in enumerate(LABELS):
            for subject in range(6):
                for k in range(clips_a_recording):
                    clip = rng.normal(-8.0, 1.0, (mel.n_mels, n_frames)).astype(np.float32)
                    band = mel.n_mels * number // len(LABELS)
                    clip[band : band + mel.n_mels // 4] += 6.0
                    recording = f"{label}/p{subject}.wav"
                    where = {"recording": recording, "subject": f"p{subject}", "label": label, "start_s": float(k)}
                    writer.add(clip, id=f"{recording}#{k}", **where)
    features = FeatureSet.open(path)
    write_folds(make_folds(features, n_folds=3), path / "folds.json")
    return features


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Of torch, on whose number bytes depend."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """36 clips of 32 x 32 with labels that are easy to tell; its folds.json has 3 folds."""
    return write_features(tmp_path_factory.mktemp("features") / "tiny", MEL, 32)


@pytest.fixture(scope="session")
def tiny_folds(tiny_features: FeatureSet) -> Folds:
    return Folds.load(tiny_features.path / "folds.json")


@pytest.fixture(scope="session")
def square_features(tmp_path_factory: pytest.TempPathFactory) -> FeatureSet:
    """As `tiny_features`, of 64 x 64."""
    return write_features(tmp_path_factory.mktemp("features") / "square", MEL.with_changes(n_mels=64, n_fft=1024), 64)


@pytest.fixture(scope="session")
def square_folds(square_features: FeatureSet) -> Folds:
    return Folds.load(square_features.path / "folds.json")


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read everything: be nobody for a moment."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder with the real corpora `heart` and `esc10`; mark the test `corpus`."""
    return CORPORA


@pytest.fixture(scope="session")
def cli() -> Callable[..., Result]:
    """`cli("split", path)` runs a command here; the result has exit_code, stdout and stderr."""

    def invoke(*arguments: Any) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return invoke


@pytest.fixture
def steps_of():
    """Counts optimiser steps; the count so far is `sum(...)` of it."""
    taken: Counter[int] = Counter()
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: taken.update([id(optimizer)]))
    yield taken
    hook.remove()
