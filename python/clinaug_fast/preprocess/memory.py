"""Memory that the threads of a run share: whoever decodes something large waits until there is room."""

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pyarrow as pa

from clinaug_fast.errors import SettingsError

INTERPRETER_BYTES = 192 << 20  # Python with its libraries, and small change
LEAST_BYTES = 384 << 20
DEFAULT_BYTES = 2 << 30
KEPT_BYTES = 32 << 20  # by a thread's allocator
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
_FRUGAL = threading.Lock()
_frugal_runs, _pool_before = 0, None  # of this process
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Budget:
    """Bytes to hand out. A request for more than all of them gets all of them."""

    def __init__(self, n_bytes: int):
        self.n_bytes = n_bytes
        self._free = n_bytes
        self._returned = threading.Condition()

    @contextmanager
    def hold(self, n_bytes: int) -> Iterator[None]:
        """Wait for the bytes, and give them back at the end. Wait for nothing else while holding them."""
        n_bytes = min(n_bytes, self.n_bytes)
        with self._returned:
            self._returned.wait_for(lambda: self._free >= n_bytes)
            self._free -= n_bytes
        try:
            yield
        finally:
            with self._returned:
                self._free += n_bytes
                self._returned.notify_all()


@contextmanager
def frugal_arrow() -> Iterator[None]:
    """Arrow's own allocators keep what is freed; the system's gives it back, and tables here are few and small. Until
    the last of several runs in one process has ended."""
    global _frugal_runs, _pool_before
    with _FRUGAL:
        if not _frugal_runs:
            _pool_before = pa.default_memory_pool()
            pa.set_memory_pool(pa.system_memory_pool())
        _frugal_runs += 1
    try:
        yield
    finally:
        with _FRUGAL:
            _frugal_runs -= 1
            if not _frugal_runs:
                pa.set_memory_pool(_pool_before)


def keep_freed() -> None:
    """Have the C library (glibc) keep up to KEPT_BYTES that were freed: asking the system for pages anew for each file
    takes a tenth of a run and more, and threads wait for one another there. For the rest of this process."""
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES // 2)
        library.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Let go of what was freed but is kept by the C library for later, where it can be told to (glibc)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def default_limit() -> int:
    """2 GiB, or a quarter of the machine where that is less."""
    return max(LEAST_BYTES, min(DEFAULT_BYTES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4))


def parse_bytes(text: str) -> int:
    """512M, 4G, 4GiB -> bytes."""
    number = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in UNITS else ""
    try:
        n_bytes = int(float(number.removesuffix(unit)) * UNITS[unit])
    except (ValueError, OverflowError):
        raise SettingsError(f"the memory limit is {text!r}; expected a size such as 512M or 4G") from None
    if n_bytes < LEAST_BYTES:
        raise SettingsError(
            f"the memory limit is {text!r}; expected at least {LEAST_BYTES >> 20}M, since Python with its libraries "
            f"takes {INTERPRETER_BYTES >> 20}M. Raise it"
        )
    return n_bytes
