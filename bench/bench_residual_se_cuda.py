"""residual_se on a GPU: forward, and forward with backward, against eager PyTorch, torch.compile and the traffic bound.

The bound is what the copy peak of the same run allows where each pass goes over memory: forward reads x and skip and
writes y; backward reads grad_y, x and y and writes grad_x and grad_skip. Of tensors that fit the L2 cache some passes
do not, so small shapes may come out above it.
"""

from collections.abc import Callable

import torch

from bench.cuda_timing import CudaTiming, interleaved_cuda, introduce, n_inputs, poison
from clinaug_fast import ResidualSE, ops

SHAPES = [(256, 128, 16, 16), (256, 64, 32, 32), (256, 32, 64, 64)]
SMALL = [(64, 256, 8, 8), (16, 64, 32, 32), (1, 64, 1024, 1024)]
# Of the largest value, against float64: sums in float32; one rounding of y and two of grad_x.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1.6e-2, torch.float16: 2e-3}

Residual = Callable[..., torch.Tensor]


def gradients(f: Residual, inputs: list[torch.Tensor], grad_y: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """y and the gradients of x, w1, b1, w2, b2 and skip."""
    y = f(*inputs)
    return y, *torch.autograd.grad(y, inputs, grad_y)


def agree(inputs: list[torch.Tensor], grad_y: torch.Tensor, dtype: torch.dtype) -> None:
    """On a few samples, against the reference in float64, with outputs that begin as NaN."""
    few = [t[:4] if t.ndim == 4 else t for t in inputs]
    few = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in few]
    exact_inputs = [t.detach().double().requires_grad_() for t in few]
    exact = gradients(ops.residual_se_reference, exact_inputs, grad_y[:4].double())
    poison(few[0].numel() * few[0].element_size())
    for value, like in zip(gradients(ops.residual_se, few, grad_y[:4]), exact, strict=True):
        # Where rounding moves z over the bend, a gradient is another one: such values are rare, and left out.
        error = (value.double() - like).abs() / max(1.0, like.abs().max().item())
        assert (error > TOLERANCE[dtype]).double().mean() < 1e-3, error.max()
        assert value.isfinite().all()


def rows(shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format, peak: float) -> None:
    torch.compiler.reset()  # a function is compiled for a few shapes only, then silently eager
    draw = torch.Generator("cuda").manual_seed(0)

    def image() -> torch.Tensor:
        values = torch.randn(shape, generator=draw, device="cuda", dtype=dtype)
        return values.to(memory_format=layout).requires_grad_()

    module = ResidualSE(shape[1]).to("cuda", dtype)
    weights = [module.w1, module.b1, module.w2, module.b2]
    size = torch.Size(shape).numel() * dtype.itemsize
    pairs = [(image(), image()) for _ in range(n_inputs(2 * size))]
    grads = [image().detach() for _ in pairs]
    agree([pairs[0][0], *weights, pairs[0][1]], grads[0], dtype)
    contenders: dict[str, Residual] = {
        "ours": ops.residual_se,
        "eager": ops.residual_se_reference,
        "compile": torch.compile(ops.residual_se_reference, dynamic=False),
    }

    def forward(f: Residual) -> Callable[[int], object]:
        def call(i: int) -> object:
            with torch.no_grad():
                return f(pairs[i][0], *weights, pairs[i][1])

        return call

    def both(f: Residual) -> Callable[[int], object]:
        return lambda i: gradients(f, [pairs[i][0], *weights, pairs[i][1]], grads[i])

    for name, of, passes in (("forward", forward, 3), ("forward + backward", both, 8)):
        timing = interleaved_cuda({who: of(f) for who, f in contenders.items()}, n=len(pairs))
        tell(name, shape, dtype, layout, timing, passes * size / peak)


def tell(name, shape, dtype, layout, timing: dict[str, CudaTiming], bound_s: float) -> None:
    ours = timing["ours"].ms
    ratios = "".join(
        f"{timing[who].ratio:>8.2f}{' ' if timing[who].captured else '*'}" for who in timing if who != "ours"
    )
    kind = f"{str(dtype).removeprefix('torch.')}{', channels_last' if layout is torch.channels_last else ''}"
    print(f"{name:<19}{shape!s:<22}{kind:<24}{ours:>9.4f}{ratios}{100e3 * bound_s / ours:>8.0f} %")


def main() -> None:
    peak = introduce()
    print("\nresidual_se; ms of ours, times it that others take (*: launches timed too), per cent of the traffic bound")
    print(f"{'':<65}{'ours ms':>9}{'eager':>8} {'compile':>8} {'bound':>8}")
    for shape in SHAPES:
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            for layout in (torch.contiguous_format, torch.channels_last):
                rows(shape, dtype, layout, peak)
    for shape in SMALL:
        rows(shape, torch.float32, torch.contiguous_format, peak)


if __name__ == "__main__":
    main()
