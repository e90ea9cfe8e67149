"""What every command does with its streams."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

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
        "with stage('train', True, False):\n"
        f"    os.kill(os.getpid(), signal.{signal})\n"
        "    signal.pause()\n"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}"], capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert (told["command"], told["status"], told["exit_code"]) == ("train", "error", exit_code)
    assert f"error: {word}: nothing half-written was left. Run the same command again" in done.stderr


@pytest.mark.parametrize("streams", ["2>/dev/full", "2>&-", ">&-", ">&- 2>&-"])
def test_what_cannot_be_told_stops_no_work(streams: str, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    run = f"{sys.executable} -c 'from clinaug_fast.cli.main import run; run()'"
    command = f"{run} preprocess {tmp_path}/corpus {tmp_path}/out --preset heart {streams}"
    assert subprocess.run(command, shell=True, capture_output=True).returncode == 0
    assert (tmp_path / "out/features.json").exists()


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


def test_a_finding_stays_one_when_nobody_reads_it(tmp_path: Path) -> None:
    (tmp_path / "features.json").write_text("{")
    run = f"{sys.executable} -c 'from clinaug_fast.cli.main import run; run()'"
    command = f"(sleep 0.2; {run} verify {tmp_path}; echo $? >{tmp_path}/rc) 2>&1 | true"
    subprocess.run(["bash", "-c", command], check=True)
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
    assert done.stderr.strip() == "error: No space left on device. Make room, then run the same command again"
