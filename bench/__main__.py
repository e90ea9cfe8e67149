"""`python -m bench [log_mel|residual_se|log_mel_cuda ...]`: the named benchmarks, all that need no GPU by default."""

import argparse
import subprocess
import sys

BENCHMARKS = ("log_mel", "preprocess", "residual_se")
ON_A_GPU = ("log_mel_cuda", "residual_se_cuda")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS + ON_A_GPU)}")
    names = parser.parse_args().names or BENCHMARKS
    unknown = [name for name in names if name not in BENCHMARKS + ON_A_GPU]
    if unknown:
        known = ", ".join(BENCHMARKS + ON_A_GPU)
        print(f"no benchmark {unknown[0]!r}; expected one of {known}", file=sys.stderr)
        return 2
    # A process each: threads that a peer has started keep the cores that the benchmark before has left them.
    ended = [subprocess.run([sys.executable, "-m", f"bench.bench_{name}"]).returncode for name in names]
    return max(map(abs, ended))


if __name__ == "__main__":
    sys.exit(main())
