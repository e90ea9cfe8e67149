"""The quality of generated clips as a person reads it: one table, and the sentences that say what it does not tell."""

from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from clinaug_fast.cli.score_table import ARM_WIDTH, PLAIN_WIDTH
from clinaug_fast.evaluate.fold_quality import REAL
from clinaug_fast.shown import shown

COLUMNS = {"frechet": "Fréchet", "kernel": "kernel", "spread": "spread", "near_copies": "near copies, %"}


def quality_table(about: Mapping[str, Any], out: Path, *, plain: bool) -> Group | str:
    """`quality.json` as a rich renderable, or as plain aligned text for a pipe."""
    table = Table(box=None if plain else box.SIMPLE_HEAD, padding=(0, 1 + plain, 0, 0), pad_edge=False, show_edge=False)
    names = [REAL, *map(shown, about["arms"])]
    table.add_column("set", overflow="fold", min_width=min(ARM_WIDTH, max(map(len, names))))
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, measured in {REAL: about["real"], **about["arms"]}.items():
        table.add_row(Text(shown(name)), *(_cell(measure, measured[measure]) for measure in COLUMNS))
    group = Group(table, "", *_sentences(about), "", *map(Text, _pictures(about, out)))
    if not plain:
        return group
    console = Console(file=StringIO(), width=PLAIN_WIDTH, color_system=None, highlight=False)
    console.print(group)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _cell(measure: str, over_folds: Mapping[str, Any]) -> str:
    scale, digits = {"near_copies": (100, 1), "spread": (1, 2)}.get(measure, (1, 2))
    mean = f"{scale * over_folds['mean']:.{digits}f}"
    return mean if over_folds["sd"] is None else f"{mean} ± {scale * over_folds['sd']:.{digits}f}"


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
