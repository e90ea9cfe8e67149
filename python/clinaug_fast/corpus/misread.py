"""A corpus that may be meant otherwise than it is read.

Takes a Corpus; leaves warnings.
"""

import re
from itertools import pairwise

import pyarrow.compute as pc

from clinaug_fast.corpus.recordings import COLUMNS, Corpus, some_of
from clinaug_fast.runs import Progress
from clinaug_fast.shown import shown

PARTS = "train|test|valid|dev|development|eval|evaluation|fold|split|part"
KINDS = "[a-z]|set|wav|data|audio|clean|other|noisy"  # of one
PART_OF_A_CORPUS = re.compile(
    rf"({PARTS})(ing|ation)?([-_ ]?[0-9]{{1,4}})?([-_ ]?({KINDS}))?|(19|20)[0-9]{{6}}", re.IGNORECASE
)
NOBODY = {"na", "n/a", "nan", "none", "null", "unknown", "?", "-"}  # what tables have where nothing is known


def warn_of_misreading(corpus: Corpus, progress: Progress) -> None:
    """Warn of columns, links, folders and names that may be meant otherwise than they are read."""
    if corpus.unused:
        unused = shown(", ".join(corpus.unused))
        progress.warn(f"{corpus.path} has columns that are not used: {unused}. Used are {', '.join(COLUMNS)}")
    if corpus.dead_links:
        progress.warn(
            f"links that lead nowhere are left out, and all behind them: {some_of(corpus.dead_links)}. Mount or "
            "mend what they point to, or remove them"
        )
    if left_out := corpus.left_out:
        progress.warn(
            f"{len(left_out)} folders, hidden or links to others in the corpus, are left out: {some_of(left_out)}"
            if len(left_out) > 1
            else f"the folder {shown(left_out[0])}, hidden or a link to another in the corpus, is left out"
        )
    if corpus.same_folders:
        progress.warn(
            f"each label's folder has the same sub-folders: {some_of(corpus.same_folders)}. If these are subjects, "
            "give --subject-pattern '^[^/]+/([^/]+)/'; if they are the labels, turn the folders round: LABEL/.../FILE"
        )
    subjects = pc.unique(corpus.table.column("subject")).drop_null().to_pylist()
    if nobody := [name for name in subjects if name.strip().casefold() in NOBODY]:
        progress.warn(
            f"the subject {nobody[0]!r} is taken for one patient, whose recordings stay together. If it means that the "
            "subject is not known, leave it empty"
        )
    if nothing := [name for name in corpus.labels if name.strip().casefold() in NOBODY]:
        progress.warn(
            f"the label {nothing[0]!r} is taken for a label. If it means that the label is not known, take these "
            "recordings out"
        )
    if all(PART_OF_A_CORPUS.fullmatch(name) for name in corpus.labels):
        progress.warn(
            f"the labels {some_of(corpus.labels)} look like the parts of a corpus. If they are, give a table with the "
            "columns path and label"
        )
    labels = sorted(corpus.labels, key=str.casefold)
    if twins := [pair for pair in pairwise(labels) if pair[0].casefold() == pair[1].casefold()]:
        one, other = twins[0]
        progress.warn(
            f"the labels {one!r} and {other!r} differ in upper and lower case alone, and are taken for two. If they "
            "are one, give it one spelling"
        )
