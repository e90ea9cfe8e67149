"""The Python functions as other projects call them: numpy's integers, memory used again, names misspelt."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, GanConfig, MelConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds
from clinaug_fast.features.verify import verify
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.train import train
from clinaug_fast.ops import LogMel, ResidualSE, residual_se
from test_few_subjects import write

MEL = MelConfig(sample_rate=8000, n_fft=256, n_mels=16, f_max=4000)
GAN = GanConfig(width=2, latent_dim=4, steps=1, n_critic=1, batch_size=2)


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    return write(tmp_path / "real", [4] * 6)


@pytest.fixture
def folds(features: FeatureSet) -> Folds:
    return make_folds(features, 2)


def test_a_writer_keeps_what_it_was_given(tmp_path: Path) -> None:
    memory, given = np.empty((16, 8), np.float32), []
    with new_feature_set(tmp_path / "set", MEL, 8, ["a", "b"], {"kind": "corpus"}) as writer:
        for k in range(4):
            memory[:] = k
            given.append(memory.copy())
            writer.add(memory, id=f"{k}", recording=f"{k}", label="ab"[k % 2], start_s=0.0)
    np.testing.assert_array_equal(FeatureSet.open(tmp_path / "set").clips(), given)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"subjects": "s1"}, "the column 'subjects' is not of an index"),
        ({"label": "c"}, "the label 'c' is not of this"),
    ],
)
def test_a_writer_refuses_what_it_would_lose(tmp_path: Path, columns: dict, told: str) -> None:
    row = {"id": "1", "recording": "1", "label": "a", "start_s": 0.0} | columns
    with pytest.raises(ValueError, match=told), new_feature_set(tmp_path / "set", MEL, 8, ["a"], {}) as writer:
        writer.add(np.zeros((16, 8), np.float32), **row)
    assert not (tmp_path / "set").exists()


def test_a_writer_refuses_masks_and_labels_twice(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a MaskedArray of"), new_feature_set(tmp_path / "set", MEL, 8, ["a"], {}) as w:
        w.add(np.ma.masked_all((16, 8), np.float32), id="1", recording="1", label="a", start_s=0.0)
    with pytest.raises(InputError, match="the labels are a, b, a; expected each once"):
        new_feature_set(tmp_path / "set", MEL, 8, ["a", "b", "a"], {}).__enter__()


def test_rows_may_be_any_sequence(features: FeatureSet) -> None:
    expected = features.clips()[[3, 1]]
    for rows in ((3, 1), [3, 1], np.array([3, 1]), torch.tensor([3, 1])):
        np.testing.assert_array_equal(features.clips(rows), expected)
    assert features.clips(()).shape == features.clips([]).shape == (0, *features.clip_shape)
    np.testing.assert_array_equal(features.clips(slice(1, 3)), features.clips([1, 2]))
    with pytest.raises(ValueError, match=r"rows are of shape \(\); expected \(n,\)"):
        features.clips(3)


def test_a_set_opened_by_a_relative_path_is_read_from_elsewhere(
    features: FeatureSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = FeatureSet.open(Path("real"))
    assert str(opened.path) == "real"
    os.chdir("/")
    np.testing.assert_array_equal(opened.clips([0]), features.clips([0]))
    assert verify(features.path).whole


def test_numbers_of_numpy_are_numbers(features: FeatureSet, tmp_path: Path) -> None:
    folds = make_folds(features, np.int64(2), np.int32(0))
    assert folds.fingerprint == make_folds(features, 2).fingerprint
    done = train(features, folds, tmp_path / "run", GAN, only_folds=np.array([1, 0]), device=torch.device("cpu"))
    assert done.trained == [0, 1]
    assert json.loads((done.run.folder(1) / "state.json").read_text())["device"] == "cpu"
    made = generate(tmp_path / "run", features, folds, tmp_path / "made", n_per_label=np.int64(1), seed=np.uint8(1))
    assert len(made.features) == 4
    with new_feature_set(tmp_path / "set", MEL, np.int64(8), ["a"], {}) as writer:
        writer.add(np.zeros((16, 8), np.float32), id="1", recording="1", label="a", start_s=0.0)


@pytest.mark.parametrize("only", [[], 0, "", (), [0.5], ["0"], [True, False], np.array(0)])
def test_folds_that_are_no_numbers_are_refused_before_any_is_trained(
    features: FeatureSet, folds: Folds, tmp_path: Path, only: object
) -> None:
    with pytest.raises(SettingsError, match="expected"):
        train(features, folds, tmp_path / "run", GAN, only_folds=only)
    assert not (tmp_path / "run").exists()


def test_numbers_that_make_no_sense_are_refused(features: FeatureSet, folds: Folds, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="seed is -1; expected at least 0"):
        make_folds(features, 2, -1)
    with pytest.raises(SettingsError, match=r"folds is 2\.5; expected a whole number"):
        make_folds(features, 2.5)
    train(features, folds, tmp_path / "run", GAN)
    with pytest.raises(SettingsError, match=r"n_per_label is 1\.5; expected a whole number"):
        generate(tmp_path / "run", features, folds, tmp_path / "made", n_per_label=1.5)
    with pytest.raises(SettingsError, match="seed is -1"):
        generate(tmp_path / "run", features, folds, tmp_path / "made", seed=-1)


def test_a_generator_of_no_known_kind_is_refused() -> None:
    with pytest.raises(SettingsError, match="model is 'SE-CWGAN-GP'; expected one of se-cwgan-gp, res-cwgan-gp"):
        Generator("SE-CWGAN-GP", (16, 16), 2, 2, 4)


def test_a_slope_is_a_number_not_a_parameter() -> None:
    slope = torch.nn.Parameter(torch.tensor(0.2))
    with pytest.raises(TypeError, match="slope is of type Parameter; expected a number"):
        ResidualSE(16, 4, "leaky_relu", slope)
    module, x = ResidualSE(16, 4, "leaky_relu", 0.2), torch.zeros(1, 16, 2, 2)
    with pytest.raises(TypeError, match="slope is of type Tensor; expected a number"):
        residual_se(x, module.w1, module.b1, module.w2, module.b2, None, "leaky_relu", torch.tensor(0.2))


def test_a_copy_of_a_contract_has_its_own_digest() -> None:
    copied = MEL.copy(update={"n_mels": 8})
    assert (copied.n_mels, copied.digest) == (8, MEL.with_changes(n_mels=8).digest)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int64])
def test_sizes_of_few_bits_do_not_overflow(kind: type) -> None:
    mel = MelConfig(sample_rate=44100, n_fft=2048, hop_length=512)
    assert mel.n_frames(kind(32767)) == 64
    assert mel.n_samples(kind(64)) == mel.n_samples(64)


def test_the_numpy_face_refuses_masks_and_single_names(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="x is a masked array; expected a plain one"):
        native.log_mel(np.ma.masked_all(800, np.float32), MEL)
    with pytest.raises(TypeError, match=r"paths is '/x\.wav'; expected several"):
        native.wav_log_mel("/x.wav", MEL, ClipConfig(n_frames=8))
    with pytest.raises(TypeError, match=r"suffixes is '\.wav'; expected several"):
        native.list_audio(tmp_path, ".wav")


def test_a_compiled_gradient_does_not_know_its_batch() -> None:
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    module = torch.compile(LogMel(MEL), dynamic=True, backend=backend)
    for batch in range(2, 14):
        x = torch.ones(batch, 900, requires_grad=True)
        module(x).sum().backward()
        assert x.grad.shape == x.shape
    assert len(graphs) <= 2


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (("avx2", "GNU 12.2.0"), ("avx512", "GNU 14.2.0"), True),
        (("avx2", "Clang 19.1.7"), ("avx512", "Clang 19.1.7"), False),
        (("avx2", "Clang 19.1.7"), ("avx2", "GNU 12.2.0"), False),
        (("baseline", "GNU 12.2.0"), ("avx2", "GNU 12.2.0"), False),
        (("avx2", "GNU 12.2.0 Debug"), ("avx2", "GNU 12.2.0"), False),
        (("avx2", "Clang 14.0.6"), ("avx2", "Clang 19.1.7"), False),
    ],
)
def test_builds_that_give_other_bits_have_other_names(one: tuple, other: tuple, alike: bool) -> None:
    assert (native.arithmetic(*one) == native.arithmetic(*other)) is alike
