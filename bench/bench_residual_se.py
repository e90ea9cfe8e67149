"""residual_se, float32: ours against eager PyTorch, torch.compile and the traffic floor, which is one addition.

Forward and forward + backward, contiguous and channels_last, one and two threads; then small and odd shapes against
eager. `compile` of forward + backward has relu written as (z + |z|) / 2, since its bool mask costs more than the rest.
Each contender must agree with eager in double precision before it is timed (`compile` of forward in its outputs). Run
it with MALLOC_MMAP_MAX_=0 and MALLOC_TRIM_THRESHOLD_=10000000000 in the environment: otherwise glibc maps large outputs
afresh at each call, and that is what gets timed.
"""

import os
from collections.abc import Callable, Iterator

import torch
from torch.nn import functional as F

from bench.interleave import interleaved, processor
from clinaug_fast import ResidualSE, native, ops

LARGE = [(64, 256, 8, 8), (64, 128, 16, 16), (64, 64, 32, 32), (64, 32, 64, 64)]
SMALL = [
    (1, 8, 4, 4),
    (1, 32, 16, 16),
    (4, 64, 8, 8),
    (8, 33, 7, 7),
    (16, 128, 16, 16),
    (1, 512, 4, 4),
    (128, 512, 4, 4),
]
FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
MALLOC = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_")

Tensors = tuple[torch.Tensor, ...]


def before_act(x, w1, b1, w2, b2, skip) -> torch.Tensor:
    gate = torch.sigmoid(F.linear(F.linear(x.mean((2, 3)), w1, b1).relu(), w2, b2))
    return x * gate[:, :, None, None] + skip


def eager(*tensors) -> torch.Tensor:
    """The reference without its checks."""
    return F.relu(before_act(*tensors))


def without_mask(*tensors) -> torch.Tensor:
    z = before_act(*tensors)
    return (z + z.abs()) * 0.5


def inputs(shape: tuple[int, ...], layout: torch.memory_format) -> tuple[Tensors, torch.Tensor]:
    """(x, w1, b1, w2, b2, skip) that ask for gradients, and dL/dy."""
    draw = torch.Generator().manual_seed(0)
    x, skip, grad = (torch.randn(shape, generator=draw).to(memory_format=layout) for _ in range(3))
    torch.manual_seed(0)
    module = ResidualSE(shape[1])
    tensors = (x, module.w1, module.b1, module.w2, module.b2, skip)
    return tuple(t.detach().requires_grad_() for t in tensors), grad


def forward(f: Callable, tensors: Tensors) -> Callable[[], torch.Tensor]:
    frozen = [t.detach() for t in tensors]
    return lambda: f(*frozen)


def forward_backward(f: Callable, tensors: Tensors, grad: torch.Tensor) -> Callable[[], Tensors]:
    return lambda: torch.autograd.grad(f(*tensors), tensors, grad)


def agree_forward(f: Callable, tensors: Tensors) -> None:
    """Outputs against double precision."""
    wide = tuple(t.detach().double() for t in tensors)
    torch.testing.assert_close(forward(f, tensors)().double(), eager(*wide), atol=1e-5, rtol=1e-5)


def agree(f: Callable, tensors: Tensors, grad: torch.Tensor) -> None:
    """Outputs and gradients against double precision, where no z is so small that the sides of relu are in doubt."""
    wide = tuple(t.detach().double().requires_grad_() for t in tensors)
    exact = eager(*wide)
    sure = grad * (before_act(*wide).detach().abs() > 1e-5)
    torch.testing.assert_close(f(*tensors).double(), exact, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(f(*tensors), tensors, sure), torch.autograd.grad(exact, wide, sure.double()), strict=True
    ):
        scale = theirs.abs().max().clamp_min(1e-6)
        torch.testing.assert_close(ours.double() / scale, theirs / scale, atol=5e-5, rtol=0)


def rows(shape, layout) -> Iterator[tuple[str, dict]]:
    """(what is timed, its timings) of a large shape."""
    tensors, grad = inputs(shape, layout)
    compiled, compiled_training = torch.compile(eager), torch.compile(without_mask)
    for f in (ops.residual_se, eager, compiled_training):
        agree(f, tensors, grad)
    agree_forward(compiled, tensors)
    x, skip = tensors[0].detach(), tensors[5].detach()
    y = torch.empty_like(x)
    floor = {"floor": lambda: torch.add(x, skip, out=y)}
    contenders = {"ours": ops.residual_se, "eager": eager}
    once = {name: forward(f, tensors) for name, f in (contenders | {"compile": compiled}).items()}
    yield "forward", interleaved(once | floor, rounds=7)
    both = {n: forward_backward(f, tensors, grad) for n, f in (contenders | {"compile": compiled_training}).items()}
    yield "forward + backward", interleaved(both | floor, rounds=7)


def large(threads: int) -> None:
    torch.set_num_threads(threads)
    head = f"\n{threads} thread(s)".ljust(36) + "".ljust(20)
    print(head + "".join(f"{name:>10}" for name in ("ours, ms", "x eager", "x compile", "of floor")))
    for shape in LARGE:
        for name, layout in FORMATS.items():
            torch.compiler.reset()
            for what, timing in rows(shape, layout):
                ratios = f"{timing['eager'].ratio:>10.2f}{timing['compile'].ratio:>10.2f}"
                of_floor = 1 / timing["floor"].ratio
                print(
                    f"{shape!s:<20}{name:<15}{what:<20}{1e3 * timing['ours'].seconds:>10.3f}{ratios}{of_floor:>10.2f}",
                    flush=True,
                )


def small(threads: int) -> None:
    torch.set_num_threads(threads)
    print(f"\n{threads} thread(s): small and odd shapes, x eager".ljust(56) + f"{'forward':>10}{'fwd + bwd':>10}")
    for shape in SMALL:
        for name, layout in FORMATS.items():
            tensors, grad = inputs(shape, layout)
            agree(ops.residual_se, tensors, grad)
            contenders = {"ours": ops.residual_se, "eager": eager}
            once = interleaved({n: forward(f, tensors) for n, f in contenders.items()}, rounds=5, at_least_s=0.01)
            both = interleaved(
                {n: forward_backward(f, tensors, grad) for n, f in contenders.items()}, rounds=5, at_least_s=0.01
            )
            print(f"{shape!s:<20}{name:<35}{once['eager'].ratio:>10.2f}{both['eager'].ratio:>10.2f}", flush=True)


def main() -> None:
    settings = ", ".join(f"{name}={os.environ.get(name, 'unset')}" for name in MALLOC)
    print(f"residual_se, float32, {processor()}, {native.INSTRUCTION_SET}, torch {torch.__version__}; {settings}")
    for threads in (1, 2)[: len(os.sched_getaffinity(0))]:
        large(threads)
        small(threads)


if __name__ == "__main__":
    main()
