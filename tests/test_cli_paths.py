"""Paths that commands are given: empty, gone, links, of another encoding, the current folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from clinaug_fast.features.folds import write_folds
from conftest import MEL_OPTIONS, SUBJECT_PATTERN

OPTIONS = (*MEL_OPTIONS, "--n-frames", "32", "--subject-pattern", SUBJECT_PATTERN)

Cli = Callable[..., Result]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return tmp_path / "made" / "out"


def test_the_current_folder_may_be_the_feature_set(cli: Cli, tiny_corpus: Path, out: Path, monkeypatch):
    cli("preprocess", tiny_corpus, out, *OPTIONS)
    monkeypatch.chdir(out)
    assert "was made before" in cli("preprocess", tiny_corpus, ".", *OPTIONS).stdout
    monkeypatch.chdir(tiny_corpus)
    result = cli("preprocess", tiny_corpus, ".", *OPTIONS)
    assert result.exit_code == 3
    assert "exists and is no feature set" in result.stderr


def test_an_output_that_is_a_link_to_nothing_is_refused_before_the_work(cli: Cli, tiny_corpus: Path, out: Path):
    out.symlink_to("nowhere")
    result = cli("preprocess", tiny_corpus, out, *OPTIONS)
    assert result.exit_code == 3
    assert f"{out} is a link to nowhere, which is not there" in result.stderr
    assert os.listdir(out.parent) == ["out"]


def test_a_path_of_another_encoding_is_refused(cli: Cli, tiny_corpus: Path, out: Path):
    result = cli("preprocess", tiny_corpus, os.fsdecode(os.fsencode(out) + b"\xff"), *OPTIONS)
    assert result.exit_code == 2
    assert "is not UTF-8; expected it all the way" in " ".join(result.stderr.replace("│", " ").split())


def test_a_current_folder_that_is_gone_is_told(cli, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = cli("generate", "x", "y")
    assert result.exit_code == 2
    assert "the current folder is gone" in " ".join(result.stderr.replace("│", " ").split())


def test_a_file_where_a_folder_is_expected_and_the_other_way_round(cli: Cli, tiny_features, tiny_folds, tmp_path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    write_folds(tiny_folds, tmp_path / "folds.json")
    features, folds = tiny_features.path, ("--folds", tmp_path / "folds.json")
    for command in ("train", "evaluate"):
        result = cli(command, features, file, *folds)
        assert result.exit_code == 3
        assert f"{file} is a file; expected a new folder. Name another" in result.stderr
    result = cli("split", features, folder, "--folds", 3)
    assert result.exit_code == 3
    assert f"{folder} is a folder; expected a file, such as {folder / 'folds.json'}" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("split", ""),
        ("train", "", "RUN"),
        ("train", "FEATURES", ""),
        ("train", "FEATURES", "RUN", "--folds", ""),
        ("generate", "", "OUT"),
        ("generate", "RUN", ""),
        ("evaluate", "", "OUT"),
        ("evaluate", "FEATURES", ""),
        ("evaluate", "FEATURES", "OUT", "--synthetic", "se="),
        ("merge", "", "OUT"),
        ("demo", ""),
        ("verify", ""),
        ("mel", "bands", ""),
        ("mel", "diff", "", "heart"),
        ("preprocess", "CORPUS", "OUT", "--deidentify", ""),
    ],
)
def test_an_unset_variable_is_not_the_current_folder(cli, tiny_features, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = cli(*(tiny_features.path if given == "FEATURES" else given for given in arguments))
    assert result.exit_code == 2
    assert "empty; expected a path" in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_a_locale_of_other_file_names_is_refused(tiny_corpus: Path, out: Path):
    """In it recordings would be missing whose names have other letters, though the corpus is the same."""
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "preprocess", tiny_corpus, out]
    narrow = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run([*command, *OPTIONS], capture_output=True, text=True, env=os.environ | narrow, timeout=60)
    assert told.returncode == 2, told.stderr
    assert "file names are in ascii; expected utf-8" in " ".join(told.stderr.split())
    assert os.listdir(out.parent) == []
