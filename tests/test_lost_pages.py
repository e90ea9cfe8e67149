"""A mapped shard whose pages cannot be had: a sentence and an exit code, not a process that is gone without a word."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from clinaug_fast import _native

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="no such signal here")

READ_WHAT_IS_GONE = """
import os, sys, threading
import numpy as np
from clinaug_fast.cli.console import stage

def read():
    mapped = np.load(sys.argv[1], mmap_mode="r")
    if "--warn" in sys.argv:
        say.warn("of something else")
    os.truncate(sys.argv[1], 0)
    print(mapped.sum())

with stage("verify", "--json" in sys.argv, quiet=True) as say:
    if "--thread" in sys.argv:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    else:
        read()
"""


def run(tmp_path, *arguments):
    shard = tmp_path / "shard.npy"
    np.save(shard, np.ones(100_000, np.float32))
    command = [sys.executable, "-c", READ_WHAT_IS_GONE, str(shard), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("arguments", [(), ("--thread",)])
def test_a_lost_page_is_told(tmp_path, arguments):
    ended = run(tmp_path, *arguments)
    assert (ended.returncode, ended.stdout) == (6, "")
    assert ended.stderr.startswith("error: a file lost a page while it was read: ")
    assert ended.stderr.count("\n") == 1


def test_a_lost_page_is_told_to_machines_too(tmp_path):
    ended = run(tmp_path, "--json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["command"], told["status"], told["exit_code"]) == (6, "verify", "error", 6)
    assert ended.stderr == f"error: {told['message']}\n"


def test_what_was_warned_of_before_is_in_the_object(tmp_path):
    ended = run(tmp_path, "--json", "--warn")
    assert json.loads(ended.stdout)["warnings"] == ["of something else"]


@pytest.mark.parametrize(("term", "before"), [("xterm", "\r\x1b[2K\x1b[?25h"), ("dumb", "")])
def test_on_a_terminal_the_bar_goes_and_the_cursor_comes_back(tmp_path, term, before):
    shard = tmp_path / "shard.npy"
    np.save(shard, np.ones(100_000, np.float32))
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", READ_WHAT_IS_GONE, str(shard)]
    environment = os.environ | {"TERM": term}
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=120, check=False)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert ended.returncode == 6
    assert shown.startswith(f"{before}error: a file lost a page")


def test_a_stage_that_is_over_tells_of_nothing():
    code = """
import os, signal
from clinaug_fast.cli.console import stage
with stage("verify", False, quiet=True) as say:
    pass
say.warn("late")
os.kill(os.getpid(), signal.SIGBUS)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (-signal.SIGBUS, "warning: late\n")


def test_the_signal_does_then_what_it_did_before(tmp_path):
    _native.stop_telling()  # of nothing
    _native.tell_of_lost_pages("one", "", 1)
    _native.tell_of_lost_pages("two", "", 2)
    _native.stop_telling()
    code = "import os, signal; from clinaug_fast import _native as n; n.tell_of_lost_pages('told', '', 9)\n{}"
    for last, expected in (("", (9, "told")), ("n.stop_telling()\n", (-signal.SIGBUS, ""))):
        command = [sys.executable, "-c", code.format(last) + "os.kill(os.getpid(), signal.SIGBUS)"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert (ended.returncode, ended.stderr) == expected
