"""An evaluation's scores as a person reads them: one table a unit and the sentences that keep the reader honest."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.text import Text

from clinaug_fast.cli.fitting import Fitting, numbers_lines, numbers_table, plain_text
from clinaug_fast.evaluate.scores import BASELINE
from clinaug_fast.shown import counted, shown, spanned

WORDS = {"recording": "recording", "window": "clip"}  # of the units of scores.json
FOLD_COLUMNS = 5  # what 80 columns hold; of more folds the lowest and the highest are shown


def score_table(scores: dict[str, Any], *, plain: bool) -> Group | str:
    """`scores.json` as a rich renderable, or as plain aligned text for a pipe."""
    blocks: list[Any] = []
    for unit, word in WORDS.items():
        forms = [_cells(scores, unit, one_by_one) for one_by_one in (True, False)]
        tables = [numbers_table("arm", *form, plain=plain) for form in forms]
        fitting = Fitting(tables, scores["arms"], numbers_lines(*forms[-1]))
        blocks += [f"macro-F1 x 100 by {word}", tables[0] if plain else fitting, ""]
    group = Group(*blocks, *map(Text, _sentences(scores)))
    return plain_text(group) if plain else group


def _cells(scores: dict[str, Any], unit: str, one_by_one: bool) -> tuple[list[str], dict[str, list[str]]]:
    """Headings, and the cells below them by arm; the baseline has none below the last one."""
    one_by_one = one_by_one and len(scores["folds"]) <= FOLD_COLUMNS
    headings = [f"fold {fold}" for fold in scores["folds"]] if one_by_one else ["lowest fold", "highest fold"]
    headings += ["mean ± SD", *[f"minus {BASELINE} (95 %)"] * (len(scores["arms"]) > 1)]
    rows = {}
    for arm, by_unit in scores["arms"].items():
        macro_f1 = by_unit[unit]["macro_f1"]
        by_fold = macro_f1["by_fold"] if one_by_one else [min(macro_f1["by_fold"]), max(macro_f1["by_fold"])]
        rows[arm] = [*(f"{100 * value:.1f}" for value in by_fold), _spread(macro_f1)]
        if arm != BASELINE:
            rows[arm].append(_gain(by_unit[unit]["difference"]))
    return headings, rows


def _spread(over_folds: dict[str, Any]) -> str:
    mean = f"{100 * over_folds['mean']:.1f}"
    return mean if over_folds["sd"] is None else f"{mean} ± {100 * over_folds['sd']:4.1f}"


def _gain(difference: dict[str, Any]) -> str:
    mean = f"{100 * difference['mean']:+.1f}"
    if difference["interval"] is None:
        return mean
    low, high = (f"{100 * end:+.1f}" for end in difference["interval"])
    return f"{mean} ({low} to {high})"


def _added(scores: dict[str, Any]) -> str | None:
    """How many clips the arms have that the baseline has not."""
    clips = scores["trained_on"]
    if len(clips) < 2 or any(n is None for by_fold in clips.values() for n in by_fold):
        return None
    real = clips[BASELINE]
    added = {arm: [n - of for n, of in zip(by_fold, real, strict=True)] for arm, by_fold in clips.items()}
    each = ", ".join(f"{shown(arm)} {spanned(numbers)}" for arm, numbers in added.items() if arm != BASELINE)
    return f"Clips added to the {spanned(real)} real ones that a fold trains on: {each}."


def _sentences(scores: dict[str, Any]) -> Sequence[str]:
    folds, seeds = len(scores["folds"]), scores["seeds"]
    baseline = scores["arms"][BASELINE]
    recordings, clips = (counted(baseline[unit]["tested"], word) for unit, word in WORDS.items())
    yield (
        f"{folds} of {scores['n_folds']} folds, grouped by {scores['group_by']}; a fold's score is the mean over "
        f"{counted(seeds, 'classifier')}. {BASELINE} trains on real clips alone."
    )
    yield (
        f"{recordings} tested (files, or the segments that a table names), {clips}; the clips of a recording vote by "
        "their mean log-probability."
    )
    if added := _added(scores):
        yield added
    if len(scores["arms"]) > 1:
        if folds == 1:
            yield "One fold shows no spread: it cannot tell a gain from chance."
        else:
            yield (
                "± is the standard deviation over folds. In parentheses is the 95 % interval of the mean difference "
                "(Nadeau and Bengio's corrected t): one that holds 0 cannot tell a gain or a loss from "
                f"chance. Each stands for one comparison, of {len(WORDS) * (len(scores['arms']) - 1)} in these tables; "
                "they are not corrected for that. A difference without an interval is the same in every fold."
            )
