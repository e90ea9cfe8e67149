"""folds.json: which subjects are tested in which fold, decided once, before any generator is trained.

Takes a feature set; leaves one JSON file that train and evaluate quote by its fingerprint. A subject is never split;
every fold has every label on both sides, or the split is refused with the table that shows why.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from clinaug_fast.config import whole_number
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.features.feature_set import FeatureSet, heard_as_one
from clinaug_fast.json_files import as_json, misfit, read_versioned
from clinaug_fast.runs import AnyPath, claim, own_fingerprint, refuse_changed, refuse_dead_link
from clinaug_fast.shown import counted, name_column, padded, shown

SCHEMA_VERSION = 1
ABOUT = {"features": str, "seed": int, "group_by": str, "labels": [str], "folds": [dict]}  # what folds.json tells
FOLD = {"test_groups": [str], "test_recordings": [int]}  # by label
FEW = 5  # subjects of a label in a test part; of fewer one moves its recall by more than a fifth
UNEVEN = 2  # times as many test recordings in one fold as in another
# StratifiedGroupKFold is greedy: one order of the groups can leave a label out where another does not, and with a few
# subjects of uneven size every order can. Then subjects are dealt at random.
SHUFFLES = 16
DEALS = 4000
COMPARED = 32  # of them, for evenness: the best of all would be the same for every seed


@dataclass(frozen=True)
class Folds:
    """A split of a feature set's groups into test folds. `Folds.load(path)` reads one."""

    about: dict[str, Any]  # folds.json

    @classmethod
    def load(cls, path: AnyPath) -> "Folds":
        what = "a folds.json (clinaug-fast split makes one)"
        folds = cls(read_versioned(Path(path), what, SCHEMA_VERSION, "Run split again", ABOUT))
        if folds.were_changed:
            raise InputError(f"{path} was changed after it was made. Restore it, or remove it and run split again")
        folds._refuse_nonsense(path)
        return folds

    def _refuse_nonsense(self, path: Path) -> None:
        """What has the right fingerprint and no meaning: somebody else may have written it."""
        if not self.about["folds"]:
            raise InputError(f"{path} has no folds; expected one or more. Remove it and run split again")
        seen: set[str] = set()
        for number, fold in enumerate(self.about["folds"]):
            if misfit(fold, FOLD) or len(fold["test_recordings"]) != len(self.about["labels"]):
                raise InputError(
                    f"{path} tells no test groups and recordings by label for fold {number}; expected names and "
                    "numbers. Remove it and run split again"
                )
            groups = set(fold["test_groups"])
            if twice := seen & groups:
                raise InputError(
                    f"{path} tests {min(twice)!r} in two folds; expected it in one. Remove it and run split again"
                )
            seen |= groups

    @property
    def were_changed(self) -> bool:
        """Whether they are not what their fingerprint says."""
        return self.about.get("fingerprint") != own_fingerprint(self.about)

    @property
    def fingerprint(self) -> str:
        return self.about["fingerprint"]

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __len__(self) -> int:
        return len(self.about["folds"])

    def test_groups(self, fold: int) -> set[str]:
        """The groups (`FeatureSet.groups`) that are tested in this fold."""
        return set(self.about["folds"][self._number(fold)]["test_groups"])

    def uneven(self) -> str | None:
        """A sentence where one fold tests much more than another, which intervals over folds know nothing of."""
        tested = np.array([sum(fold["test_recordings"]) for fold in self.about["folds"]])
        if tested.max() <= UNEVEN * tested.min():
            return None
        return (
            f"fold {tested.argmax()} tests {tested.max()} recordings and fold {tested.argmin()} {tested.min()}: "
            "subjects differ much in size, or there are few"
        )

    def few_tested(self, features: FeatureSet, chosen: Iterable[int]) -> str | None:
        """A sentence where few subjects of a label are tested in one of these folds."""
        few = []
        for fold in chosen:
            _, test = self.rows(features, fold)
            for number, label in enumerate(features.labels):
                tested = len(set(features.groups[test[features.classes[test] == number]]))
                if tested < FEW:
                    few.append(f"{tested} of '{shown(label)}' in fold {fold}")
        if not few:
            return None
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        unit = self.about["group_by"].replace(", else ", "s or ")
        however = "" if unit == "recording" else ", however many recordings it has"
        return (
            f"few test {unit}s: {', '.join(few[:5])}{more}; with fewer than {FEW} a single one moves the score"
            f"{however}. {'Use fewer folds or record' if len(self) > 2 else 'Record'} more"
        )

    def chosen(self, only: Iterable[int] | None) -> list[int]:
        """The folds of these numbers, each once, in order; all of them by default."""
        if only is None:
            return list(range(len(self)))
        try:
            numbers = {whole_number("a fold", number) for number in only}
        except TypeError:  # a number, say
            numbers = set()
        if not numbers:
            raise SettingsError(f"the folds are {only!r}; expected numbers, such as [0, 1], or None for all of them")
        return sorted(numbers)

    def _number(self, fold: int) -> int:
        number = whole_number("fold", fold)
        if not 0 <= number < len(self):
            raise SettingsError(f"fold is {number}; expected 0 to {len(self) - 1}")
        return number

    def rows(self, features: FeatureSet, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """(train, test): int64 index rows of the feature set. InputError where the split is of another set."""
        fold = self._number(fold)
        if self.about["features"] != features.fingerprint:
            raise InputError(
                f"the folds are of the feature set {self.about['features']}; {features.path} is "
                f"{features.fingerprint}. Name the folds of this set, or remove those and split this set anew"
            )
        tested = self.test_groups(fold)  # numpy's isin compares each object with each
        test = np.fromiter((group in tested for group in features.groups), bool, len(features))
        return np.flatnonzero(~test), np.flatnonzero(test)


def make_folds(features: FeatureSet, n_folds: int = 5, seed: int = 0) -> Folds:
    """Split by subject (by recording where the subject is unknown), balanced by label.

    Each recording counts once, however many clips it gave, and each segment that a table cuts out of one: what evaluate
    scores. Raises InputError for generated clips and, with the label x fold table, when some fold would lack a label in
    its training or its test part.
    """
    n_folds, seed = whole_number("folds", n_folds), whole_number("seed", seed, least=0)
    if n_folds < 2:
        raise SettingsError(f"folds is {n_folds}; expected at least 2")
    features.refuse_made("Split the feature set that they were made from")
    features.refuse_one_label()
    _refuse_half_known(features)
    # What was cut from one file or segment counts once for each of its labels and subjects.
    units = heard_as_one(features.index.column("id"), features.index.column("recording")).to_numpy()
    keys = [
        np.unique(units, return_inverse=True)[1],
        features.classes,
        np.unique(features.groups, return_inverse=True)[1],
    ]
    _, first = np.unique(np.stack(keys), axis=1, return_index=True)
    classes, groups = features.classes[first], features.groups[first]
    owned = [len(set(groups[classes == c])) for c in range(len(features.labels))]
    if min(owned) < n_folds:
        rows = "\n".join(f"  {label:<24} {n}" for label, n in zip(features.labels, owned, strict=True))
        how = "Lower --folds, or add" if min(owned) > 1 else "Add"
        raise InputError(
            f"folds is {n_folds}, but a label comes from {min(owned)} subjects or recordings only; expected at least "
            f"{n_folds} for each. Subjects or recordings a label:\n{rows}\n{how} recordings of other subjects"
        )
    split, table = _find_split(classes, groups, len(features.labels), n_folds, seed)
    if not _is_whole(table):
        raise InputError(
            f"no split into {n_folds} folds was found in which every fold tests every label; one that was tried, in "
            f"recordings:\n{show_table(features.labels, table)}\nLower --folds, or add subjects of the labels that lack"
        )
    return _folds(features, seed, [sorted(set(groups[test])) for test in split], table)


def _refuse_half_known(features: FeatureSet) -> None:
    """A recording whose subject only some of its clips name is two groups, and could be on both sides of a fold."""
    known = features.index.column("subject").is_valid().to_numpy()
    recordings = features.column("recording")
    with_subject = set(recordings[known])
    torn = ~known & np.fromiter((name in with_subject for name in recordings), bool, len(recordings))
    if torn.any():
        raise InputError(
            f"{counted(torn.sum(), 'clip has', 'clips have')} no subject while others of the recording have one, the "
            f"first is of {recordings[torn][0]!r}; expected it on all rows of a recording, or on none. Complete the "
            "table and preprocess again"
        )


def _find_split(
    classes: np.ndarray, groups: np.ndarray, n_labels: int, n_folds: int, seed: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """(the rows that each fold tests, recordings by fold and label): the first balanced split with every label on both
    sides of every fold, else the most even of some that are dealt, else one without."""

    def with_tables(splits: Iterator[list[np.ndarray]]) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
        for split in splits:
            yield split, np.array([np.bincount(classes[test], minlength=n_labels) for test in split])

    balanced = with_tables(_balanced(classes, groups, n_folds, seed))
    first = next(balanced)
    for split, table in chain([first], balanced):
        if _is_whole(table):
            return split, table
    dealt = ((split, table) for split, table in with_tables(_dealt(groups, n_folds, seed)) if _is_whole(table))
    return min(islice(dealt, COMPARED), key=lambda found: _unevenness(found[1]), default=first)


def _is_whole(table: np.ndarray) -> bool:
    """Every fold tests every label, and trains on it."""
    return bool(table.min() > 0 and (table.sum(axis=0) - table).min() > 0)


def _unevenness(table: np.ndarray) -> float:
    return float((table / table.sum(axis=0)).std(axis=0).sum())


def _balanced(classes: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Splits of whole groups with labels as even as can be: for each fold the rows that it tests."""
    for shuffle in range(SHUFFLES):
        state = np.random.SeedSequence([seed, shuffle]).generate_state(1)[0]
        splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=int(state))
        yield [test for _, test in splitter.split(classes, classes, groups)]


def _dealt(groups: np.ndarray, n_folds: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Splits by chance, which find what evenness passes by: a fold that tests little of a label, but something."""
    names, of_row = np.unique(groups, return_inverse=True)
    rng = np.random.default_rng(seed)
    for _ in range(DEALS):
        fold = rng.integers(n_folds, size=len(names))[of_row]
        yield [np.flatnonzero(fold == k) for k in range(n_folds)]


def _folds(features: FeatureSet, seed: int, test_groups: list[list[str]], table: np.ndarray) -> Folds:
    known = {group.split(":", 1)[0] for group in features.groups}
    about: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "features": features.fingerprint,
        "seed": seed,
        "group_by": known.pop() if len(known) == 1 else "subject, else recording",
        "labels": features.labels,
        "folds": [
            {"test_groups": groups, "test_recordings": counts.tolist()}
            for groups, counts in zip(test_groups, table, strict=True)
        ],
    }
    return Folds(about | {"fingerprint": own_fingerprint(about)})


def show_table(labels: list[str], table: np.ndarray) -> str:
    """Test recordings, a line a label, a column a fold; as many folds beside each other as 80 columns hold."""
    labels = list(map(shown, labels))
    width, lines = name_column(labels), []
    across = max(1, (80 - 2 - width) // 8)
    for first in range(0, len(table), across):
        some = table[first : first + across]
        lines += [""] if lines else []
        lines.append(f"  {'':<{width}} " + " ".join(f"{f'fold {first + k}':>7}" for k in range(len(some))))
        for c, label in enumerate(labels):
            lines.append(f"  {padded(label, width)} " + " ".join(f"{n:>7}" for n in some[:, c]))
    return "\n".join(lines)


def write_folds(folds: Folds, path: AnyPath) -> bool:
    """Write once: a file made with the same settings stands as it is (False), another one is refused."""
    path = Path(path)
    refuse_dead_link(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected a file, such as {path / 'folds.json'}. Name one")
    path.parent.mkdir(parents=True, exist_ok=True)
    if not claim(path, as_json(folds.about)):
        keys = ("features", "seed")
        stored = Folds.load(path).about
        refuse_changed(
            path,
            {key: stored[key] for key in keys} | {"folds": len(stored["folds"])},
            {key: folds.about[key] for key in keys} | {"folds": len(folds)},
            "remove it and split again, or name another file",
        )
        return False
    return True
