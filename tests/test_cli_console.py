"""What every command does with its streams."""

import json
import subprocess
import sys

import pytest


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
        "with stage('train', True, False):\n"
        f"    os.kill(os.getpid(), signal.{signal})\n"
        "    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (told["command"], told["status"], told["exit_code"]) == ("train", "error", exit_code)
    assert f"error: {word}: nothing half-written was left. Run the same command again" in done.stderr


def test_results_that_cannot_be_written_are_an_error_and_no_bug() -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "mel", "bands", "--json"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert done.stderr.strip() == "error: No space left on device. Make room, then run the same command again"
