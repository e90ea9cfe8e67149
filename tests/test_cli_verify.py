"""`clinaug-fast verify`: exit code 0 and 3, and which files are named."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from clinaug_fast.config import ClipConfig
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.preprocess.pipeline import preprocess
from conftest import MEL


@pytest.fixture
def copy(tiny_features: FeatureSet, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_features.path, tmp_path / "set")


def test_a_whole_set_ends_in_0(cli: Callable[..., Result], copy: Path) -> None:
    result = cli("verify", copy)
    assert result.exit_code == 0
    assert "36 clips" in result.stdout
    assert "as it was made" in result.stdout


def test_damage_ends_in_3_and_is_named(cli: Callable[..., Result], copy: Path) -> None:
    (copy / "shards" / "00000.npy").unlink()
    result = cli("verify", copy, "--quiet")
    assert result.exit_code == 3
    assert "shards/00000.npy: it is missing" in result.stdout
    told = json.loads(cli("verify", copy, "--json", "-j", "2").stdout)
    assert (told["status"], told["exit_code"], told["whole"]) == ("found", 3, False)
    assert told["damaged"] == ["shards/00000.npy"]


def test_what_was_never_a_feature_set_is_not_called_damaged(cli: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "recording.wav").write_bytes(b"x")
    result = cli("verify", tmp_path)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "is no feature set" in result.stderr
    assert cli("verify", "").exit_code == 2


def test_no_folder_ends_in_3(cli: Callable[..., Result], tmp_path: Path) -> None:
    result = cli("verify", tmp_path / "none")
    assert result.exit_code == 3
    assert "error:" in result.stderr


def test_a_pipe_is_not_waited_for(cli: Callable[..., Result], tiny_corpus: Path, tmp_path: Path) -> None:
    preprocess(tiny_corpus, tmp_path / "set", MEL, ClipConfig(n_frames=32))
    (tmp_path / "set/rejected.jsonl").unlink()
    os.mkfifo(tmp_path / "set/rejected.jsonl")
    result = cli("verify", tmp_path / "set")
    assert result.exit_code == 3
    assert "is a pipe or a device" in result.stdout
