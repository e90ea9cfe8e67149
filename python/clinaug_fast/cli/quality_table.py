"""The quality of generated clips as a person reads it: one table, and the sentences that say what it does not tell."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from clinaug_fast.cli.fitting import Fitting, plain_text
from clinaug_fast.evaluate.fold_quality import REAL
from clinaug_fast.shown import shown

COLUMNS = {"frechet": "Fréchet", "kernel": "kernel", "spread": "spread", "near_copies": "near copies, %"}


def quality_table(about: Mapping[str, Any], out: Path, *, plain: bool) -> Group | str:
    """`quality.json` as a rich renderable, or as plain aligned text for a pipe."""
    tables = [_table(about, plain, with_sd) for with_sd in (True, False)]
    fitting = Fitting(tables, [REAL, *about["arms"]], _lines(about))
    group = Group(tables[0] if plain else fitting, "", *_sentences(about), "", *map(Text, _pictures(about, out)))
    return plain_text(group) if plain else group


def _table(about: Mapping[str, Any], plain: bool, with_sd: bool) -> Table:
    table = Table(box=None if plain else box.SIMPLE_HEAD, padding=(0, 1 + plain, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("set", overflow="fold")
    rows = {name: [_cell(measured, measure, with_sd) for measure in COLUMNS] for name, measured in _sets(about).items()}
    for heading, *column in zip(COLUMNS.values(), *rows.values(), strict=True):
        table.add_column(heading, justify="right", no_wrap=True, min_width=max(map(len, [heading, *column])))
    for name, cells in rows.items():
        table.add_row(Text(shown(name)), *cells)
    return table


def _sets(about: Mapping[str, Any]) -> dict[str, Any]:
    return {REAL: about["real"], **about["arms"]}


def _lines(about: Mapping[str, Any]) -> Iterator[str]:
    for name, measured in _sets(about).items():
        cells = (f"{heading} {_cell(measured, measure, True)}" for measure, heading in COLUMNS.items())
        yield f"{shown(name)}: {', '.join(cells)}"


def _cell(measured: Mapping[str, Any], measure: str, with_sd: bool) -> str:
    scale, digits = (100, 1) if measure == "near_copies" else (1, 2)
    mean, sd = measured[measure]["mean"], measured[measure]["sd"]
    cell = f"{scale * mean:.{digits}f}"
    return f"{cell} ± {scale * sd:.{digits}f}" if with_sd and sd is not None else cell


def _sentences(about: Mapping[str, Any]) -> Iterator[str]:
    folds = len(about["settings"]["tested"])
    if folds > 1:
        yield f"± is the standard deviation over {folds} folds."
    yield (
        "Fréchet and kernel distance are to clips of test subjects, as classifiers see them that have learnt from "
        "others; smaller is nearer, and real clips of others come to what the first row says. Only numbers of one "
        "table compare."
    )
    yield (
        "spread: how different two clips of a label are, over what those of the training part are; below 1 they repeat "
        "themselves."
    )
    yield (
        f"near copies: clips less than {about['near_limit']:.2f} times as far from one training subject as from the "
        "next; the first row is that of real clips of test subjects. That there are none proves no privacy."
    )


def _pictures(about: Mapping[str, Any], out: Path) -> Iterator[str]:
    for arm in about["arms"]:
        yield f"the nearest of {shown(arm)}: {out / 'closest' / arm / 'pairs.png'}"
