"""Who helps: OpenMP's threads where torch has brought them, helpers of our own where not, and in a forked child."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts threads by Linux's /proc")

# A batch that is worth two threads, on one and on two; prints how many threads came to be.
WORK = """
import os
import numpy as np
from clinaug_fast import MelConfig, native
native.allowed_threads = lambda: 2
config = MelConfig(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20)
x = np.random.default_rng(0).standard_normal((8, 160_000)).astype(np.float32)
def tasks(): return len(os.listdir("/proc/self/task"))
def work():
    before = tasks()
    assert np.array_equal(native.log_mel(x, config, threads=2), native.log_mel(x, config))
    return tasks() - before
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", WORK + code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout.strip()


def test_without_torch_a_helper_of_our_own_stands_by():
    assert run("print(work(), work())") == "1 0"


def test_torchs_threads_are_borrowed():
    torch_first = "import torch; torch.set_num_threads(2); a = torch.ones(2000, 2000); (a + a).sum();"
    assert run(torch_first + "print(work(), work())") == "0 0"


@pytest.mark.parametrize("before", ["", "import torch; torch.set_num_threads(2);"])
def test_a_forked_child_has_a_helper_of_its_own(before):
    code = "work()\nif os.fork() == 0: print(work(), flush=True); os._exit(0)\nprint(os.WEXITSTATUS(os.wait()[1]))"
    assert run(before + code).split() == ["1", "0"]


def test_a_fork_after_torchs_threads_and_before_ours_has_a_helper_of_its_own():
    torch_first = "import torch; torch.set_num_threads(2); a = torch.ones(2000, 2000); (a + a).sum()\n"
    code = "if os.fork() == 0: print(work(), flush=True); os._exit(0)\nprint(os.WEXITSTATUS(os.wait()[1]))"
    assert run(torch_first + code).split() == ["1", "0"]


def test_a_child_forked_while_other_threads_compute_can_compute_too():
    code = """
import signal, threading
small = MelConfig(sample_rate=8000, n_fft=16, hop_length=8, n_mels=2)
clip = np.zeros(16, np.float32)
def busy():
    while True: native.log_mel(clip, small)
for _ in range(4): threading.Thread(target=busy, daemon=True).start()
for _ in range(200):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        native.log_mel(clip, small)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done", flush=True)
os._exit(0)
"""
    assert run(code) == "done"


@pytest.mark.parametrize("operations_before", [0, 1])
def test_helpers_take_denormal_numbers_as_their_caller_does(operations_before):
    """torch.set_flush_denormal sets one thread; helpers that began before compute alike all the same."""
    code = """
import torch
from clinaug_fast import ops
torch.set_num_threads(2)
torch.manual_seed(0)
module = ops.ResidualSE(64)
x = torch.randn(64, 64, 32, 32) * 1e-39
with torch.no_grad():
    for _ in range(BEFORE): module(x)
    if not torch.set_flush_denormal(True): print("not here")
    else:
        torch.set_num_threads(1); alone = module(x); torch.set_num_threads(2)
        print(all(torch.equal(module(x), alone) for _ in range(8)))
"""
    told = run(code.replace("BEFORE", str(operations_before)))
    if told == "not here":
        pytest.skip("no flush-to-zero on this processor")
    assert told == "True"
