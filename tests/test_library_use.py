"""The Python functions as other projects call them: numpy's integers, memory used again, names misspelt."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from types import FunctionType

import numpy as np
import pytest
import torch

import clinaug_fast
from clinaug_fast import config, native, ops
from clinaug_fast.audit.sources import audit
from clinaug_fast.augment.augment import augment
from clinaug_fast.config import AugmentConfig, ClipConfig, GanConfig, MelConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.evaluate.cross_validation import evaluate
from clinaug_fast.evaluate.quality import quality
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds, make_folds, write_folds
from clinaug_fast.features.verify import verify
from clinaug_fast.gan.generate import generate
from clinaug_fast.gan.models import Generator
from clinaug_fast.gan.train import train
from clinaug_fast.ops import LogMel, ResidualSE, residual_se
from clinaug_fast.preprocess.merge import merge
from clinaug_fast.preprocess.parts import Part
from clinaug_fast.preprocess.pipeline import MAX_HOURS, preprocess
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


def test_preprocess_takes_numpys_numbers(tiny_corpus: Path, tmp_path: Path) -> None:
    clip = ClipConfig(n_frames=16)
    preprocess(tiny_corpus, tmp_path / "one", MEL, clip)
    preprocess(tiny_corpus, tmp_path / "other", MEL, clip, threads=np.int64(2), max_hours=np.float32(MAX_HOURS))
    one = FeatureSet.open(tmp_path / "one")
    assert one.fingerprint == FeatureSet.open(tmp_path / "other").fingerprint
    for k in range(2):
        preprocess(tiny_corpus, tmp_path / "merged", MEL, clip, part=Part(np.int64(k), np.int64(2)))
    merge([f"{tmp_path}/merged.part-{k}-of-2" for k in range(2)], f"{tmp_path}/merged")
    assert FeatureSet.open(tmp_path / "merged").fingerprint == one.fingerprint
    with pytest.raises(SettingsError, match=r"threads is 2\.0; expected a whole number"):
        preprocess(tiny_corpus, tmp_path / "none", MEL, clip, threads=2.0)


@pytest.mark.parametrize(
    ("number", "count", "told"),
    [(3, 2, "the part is 3/2"), (0, 0, "the part is 0/0"), (-1, 2, "a part's number is -1"), (0, 1.5, "count is 1.5")],
)
def test_a_part_that_is_none(number: int, count: int, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        Part(number, count)


@pytest.mark.parametrize("by", ["noise", "pitch", "stretch", "specaugment"])
def test_settings_come_back_from_what_they_tell(by: str) -> None:
    config = AugmentConfig(by=by, copies=3)
    assert AugmentConfig(**config.model_dump()) == AugmentConfig(**json.loads(config.model_dump_json())) == config


def test_names_are_told_before_they_are_used() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import clinaug_fast; print(*dir(clinaug_fast))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {*clinaug_fast.__all__} <= {*told}
    assert not {"import_module", "TYPE_CHECKING"} & {*told}


def test_sets_are_keys(features: FeatureSet, folds: Folds) -> None:
    assert {features: 1, folds: 2}[FeatureSet.open(features.path)] == 1


@pytest.mark.parametrize("fold", [-1, 2, 1.0])
def test_a_fold_that_is_none(features: FeatureSet, folds: Folds, fold: int) -> None:
    for asked in (lambda: folds.test_groups(fold), lambda: folds.rows(features, fold)):
        with pytest.raises(SettingsError, match=f"fold is {fold}; expected"):
            asked()


def test_no_threads_for_an_audit(tiny_corpus: Path) -> None:
    with pytest.raises(SettingsError, match="threads is 0; expected at least 1"):
        audit(tiny_corpus, threads=0)


@pytest.mark.parametrize("threads", [0, -1, 1.5, None])
def test_no_threads_are_no_damage_to_a_feature_set(features: FeatureSet, threads: object) -> None:
    with pytest.raises(SettingsError, match=f"threads is {threads}; expected"):
        verify(features.path, threads=threads)


def test_type_checkers_see_every_setting_of_a_contract() -> None:
    """`MelConfig.__init__` is spelt out for them alone."""
    (spelt,) = (
        node
        for node in ast.walk(ast.parse(Path(config.__file__).read_text()))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and node.args.kwonlyargs
    )
    assert [argument.arg for argument in spelt.args.kwonlyargs] == ["like", *MelConfig.model_fields]


def _is_public(call: FunctionType) -> bool:
    return call.__module__ == native.__name__ and not call.__name__.startswith("_")


INTERFACE = [
    *(getattr(ops, name) for name in ops.__all__),
    *(call for call in vars(native).values() if isinstance(call, FunctionType) and _is_public(call)),
    *(preprocess, merge, verify, audit, augment, make_folds, write_folds, train, generate, evaluate, quality),
]


@pytest.mark.parametrize("call", INTERFACE, ids=lambda call: call.__name__)
def test_what_is_called_tells_its_types(call: Callable) -> None:
    """With a marker for who checks types."""
    assert (Path(clinaug_fast.__file__).parent / "py.typed").is_file()
    for function in (call.__init__, call.forward) if isinstance(call, type) else (call,):
        names = [*signature(function).parameters]
        untold = {*names} - {"self"} - {*function.__annotations__}
        assert not untold
        assert "return" in function.__annotations__ or function.__name__ == "__init__"
