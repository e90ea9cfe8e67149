"""What the README names is there: commands, their options, extras, codes, targets of make, files, and its Python."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from click import Command

from clinaug_fast import errors
from clinaug_fast.cli.main import app
from clinaug_fast.corpus.verdicts import Code

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
OTHERS = (
    "--requeue",
    "--signal",
    "--array",
    "--mem",
    "--time",
    "--cpus-per-task",
    "--parsable",
    "--dependency",
    "--wrap",
)
OF_PIP, OF_BENCH = "--config-settings", "--lhotse"


def commands() -> dict[str, Command]:
    """By their words: "train", "mel bands"."""
    top = dict(typer.main.get_command(app).commands)
    below = {f"mel {name}": command for name, command in top.pop("mel").commands.items()}
    return top | below


def options(command: Command) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def lines_of_commands() -> Iterator[tuple[str, list[str]]]:
    """The command, and what it is given, wherever the README shows one."""
    shown = re.findall(r"^ {4}.*|`[^`\n]*`|^srun .*", README, re.MULTILINE)
    for line in shown:
        if found := re.search(r"clinaug-fast (?=[a-z])([^`#]*)", line):
            words = found[1].split()
            n_words = 2 if words[0] == "mel" else 1
            yield " ".join(words[:n_words]), words[n_words:]


def table(head: str) -> list[list[str]]:
    """The rows below that head."""
    rows = README.split(head, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_its_commands_take_what_they_are_shown_with():
    known = commands()
    shown = list(lines_of_commands())
    assert {name for name, _ in shown} >= {"preprocess", "audit", "split", "train", "generate", "evaluate", "mel bands"}
    for name, words in shown:
        given = {word.split("=", 1)[0] for word in words if word.startswith("--")}
        assert given <= options(known[name]), name


def test_its_options_are_some_commands():
    known = set().union(*map(options, commands().values()))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README))
    assert named - known - {*OTHERS, OF_PIP, OF_BENCH} == set()
    assert OF_BENCH in (ROOT / "bench/bench_preprocess.py").read_text(encoding="utf-8")


def test_its_codes_are_those_of_rejected_jsonl():
    assert [code.strip("`") for code, _ in table("| code | a recording that")] == list(Code)


def test_its_exit_codes_are_those_that_commands_end_with():
    told = [int(code) for cells in table("| exit code | meaning |") for code in cells[0].split(",")]
    kinds = (errors.SettingsError, errors.InputError, errors.RejectedError, errors.LeakageError, errors.ResourceError)
    codes = [kind.exit_code for kind in kinds]
    assert told == [0, errors.EXIT_BUG, *codes, errors.EXIT_STOPPED, errors.EXIT_INTERRUPTED]


def test_its_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set(re.findall(r"clinaug-fast\[(\w+)\]", README))
    assert named
    assert named <= set(extras)


def test_its_targets_are_in_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`)make ([\w-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
def test_its_links_lead_to_files(link: str):
    assert (ROOT / link).exists()


def test_its_python_runs():
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict = {}
    exec(block, names)
    assert names["mel"].shape == (8, 64, 87)
    assert names["y"].shape == (2, 64, 16, 16)
