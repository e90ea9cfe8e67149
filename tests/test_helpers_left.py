"""What a call leaves of itself on the threads that helped it."""

import pytest

from test_parallel import pytestmark, run  # noqa: F401


def test_torchs_threads_take_denormal_numbers_as_before():
    """torch.set_flush_denormal sets one thread, and ours its helpers for the while of a call."""
    code = """
import torch
from clinaug_fast import ops
torch.set_num_threads(2)
tiny = torch.full((2_000_000,), 1e-39)
kept = bool((tiny * 1).all())
module = ops.ResidualSE(64)
with torch.no_grad():
    if not torch.set_flush_denormal(True): print("not here")
    else:
        for _ in range(8): module(torch.ones(64, 64, 32, 32))
        torch.set_flush_denormal(False)
        print(kept, all(bool((tiny * 1).all()) for _ in range(8)))
"""
    told = run(code)
    if told == "not here":
        pytest.skip("no flush-to-zero on this processor")
    assert told == "True True"


def test_signals_are_for_the_callers_thread_before_and_after():
    """A helper of our own blocks them all, and whoever started it blocks none."""
    code = """
def blocked(task):
    with open(f"/proc/self/task/{task}/status") as status:
        return next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
before, mine = set(os.listdir("/proc/self/task")), blocked(os.getpid())
work()
(helper,) = set(os.listdir("/proc/self/task")) - before
print(blocked(helper) >> 1 & 1, blocked(helper) >> 14 & 1, blocked(os.getpid()) == mine == 0)  # SIGINT, SIGTERM
"""
    assert run(code) == "1 1 True"
