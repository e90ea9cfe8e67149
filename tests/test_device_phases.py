"""The record of shared memory that the CUDA kernels' phases run against on the CPU: races are told, banks counted."""

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


@pytest.mark.parametrize(
    ("addresses", "size", "taken", "least"),
    [
        ([4 * lane for lane in range(32)], 4, 1, 1),
        ([2 * lane for lane in range(32)], 2, 1, 1),
        ([64] * 32, 4, 1, 1),
        ([8 * lane for lane in range(32)], 4, 2, 1),
        ([128 * lane for lane in range(32)], 4, 32, 1),
        ([132 * lane for lane in range(32)], 4, 1, 1),
        ([8 * lane for lane in range(32)], 8, 2, 2),
        ([16 * lane for lane in range(32)], 8, 4, 2),
        ([16 * lane for lane in range(32)], 16, 4, 4),
        ([0, 128], 4, 2, 1),
    ],
)
def test_bank_conflicts_are_counted(addresses, size, taken, least):
    assert _device_phases.wavefronts(addresses, size) == (taken, least)
