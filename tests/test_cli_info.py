"""`clinaug-fast info`: what a bug report needs, and how many threads are allowed."""

import json
import os
import platform
from importlib.metadata import version

import pytest

from clinaug_fast import _native, native


def test_versions_and_kernels_are_told(cli):
    facts = json.loads(cli("info", "--json").stdout)
    assert facts["versions"]["clinaug-fast"] == version("clinaug-fast")
    assert facts["python"] == platform.python_version()
    assert facts["instruction_set"] == native.INSTRUCTION_SET in ("baseline", "avx2", "avx512")
    assert (facts["compiler"], facts["cuda_kernels"]) == (_native.compiler, _native.cuda_kernels)
    text = cli("info").stdout
    assert f"on {native.INSTRUCTION_SET}, built with" in text
    assert f"{native.allowed_threads()} allowed" in text


@pytest.mark.parametrize(
    ("slurm", "cores", "allowed"), [(None, 6, 6), ("4", 6, 4), ("8", 6, 6), ("0", 6, 1), ("many", 6, 6), ("2", 1, 1)]
)
def test_the_threads_are_those_of_the_affinity_and_of_the_slurm_task(monkeypatch, slurm, cores, allowed):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)))
    if slurm is not None:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert native.allowed_threads() == allowed
