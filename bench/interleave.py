"""Timing that survives a machine whose speed drifts: contenders take turns, and only ratios within a round count."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Of one contender: seconds a call, and the median over rounds of its time over the first contender's."""

    seconds: float  # the median over rounds
    ratio: float
    least: float  # seconds in its best round: when nobody else was on the machine, if that ever was


def interleaved(
    contenders: Mapping[str, Callable[[], object]], rounds: int = 21, at_least_s: float = 0.05
) -> dict[str, Timing]:
    """Call the contenders in turn, `rounds` times, each for `at_least_s` or more; the first is the yardstick.

    A turn begins with a call that does not count: the one before has left its own data in the caches.
    """
    repeats = {}
    for name, call in contenders.items():
        call()  # warm: caches, tables, lazy imports
        begun = time.perf_counter()
        call()
        repeats[name] = max(1, round(at_least_s / max(time.perf_counter() - begun, 1e-7)))
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            begun = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            seconds[name].append((time.perf_counter() - begun) / repeats[name])
    first = next(iter(contenders))
    return {
        name: Timing(
            statistics.median(times),
            statistics.median(t / f for t, f in zip(times, seconds[first], strict=True)),
            min(times),
        )
        for name, times in seconds.items()
    }


def processor() -> str:
    """The processor's name, for the head of a table."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
