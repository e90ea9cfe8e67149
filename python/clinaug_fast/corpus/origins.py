"""Does the site, the device or the format give the label away? Then a classifier can learn that in place of the sound.

Takes what the corpus or the file says of each kept recording; leaves counts by label, and a warning where a label lies
apart.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast.shown import counted, shown

KINDS = ("site", "device")
# Of sensitivity + specificity - 1 (Youden's index) of telling a label from the others by nothing else. Of few subjects
# it has to be larger, by so many standard errors of guessing: where labels are dealt by lot, that warns of 0 to 13 % of
# corpora of 8 to 200 subjects, the most of 40 subjects from ten sites.
FAR, STANDARD_ERRORS = 0.5, 2.5
ALIKE = 0.1  # of that, what makes no difference
ROUNDING = 1e-9  # of sums of shares, which is no difference
MOST_NAMES = 20  # that are listed, the commonest; the recordings of the others are counted


def label_by_origin(
    origins: pa.ChunkedArray, of_label: np.ndarray, groups: np.ndarray, labels: list[str], kind: str
) -> dict[str, Any]:
    """`known`: recordings whose `kind` is known; `different`: how many there are of it; `by_label`: recordings of the
    commonest (`named`) and of `others`; `warning`: a text or None.

    origins: (n,) strings or null; of_label: (n,) numbers of `labels`; groups: (n,) numbers of what a split keeps
    together, subjects say: a finding counts them, not recordings.
    """
    known = origins.is_valid().to_numpy()
    counts = origins.drop_null().value_counts()
    names, n_of_name = counts.field("values").to_numpy(zero_copy_only=False), counts.field("counts").to_numpy()
    names = names[sorted(range(len(names)), key=lambda at: (-n_of_name[at], names[at]))]  # one may be very long
    of_name = pc.index_in(origins.drop_null(), value_set=pa.array(names, pa.string())).to_numpy()
    of_label, groups = of_label[known], groups[known]
    shape = len(labels), MOST_NAMES + 1
    listed = np.bincount(of_label * shape[1] + np.minimum(of_name, MOST_NAMES), minlength=shape[0] * shape[1])
    by_label = {
        label: {
            "named": {name: n for name, n in zip(names[:MOST_NAMES].tolist(), row, strict=False) if n},
            "others": row[MOST_NAMES],
        }
        for label, row in zip(labels, listed.reshape(shape).tolist(), strict=True)
    }
    told = _told(of_label, of_name, groups, len(labels)) if len(names) > 1 else []
    warning = _warning(told, labels, names, kind) if told else None
    return {"known": len(groups), "different": len(names), "by_label": by_label, "warning": warning}


@dataclass(frozen=True)
class _Told:
    """A label that its origin tells, and the name that tells it best, with the subjects of each."""

    label: int
    sensitivity: float
    specificity: float
    name: int
    here: int  # of the label and the name
    own: int  # of the label
    others_here: int
    others: int

    @property
    def clearness(self) -> float:
        return self.sensitivity + self.specificity


def _told(of_label: np.ndarray, of_name: np.ndarray, groups: np.ndarray, n_labels: int) -> list[_Told]:
    """The clearest first. Each subject is told by the others alone: what a single one has says nothing of it. Of
    several names each is a share of it: it counts once."""
    found = []
    n_groups, n_different = int(groups.max()) + 1, int(of_name.max()) + 1
    of_subject, name_of = np.divmod(np.unique((of_label * n_groups + groups) * n_different + of_name), n_different)
    of_each, subject_of, n_names = np.unique(of_subject, return_inverse=True, return_counts=True)
    label_of, share = of_subject // n_groups, 1.0 / n_names[subject_of]
    n_subjects, n_of_all = np.bincount(of_each // n_groups, minlength=n_labels), np.bincount(name_of)
    for label in np.flatnonzero(n_subjects >= 2):
        own, others = int(n_subjects[label]), int(n_subjects.sum() - n_subjects[label])
        if others < 2:
            continue
        mine = label_of == label
        sub, rest = (np.bincount(name_of[of], share[of], len(n_of_all)) for of in (mine, ~mine))
        of_mine, of_rest = name_of[mine], name_of[~mine]
        hit = (sub[of_mine] - share[mine]) / (own - 1) > rest[of_mine] / others + ROUNDING
        alarm = sub[of_rest] / own > (rest[of_rest] - share[~mine]) / (others - 1) + ROUNDING
        hits, alarms = share[mine][hit].sum() / own, share[~mine][alarm].sum() / others
        if hits - alarms >= max(FAR, STANDARD_ERRORS * 0.5 * np.sqrt(1 / own + 1 / others)):
            name = int(np.argmax(sub / own - rest / others))
            here = int(np.count_nonzero(of_mine == name))
            found.append(_Told(int(label), hits, 1 - alarms, name, here, own, int(n_of_all[name]) - here, others))
    return sorted(found, key=lambda told: -told.clearness)


def _warning(told: list[_Told], labels: list[str], names: np.ndarray, kind: str) -> str:
    first, *others = told
    alike = [it for it in others if it.clearness > first.clearness - ALIKE]
    more = f"; so {counted(len(alike), 'more label is', 'more labels are')}" if alike else ""
    more += f"; less clearly {len(others) - len(alike)}{'' if alike else ' more'}" if len(alike) < len(others) else ""
    return (
        f"the label '{shown(labels[first.label])}' is told by the {kind} alone, right of {first.sensitivity:.0%} of "
        f"its subjects and {first.specificity:.0%} of the others ('{shown(names[first.name])}' has {first.here} of its "
        f"{first.own}, {first.others_here} of the others' {first.others}){more}. A classifier may learn the {kind} in "
        f"place of the sound, and score well in any split. Compare labels of one {kind}"
    )
