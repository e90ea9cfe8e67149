"""residual_se forward, float32, one thread: ours against eager PyTorch and against the traffic floor (one addition)."""

import torch

from bench.interleave import interleaved, processor
from clinaug_fast import ResidualSE, ops

SHAPES = [(64, 256, 8, 8), (64, 128, 16, 16), (64, 64, 32, 32), (64, 32, 64, 64)]


def main() -> None:
    torch.set_num_threads(1)
    draw = torch.Generator().manual_seed(0)
    print(f"residual_se forward, float32, 1 thread, {processor()}; milliseconds and ratios to ours, medians of rounds")
    print(f"{'shape':<20}{'ours':>9}{'eager':>9}{'floor':>9}{'x eager':>9}{'x floor':>9}")
    for shape in SHAPES:
        x, skip = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
        module = ResidualSE(shape[1]).requires_grad_(False)
        weights = (module.w1, module.b1, module.w2, module.b2)
        y = torch.empty_like(x)
        assert torch.allclose(module(x, skip), ops.residual_se_reference(x, *weights, skip), atol=1e-5)
        timing = interleaved(
            {
                "ours": lambda m=module, x=x, s=skip: m(x, s),
                "eager": lambda w=weights, x=x, s=skip: ops.residual_se_reference(x, *w, s),
                "floor": lambda x=x, s=skip, y=y: torch.add(x, s, out=y),
            }
        )
        ms = "".join(f"{1e3 * timing[name].seconds:>9.3f}" for name in timing)
        print(f"{shape!s:<20}{ms}{timing['eager'].ratio:>9.2f}{1 / timing['floor'].ratio:>9.2f}")


if __name__ == "__main__":
    main()
