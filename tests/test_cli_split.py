"""`clinaug-fast split`: the table, the file that is written once, and the refusals."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from clinaug_fast.cli.arguments import chosen_folds
from clinaug_fast.errors import SettingsError
from clinaug_fast.features.feature_set import FeatureSet
from clinaug_fast.features.folds import Folds
from conftest import MEL_OPTIONS, SUBJECT_PATTERN, write_corpus

Cli = Callable[..., Result]

TABLE = """test recordings, grouped by subject:
         fold 0  fold 1  fold 2
  hiss        2       2       2
  hum         2       2       2
  knock       2       2       2
"""


@pytest.fixture
def features(tiny_features: FeatureSet, tmp_path: Path) -> Path:
    """A copy without folds."""
    path = shutil.copytree(tiny_features.path, tmp_path / "features")
    (path / "folds.json").unlink()
    return path


def test_folds_are_written_beside_the_features_and_shown(cli: Cli, features: Path):
    result = cli("split", features, "--folds", 3)
    assert result.exit_code == 0
    (warning,) = result.stderr.splitlines()
    assert warning.startswith("warning: few test subjects: 2 of 'hiss' in fold 0, 2 of 'hum' in fold 0, ")
    assert "2 of 'hum' in fold 1 and 4 more; with fewer than 5 a single one" in warning
    assert warning.endswith("Use fewer folds or record more")
    assert result.stdout.startswith(f"{features / 'folds.json'} is written\n\n{TABLE}")
    assert result.stdout.endswith(f"next: clinaug-fast train {shlex.quote(str(features))} RUN\n")
    folds = Folds.load(features / "folds.json")
    assert len(folds) == 3
    folds.rows(FeatureSet.open(features), 2)


def test_folds_elsewhere_are_named_in_the_next_command(cli: Cli, features: Path, tmp_path: Path):
    result = cli("split", features, tmp_path / "my folds.json", "--folds", 2, "--seed", 5)
    assert result.exit_code == 0
    told = f"next: clinaug-fast train {shlex.quote(str(features))} RUN --folds '{tmp_path}/my folds.json'\n"
    assert result.stdout.endswith(told)
    assert Folds.load(tmp_path / "my folds.json").about["seed"] == 5


def test_json_holds_the_folds(cli: Cli, features: Path):
    result = cli("split", features, "--folds", 3, "--json")
    told = json.loads(result.stdout)
    stored = json.loads((features / "folds.json").read_text())
    assert (told["command"], told["exit_code"], told["already_done"]) == ("split", 0, False)
    assert {key: told[key] for key in stored} == stored


def test_equal_seeds_give_equal_bytes_and_a_second_run_nothing_new(cli: Cli, features: Path, tmp_path: Path):
    for name in ("one", "two"):
        assert cli("split", features, tmp_path / name, "--folds", 3, "--seed", 7).exit_code == 0
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    again = cli("split", features, tmp_path / "one", "--folds", 3, "--seed", 7)
    assert again.exit_code == 0
    assert f"{tmp_path / 'one'} was made before with these settings: nothing to do\n\n{TABLE}" in again.stdout


def test_another_setting_is_refused_by_name(cli: Cli, features: Path):
    cli("split", features, "--folds", 3)
    before = (features / "folds.json").read_bytes()
    result = cli("split", features, "--folds", 2)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "folds is 3 there, 2 asked" in result.stderr
    assert (features / "folds.json").read_bytes() == before


def test_a_label_that_cannot_be_in_each_fold_is_refused_with_the_table(cli: Cli, features: Path):
    result = cli("split", features, "--folds", 7)
    assert (result.exit_code, result.stdout) == (3, "")
    table = [line.split() for line in result.stderr.splitlines() if line.startswith("  ")]
    assert table == [["hiss", "6"], ["hum", "6"], ["knock", "6"]]
    assert not (features / "folds.json").exists()


def test_unknown_subjects_are_warned_about(cli: Cli, tiny_corpus: Path, tmp_path: Path):
    for name, options in (("unknown", ()), ("known", ("--subject-pattern", SUBJECT_PATTERN))):
        made = cli("preprocess", tiny_corpus, tmp_path / name, *MEL_OPTIONS, "--n-frames", 32, *options)
        assert made.exit_code == 0
    unknown = cli("split", tmp_path / "unknown", "--folds", 3)
    assert unknown.exit_code == 0
    assert "warning: the folds keep each recording together, not each patient" in unknown.stderr
    assert "grouped by recording" in unknown.stdout
    known = cli("split", tmp_path / "known", "--folds", 3)
    assert known.exit_code == 0
    assert "not each patient" not in known.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code", "sentence"),
    [
        (("nowhere",), 3, "expected a feature set's features.json (clinaug-fast preprocess makes one)"),
        (("FEATURES", "--folds", 1), 2, "folds is 1; expected at least 2"),
        (("FEATURES", "--seed", -1), 2, "--seed"),
    ],
)
def test_wrong_input_and_options(cli: Cli, features: Path, arguments: tuple, exit_code: int, sentence: str):
    result = cli("split", *(features if word == "FEATURES" else word for word in arguments))
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert sentence in result.stderr


def test_folds_of_very_different_size_are_told(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    names = sorted(file.relative_to(corpus) for file in corpus.rglob("*.wav"))
    lines = [f"{name},{name.parts[0]},{'p0' if name.name == 'p0_0.wav' else 'all the others'}" for name in names]
    (corpus / "table.csv").write_text("\n".join(["path,label,subject", *lines]))
    made = cli("preprocess", corpus / "table.csv", tmp_path / "features", *MEL_OPTIONS, "--n-frames", 32)
    assert made.exit_code == 0
    result = cli("split", tmp_path / "features", "--folds", 2)
    assert result.exit_code == 0
    told = r"warning: fold [01] tests 15 recordings and fold [01] 3: subjects differ much in size"
    assert re.search(told, " ".join(result.stderr.split()))


def test_more_subjects_are_asked_for_where_fewer_folds_would_not_do(cli: Cli, tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    options = (*MEL_OPTIONS, "--n-frames", 32, "--subject-pattern", "^([a-z]+)/")
    assert cli("preprocess", corpus, tmp_path / "features", *options).exit_code == 0
    result = cli("split", tmp_path / "features", "--folds", 2)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "a label comes from 1 subjects or recordings only" in result.stderr
    assert "Lower --folds" not in result.stderr
    assert "Add recordings of other subjects" in result.stderr


@pytest.mark.parametrize("text", ["\u00b2", "-1", "1.0", "", "1" * 5000])
def test_a_fold_that_is_no_number_is_refused(text: str):
    with pytest.raises(SettingsError, match="expected a number from 0 on, or all, alone"):
        chosen_folds(["0", text])
