"""The record of shared memory that the CUDA kernels' phases run against on the CPU: it must catch a race."""

import pytest

from clinaug_fast import _device_phases


@pytest.mark.parametrize(
    ("deed", "sentence"),
    [
        ("two writers", "thread 1 in phase 1 writes what another thread writes in the same phase, word 0"),
        ("read beside a write", "thread 1 in phase 1 reads what another thread writes"),
        ("write beside a read", "thread 1 in phase 2 writes what another thread reads"),
        ("never written", "reads what nobody wrote, word 3"),
        ("left by the last block", "reads what nobody wrote"),
        ("outside", "touches byte 67 of 64"),
    ],
)
def test_a_race_is_told(deed, sentence):
    assert sentence in _device_phases.watch(deed)


def test_a_barrier_makes_it_right():
    assert _device_phases.watch("after a barrier") == ""
