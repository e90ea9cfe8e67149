"""`clinaug-fast demo`: the whole chain in one command, small enough to be a test."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

import clinaug_fast.demo.chain as chain
from clinaug_fast.cli.demo import NEXT
from clinaug_fast.cli.main import app
from clinaug_fast.config import ClassifierConfig, GanConfig
from clinaug_fast.demo.chain import DemoSizes
from conftest import files

TINY = DemoSizes(
    n_procedures=4,
    takes=1,
    n_folds=2,
    gan=GanConfig(width=2, steps=2, batch_size=4, n_critic=1),
    n_per_label=3,
    classifier=ClassifierConfig(width=2, steps=3, seeds=1),
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    real = chain.run_demo
    monkeypatch.setattr(chain, "run_demo", lambda *args, **options: real(*args, **options, sizes=TINY))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


def run_command(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["demo", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_whole_chain_then_once_more_without_work(out: Path) -> None:
    code, stdout, stderr = run_command(out)
    assert code == 0, stderr
    names = ["corpus", "features", "features/folds.json", "gan/fold_0", "gan/fold_1", "generated", "evaluation"]
    assert all((out / name).exists() for name in names)
    picture = out / "generated" / "real_above_generated.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    for said in ("none", "se-cwgan-gp", "mean ± SD", str(picture), "synthetic", "nothing about real recordings"):
        assert said in stdout
    assert "clinaug-fast preprocess YOUR_FOLDER features" in stdout
    assert re.search(r"time: \d+ min \d+ s", stdout)
    for phase in (
        "corpus: 24 done",
        "preprocess: 24 done",
        "training se-cwgan-gp, steps: 4 done",
        "generating, clips: 36 done",
    ):
        assert phase in stderr

    made = {
        path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and "evaluation" not in str(path)
    }
    code, stdout, stderr = run_command(out, "--json", "--quiet")
    assert code == 0, stderr
    answer = json.loads(stdout)
    assert answer["status"] == "ok"
    assert answer["picture"] == str(picture)
    assert answer["synthetic_corpus"] is True
    assert set(answer["scores"]["arms"]) == {"none", "se-cwgan-gp"}
    assert {path: path.stat().st_mtime_ns for path in made} == made


def test_another_seed_in_the_same_folder_is_refused(out: Path) -> None:
    assert run_command(out, "--quiet")[0] == 0
    code, _, stderr = run_command(out, "--seed", "1")
    assert code == 3
    assert "seed is 0 there, 1 asked" in stderr


def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    code, _, stderr = run_command(tmp_path)
    assert code == 3
    assert "is no demo corpus, as it has no demo_corpus.json. Name another folder" in stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["corpus"]


def test_a_folder_of_something_else_is_refused(out: Path, tmp_path: Path) -> None:
    assert run_command(out, "--quiet")[0] == 0
    (tmp_path / "thesis.txt").touch()
    for folder in (tmp_path, out / "features"):
        before = files(folder)
        code, _, stderr = run_command(folder)
        assert code == 3
        assert f"{folder} holds other things than a demo; expected a new folder. Name another" in " ".join(
            stderr.split()
        )
        assert files(folder) == before


def test_the_next_command_can_be_typed(out: Path, tmp_path: Path) -> None:
    assert run_command(out, "--quiet")[0] == 0
    places = {"YOUR_FOLDER": str(out / "corpus"), "features": str(tmp_path / "features")}
    typed = [places.get(word, word) for word in shlex.split(NEXT)]
    result = CliRunner().invoke(app, typed[1:])
    assert result.exit_code == 0, result.stderr
    assert re.search(r"subjects known +4", result.stdout)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, stdout, stderr = run_command(tmp_path / "file")
    assert (code, stdout) == (3, "")
    assert "is a file; expected a new folder" in stderr
