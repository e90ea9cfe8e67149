"""`train` and `generate` on the command line: results, next steps, JSON, exit codes."""

import inspect
import json
import re
import shlex
import shutil

import pytest
import torch

from clinaug_fast.cli.train import train
from clinaug_fast.config import GanConfig
from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import make_folds, write_folds

SMALL = ("--width", 2, "--steps", 2, "--batch-size", 4, "--n-critic", 1, "--latent-dim", 8, "-j", 1)


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run(tiny_features, cli, tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "run"
    result = cli("train", tiny_features.path, path, *SMALL)
    assert result.exit_code == 0, result.stderr
    assert "3 trained in" in result.stdout
    assert f"next: clinaug-fast generate {shlex.quote(str(path))} SYNTHETIC" in result.stdout
    return path


def test_the_options_default_to_the_settings():
    given = {name: option.default for name, option in inspect.signature(train).parameters.items()}
    for name, value in GanConfig().model_dump().items():
        assert given[name] == value, name


def test_every_setting_is_an_option(tiny_features, cli, tmp_path, monkeypatch):
    def noted(*x, device: str, **how):
        asked.extend([x[-1], device])
        raise InputError("enough")

    asked = []
    monkeypatch.setattr("clinaug_fast.gan.train.train", noted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    options = {"model": "cwgan-gp", "width": 3, "latent_dim": 5, "steps": 7, "batch_size": 9, "n_critic": 2}
    options |= {"gradient_penalty": 3.5, "generator_rate": 0.25, "critic_rate": 0.125, "ema": 0.5, "seed": 4}
    assert options.keys() == GanConfig.model_fields.keys()
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert cli("train", tiny_features.path, tmp_path / "run", *words, "--device", "cuda", "-j", 1).exit_code == 3
    assert asked == [GanConfig(**options), "cuda"]


def test_generate_passes_its_seed_and_its_threads_on(run, cli, tmp_path):
    made = [FeatureSet.open(tmp_path / str(seed)) for seed in (0, 1) if not cli(
        "generate", run, tmp_path / str(seed), "--n-per-label", 1, "--seed", seed, "-j", 2
    ).exit_code]  # fmt: skip
    assert [features.lineage["seed"] for features in made] == [0, 1]
    assert torch.get_num_threads() == 2


def test_the_run_goes_on_from_the_second_call_on(run, tiny_features, cli):
    result = cli("train", tiny_features.path, run, *SMALL, "--json")
    about = json.loads(result.stdout)
    assert (about["status"], about["command"], about["model"]) == ("ok", "train", "se-cwgan-gp")
    assert [row["trained_now"] for row in about["folds"]] == [False] * 3
    assert {"generator_parameters", "wasserstein_highest", "wasserstein_last"} <= about["folds"][0].keys()
    assert [row["training_clips"] for row in about["folds"]] == [24] * 3
    result = cli("train", tiny_features.path, run, *SMALL, "--model", "cwgan-gp")
    assert result.exit_code == 3
    assert "model is 'se-cwgan-gp' there, 'cwgan-gp' asked" in result.stderr


def test_generate_finds_the_features_and_says_what_is_next(run, tiny_features, cli, tmp_path):
    out = tmp_path / "made"
    result = cli("generate", run, out, "--n-per-label", 2, "-q")
    assert result.exit_code == 0, result.stderr
    assert "18 clips of 3 labels for fold 0, 1, 2" in result.stdout
    command = ["evaluate", str(tiny_features.path), "EVALUATION", "--synthetic", str(out)]
    assert f"next: clinaug-fast {shlex.join(command)}" in result.stdout
    assert result.stderr == ""
    again = json.loads(cli("generate", run, out, "--n-per-label", 2, "--json", "-q").stdout)
    assert again["already_done"]
    assert again["clips"] == 18
    assert cli("generate", run, out, "--n-per-label", 3).exit_code == 3


def test_generate_names_the_split_and_the_folds_where_they_are_not_those_of_evaluate(tiny_features, cli, tmp_path):
    """What is printed can be run."""
    path = tmp_path / "mine.json"
    write_folds(make_folds(tiny_features, 2, 5), path)
    run, out = tmp_path / "run", tmp_path / "w=16"
    assert cli("train", tiny_features.path, run, *SMALL, "--folds", path, "--fold", 1).exit_code == 0
    assert (run / "folds.json").read_bytes() == path.read_bytes()
    (run / "folds.json").unlink()  # as a run of an earlier build
    told = cli("generate", run, out, "--fold", 1, "--n-per-label", 1).stdout.splitlines()[-1]
    options = ["--folds", f"{run / 'folds.json'}", "--fold", "1", "--synthetic", f"w-16={out}"]
    command = ["evaluate", str(tiny_features.path), "EVALUATION", *options]
    assert told == f"next: clinaug-fast {shlex.join(command)}"
    command[2] = tmp_path / "evaluation"
    result = cli(*command, "--width", 1, "--steps", 1, "--seeds", 1)
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^w-16 ", result.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", ["none", ".hidden"])
def test_generate_names_the_arm_where_the_folder_cannot(run, tiny_features, cli, tmp_path, name):
    told = cli("generate", run, tmp_path / name, "--n-per-label", 1).stdout.splitlines()[-1]
    assert told.endswith(f"--synthetic generated-{name.lstrip('.')}={tmp_path / name}")


def test_generate_is_told_where_moved_features_are(run, tiny_features, cli, tmp_path):
    moved = tmp_path / "moved" / "run"
    shutil.copytree(run, moved)
    result = cli("generate", moved, tmp_path / "out")
    assert result.exit_code == 3
    assert "Name their place with --features" in result.stderr
    assert cli("generate", moved, tmp_path / "out", "--features", tiny_features.path).exit_code == 0


def test_one_fold_by_number(tiny_features, cli, tmp_path):
    result = cli("train", tiny_features.path, tmp_path / "run", *SMALL, "--fold", 1, "--fold", 0)
    assert "SYNTHETIC --fold 0 --fold 1" in result.stdout
    assert not (tmp_path / "run" / "fold_2").exists()
    result = cli("generate", tmp_path / "run", tmp_path / "out")
    assert result.exit_code == 3
    assert "no generator for fold 2" in result.stderr
    assert cli("generate", tmp_path / "run", tmp_path / "out", "--fold", 1).exit_code == 0


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (("--model", "gan"), 2, "model is 'gan'; expected 'se-cwgan-gp'"),
        (("--width", 0), 2, "width is 0; expected"),
        (("--ema", 1), 2, "ema is 1.0; expected less than 1"),
        (("--fold", "9" * 5000), 2, "; expected a number from 0 on"),
        (("--fold", "first"), 2, "fold is 'first'; expected a number"),
        (("--fold", "all", "--fold", 7), 2, "fold is 'all'; expected a number from 0 on, or all, alone"),
        (("--latent-dim", 10**12), 2, "latent_dim is 1000000000000; expected at most 65536"),
        (("--steps", 10**30), 2, "steps is 1"),
        (("--generator-rate", 1e300), 2, "generator_rate is 1e+300; expected at most 1"),
        (("--fold", 7), 2, "fold is 7; expected 0 to 2"),
        (("--device", "tpu"), 2, "device is 'tpu'; expected cpu or cuda"),
        (("--folds", "nowhere.json"), 3, "nowhere.json does not exist"),
    ],
)
def test_wrong_options_get_a_sentence(tiny_features, cli, tmp_path, options, exit_code, words):
    result = cli("train", tiny_features.path, tmp_path / "run", *SMALL, *options, "--json")
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert json.loads(result.stdout)["status"] == "error"
    assert not (tmp_path / "run").exists()


def test_the_threads_are_torchs_and_are_told(tiny_features, cli, tmp_path):
    arguments = ("train", tiny_features.path, tmp_path / "run", *SMALL[:-1], 2, "--fold", 0)
    assert cli(*arguments).exit_code == 0
    assert torch.get_num_threads() == 2
    assert json.loads((tmp_path / "run/fold_0/state.json").read_text())["threads"] == 2


def test_what_torch_says_of_memory_is_exit_code_6(tiny_features, cli, tmp_path, monkeypatch):
    def exhausted(*x, **how):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: 1 bytes")

    monkeypatch.setattr("clinaug_fast.gan.train.train_fold", exhausted)
    result = cli("train", tiny_features.path, tmp_path / "run", *SMALL)
    assert result.exit_code == 6
    assert "out of memory" in result.stderr


def test_cuda_is_refused_where_there_is_none(tiny_features, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = cli("train", tiny_features.path, tmp_path / "run", *SMALL, "--device", "cuda")
    assert result.exit_code == 2
    assert "torch sees no CUDA device here. Use --device cpu" in result.stderr


@pytest.mark.cuda
def test_a_gpu_trains_what_a_cpu_generates(tiny_features, cli, tmp_path):
    result = cli("train", tiny_features.path, tmp_path / "run", *SMALL, "--device", "cuda", "--fold", 0)
    assert result.exit_code == 0, result.stderr
    assert cli("generate", tmp_path / "run", tmp_path / "out", "--fold", 0).exit_code == 0
