"""Does the site or the device give the label away? Then a classifier can learn the microphone in place of the sound.

Takes what the corpus says of each kept recording; leaves counts by label, and a warning where a label lies apart.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast.shown import counted, shown

KINDS = ("site", "device")
FEWEST = 2  # subjects of a label, of others, and of a site or device, that a finding rests on
FAR = 0.5  # of sensitivity + specificity - 1 (Youden's index) of telling a label from the others by nothing else
MOST_NAMES = 20  # that are listed, the commonest; the recordings of the others are counted


def label_by_origin(
    origins: pa.ChunkedArray, of_label: np.ndarray, groups: np.ndarray, labels: list[str], kind: str
) -> dict[str, Any]:
    """`known`: recordings whose `kind` is known, `different`: kinds of it, `by_label`: recordings of each, `warning`.

    origins: (n,) strings or null; of_label: (n,) numbers of `labels`; groups: (n,) numbers of what a split keeps
    together, subjects say: a finding counts them, not recordings.
    """
    known = origins.is_valid().to_numpy()
    commonest = sorted(origins.drop_null().value_counts().to_pylist(), key=lambda e: (-e["counts"], e["values"]))
    names = [entry["values"] for entry in commonest]
    of_name = pc.index_in(origins.drop_null(), value_set=pa.array(names, pa.string())).to_numpy()
    of_label, groups, shape = of_label[known], groups[known], (len(labels), len(names))
    recordings = _table(of_label, of_name, shape)
    pairs = np.unique(np.stack([of_label, of_name, groups]), axis=1)
    subjects = _table(pairs[0], pairs[1], shape)
    subjects[:, np.bincount(np.unique(pairs[1:], axis=1)[0], minlength=len(names)) < FEWEST] = 0
    apart = _apart(subjects)
    by_label = {label: _listed(names, row) for label, row in zip(labels, recordings.tolist(), strict=True)}
    warning = _warning(apart, recordings, names, labels, kind) if apart else None
    return {"known": len(groups), "different": len(names), "by_label": by_label, "warning": warning}


def _table(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1]).reshape(shape)


def _listed(names: list[str], counts: list[int]) -> dict[str, int]:
    listed = {name: n for name, n in zip(names[:MOST_NAMES], counts, strict=False) if n}
    others = sum(counts[MOST_NAMES:])
    return listed | ({"others": others} if others else {})


def _apart(subjects: np.ndarray) -> list[tuple[int, int]]:
    """(label, name) of the labels that their origin tells, the clearest first, and the name that tells it best, from
    the subjects of each label and name."""
    own, of_name = subjects.sum(axis=1, keepdims=True), subjects.sum(axis=0)
    others = subjects.sum() - own
    lead = subjects / np.maximum(own, 1) - (of_name - subjects) / np.maximum(others, 1)
    youden = np.where((own >= FEWEST) & (others >= FEWEST), np.maximum(lead, 0.0), 0.0).sum(axis=1)
    clearest = np.argsort(-youden, kind="stable")[: np.count_nonzero(youden >= FAR)]
    return [(int(label), int(lead[label].argmax())) for label in clearest]


def _warning(
    apart: list[tuple[int, int]], recordings: np.ndarray, names: list[str], labels: list[str], kind: str
) -> str:
    label, name = apart[0]
    here, own, from_name, known = (
        int(n) for n in (recordings[label, name], recordings[label].sum(), recordings[:, name].sum(), recordings.sum())
    )
    more = f"; {counted(len(apart) - 1, 'more label is', 'more labels are')} told so" if len(apart) > 1 else ""
    return (
        f"the {kind} tells the label {shown(labels[label])!r}: {here} of its {own} recordings come from "
        f"{shown(names[name])!r}, of the others {from_name - here} of {known - own}{more}. A classifier may learn the "
        f"{kind} in place of the sound, and no split shows it. Compare labels of one {kind}"
    )
