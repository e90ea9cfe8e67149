"""Both kernels on a GPU: the device, its copy peak of this very run, then the rows of each kernel."""

import torch

from bench import bench_log_mel_cuda, bench_residual_se_cuda
from bench.cuda_timing import copy_peak


def main() -> None:
    if not torch.cuda.is_available():
        raise SystemExit("bench cuda: torch sees no CUDA device. Run it on a machine with a GPU")
    peak = copy_peak()
    about = torch.cuda.get_device_properties(torch.cuda.current_device())
    print(f"{about.name}, torch {torch.__version__}; medians of rounds")
    print(f"copy peak {peak / 1e9:.0f} GB/s counting both ways")
    for rows in (bench_log_mel_cuda, bench_residual_se_cuda):
        rows.main(peak)


if __name__ == "__main__":
    main()
