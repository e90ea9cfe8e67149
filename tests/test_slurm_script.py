"""The SLURM array script of the README, run as it stands there, with stand-ins for srun and scontrol."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MEL_OPTIONS

README = Path(__file__).parents[1] / "README.md"
TASKS = 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The script, and srun and scontrol on a PATH beside clinaug-fast."""
    text = README.read_text(encoding="utf-8")
    (tmp_path / "features.sbatch").write_text(re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", text, re.DOTALL)[1])
    (tmp_path / "merge.sh").write_text(re.search(r"--wrap '(.*?)'", text)[1].replace("of-16", f"of-{TASKS}"))
    for name, content in (
        ("srun", 'test "$1" = --cpus-per-task=2 && shift && exec "$@"'),
        ("scontrol", f'echo "$@" > {shlex.quote(str(tmp_path))}/requeued'),
    ):
        stub(tmp_path, name, content)
    return tmp_path


def stub(folder: Path, name: str, content: str) -> None:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(f"#!/bin/bash\n{content}\n")
    (folder / "bin" / name).chmod(0o755)


def bash(folder: Path, *arguments: object, task: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    slurm = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(TASKS)}
    slurm |= {"SLURM_CPUS_PER_TASK": "2"}
    command = ["bash", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=os.environ | slurm | {"PATH": path}, capture_output=True, text=True)


def test_the_array_and_the_merge_make_what_one_machine_makes(folder: Path, tiny_corpus: Path) -> None:
    options = (*MEL_OPTIONS, "--n-frames", "32")
    for task in range(TASKS):
        done = bash(folder, "features.sbatch", tiny_corpus, "features", *options, task=task)
        assert done.returncode == 0, done.stderr
    done = bash(folder, "merge.sh")
    assert done.returncode == 0, done.stderr
    done = bash(
        folder, "-c", '"$@"', "sh", "clinaug-fast", "preprocess", tiny_corpus, "alone", "--shard", "none", *options
    )
    assert done.returncode == 0, done.stderr
    assert bash(folder, "-c", "diff -r features alone").returncode == 0
    assert not (folder / "requeued").exists()


def test_a_task_whose_time_is_up_is_queued_again(folder: Path) -> None:
    stub(folder, "clinaug-fast", "exit 75")
    assert bash(folder, "features.sbatch", "recordings", "features", task=2).returncode == 0
    assert (folder / "requeued").read_text().split() == ["requeue", "77_2"]


def test_a_task_that_fails_fails(folder: Path) -> None:
    stub(folder, "clinaug-fast", "exit 3")
    assert bash(folder, "features.sbatch", "recordings", "features").returncode == 3
    assert not (folder / "requeued").exists()
