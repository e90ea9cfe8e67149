"""`python -m bench [log_mel|residual_se|log_mel_cuda ...]`: the named benchmarks, all that need no GPU by default."""

import sys
from importlib import import_module

BENCHMARKS = ("log_mel", "preprocess", "residual_se")
ON_A_GPU = ("log_mel_cuda", "residual_se_cuda")


def main() -> int:
    names = sys.argv[1:] or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS + ON_A_GPU]
    if unknown:
        known = ", ".join(BENCHMARKS + ON_A_GPU)
        print(f"no benchmark {unknown[0]!r}; expected one of {known}", file=sys.stderr)
        return 2
    for name in names:
        import_module(f"bench.bench_{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
