"""Large outputs are backed by huge pages where the system has them; /proc/self/smaps tells who asked, see proc(5)."""

import ctypes
import mmap
from pathlib import Path

import pytest
import torch

from clinaug_fast import MelConfig, ResidualSE, _native, ops

SMAPS = Path("/proc/self/smaps")
MIB = 1 << 20

HAS_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled").exists()

pytestmark = pytest.mark.skipif(
    not (HAS_HUGE_PAGES and SMAPS.exists() and "VmFlags" in SMAPS.read_text()),
    reason="this system has no huge pages to ask for, or does not tell who did",
)


def asked_for(address: int) -> bool:
    """Whether the mapping that holds an address has been marked for huge pages."""
    within = False
    for line in SMAPS.read_text().splitlines():
        first, *rest = line.split()
        if "-" in first and not first.endswith(":"):
            begin, end = (int(part, 16) for part in first.split("-"))
            within = begin <= address < end
        elif within and first == "VmFlags:":
            return "hg" in rest
    raise AssertionError(f"{address:#x} is not mapped")


@pytest.fixture
def mapped():
    """The address of 16 MiB that nothing was written to."""
    room = mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held = ctypes.c_char.from_buffer(room)
    yield ctypes.addressof(held)
    del held
    room.close()


def test_whole_huge_pages_within_a_large_array_are_asked_for(mapped):
    begin = mapped + 100
    first = -(-begin // (2 * MIB)) * 2 * MIB
    _native.ask_for_huge_pages(begin, 9 * MIB)
    assert asked_for(first)
    assert not asked_for(first - 1)
    assert asked_for((begin + 9 * MIB) // (2 * MIB) * 2 * MIB - 1)
    assert not asked_for((begin + 9 * MIB) // (2 * MIB) * 2 * MIB)


def test_a_small_array_and_none_are_left_alone(mapped):
    _native.ask_for_huge_pages(mapped, 4 * MIB - 1)
    _native.ask_for_huge_pages(0, 0)
    assert not asked_for(mapped + 2 * MIB)


def middle(tensor: torch.Tensor) -> int:
    return tensor.data_ptr() + tensor.nbytes // 2


def test_large_outputs_of_residual_se_and_their_gradients():
    module = ResidualSE(8)
    x, skip = (torch.ones(33, 8, 256, 128, requires_grad=True) for _ in range(2))  # 33 MiB
    y = module(x, skip)
    gradients = torch.autograd.grad(y.sum(), (x, skip))
    assert [asked_for(middle(tensor)) for tensor in (y, *gradients)] == [True] * 3


def test_a_large_output_of_log_mel():
    config = MelConfig(sample_rate=8000, n_fft=64, hop_length=16, n_mels=10)
    log_mel = ops.log_mel(torch.zeros(33 * 16 * MIB // 40), config)  # 33 MiB
    assert asked_for(middle(log_mel))
