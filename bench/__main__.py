"""`python -m bench [log_mel|residual_se ...]`: the named benchmarks, all of them by default."""

import sys
from importlib import import_module

BENCHMARKS = ("log_mel", "preprocess", "residual_se")


def main() -> int:
    names = sys.argv[1:] or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; expected one of {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        import_module(f"bench.bench_{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
