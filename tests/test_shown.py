"""Names that a terminal would obey, or that Python takes for several lines, in all that is printed and read back."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import Result

from clinaug_fast.cli.console import Say
from clinaug_fast.cli.score_table import score_table
from clinaug_fast.json_files import read_json_lines, write_json_lines
from clinaug_fast.shown import counted, padded, shown, shown_in_json
from conftest import MEL_OPTIONS, write_corpus
from test_cli_evaluate import made_up_scores

WILD = "h\u009b31m\u202eum\u2066\u200f ä"  # a sequence that colours, characters that turn text round
OBEYED = {"\u009b", "\u202e", "\u2066", "\u200f"}


@pytest.mark.parametrize("c", ["\u2028", "\u2029", "\u0085"])
def test_what_python_takes_for_the_end_of_a_line_is_none_in_json_lines(tmp_path: Path, c: str):
    rows = [{"path": f"a{c}b.wav"}, {"path": "c.wav"}]
    write_json_lines(tmp_path / "x.jsonl", rows)
    assert read_json_lines(tmp_path / "x.jsonl", "things", {"path": str}) == rows


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_of_json_end_as_systems_end_them(tmp_path: Path, end: str, last: bool):
    (tmp_path / "x.jsonl").write_bytes(f'{{"a": 1}}{end}{{"a": 2}}{end if last else ""}'.encode())
    assert read_json_lines(tmp_path / "x.jsonl", "things", {"a": int}) == [{"a": 1}, {"a": 2}]


def test_json_on_a_terminal_escapes_what_it_would_obey(cli: Callable[..., Result], tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum").rename(corpus / WILD)
    result = cli("preprocess", corpus, tmp_path / "out", *MEL_OPTIONS, "--n-frames", "32", "--json", "--quiet")
    assert result.exit_code == 0
    assert WILD in json.loads(result.stdout)["counts"]["clips"]
    assert r"h\u009b31m\u202eum\u2066\u200f ä" in result.stdout
    assert not OBEYED & set(result.stdout)


def test_an_error_in_json_escapes_a_name_too(cli: Callable[..., Result], tmp_path: Path):
    result = cli("verify", tmp_path / WILD, "--json")
    assert result.exit_code == 3
    assert "expected a feature set" in json.loads(result.stdout)["message"]
    assert not OBEYED & set(result.stdout + result.stderr)


def test_what_is_printed_as_json_means_what_it_meant():
    value = {"a": WILD, "b": ["\u2028", "\x7f", "é", "\u200e", "\U0001f3b5", "\\u009b", "\\"]}
    text = shown_in_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert "\u2028" not in text
    assert "\x7f" not in text
    assert "é" in text


def test_say_escapes_in_a_stream_of_any_characters(capsys):
    Say("train", as_json=True, quiet=True).result("", name=WILD)
    out = capsys.readouterr().out
    assert json.loads(out)["name"] == WILD
    assert not OBEYED & set(out)


@pytest.mark.parametrize("width", [20, 40, 80, 120])
def test_the_table_of_scores_escapes_the_names_of_arms_at_any_width(width: int):
    scores = made_up_scores(3)
    scores["arms"][WILD] = scores["arms"].pop("[se]")
    console = Console(width=width, file=StringIO())
    console.print(score_table(scores, plain=False))
    text = console.file.getvalue()
    assert not OBEYED & set(text)
    if width != 80:  # where the name is folded beside its numbers
        assert r"h\x9b31m\u202eum\u2066\u200f" in "".join(text.split())


def test_what_turns_text_is_an_escape_and_what_is_kept_is_kept():
    turning = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
    assert [shown(chr(code)) for code in turning] == [f"\\u{code:04x}" for code in turning]
    assert shown("a\nb\tc") == r"a\nb\tc"
    assert shown("a\nb\tc", "\n") == "a\nb\\tc"


def test_numbers_and_names_beside_each_other():
    assert [counted(n, "clip") for n in (0, 1, 2)] == ["0 clips", "1 clip", "2 clips"]
    assert padded("\u5fc3\u97f3", 6) == "\u5fc3\u97f3  "
