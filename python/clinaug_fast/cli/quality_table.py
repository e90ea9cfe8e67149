"""The quality of generated clips as a person reads it: one table, and the sentences that say what it does not tell."""

from collections.abc import Iterable, Iterator, Mapping
from math import floor, log10
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from clinaug_fast.cli.fitting import Fitting, numbers_lines, numbers_table, plain_text
from clinaug_fast.evaluate.fold_quality import REAL
from clinaug_fast.shown import shown, spanned

COLUMNS = {"frechet": "Fréchet", "kernel": "kernel", "spread": "spread", "near_copies": "near copies, %"}


def quality_table(about: Mapping[str, Any], out: Path, *, plain: bool) -> Group | str:
    """`quality.json` as a rich renderable, or as plain aligned text for a pipe."""
    headings, forms = list(COLUMNS.values()), [_rows(about, with_sd) for with_sd in (True, False)]
    tables = [numbers_table("set", headings, rows, plain=plain) for rows in forms]
    fitting = Fitting(tables, forms[0], numbers_lines(headings, forms[0]))
    group = Group(tables[0] if plain else fitting, "", *map(Text, (*_sentences(about), "", *_pictures(about, out))))
    return plain_text(group) if plain else group


def _rows(about: Mapping[str, Any], with_sd: bool) -> dict[str, list[str]]:
    sets = {REAL: about["real"], **about["arms"]}
    digits = {"spread": 2, "near_copies": 1}
    digits |= {measure: _digits(of[measure]["mean"] for of in sets.values()) for measure in ("frechet", "kernel")}
    return {
        name: [
            _cell(measured[measure], 100 if measure == "near_copies" else 1, digits[measure], with_sd)
            for measure in COLUMNS
        ]
        for name, measured in sets.items()
    }


def _digits(distances: Iterable[float]) -> int:
    """Behind the point, two or more: embedders that were trained for few steps see small distances."""
    largest = max(map(abs, distances))
    return max(2, 2 - floor(log10(largest))) if largest > 0.0 else 2


def _cell(measured: Mapping[str, Any], scale: int, digits: int, with_sd: bool) -> str:
    mean, sd = measured["mean"], measured["sd"]
    cell = f"{round(scale * mean, digits) + 0.0:.{digits}f}"  # no -0.00
    return f"{cell} ± {scale * sd:.{digits}f}" if with_sd and sd is not None else cell


def _sentences(about: Mapping[str, Any]) -> Iterator[str]:
    folds = len(about["settings"]["tested"])
    if folds > 1:
        yield f"± is the standard deviation over {folds} folds."
    n, a_fold = spanned(about["compared"]), " a fold" if folds > 1 else ""
    yield f"Each distance rests on {n} clips of a set{a_fold}, or a few more: as many of a label as every set has."
    yield (
        "Fréchet and kernel distance are to clips of test subjects, in the features of classifiers that were trained "
        "on other subjects; smaller is nearer, and the first row is what real clips of other subjects reach; a kernel "
        "distance may fall below 0 by chance. Only numbers of one table compare."
    )
    yield (
        "spread: how different two clips of a label are, relative to those of the training part; below 1 they repeat "
        "themselves."
    )
    yield (
        f"near copies: clips less than {about['near_limit']:.2f} times as far from one training subject as from the "
        "next; the first row is that of real clips of test subjects. To have none is no proof of privacy."
    )


def _pictures(about: Mapping[str, Any], out: Path) -> Iterator[str]:
    for arm in about["arms"]:
        yield f"the nearest of {shown(arm)}: {shown(str(out / 'closest' / arm / 'pairs.png'))}"
