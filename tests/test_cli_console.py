"""What every command does with its streams."""

import contextlib
import errno
import json
import os
import pty
import re
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console

from clinaug_fast.cli import console
from clinaug_fast.cli.bar import bar
from clinaug_fast.cli.console import Say, quoted, stage
from conftest import write_corpus


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "mel", "bands"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("signal", "exit_code", "word"), [("SIGTERM", 75, "stopped by SIGTERM"), ("SIGINT", 130, "interrupted")]
)
def test_a_signal_ends_any_command_with_a_sentence_and_an_object(signal: str, exit_code: int, word: str) -> None:
    code = (
        "import os, signal\n"
        "from clinaug_fast.cli.console import stage\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell has its background jobs ignore
        "with stage('train', True, False):\n"
        f"    os.kill(os.getpid(), signal.{signal})\n"
        "    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (told["command"], told["status"], told["exit_code"]) == ("train", "error", exit_code)
    assert f"error: {word}: nothing half-written was left. Run the same command again" in done.stderr


@pytest.mark.parametrize(("signal", "exit_code"), [("SIGTERM", 75), ("SIGINT", 130)])
@pytest.mark.parametrize("turned", ["raise ImportError('initialization failed')", "say.advance()"])
def test_a_signal_that_is_swallowed_or_turned_into_another_error_ends_it_too(
    signal: str, exit_code: int, turned: str
) -> None:
    """As code does that is being imported, and destructors."""
    code = (
        "import os, signal\n"
        "from clinaug_fast.cli.console import stage\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with stage('train', True, True) as say:\n"
        "    say.start('work', 2)\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{signal})\n"
        "        signal.pause()\n"
        "    except BaseException:\n"
        "        pass\n"
        f"    {turned}\n"
        "    print('it went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (told["status"], told["exit_code"], told["error"]) == ("error", exit_code, "StoppedError")
    assert "Run the same command again to go on" in told["message"]


@pytest.mark.parametrize(("signal", "exit_code"), [("SIGTERM", 75), ("SIGINT", 130)])
def test_a_signal_while_a_library_in_cpp_is_loaded_aborts_nothing(signal: str, exit_code: int, tmp_path: Path) -> None:
    """soxr's, in whose constructors an exception of Python's would end the process."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "calls = 0\n"
        "def on_call(frame, event, argument):\n"
        "    global calls\n"
        "    calls += 'soxr' in sys.modules and event == 'call' and frame.f_code.co_filename.endswith('enum.py')\n"
        "    if calls == 12:\n"
        "        sys.setprofile(None)\n"
        f"        os.kill(os.getpid(), signal.{signal})\n"
        f"sys.argv = ['clinaug-fast', 'preprocess', 'none', {str(tmp_path / 'out')!r}, '--preset', 'heart', '--json']\n"
        "from clinaug_fast.cli.main import run\n"
        "sys.setprofile(on_call)\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == exit_code, done.stderr
    assert json.loads(done.stdout)["exit_code"] == exit_code
    assert done.stderr.endswith("nothing half-written was left. Run the same command again to go on\n")


@pytest.mark.parametrize(
    ("command", "ending"),
    [
        ("audit", "command again"),
        ("train", "command again to go on with the generator that was in hand, from its start"),
    ],
)
def test_what_begins_anew_does_not_say_that_it_goes_on(command: str, ending: str, capsys) -> None:
    def interrupted() -> None:
        with stage(command, False, True):
            raise KeyboardInterrupt

    with pytest.raises(typer.Exit):
        interrupted()
    assert capsys.readouterr().err.endswith(f"nothing half-written was left. Run the same {ending}\n")


def test_an_interrupt_that_the_shell_had_ignored_ends_nothing() -> None:
    code = (
        "import os, signal\n"
        "from clinaug_fast.cli.console import stage\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with stage('train', True, True) as say:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    say.result('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "ok")


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", ">&-", ">&- 2>&-"])
def test_what_cannot_be_told_stops_no_work(streams: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    run = f"{shlex.quote(sys.executable)} -c 'from clinaug_fast.cli.main import run; run()'"
    command = f"{run} preprocess corpus out --preset heart {streams}"
    assert subprocess.run(command, shell=True, capture_output=True, cwd=tmp_path).returncode == 0
    assert (tmp_path / "out/features.json").exists()


@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_place_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    """Libraries in C write to the number 2, whatever lies there."""
    code = (
        "from clinaug_fast.cli.console import have_streams; have_streams(); file = open(sys.argv[1], 'w');"
        "file.write(repr([file.fileno() > 2, *(os.fstat(n) is not None for n in range(3))]))"
    )
    told = tmp_path / "told"
    command = shlex.join([sys.executable, "-c", f"import os, sys; {code}", str(told)])
    assert subprocess.run(f"{command} {closed}", shell=True).returncode == 0
    assert told.read_text() == "[True, True, True, True]"


def run_command(before: str, *x: str) -> subprocess.CompletedProcess:
    """A command in a process of its own that listens to Ctrl-C, although the suite's may not."""
    listen = "import atexit, os, signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code = f"{listen}{before}\nfrom clinaug_fast.cli.entry import run\nrun()\n"
    return subprocess.run([sys.executable, "-c", code, *x], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "word", "code"), [("SIGINT", "interrupted", 130), ("SIGTERM", "stopped by SIGTERM", 75)]
)
def test_a_signal_while_the_command_line_is_loaded_is_told(name: str, word: str, code: int) -> None:
    kills = (
        "class Kills:\n"
        "    def find_spec(self, name, *x):\n"
        f"        if name == 'typer': os.kill(os.getpid(), signal.{name})\n"
        "sys.meta_path.insert(0, Kills())"
    )
    done = run_command(kills, "mel", "bands", "heart")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"error: {word}: nothing was begun\n")
    unread = "reading, writing = os.pipe()\nos.close(reading)\nos.dup2(writing, 2)\n"
    assert run_command(unread + kills, "mel", "bands", "heart").returncode == code


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_after_the_result_changes_nothing(name: str) -> None:
    done = run_command(f"atexit.register(os.kill, os.getpid(), signal.{name})", "mel", "bands", "heart")
    assert (done.returncode, done.stderr) == (0, "")
    assert "largest n_mels without empty bands" in done.stdout


def test_the_version_is_printed() -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.entry import run; run()", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"clinaug-fast {version('clinaug-fast')}\n")


def test_a_stream_that_knows_ascii_alone_escapes_the_rest(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "hum").rename(corpus / "Gebrumm, tönend")
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "preprocess", str(corpus)]
    text = subprocess.run([*command, tmp_path / "a", "--preset", "heart"], capture_output=True, env=environment)
    assert (text.returncode, b"Gebrumm, t\\xf6nend" in text.stdout) == (0, True)
    told = subprocess.run(
        [*command, tmp_path / "b", "--preset", "heart", "--json"], capture_output=True, env=environment
    )
    assert "Gebrumm, tönend" in json.loads(told.stdout.decode("ascii"))["counts"]["clips"]


def test_a_terminal_sees_a_bar_and_a_pipe_sees_lines(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", seconds=20.0)
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "preprocess", tmp_path / "corpus"]
    options = ["--preset", "heart", "-j", "1"]
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        [*command, tmp_path / "a", *options], stderr=follower, stdout=subprocess.PIPE, env=environment
    ) as run:
        os.close(follower)
        seen = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while part := os.read(leader, 4096):
                seen += part
        assert run.wait() == 0
    os.close(leader)
    assert "━".encode() in seen
    assert b"preprocess: 18 done in" in seen
    piped = subprocess.run([*command, tmp_path / "b", *options], capture_output=True, text=True, check=True)
    assert "━" not in piped.stderr
    assert "preprocess: 18 done in" in piped.stderr


def test_a_finding_stays_one_when_nobody_reads_it(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text("{")
    run = f"{shlex.quote(sys.executable)} -c 'from clinaug_fast.cli.main import run; run()'"
    command = f"(sleep 0.2; {run} verify .; echo $? >rc) 2>&1 | true"
    subprocess.run(["bash", "-c", command], check=True, cwd=tmp_path)
    for _ in range(200):
        if (tmp_path / "rc").exists() and (tmp_path / "rc").read_text():
            break
        time.sleep(0.05)
    assert (tmp_path / "rc").read_text().strip() == "3"


def test_results_that_cannot_be_written_are_an_error_and_no_bug() -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "mel", "bands", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    sentence = "stdout cannot be written: No space left on device. The command is done; give its output another place"
    assert done.stderr.strip() == f"error: {sentence}"


@pytest.mark.parametrize("asked", ["--version", "--help", "mel --help"])
def test_help_that_cannot_be_written_is_no_bug_either(asked: str) -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", *asked.split()]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    told = "error: the output cannot be written: No space left on device. Give it another place\n"
    assert (done.returncode, done.stderr) == (6, told)


def test_a_terminal_without_bars_sees_lines(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    say = Say("train", as_json=False, quiet=False)
    say.start("training", 8)
    assert capsys.readouterr().err == "training: 8 to do\n"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_warning_is_told_however_quiet_and_no_terminal_obeys_it(quiet: bool, capsys) -> None:
    Say("train", as_json=False, quiet=quiet).warn("the label a\x1b[2J\u202eb")
    assert capsys.readouterr().err == "warning: the label a\\x1b[2J\\u202eb\n"


def test_brackets_in_what_a_bar_says_are_no_markup() -> None:
    drawn = bar()
    drawn.add_task("[bold]evaluate", total=2, note="[red]a, fold 0")
    console = Console(width=120, file=StringIO())
    console.print(drawn.get_renderable())
    assert "[bold]evaluate" in console.file.getvalue()
    assert "[red]a, fold 0" in console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_terminal_sees_the_count_and_the_time_that_is_left(width: int) -> None:
    drawn = bar()
    task = drawn.add_task("training classifiers", total=300, note="3/s a_very_long_name_of_an_arm_that_goes_on, fold 0")
    drawn.update(task, advance=100)
    console = Console(width=width, file=StringIO())
    console.print(drawn.get_renderable())
    (line,) = console.file.getvalue().splitlines()
    assert re.search(r"training classifiers .*100/300 +-:--:-- ", line)
    assert ("goes_on, fold 0" in line) == (width == 200)


@pytest.mark.parametrize(
    ("path", "pasted"), [("a", "a"), ("-a", "./-a"), ("it's", "'it'\"'\"'s'"), ("--", "./--"), ("a b", "'a b'")]
)
def test_a_path_in_advice_can_be_pasted(path: str, pasted: str) -> None:
    assert quoted(path) == pasted
    assert quoted(Path(path)) == pasted


def test_a_line_now_and_then_says_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    clock = [100.0]
    monkeypatch.setattr("clinaug_fast.cli.console.time.monotonic", lambda: clock[0])
    say = Say("train", as_json=False, quiet=False)
    say.start("training", 8)
    for clock[0] in (110.0, 120.0, 130.0):
        say.advance(note="fold 0")
    clock[0] = 140.0
    say.stop()
    assert capsys.readouterr().err.splitlines() == [
        "training: 8 to do",
        "training: 2 of 8, 0.1/s, about 60 s left fold 0",  # the next is due 15 s later
        "training: 3 done in 40.0 s",
    ]


def test_only_a_command_that_loads_is_loading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What work imports while it writes may be interrupted as any other code."""
    code = "import sys\nfrom clinaug_fast.cli.console import _is_loading\nanswer = _is_loading(sys._getframe())\n"
    for name in ("loaded_by_work", "loaded_by_command"):
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import loaded_by_work

    assert not loaded_by_work.answer
    assert not console._is_loading(sys._getframe())
    found = {}
    exec(compile("import loaded_by_command", str(Path(console.__file__).with_name("x.py")), "exec"), found)
    assert found["loaded_by_command"].answer


@pytest.mark.parametrize(
    ("arguments", "code"), [("--help", 0), ("mel bands --help", 0), ("--version", 0), ("bogus", 2), ("mel", 2), ("", 2)]
)
def test_a_reader_that_closes_changes_no_exit_code(arguments: str, code: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", *arguments.split()]
    with open(writing, "wb") as closed:
        assert subprocess.run(command, stdout=closed, stderr=closed).returncode == code


@pytest.mark.parametrize("columns", ["0", "00", "-1", "²", "wide", "99999999999"])
def test_a_terminal_of_no_columns_is_told_of_all_the_same(columns: str) -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "bogus"]
    told = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"COLUMNS": columns})
    assert (told.returncode, "No such command" in told.stderr) == (2, True)


def test_an_error_of_the_system_is_told_with_both_names():
    renamed = console._told(OSError(errno.EACCES, "Permission denied", b"a", None, "b"))
    assert str(renamed).startswith("[Errno 13] Permission denied: 'a' -> 'b'. Check the path")


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False), ("unknown", False)])
def test_bars_are_drawn_on_terminals_that_can(monkeypatch, term: str, drawn: bool):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setenv("TERM", term)
    assert console._has_a_terminal() is drawn
