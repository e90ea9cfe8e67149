"""Recordings that are there more than once under different names: a split may part them, and then tests on what was
trained on; under two labels, one of them is wrong.

Takes what was measured of the recordings while they were decoded; leaves counts and examples. The sum of all squares
is a whole number of 16-bit samples, so it tells all but the quietest sounds apart, and no file is read again. Where
others come near a sum, two that have it may have it by chance: these are not told. Copies that were encoded anew with
losses, cut or made louder are not found; one turned upside down is.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from clinaug_fast.shown import shown

MEASURED = ("square_sum", "seconds", "file_rate", "channels", "peak", "silent_share")
NEAR = 1000.0 * 2.0**-30  # a thousand squares of the smallest step of 16 bits
EXAMPLES = 3  # sounds that are named, by two recordings each

Names = Callable[[np.ndarray], list[str]]  # rows -> the recordings' names


def copies(measured: Mapping[str, np.ndarray], of_label: np.ndarray, subjects: np.ndarray, names: Names) -> dict:
    """`copies` of the corpus facts: recordings that agree with another in all that is measured.

    measured: (n,) of each name in MEASURED; of_label: (n,) int; subjects: (n,) int, a number of its own where the
    subject is not known.
    """
    several_labels, several_subjects, within = [], [], []
    groups = same_sound(measured)
    for rows in groups:
        if np.any(of_label[rows] != of_label[rows[0]]):
            several_labels.append(rows)
        elif np.any(subjects[rows] != subjects[rows[0]]):
            several_subjects.append(rows)
        else:
            within.append(rows)
    told = (several_labels + several_subjects + within)[:EXAMPLES]
    return {
        "recordings": sum(map(len, groups)),
        "sounds": len(groups),
        "of_several_labels": len(several_labels),
        "of_one_label_and_several_subjects": len(several_subjects),
        "examples": _named([_two(rows, of_label, subjects) for rows in told], names),
    }


def _named(pairs: list[np.ndarray], names: Names) -> list[list[str]]:
    """Asked for at once, since a name may be read from disk."""
    each = names(np.concatenate(pairs)) if pairs else []
    return [each[at : at + 2] for at in range(0, len(each), 2)]


def same_sound(measured: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The rows of each sound that two or more recordings hold, ascending; digital silence is none, nor is a sum of
    squares that others come nearer to than NEAR: for each pair that agrees by chance a thousand would come so near."""
    order = np.argsort(measured["square_sum"], kind="stable")
    sums = measured["square_sum"][order]
    as_before = sums[1:] > 0.0
    for name in MEASURED:
        column = measured[name][order]
        as_before &= column[1:] == column[:-1]
    edges = np.diff(np.concatenate([[False], as_before, [False]]).astype(np.int8))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    gaps = np.concatenate([[np.inf], np.diff(sums), [np.inf]])  # before each, and behind the last
    alone = (gaps[begins] >= NEAR) & (gaps[ends + 1] >= NEAR)
    return [order[begin : end + 1] for begin, end in zip(begins[alone], ends[alone], strict=True)]


def _two(rows: np.ndarray, of_label: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """The first, and the first that differs from it in what the group is told for."""
    for coded in (of_label, subjects):
        if len(other := rows[coded[rows] != coded[rows[0]]]):
            return np.array([rows[0], other[0]])
    return rows[:2]


def warning(found: Mapping[str, Any]) -> str | None:
    """What a person is told of `copies`; None where every copy stays with its subject and label."""
    labels, subjects = found["of_several_labels"], found["of_one_label_and_several_subjects"]
    if not labels + subjects:
        return None
    one, other = map(shown, found["examples"][0])
    what = [f"sounds under more than one label: {labels}"] if labels else []
    what += [f"sounds of one label that a split may both train on and test on: {subjects}"] if subjects else []
    return (
        f"{found['recordings']} recordings hold the same sound as another, as far as length, level and silence tell, "
        f"such as {one} and {other}; {'; '.join(what)}. Take the copies out, or name one subject for them"
    )
