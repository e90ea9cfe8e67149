"""generate: a feature set in the units of the real one, that says which fold it may be used for."""

import json
import math
import shutil
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from safetensors.torch import load_file, save

from clinaug_fast.config import GanConfig, MelConfig
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features import pictures
from clinaug_fast.features.folds import make_folds
from clinaug_fast.features.lineage import unseen_rows
from clinaug_fast.features.pictures import save_real_above
from clinaug_fast.gan import generate as module
from clinaug_fast.gan.generate import PICTURE, generate
from clinaug_fast.gan.run_folder import FINGERPRINTED, SCALING, WEIGHTS, Run, scaling_text
from clinaug_fast.gan.train import train
from clinaug_fast.runs import fingerprint, fingerprint_file
from clinaug_fast.seeds import derived_seed
from conftest import files
from test_gan_train import feature_set

SMALL = GanConfig(width=2, latent_dim=8, steps=3, batch_size=6, n_critic=1)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def run(one_thread, tiny_features, tiny_folds, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run"
    train(tiny_features, tiny_folds, path, SMALL)
    return path


@pytest.fixture(scope="module")
def made(run, tiny_features, tiny_folds, tmp_path_factory):
    return generate(run, tiny_features, tiny_folds, tmp_path_factory.mktemp("made") / "set").features


def test_clips_match_the_training_part_of_each_fold(made, run, tiny_features, tiny_folds):
    assert made.mel == tiny_features.mel
    assert made.clip_shape == tiny_features.clip_shape
    assert made.labels == tiny_features.labels
    for fold in range(3):
        rows, _ = tiny_folds.rows(tiny_features, fold)
        mine = made.column("fold") == fold
        np.testing.assert_array_equal(np.bincount(made.classes[mine]), np.bincount(tiny_features.classes[rows]))
        real = tiny_features.clips(rows)
        clips = made.clips(np.flatnonzero(mine))
        assert real.min() <= clips.min() < clips.max() <= real.max()
    assert made.column("id")[0] == "fold0/hiss/00000" == made.column("recording")[0]
    assert set(made.column("start_s")) == {0.0}
    assert len({clip.tobytes() for clip in made.clips()}) == len(made)


def test_a_rare_label_gets_as_few_clips_as_it_has(tiny_features, tmp_path):
    features = feature_set(tmp_path / "real", tiny_features.mel, 32, {"a": 4, "b": 8, "c": 6})
    folds = make_folds(features, 2)
    train(features, folds, tmp_path / "run", SMALL, only_folds=[0])
    made = generate(tmp_path / "run", features, folds, tmp_path / "set", only_folds=[0]).features
    assert np.bincount(features.classes[folds.rows(features, 0)[0]]).tolist() == [2, 4, 3]
    assert np.bincount(made.classes).tolist() == [2, 4, 3]


def test_each_clip_is_of_its_label_and_of_the_generator_of_its_fold(made, run):
    generators = [Run.open(run).generator(fold) for fold in range(3)]
    for fold, (generator, scaling) in enumerate(generators):
        for number in range(3):
            rows = np.flatnonzero((made.column("fold") == fold) & (made.classes == number))
            rng = torch.Generator().manual_seed(derived_seed("generated clips", 0, fold, number))
            latent = torch.randn(len(rows), SMALL.latent_dim, generator=rng)
            with torch.inference_mode():
                unit = generator(latent, torch.full((len(rows),), number)).squeeze(1).numpy()
            np.testing.assert_allclose(made.clips(rows), scaling.to_log_mel(unit), atol=1e-4)


def test_the_lineage_lets_each_clip_into_its_fold_alone(made, tiny_features, tiny_folds):
    for fold in range(3):
        rows = unseen_rows(made, tiny_features, tiny_folds, fold)
        assert set(made.column("fold")[rows]) == {fold}
        train_rows, _ = tiny_folds.rows(tiny_features, fold)
        assert made.lineage["trained_on_groups"][str(fold)] == sorted(set(tiny_features.groups[train_rows]))
    assert made.lineage["kind"] == "generated"


def test_the_same_bytes_again_and_others_with_another_seed(made, run, tiny_features, tiny_folds, tmp_path):
    state = torch.get_rng_state()
    again = generate(run, tiny_features, tiny_folds, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), state)
    assert files(again.features.path) == files(made.path)
    other = generate(run, tiny_features, tiny_folds, tmp_path / "other", seed=1)
    assert not np.array_equal(other.features.clips(), made.clips())


def test_a_second_call_has_nothing_to_do_and_a_changed_one_is_refused(made, run, tiny_features, tiny_folds, tmp_path):
    before = (made.path / "features.json").stat().st_mtime_ns
    again = generate(run, tiny_features, tiny_folds, made.path)
    assert again.already_done
    assert (made.path / "features.json").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="n_per_label is None there, 4 asked; seed is 0 there, 2 asked"):
        generate(run, tiny_features, tiny_folds, made.path, seed=2, n_per_label=4)
    with pytest.raises(InputError, match=r"fold is \[0, 1, 2\] there, \[1\] asked"):
        generate(run, tiny_features, tiny_folds, made.path, only_folds=[1])
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="exists already"):
        generate(run, tiny_features, tiny_folds, tmp_path / "mine")
    with pytest.raises(InputError, match="holds real clips; expected a new folder for the generated ones"):
        generate(run, tiny_features, tiny_folds, tiny_features.path)


def test_a_number_per_label_and_a_subset_of_folds(run, tiny_features, tiny_folds, tmp_path):
    some = generate(run, tiny_features, tiny_folds, tmp_path / "some", n_per_label=3, only_folds=[2]).features
    assert len(some) == 3 * 3
    assert set(some.column("fold")) == {2}
    assert sorted(some.lineage["trained_on_groups"]) == ["2"]
    with pytest.raises(SettingsError, match="n_per_label is 0"):
        generate(run, tiny_features, tiny_folds, tmp_path / "none", n_per_label=0)


def test_missing_folds_are_named(run, tiny_features, tiny_folds, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(run, part)
    shutil.rmtree(part / "fold_1")
    with pytest.raises(InputError, match=r"no generator for fold 1; its split has 3\..*--fold 0 --fold 2"):
        generate(part, tiny_features, tiny_folds, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not generate(part, tiny_features, tiny_folds, tmp_path / "out", only_folds=[0, 2]).already_done


def test_a_run_that_is_reached_by_a_link_knows_its_features(tiny_features, tiny_folds, tmp_path, monkeypatch):
    (tmp_path / "scratch/deep/deeper").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    (tmp_path / "work/link").symlink_to(tmp_path / "scratch/deep/deeper")
    monkeypatch.chdir(tmp_path / "work")
    for name in ("link/run", tmp_path / "work/link/run"):
        train(tiny_features, tiny_folds, name, SMALL, only_folds=[0])
        found = Run.open(name).features_path
        assert found.samefile(tiny_features.path)
        assert found.is_absolute() == Path(name).is_absolute()


def test_other_features_folds_or_folders_are_refused(
    run, tiny_features, tiny_folds, square_features, square_folds, tmp_path
):
    with pytest.raises(InputError, match="was trained on the feature set"):
        generate(run, square_features, square_folds, tmp_path / "out")
    with pytest.raises(InputError, match="was trained on the split"):
        generate(run, tiny_features, make_folds(tiny_features, 3, seed=7), tmp_path / "out")
    with pytest.raises(InputError, match=r"run\.json does not exist"):
        generate(tmp_path / "nowhere", tiny_features, tiny_folds, tmp_path / "out")


def test_a_run_that_was_trained_anew_is_no_longer_the_one_of_the_set(run, tiny_features, tiny_folds, tmp_path):
    """With another number of threads, say: the settings are the same, the weights are not."""
    other, out = tmp_path / "other", tmp_path / "out"
    shutil.copytree(run, other)
    generate(other, tiny_features, tiny_folds, out, only_folds=[1])
    state = json.loads((other / "fold_1/state.json").read_text())
    weights = load_file(other / "fold_1" / WEIGHTS)
    (other / "fold_1" / WEIGHTS).write_bytes(save({name: tensor + 1 for name, tensor in weights.items()}))
    digest = fingerprint_file(other / "fold_1" / WEIGHTS)
    (other / "fold_1/state.json").write_text(json.dumps(state | {"weights": digest}))
    with pytest.raises(InputError, match=r"other was trained anew after .*out was made of it"):
        generate(other, tiny_features, tiny_folds, out, only_folds=[1])
    scaled = state | {"scaling": state["scaling"] | {"high": state["scaling"]["high"] + 1.0}}
    shutil.copy(run / "fold_1" / WEIGHTS, other / "fold_1" / WEIGHTS)
    (other / "fold_1/state.json").write_text(json.dumps(scaled))
    with pytest.raises(InputError, match=r"other was trained anew after .*out was made of it"):
        generate(other, tiny_features, tiny_folds, out, only_folds=[1])


def test_a_generator_that_gives_no_numbers_is_refused(run, tiny_features, tiny_folds, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    state = json.loads((other / "fold_0/state.json").read_text())
    weights = load_file(other / "fold_0" / WEIGHTS)
    diverged = weights | {"project.weight": weights["project.weight"] * math.nan}
    (other / "fold_0" / WEIGHTS).write_bytes(save(diverged, {SCALING: scaling_text(**state["scaling"])}))
    digest = fingerprint_file(other / "fold_0" / WEIGHTS)
    (other / "fold_0/state.json").write_text(json.dumps(state | {"weights": digest}))
    with pytest.raises(InputError, match=r"generator of fold 0 in .*other gives NaN.*train a new run"):
        generate(other, tiny_features, tiny_folds, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_fold_of_another_number_or_run_is_refused(run, tiny_features, tiny_folds, tmp_path):
    """Its generator has seen subjects that are tested where it would be used."""
    swapped, mixed = (shutil.copytree(run, tmp_path / name) for name in ("swapped", "mixed"))
    for name, to in (("fold_0", "away"), ("fold_1", "fold_0"), ("away", "fold_1")):
        (swapped / name).rename(swapped / to)
    config = Run.open(run).config
    train(tiny_features, tiny_folds, tmp_path / "b", config.with_changes(seed=config.seed + 1), only_folds=[0])
    shutil.rmtree(mixed / "fold_0")
    shutil.copytree(tmp_path / "b/fold_0", mixed / "fold_0")
    for other, fold in ((swapped, 1), (mixed, 0)):
        told = rf"fold_0/state\.json is of fold {fold} of the run \w+; expected fold 0 of \w+, .*seen the subjects"
        sentence = rf"{told}.*remove .*fold_0 and run train again"
        with pytest.raises(InputError, match=sentence):
            generate(other, tiny_features, tiny_folds, tmp_path / "out")
        with pytest.raises(InputError, match=sentence):
            train(tiny_features, tiny_folds, other, config)
    assert not (tmp_path / "out").exists()


def test_a_fold_of_another_run_or_fold_is_refused(run, tmp_path):
    other = shutil.copytree(run, tmp_path / "other")
    shutil.copy(other / "fold_1/state.json", other / "fold_0/state.json")
    with pytest.raises(InputError, match="of fold 1 of the run"):
        Run.open(other).state(0)
    for name in ("run", "metrics"):
        state = json.loads((other / "fold_1/state.json").read_text())
        del state[name]
        (other / "fold_1/state.json").write_text(json.dumps(state))
        with pytest.raises(InputError, match=rf"is not a trained fold's state.json .*{name}"):
            Run.open(other).state(1)
        shutil.copy(run / "fold_1/state.json", other / "fold_1/state.json")


def test_train_tells_what_became_of_a_fold(run, tiny_features, tiny_folds, tmp_path):
    config = Run.open(run).config
    for name, damage, told in (
        (WEIGHTS, lambda path: path.write_bytes(path.read_bytes()[:1000]), "is not what train left"),
        ("state.json", lambda path: path.unlink(), "does not exist"),
        ("state.json", lambda path: path.write_text(""), "is not a trained fold's"),
    ):
        other = tmp_path / name.replace(".", told[:5])
        shutil.copytree(run, other)
        damage(other / "fold_0" / name)
        with pytest.raises(InputError, match=rf"{told}.*remove .*fold_0 and run train again"):
            train(tiny_features, tiny_folds, other, config)
        shutil.rmtree(other / "fold_0")
        assert train(tiny_features, tiny_folds, other, config).trained == [0]


CHANGED = r"run\.json was changed after it was made\. Restore it, or train a new run"
WIDER = r"generator\.safetensors does not fit .*run\.json: size mismatch for project\.weight: .*[^.]\. Train again$"


def test_a_run_of_another_version_or_with_other_weights_is_refused(run, tiny_features, tiny_folds, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    about = json.loads((other / "run.json").read_text())
    wider = about | {"settings": about["settings"] | {"width": 8}}
    sealed = fingerprint({key: wider[key] for key in FINGERPRINTED})
    for changed, sentence in (
        (
            about | {"schema_version": 0},
            r"run\.json is not of schema version 3\. Another build made it",
        ),
        ([], r"run\.json is not a run's run\.json .*: it holds \[\]\. Restore the file"),
        (wider, CHANGED),
        (about | {"features_path": None}, r"run\.json is not a run's .*: its features_path is None\. Restore"),
        (about | {"split": None}, r"its split is None"),
        (about | {"split": about["split"] | {"seed": 9}}, CHANGED),
        (about | {"split": make_folds(tiny_features, 3, seed=7).about}, CHANGED),  # whole, but of another run
        (about | {"clip_shape": [16, 32]}, CHANGED),
        (wider | {"fingerprint": sealed}, WIDER),
    ):
        (other / "run.json").write_text(json.dumps(changed))
        if sentence == WIDER:
            for path in other.glob("fold_?/state.json"):
                path.write_text(json.dumps(json.loads(path.read_text()) | {"run": sealed}))
        with pytest.raises(InputError, match=sentence):
            generate(other, tiny_features, tiny_folds, tmp_path / "out")
    shutil.copytree(run, other, dirs_exist_ok=True)
    (other / "run.json").write_text(json.dumps(about | {"features_path": "elsewhere"}))  # they may move
    state = json.loads((other / "fold_0/state.json").read_text())
    for changed, sentence in (
        ([], r"state\.json is not a trained fold's state\.json .*: it holds \[\]\. Restore the file"),
        (state | {"weights": None}, r"its weights is None"),
        (state | {"scaling": {"low": -1.0}}, r"in its scaling, its high is None"),
        (state | {"scaling": {"low": -1.0, "high": math.nan}}, r"state\.json is not .*: it holds NaN\. Restore"),
        (state | {"scaling": {"low": 3.0, "high": -1.0}}, r"scales clips to 3\.0 to -1\.0; expected low < high"),
        (state | {"clips_per_label": ["a"]}, r"its clips_per_label is \['a'\]"),
    ):
        (other / "fold_0/state.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=sentence):
            generate(other, tiny_features, tiny_folds, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_picture_depends_on_the_clips_alone(tmp_path):
    mel = MelConfig(sample_rate=8000, n_fft=512, n_mels=32)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 2, 2, 32, 16))
    labels = ["crackle", "wheeze"]
    save_real_above(tmp_path / "a.png", real, fake, labels, mel)
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 20}):  # a user's own style
        save_real_above(tmp_path / "b.png", real, fake, labels, mel)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    save_real_above(tmp_path / "c.png", real, fake[::-1], labels, mel)
    a, c = imread(tmp_path / "a.png"), imread(tmp_path / "c.png")
    changed = np.flatnonzero((a != c).any(axis=(1, 2)))
    assert changed.min() > 0.4 * len(a)  # real clips above, generated ones below
    save_real_above(tmp_path / "loud.png", real, 10 * fake, labels, mel)  # one colour scale: that of the real
    changed = np.flatnonzero((a != imread(tmp_path / "loud.png")).any(axis=(1, 2)))
    assert changed.min() > 0.4 * len(a)
    many = [f"label {k}" for k in range(7)]  # one more than fit beside each other
    many[3] = "$^$"  # no formula, but a folder's name
    save_real_above(tmp_path / "d.png", [real[0]] * 7, [fake[0]] * 7, many, mel)
    d = imread(tmp_path / "d.png")
    assert len(d) == 2 * len(a)
    assert d.shape[1] > 2 * a.shape[1]


@pytest.mark.parametrize(
    ("changes", "khz"),
    [
        ({"sample_rate": 8000, "n_fft": 512, "hop_length": 128}, ["2", "1", "0.5", "0.2"]),
        ({"sample_rate": 44100, "n_fft": 2048, "hop_length": 512}, ["10", "5", "2", "1", "0.5"]),
        ({"sample_rate": 8000, "n_fft": 4096, "f_min": 2100.0, "f_max": 2600.0}, ["2.586", "2.111"]),
    ],
)
def test_the_axes_are_in_seconds_and_round_kilohertz(changes, khz):
    mel = MelConfig(n_mels=40, **changes)
    axes = Figure().subplots()
    image = pictures._show(axes, np.zeros((40, 25), np.float32), mel, np.array([0.0, 1.0]))
    assert image.get_extent() == [0, 25 * mel.hop_length / mel.sample_rate, 0, 40]
    assert [text.get_text() for text in axes.get_yticklabels()] == khz
    places = axes.get_yticks()
    assert (np.diff(places) < 0).all()
    assert 0 < places[-1] < places[0] < 40


def test_one_generated_clip_a_label_leaves_no_empty_row(tmp_path, recwarn):
    mel = MelConfig(sample_rate=8000, n_fft=64, n_mels=8)
    real, fake = [np.zeros((2, 8, 10), np.float32)] * 2, [np.ones((1, 8, 10), np.float32)] * 2
    pixels = []
    for name, generated in (("one", fake), ("two", [np.repeat(clips, 2, axis=0) for clips in fake])):
        save_real_above(tmp_path / f"{name}.png", real, generated, ["咳嗽", "a"], mel)
        pixels.append(len(imread(tmp_path / f"{name}.png")))
    assert 0.7 < pixels[0] / pixels[1] < 0.85
    assert not recwarn.list  # on characters that the font lacks


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("wheeze", ["wheeze"]),
        ("moderate_mitral_regurgitation", ["moderate_mitral_", "regurgitation"]),
        ("severe aortic stenosis", ["severe aortic stenosis"]),
        ("x" * 300, ["x" * 22, "…", "x" * 14]),
        ("a_" + "x" * 23 + "_" + "y" * 23 + "_z", ["a_", "…", "y_z"]),
        ("咳嗽咳嗽", [r"\u54b3\u55fd\u54b3", r"\u55fd"]),
        ("e\u0301" * 24, ["e\u0301" * 21, "e\u0301" * 3]),
        ("$x_1$", ["$x_1$"]),
        ("咳", [r"\u54b3"]),
        ("\U0001f3b5", [r"\U0001f3b5"]),
    ],
)
def test_titles_have_lines_that_fit_their_column(label, lines):
    assert pictures._title(label).split("\n") == lines


def test_the_picture_lies_in_the_set(made):
    assert imread(made.path / PICTURE).std() > 0.05


def test_a_picture_that_is_lost_is_drawn_again(run, tiny_features, tiny_folds, tmp_path):
    picture = generate(run, tiny_features, tiny_folds, tmp_path / "set").picture
    drawn = picture.read_bytes()
    picture.unlink()
    again = generate(run, tiny_features, tiny_folds, tmp_path / "set")
    assert again.already_done
    assert again.picture.read_bytes() == drawn


def test_the_picture_shows_training_clips_of_each_label_above_generated_ones(
    run, tiny_features, tiny_folds, tmp_path, monkeypatch
):
    def noted(path: Path, *x) -> None:
        shown.extend(x)
        path.write_bytes(b"a picture")

    shown = []
    monkeypatch.setattr("clinaug_fast.gan.generate.save_real_above", noted)
    made = generate(run, tiny_features, tiny_folds, tmp_path / "set", only_folds=[1, 2]).features
    real, generated, labels, mel = shown
    assert (labels, mel) == (tiny_features.labels, tiny_features.mel)
    for seed in range(8):  # each picks clips of different recordings, whatever the draw
        for clips in module._some_real_clips(tiny_features, tiny_folds, 1, seed):
            where = [(tiny_features.clips() == clip).all(axis=(1, 2)).argmax() for clip in clips]
            assert len(set(tiny_features.column("recording")[where])) == 2
    training, _ = tiny_folds.rows(tiny_features, 1)
    for number in range(len(labels)):
        rows = training[tiny_features.classes[training] == number]
        where = [np.flatnonzero((tiny_features.clips(rows) == clip).all(axis=(1, 2))) for clip in real[number]]
        recordings = tiny_features.column("recording")[rows[np.concatenate(where)]]
        assert len(set(recordings)) == len(real[number]) == 2
        of_fold = np.flatnonzero((made.column("fold") == 1) & (made.classes == number))
        np.testing.assert_array_equal(generated[number], made.clips(of_fold[:2]))
