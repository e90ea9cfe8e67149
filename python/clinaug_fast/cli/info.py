"""`clinaug-fast info`: what runs here, for a bug report or a methods section."""

import platform
from importlib.metadata import version

from clinaug_fast.cli.console import Json, Quiet, stage

PACKAGES = ("clinaug-fast", "torch", "numpy", "soundfile", "soxr", "pyarrow", "scikit-learn", "safetensors", "pydantic")


def info(as_json: Json = False, quiet: Quiet = False) -> None:
    """Versions, instruction set in use, threads, CUDA."""
    with stage("info", as_json, quiet) as say:
        import soundfile
        import torch

        from clinaug_fast import _native, native

        cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        facts = {
            "versions": {package: version(package) for package in PACKAGES},
            "python": platform.python_version(),
            "platform": platform.platform(),
            "libsndfile": soundfile.__libsndfile_version__,
            "instruction_set": native.INSTRUCTION_SET,
            "compiler": _native.compiler,
            "threads": native.allowed_threads(),
            "cuda_devices": cuda,
            "cuda_compiler": _native.cuda_compiler or None,
            "cuda_architectures": _native.cuda_architectures or None,
            "cuda_kernels": _native.cuda_kernels,
        }
        kernels = "none: built without a CUDA compiler; on a GPU the operators run as torch operations"
        if _native.cuda_kernels:
            built = f"built with {_native.cuda_compiler} for sm_{_native.cuda_architectures.replace(',', ', sm_')}"
            kernels = f"{', '.join(_native.cuda_kernels)}; {built}"
        lines = [f"{package:<16}{number}" for package, number in facts["versions"].items()]
        lines += [
            f"{'Python':<16}{facts['python']} on {facts['platform']}",
            f"{'libsndfile':<16}{facts['libsndfile']}",
            f"{'CPU kernels':<16}log_mel, residual_se on {facts['instruction_set']}, built with {facts['compiler']}",
            f"{'threads':<16}{facts['threads']} allowed",
            f"{'CUDA devices':<16}{', '.join(cuda) or 'none'}",
            f"{'CUDA kernels':<16}{kernels}",
        ]
        say.result("\n".join(lines), **facts)
