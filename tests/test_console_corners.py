"""What a command shows, in the corners: the bar's place, signals one after the other, errors that repeat themselves."""

import errno
import signal
import subprocess
import sys
import threading
from io import StringIO

import pytest
import typer
from rich.console import Console

from clinaug_fast.cli import console, unbegun
from clinaug_fast.cli.bar import bar
from clinaug_fast.cli.console import Say, stage


@pytest.mark.parametrize(("width", "of_bar"), [(30, 5), (80, 5), (100, 25), (300, 40)])
def test_a_bar_takes_what_others_leave_and_goes_away(monkeypatch: pytest.MonkeyPatch, width: int, of_bar: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    drawn = bar()
    drawn.add_task("work", total=3, note="")
    assert drawn.columns[1].bar_width == of_bar
    assert drawn.live.transient
    there = Console(width=width, file=StringIO())
    there.print(drawn.get_renderable())
    assert [len(line) for line in there.file.getvalue().splitlines()] == [width]


def test_an_interrupt_that_the_shell_had_ignored_ends_no_command_that_is_loaded() -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "class Kills:\n"
        "    def find_spec(self, name, *x):\n"
        "        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Kills())\n"
        "from clinaug_fast.cli.entry import run\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_at_the_heels_of_another_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(unbegun.signal, "signal", lambda *x: done.append(x))
    monkeypatch.setattr(unbegun.os, "write", lambda *x: done.append(x))
    monkeypatch.setattr(unbegun.os, "_exit", done.append)
    unbegun.nothing_begun(signal.SIGTERM, None)
    assert sorted(done[:-2]) == [(signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_IGN)]
    assert done[-2:] == [(2, b"error: stopped by SIGTERM: nothing was begun\n"), 75]


def test_of_two_signals_the_first_is_told() -> None:
    assert console._stopped([signal.SIGTERM, signal.SIGINT], "train").exit_code == 75
    assert console._stopped([signal.SIGINT, signal.SIGTERM], "train").exit_code == 130
    assert console._stopped([], "train").exit_code == 130


def test_lines_are_fifteen_seconds_apart_and_a_clock_may_stand_still(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    clock = [100.0]
    monkeypatch.setattr("clinaug_fast.cli.console.time.monotonic", lambda: clock[0])
    say = Say("train", as_json=False, quiet=False)
    say.start("training", 8)
    for clock[0] in (100.0, 114.5, 115.5):
        say.advance()
    assert capsys.readouterr().err.splitlines() == [
        "training: 8 to do",
        "training: 3 of 8, 0.194/s, about 26 s left",
    ]


def test_a_bug_is_told_with_the_lines_that_a_report_needs(capsys) -> None:
    with pytest.raises(typer.Exit), stage("train", False, True):
        raise ZeroDivisionError("division by zero")
    told = capsys.readouterr().err
    assert told.index("Traceback") < told.index("please report it with the lines above")


def test_a_stage_in_a_thread_listens_to_no_signals() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stage("train", False, True):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a.npy"), "No space left on device (a.npy). Make room"),
        (OSError(errno.ENOSPC, "no room for a.npy", "a.npy"), "no room for a.npy. Make room"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded. Make room"),
    ],
)
def test_a_full_disk_is_told_with_the_file_once(error: OSError, told: str) -> None:
    assert str(console._told(error)) == f"{told}, then run the same command again"


@pytest.mark.parametrize(("asked", "code"), [("--help", 0), ("-h", 0), ("--version", 0), ("bogus", 2)])
def test_help_by_either_name_that_nobody_reads_is_no_failure(monkeypatch: pytest.MonkeyPatch, asked: str, code: int):
    monkeypatch.setattr(console, "_forget", lambda stream: None)
    monkeypatch.setattr(sys, "argv", ["clinaug-fast", asked])
    ended = SystemExit(1)
    assert console.closed_output(ended) is ended
    ended.__context__ = BrokenPipeError()
    assert console.closed_output(ended).code == code


def test_no_json_holds_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Say("train", as_json=True, quiet=True).result("", mean=float("nan"))
