"""What every command does with its streams."""

import subprocess
import sys


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-c", "from clinaug_fast.cli.main import run; run()", "mel", "bands"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0
