"""`clinaug-fast evaluate` as a user meets it: the table, the JSON, the exit codes."""

import json
import re
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from rich.console import Console

from clinaug_fast.cli.main import app
from clinaug_fast.cli.score_table import score_table
from clinaug_fast.config import ClassifierConfig
from clinaug_fast.errors import InputError
from clinaug_fast.features.feature_set import FeatureSet, new_feature_set
from clinaug_fast.features.folds import Folds
from clinaug_fast.features.lineage import generated_lineage

FAST = ("--width", 2, "--steps", 3, "--batch-size", 12, "--seeds", 2, "-j", 1)


def write_generated(path: Path, features: FeatureSet, folds: Folds, **changes) -> Path:
    """Three clips a label and fold, of noise; `changes` go into the lineage."""
    rng = np.random.default_rng(0)
    lineage = generated_lineage(features, folds, "a run", list(range(len(folds)))) | changes
    _, n_frames = features.clip_shape
    with new_feature_set(path, features.mel, n_frames, features.labels, lineage) as writer:
        for fold in range(len(folds)):
            for label in features.labels * 3:
                name = f"{fold}/{len(writer)}"
                clip = rng.normal(-8, 1, features.clip_shape).astype(np.float32)
                writer.add(clip, id=name, recording=name, label=label, start_s=0.0, fold=fold)
    return path


@pytest.fixture
def generated(tmp_path, tiny_features, tiny_folds) -> Path:
    return write_generated(tmp_path / "se", tiny_features, tiny_folds)


def test_prints_the_table_and_goes_on_from_what_is_stored(cli, tmp_path, tiny_features, generated):
    arguments = ("evaluate", tiny_features.path, tmp_path / "out", "--synthetic", generated, *FAST)
    result = cli(*arguments)
    assert result.exit_code == 0, result.stderr
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    for arm in ("none", "se"):
        by_fold = [f"{100 * value:.1f}" for value in scores["arms"][arm]["recording"]["macro_f1"]["by_fold"]]
        assert re.search(rf"^{arm} +{' +'.join(by_fold)} ", result.stdout, re.MULTILINE)
    assert "3 of 3 folds, grouped by subject; a fold's score is the mean over 2 classifiers." in result.stdout
    assert "18 recordings tested (files, or the segments that a table names), 36 clips; the clips of" in result.stdout
    assert "warning: few test subjects: 2 of 'hiss' in fold 0" in result.stderr
    again = cli(*arguments)
    assert again.stdout == result.stdout
    assert "training" not in again.stderr


def test_a_path_that_is_not_utf_8_is_told(cli, tmp_path, tiny_features):
    result = cli("evaluate", tiny_features.path, tmp_path / "out", "--synthetic", "gan=bad\udcffgen")
    assert result.exit_code == 2
    assert "is not UTF-8; expected it all the way" in result.stderr


def test_json_holds_the_scores(cli, tmp_path, tiny_features, generated):
    result = cli(
        "evaluate", tiny_features.path, tmp_path / "out", "--synthetic", f"gan={generated}", "--fold", 1, "--fold", 2,
        *FAST, "--json", "--quiet",
    )  # fmt: skip
    printed = json.loads(result.stdout)
    assert (printed["status"], printed["exit_code"], printed["trained"]) == ("ok", 0, 8)
    assert printed["scores"] == json.loads((tmp_path / "out" / "scores.json").read_text())
    assert printed["scores"]["folds"] == [1, 2]
    assert list(printed["scores"]["arms"]) == ["none", "gan"]
    assert len(printed["warnings"]) == 1


def test_leakage_ends_in_exit_code_5_and_names_the_subjects(cli, tmp_path, tiny_features, tiny_folds):
    everyone = {str(fold): sorted(set(tiny_features.groups)) for fold in range(len(tiny_folds))}
    leaky = write_generated(tmp_path / "leaky", tiny_features, tiny_folds, trained_on_groups=everyone)
    result = cli("evaluate", tiny_features.path, tmp_path / "out", "--synthetic", leaky, *FAST, "--json")
    assert result.exit_code == 5
    printed = json.loads(result.stdout)
    assert printed["error"] == "LeakageError"
    assert all(group in printed["message"] for group in tiny_folds.test_groups(0))
    assert "training" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_help_shows_the_defaults_of_the_classifier():
    command = typer.main.get_command(app).commands["evaluate"]
    shown = {parameter.name: parameter.show_default for parameter in command.params}
    for name, default in ClassifierConfig().model_dump().items():
        assert shown[name] == str(default)


def test_the_device_is_passed_on(cli, tmp_path, tiny_features, monkeypatch):
    def noted(*x, device: str, **how):
        asked.append(device)
        raise InputError("enough")

    asked = []
    monkeypatch.setattr("clinaug_fast.evaluate.cross_validation.evaluate", noted)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for device in ("cpu", "cuda"):
        assert cli("evaluate", tiny_features.path, tmp_path / "out", "--device", device, "-j", 1).exit_code == 3
    assert asked == ["cpu", "cuda"]


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (("--synthetic", "SE", "--synthetic", "SE"), 2, "two arms are named 'se'"),
        (("--synthetic", "none=SE"), 2, "an arm is named 'none'"),
        (("--synthetic", "nowhere"), 3, "features.json does not exist"),
        (("--folds", "nowhere.json"), 3, "nowhere.json does not exist"),
        (("--fold", 3), 2, "fold is 3; expected 0 to 2"),
        (("--steps", 0), 2, "steps is 0"),
        (("--seeds", 10**6), 2, "seeds is 1000000; expected at most 1000"),
        (("--synthetic", "g\udcff=SE"), 2, r"an arm is named 'g\udcff'"),
        (("--steps", 10**9), 2, "steps x batch_size is 16000000000 clips; expected at most 16777216. Lower one"),
        (("--threads", 10**9), 2, "1024"),
        (("--fold", "all", "--fold", 1), 2, "fold is 'all'; expected a number"),
        (("--device", "gpu"), 2, "device is 'gpu'; expected cpu or cuda"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(cli, tmp_path, tiny_features, generated, options, exit_code, said):
    options = [str(option).replace("SE", str(generated)) for option in options]
    result = cli("evaluate", tiny_features.path, tmp_path / "out", *options)
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def over_folds(*by_fold: float) -> dict:
    sd = float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else None
    return {"mean": float(np.mean(by_fold)), "sd": sd, "by_fold": list(by_fold)}


def made_up_scores(n_folds: int) -> dict:
    none, se = [0.5, 0.7, 0.6] * 4, [0.6, 0.7, 0.5] * 4
    unit = {"tested": 7, "macro_f1": over_folds(*none[:n_folds])}
    gain = over_folds(*np.subtract(se, none)[:n_folds]) | {"interval": [-0.123, 0.123] if n_folds > 1 else None}
    arms = {"none": unit, "[se]": unit | {"macro_f1": over_folds(*se[:n_folds]), "difference": gain}}
    about = {"folds": list(range(n_folds)), "n_folds": n_folds, "seeds": 1, "group_by": "subject", "trained_on": {}}
    return about | {"arms": {arm: {"recording": scores, "window": scores} for arm, scores in arms.items()}}


def test_the_table_of_a_few_folds_shows_each():
    lines = score_table(made_up_scores(3), plain=True).splitlines()
    assert lines[1].split() == [
        "arm",
        "fold",
        "0",
        "fold",
        "1",
        "fold",
        "2",
        "mean",
        "±",
        "SD",
        "minus",
        "none",
        "(95",
        "%)",
    ]
    assert lines[2].split() == ["none", "50.0", "70.0", "60.0", "60.0", "±", "10.0"]
    assert lines[3].split() == ["[se]", "60.0", "70.0", "50.0", "60.0", "±", "10.0", "+0.0", "(-12.3", "to", "+12.3)"]


def test_the_table_of_many_folds_shows_the_extremes_and_that_of_one_no_spread():
    many = score_table(made_up_scores(12), plain=True)
    assert "none         50.0          70.0" in many
    assert "Each stands for one comparison, of 2 in these tables;" in many  # one arm, by recording and by window
    one = score_table(made_up_scores(1), plain=True)
    assert one.splitlines()[3].split() == ["[se]", "60.0", "60.0", "+10.0"]
    assert "One fold shows no spread" in one


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_a_terminal(width):
    console = Console(width=width, file=StringIO())
    console.print(score_table(made_up_scores(5), plain=False))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum(line.split()[:1] == ["[se]"] and "(-12.3 to +12.3)" in line for line in lines) == 2


@pytest.mark.parametrize("n_folds", [1, 3, 5, 12])
@pytest.mark.parametrize("width", [20, 40, 60, 70, 90])
def test_no_name_and_no_number_is_left_out_of_a_narrow_terminal(width: int, n_folds: int):
    scores = made_up_scores(n_folds)
    scores["arms"]["a name that is long"] = scores["arms"]["[se]"]
    console = Console(width=width, file=StringIO())
    console.print(score_table(scores, plain=False))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    together = "".join(text.split())
    assert together.count("[se]") == 2
    assert "…" not in text
    assert together.count("(-12.3to+12.3)") == (4 if n_folds > 1 else 0)
    for arm in scores["arms"].values():
        score = arm["recording"]["macro_f1"]
        assert f"{100 * score['mean']:.1f}" + (n_folds > 1) * f"±{100 * (score['sd'] or 0):.1f}" in together


def test_every_option_reaches_the_settings(cli, tmp_path, tiny_features):
    options = {
        "width": 3,
        "steps": 1,
        "batch_size": 5,
        "learning_rate": 0.002,
        "weight_decay": 0.03,
        "seeds": 1,
        "seed": 7,
    }
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", value)]
    result = cli("evaluate", tiny_features.path, tmp_path / "out", "--fold", 0, *given)
    assert result.exit_code == 0, result.stderr
    settings = json.loads((tmp_path / "out/evaluation.json").read_text())["settings"]
    assert {name: settings[name] for name in options} == options
    assert ClassifierConfig.model_fields.keys() == options.keys()


def test_the_table_of_the_baseline_alone_compares_nothing_and_equal_folds_have_a_spread_of_zero():
    scores = made_up_scores(3)
    unit = {"tested": 7, "macro_f1": over_folds(0.5, 0.5, 0.5)}
    lines = score_table(scores | {"arms": {"none": {"recording": unit, "window": unit}}}, plain=True).splitlines()
    assert lines[1].endswith("mean ± SD")
    assert lines[2].split() == ["none", "50.0", "50.0", "50.0", "50.0", "±", "0.0"]
