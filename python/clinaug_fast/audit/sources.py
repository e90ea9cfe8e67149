"""The audit of a corpus: which recordings are of one source, as far as sound can tell.

Takes a corpus; leaves the pairs that are alike, the sources that follow from them, and the corpus as a table whose
subjects keep each source on one side of a split. Sound tells that two recordings share a stretch, or come from one
session of one microphone; that two are of one patient, it does not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from clinaug_fast import native
from clinaug_fast.audit.alike import Pairs, alike, has_enough
from clinaug_fast.audit.flat_sound import read_flat
from clinaug_fast.config import whole_number
from clinaug_fast.corpus.misread import warn_of_misreading
from clinaug_fast.corpus.overlaps import ROUNDING_S
from clinaug_fast.corpus.read_faults import refuse_lost_folder
from clinaug_fast.corpus.recordings import Corpus, Recording, read_corpus, some_of
from clinaug_fast.corpus.spellings import as_a_person
from clinaug_fast.corpus.verdicts import Rejected
from clinaug_fast.errors import InputError, SettingsError
from clinaug_fast.runs import AnyPath, Progress, Silent

# Of the heart corpus 3 of the 16 667 pairs that reach it bear two labels, none of those above 0.4; of ESC-10 none of 4.
AT_LEAST = 0.35
LEAST = 0.2  # of a million pairs of half a second of noise none comes above 0.19
TOO_LITTLE = "TOO_LITTLE_SOUND"  # of what is not compared, beside verdicts.Code
AT_ONCE = 64  # recordings
NEARLY = 0.9  # all of a segment


@dataclass(frozen=True)
class Audit:
    """What was found of a corpus. Rows are those of `corpus.table`."""

    corpus: Corpus
    at_least: float
    pairs: Pairs  # of rows
    not_compared: dict[str, int]  # code -> recordings

    @cached_property
    def sources(self) -> np.ndarray:
        """(n,) the source of each row: what pairs, a given subject or shared time hold together, or a file with unknown
        subjects."""
        n = len(self.corpus)
        first, second = [self.pairs.first], [self.pairs.second]
        for name in ("path", "subject"):
            codes = self._codes(name)
            rows = np.flatnonzero(codes >= 0)
            rows = rows[np.argsort(codes[rows], kind="stable")]
            as_before = codes[rows[1:]] == codes[rows[:-1]]
            if name == "path":
                as_before &= self._is_open[rows[1:]]
            first.append(rows[:-1][as_before])
            second.append(rows[1:][as_before])
        first.append(self._shared[0])
        second.append(self._shared[1])
        edges = (np.concatenate(first), np.concatenate(second))
        return connected_components(coo_array((np.ones(len(edges[0]), bool), edges), shape=(n, n)), directed=False)[1]

    @cached_property
    def _is_open(self) -> np.ndarray:
        """(n,) bool: rows of a file that has a row whose subject is not given."""
        paths = self._codes("path")
        return np.bincount(paths, self._codes("subject") < 0)[paths] > 0

    @cached_property
    def _shared(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of rows: segments of one file and two given subjects that overlap, however little."""
        path, subject, (start, end) = self._codes("path"), self._codes("subject"), self._times
        order = np.lexsort((start, path))
        order = order[subject[order] >= 0]
        first, second = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for rows in np.split(order, np.flatnonzero(np.diff(path[order])) + 1):
            until = np.searchsorted(start[rows], end[rows] - ROUNDING_S)
            for at in np.flatnonzero(until > np.arange(1, len(rows) + 1)):
                later = rows[at + 1 : until[at]]
                others = later[subject[later] != subject[rows[at]]]
                first.append(np.full(len(others), rows[at]))
                second.append(others)
        return np.concatenate(first), np.concatenate(second)

    @cached_property
    def _times(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) seconds: start and end of each row in its file; an end that is not given is the file's last that is."""
        path = self._codes("path")
        start = pc.fill_null(self.corpus.table.column("start_s"), 0.0).to_numpy()
        given = pc.fill_null(self.corpus.table.column("end_s"), -np.inf).to_numpy()
        last = np.full(path.max(initial=0) + 1, -np.inf)
        np.maximum.at(last, path, given)
        end = np.where(np.isinf(given), last[path], given)
        return start, np.where(end > start, end, np.inf)

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """The rows of each source that pairs or shared time hold together, or a file of which some subjects are given
        and others not, ascending; a source of one file or one subject is none."""
        half_known = np.flatnonzero(self._is_open & (self._codes("subject") >= 0))
        alike_sources = np.unique(self.sources[np.concatenate([self.pairs.first, self._shared[0], half_known])])
        order = np.argsort(self.sources, kind="stable")
        begins, ends = (np.searchsorted(self.sources[order], alike_sources, side) for side in ("left", "right"))
        groups = [order[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return sorted(groups, key=lambda rows: int(rows[0]))

    def between(self, column: str) -> np.ndarray:
        """(P,) bool: the pairs whose recordings have two different values of a column, none of them null."""
        codes = self._codes(column)
        one, other = codes[self.pairs.first], codes[self.pairs.second]
        return (one != other) & (one >= 0) & (other >= 0)

    @property
    def by_design(self) -> np.ndarray:
        """(P,) bool: the pairs of segments of one file that overlap, and that no split parts anyway. What lies all but
        whole in another of another label is none."""
        rows, paths, (starts, ends) = (self.pairs.first, self.pairs.second), self._codes("path"), self._times
        (path, other), (start, other_start), (end, other_end) = (
            [values[some] for some in rows] for values in (paths, starts, ends)
        )
        shared = np.minimum(end, other_end) - np.maximum(start, other_start)
        within = shared >= NEARLY * np.minimum(end - start, other_end - other_start)
        return (path == other) & (shared > 0.0) & ~self.between("subject") & ~(within & self.between("label"))

    def _codes(self, column: str) -> np.ndarray:
        """(n,) a number for each value of a column, -1 for null."""
        return self.corpus.table.column(column).combine_chunks().dictionary_encode().indices.fill_null(-1).to_numpy()

    @cached_property
    def by_label(self) -> dict[str, dict[str, int]]:
        """How many recordings and sources each label has."""
        labels = np.array(self.corpus.table.column("label").to_pylist())
        return {
            label: {
                "recordings": int(np.count_nonzero(labels == label)),
                "sources": len(np.unique(self.sources[labels == label])),
            }
            for label in self.corpus.labels
        }

    @cached_property
    def subjects(self) -> list[str | None]:
        """A name for each source, where one is given or several recordings are alike; None for the others."""
        given = self.corpus.table.column("subject").to_pylist()
        named, taken, number = list(given), {as_a_person(name) for name in given if name is not None}, 0
        for rows in self.groups:
            names = sorted({given[row] for row in rows} - {None})
            name = " + ".join(names)
            while not name or (len(names) != 1 and as_a_person(name) in taken):
                number += 1
                name = " + ".join([*names, f"alike-{number}"])
            for row in rows:
                named[row] = name
        return named

    def table(self) -> pa.Table:
        """The corpus as `preprocess` takes it, with `subjects` for its subjects; a path is as in the corpus."""
        table = self.corpus.table.drop_columns(["id", "bytes", "refused"])
        at = table.column_names.index("subject")
        return table.set_column(at, "subject", pa.array(self.subjects, pa.string()))


def audit(
    corpus: AnyPath,
    subject_pattern: str | None = None,
    at_least: float = AT_LEAST,
    threads: int = 1,
    progress: Progress | None = None,
) -> Audit:
    """Compare all recordings of a corpus (a folder or a table, as for `preprocess`) with each other.

    at_least: of the normalised correlation of two flat sounds at their best distance in time, over all that they then
    share, which is more than half a second of sound. Recordings of more than 30 s are compared by their middle. The
    result depends neither on threads nor on the order of files.

    Raises InputError for a corpus that cannot be read, or of which nothing can be compared; SettingsError for
    `at_least` outside LEAST to 1, no threads, or a `subject_pattern` that `read_corpus` refuses.
    """
    if not LEAST <= at_least <= 1.0:
        raise SettingsError(f"at_least is {at_least!r}; expected {LEAST} (chance reaches less) to 1 (the same sound)")
    threads = whole_number("threads", threads, least=1)
    native.refuse_narrow_names()
    progress = progress or Silent()
    read = read_corpus(corpus, subject_pattern, threads)
    warn_of_misreading(read, progress)
    if read.unlabelled:
        progress.warn(f"audio that lies in no label's sub-folder is left out: {some_of(read.unlabelled)}")
    recordings = read.recordings
    sounds, verdicts = _read(recordings, threads, progress)
    for row in np.flatnonzero(read.table.column("bytes").fill_null(0).to_numpy() > 0):  # those that the listing saw
        if sounds[row] is None and recordings[row].refused is None:
            refuse_lost_folder(str(recordings[row].path))
    counted = dict(sorted(Counter(verdicts).items()))
    if len(verdicts) == len(sounds):
        raise InputError(
            f"no recording of {corpus} can be compared ({counts_of(counted)}). Of files that cannot be read "
            "clinaug-fast preprocess tells why"
        )
    rows = np.array([row for row, sound in enumerate(sounds) if sound is not None], np.int64)
    pairs = alike([sounds[row] for row in rows], at_least, threads, progress)
    found = Audit(read, at_least, Pairs(rows[pairs.first], rows[pairs.second], pairs.score), counted)
    return replace(found, pairs=found.pairs.where(~found.by_design))


def counts_of(not_compared: Mapping[str, int]) -> str:
    """As a sentence tells them."""
    return ", ".join(f"{n} {code}" for code, n in not_compared.items())


def _read(
    recordings: Sequence[Recording], threads: int, progress: Progress
) -> tuple[list[np.ndarray | None], list[str]]:
    """The sound of each recording, None where it cannot be compared; and why, of these."""
    progress.start("reading, recordings", len(recordings))
    sounds: list[np.ndarray | None] = []
    verdicts = []
    with ThreadPoolExecutor(threads) as pool:
        for begin in range(0, len(recordings), AT_ONCE):
            some = recordings[begin : begin + AT_ONCE]
            for sound in pool.map(_sound, some):
                sounds.append(None if isinstance(sound, str) else sound)
                verdicts += [sound] if isinstance(sound, str) else []
            progress.advance(len(some))
    return sounds, verdicts


def _sound(recording: Recording) -> np.ndarray | str:
    if recording.refused is not None:
        return "NAME"
    try:
        sound = read_flat(recording)
    except Rejected as verdict:
        return str(verdict.code)
    return sound if has_enough(sound) else TOO_LITTLE
