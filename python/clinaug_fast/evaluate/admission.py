"""What may take part in a comparison: the checks before anything is trained."""

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.evaluate.scores import BASELINE
from clinaug_fast.features.feature_set import FeatureSet, heard_as_one
from clinaug_fast.features.folds import Folds
from clinaug_fast.features.lineage import unseen_rows

LONGEST_NAME = 255  # of a folder, in bytes


def check_real(features: FeatureSet, folds: Folds, chosen: Sequence[int]) -> None:
    """Two labels, each on both sides of every fold; one label a recording; numbers in every clip."""
    units = heard_as_one(features.index.column("id"), features.index.column("recording"))
    recordings = np.array(units.to_pylist(), dtype=object)
    _, first, owner = np.unique(recordings, return_index=True, return_inverse=True)
    mixed = recordings[features.classes != features.classes[first][owner]]
    if len(mixed):
        raise InputError(
            f"the clips of {mixed[0]!r} in {features.path} have several labels; expected one a recording. Name them "
            "apart"
        )
    features.refuse_one_label()
    for fold in chosen:
        for part, rows in zip(("training", "test"), folds.rows(features, fold), strict=True):
            counts = np.bincount(features.classes[rows], minlength=len(features.labels))
            if counts.min() == 0:
                raise InputError(
                    f"fold {fold} has no clip of {features.labels[counts.argmin()]!r} in its {part} part; expected "
                    "every label on both sides. Split again"
                )
    features.refuse_not_finite(np.arange(len(features)))


def admitted_rows(
    features: FeatureSet, folds: Folds, synthetic: Mapping[str, FeatureSet], chosen: Sequence[int]
) -> dict[str, dict[int, np.ndarray]]:
    """`unseen_rows` of each arm and fold. Names that can be a folder's; clips of the same kind as the real ones, that
    each fold may train on; numbers."""
    rows: dict[str, dict[int, np.ndarray]] = {}
    folders = {BASELINE: BASELINE}  # on a disk that takes capital and small letters for one
    for arm, made in synthetic.items():
        if arm == BASELINE:
            raise SettingsError(f"an arm is named {arm!r}, which is the one without generated clips. Name it otherwise")
        if not arm or arm.startswith(".") or Path(arm).name != arm or not _is_text(arm):
            raise SettingsError(f"an arm is named {arm!r}; expected a name that can be a folder's. Name it otherwise")
        if len(arm.encode()) > LONGEST_NAME:
            raise SettingsError(
                f"an arm is named {arm!r}, which has {len(arm.encode())} bytes; expected at most {LONGEST_NAME}, as a "
                "folder gets its name. Shorten it"
            )
        if (twin := folders.setdefault(unicodedata.normalize("NFC", arm).casefold(), arm)) != arm:
            raise SettingsError(
                f"arms are named {twin!r} and {arm!r}; expected names that differ in more than capitals and the way "
                "accents are written: folders get them. Name one otherwise"
            )
        rows[arm] = {fold: unseen_rows(made, features, folds, fold) for fold in chosen}
        seen = np.zeros(len(made), bool)  # altered copies are in most folds
        for some in rows[arm].values():
            made.refuse_not_finite(some[~seen[some]])
            seen[some] = True
    return rows


def _is_text(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:  # bytes of another encoding
        return False
