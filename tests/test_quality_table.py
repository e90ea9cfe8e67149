"""The table of `quality`: every number whole in any terminal, with as many digits as tell something."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from clinaug_fast.cli.quality_table import quality_table


def measured(frechet: float, kernel: float, kernel_sd: float = 0.25) -> dict:
    values = {"frechet": (frechet, 0.5), "kernel": (kernel, kernel_sd), "spread": (1.034, 0.02)}
    of = {name: {"mean": mean, "sd": sd, "by_fold": []} for name, (mean, sd) in values.items()}
    return of | {"near_copies": {"mean": 0.1234, "sd": 0.01, "by_fold": []}, "clips": 9}


def about_of(real: dict, **arms: dict) -> dict:
    return {"settings": {"tested": [0, 1]}, "compared": [8, 9], "near_limit": 0.4, "real": real, "arms": arms}


@pytest.mark.parametrize("width", [30, 40, 48, 60, 80, 120])
def test_a_terminal_shows_every_name_and_number_whole(tmp_path: Path, width: int):
    about = about_of(measured(15.05, -0.001), copies=measured(17.25, 2.4), noisy=measured(244.0, 206.31))
    console = Console(file=StringIO(), width=width)
    console.print(quality_table(about, tmp_path, plain=False))
    shown = " ".join(console.file.getvalue().replace("\n", " ").split())
    for line in ("real 15.05 0.00 1.03 12.3", "copies 17.25 2.40 1.03 12.3", "noisy 244.00 206.31 1.03 12.3"):
        for part in line.split():
            assert re.search(rf"(^|[ :]){re.escape(part)}([ ,:]|$)", shown)


@pytest.mark.parametrize(
    ("largest", "cells"),
    [
        (0.0287, ["-0.0002 ± 0.0000", "0.0287 ± 0.0100"]),
        (0.5, ["0.000 ± 0.000", "0.500 ± 0.010"]),
        (-0.5, ["0.000 ± 0.000", "-0.500 ± 0.010"]),
        (174.0, ["0.00 ± 0.00", "174.00 ± 0.01"]),
        (0.0, ["-0.000200 ± 0.000010", "0.000000 ± 0.010000"]),
    ],
)
def test_small_distances_have_more_digits(tmp_path: Path, largest: float, cells: list[str]):
    about = about_of(measured(1.0, -0.0002, 1e-5), new=measured(2.0, largest, 0.01))
    table = quality_table(about, tmp_path, plain=True).splitlines()
    assert [re.split(r"  +", line)[2] for line in table[1:3]] == cells


def test_distances_that_are_nothing_have_two_digits(tmp_path: Path):
    table = quality_table(about_of(measured(0.0, 0.0), new=measured(0.0, 0.0)), tmp_path, plain=True).splitlines()
    assert re.split(r"  +", table[2])[:3] == ["new", "0.00 ± 0.50", "0.00 ± 0.25"]
