"""`make test-asan`: builds the extension with AddressSanitizer and UBSan and runs the kernel tests on that build.

The build and a copy of the package lie in build/asan; the installed package is left as it is.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pybind11

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "asan"
TESTS = (
    "tests/test_log_mel_lanes.py",
    "tests/test_log_mel_ways.py",
    "tests/test_log_mel.py",
    "tests/test_log_mel_kernel.py",
    "tests/test_log_mel_loud.py",
    "tests/test_large_sums.py",
    "tests/test_residual_se.py",
    "tests/test_residual_se_memory.py",
    "tests/test_residual_se_passes.py",
    "tests/test_residual_se_phases.py",
    "tests/test_wav.py",
    "tests/test_wav_edges.py",
    "tests/test_listing.py",
    "tests/test_audio.py",
    "tests/test_corpus.py",
)
# At -O2 AVX2 and AVX-512 round alike, so that what is left of whole vectors takes half ones here too.
SANITIZE = "-O2 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all"
SANITIZE += " -DCLINAUG_SETS_ROUND_ALIKE"

# An editable install finds the package by a hook that comes before PYTHONPATH.
RUN = """
import sys
sys.meta_path = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
import pytest
from clinaug_fast import _native
assert "asan" in _native.__file__, _native.__file__
sys.exit(pytest.main(sys.argv[1:]))
"""


def main() -> int:
    configure = ["cmake", "-S", ROOT, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Debug", "-DCLINAUG_CUDA=OFF"]
    configure += ["-DCLINAUG_DEVICE_PHASES=ON"]
    configure += [f"-DCMAKE_CXX_FLAGS={SANITIZE}", f"-DPython_EXECUTABLE={sys.executable}"]
    tools = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*configure, f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"], check=True, env=tools)
    subprocess.run(["cmake", "--build", BUILD], check=True, env=tools)
    package = BUILD / "python" / "clinaug_fast"
    shutil.copytree(
        ROOT / "python" / "clinaug_fast", package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so")
    )
    for extension in BUILD.glob("_*.so"):
        shutil.copy(extension, package)
    runtimes = [
        subprocess.run(["g++", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    sanitized = os.environ | {
        "LD_PRELOAD": ":".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
        "PYTHONPATH": str(BUILD / "python"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run([sys.executable, "-c", RUN, *TESTS], cwd=ROOT, env=sanitized, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
