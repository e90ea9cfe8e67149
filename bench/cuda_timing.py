"""Timing on a GPU: CUDA events around CUDA graphs, contenders in turn, inputs rotated past the L2 cache, medians.

Each contender is `call(i)`: it computes on input number i, i < n_inputs, and returns what it made. All inputs in turn
are one graph, so that neither Python nor a launch is timed; a contender that cannot be captured is called plainly and
marked. Results live until the last input is done: each has memory of its own, which the L2 cache does not keep either.
"""

import math
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class CudaTiming:
    """Of one contender: median milliseconds a call; median over rounds of its time over the first contender's."""

    ms: float
    ratio: float
    captured: bool  # False: its launches are timed too


def n_inputs(bytes_each: int) -> int:
    """How many inputs of that size, their outputs left out, make four times the L2 cache; at least two."""
    l2 = torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size
    return max(2, math.ceil(4 * l2 / max(1, bytes_each)))


def poison(n_bytes: int) -> None:
    """Fill memory that the next torch.empty of that size is likely to get with NaN: what is not written shows."""
    torch.full((n_bytes // 4 + 1,), math.nan, device="cuda")
    torch.cuda.synchronize()


def _runner(call: Callable[[int], object], n: int) -> tuple[Callable[[], None], bool]:
    """All inputs in turn, as one graph where that works."""

    def plainly() -> None:
        list(map(call, range(n)))

    outside = torch.cuda.current_stream()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(0)  # warm: tables, plans, compilation
        call(1)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            plainly()
    except RuntimeError:
        torch.cuda.set_stream(outside)  # a capture that fails at its end leaves its own
        torch.cuda.synchronize()
        return plainly, False
    return graph.replay, True


def _elapsed(run: Callable[[], object], repeats: int) -> float:
    """Milliseconds a run."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def interleaved_cuda(
    contenders: Mapping[str, Callable[[int], object]], n: int, rounds: int = 30, at_least_ms: float = 5.0
) -> dict[str, CudaTiming]:
    """Let the contenders take turns on inputs 0..n-1, `rounds` times; the first is the yardstick."""
    runners = {name: _runner(call, n) for name, call in contenders.items()}
    repeats = {}
    for name, (run, _) in runners.items():
        _elapsed(run, 3)
        repeats[name] = max(1, math.ceil(at_least_ms / (_elapsed(run, 3) + 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, (run, _) in runners.items():
            times[name].append(_elapsed(run, repeats[name]) / n)
    first = times[next(iter(times))]
    return {
        name: CudaTiming(
            statistics.median(own),
            statistics.median(t / f for t, f in zip(own, first, strict=True)),
            runners[name][1],
        )
        for name, own in times.items()
    }


def introduce() -> float:
    """Tell the device and the copy peak of this very run in bytes a second, which is returned."""
    if not torch.cuda.is_available():
        raise SystemExit("bench: torch sees no CUDA device. Run it on a machine with a GPU")
    sys.stdout.reconfigure(line_buffering=True)  # rows that are done stay where the time runs out
    peak = _copy_peak()
    about = torch.cuda.get_device_properties(torch.cuda.current_device())
    print(f"{about.name}, torch {torch.__version__}; medians of rounds; copy peak {peak / 1e9:.0f} GB/s both ways")
    return peak


def _copy_peak() -> float:
    """Bytes a second of a large device-to-device copy, read and written both counted.

    Not from a graph: there the same copy reaches four fifths of it (H100, CUDA 13.0).
    """
    source = torch.randn(1 << 28, device="cuda")  # 1 GiB
    target = torch.empty_like(source)
    ms = statistics.median(_elapsed(lambda: target.copy_(source), 10) for _ in range(10))
    return 2 * source.numel() * source.element_size() / (1e-3 * ms)
