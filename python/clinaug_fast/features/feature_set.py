"""The feature set: the one interchange format of the project, whatever made the clips.

A folder with log-mel clips of one shape (n_mels, n_frames) in dense float32 `.npy` shards that anyone can memory-map,
a Parquet index with one row a clip, and `features.json` with the mel contract, counts, lineage and fingerprint.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.config import MelConfig, whole_number
from clinaug_fast.errors import InputError, cannot_be_read
from clinaug_fast.features.index_digest import index_digest
from clinaug_fast.features.places import misplaced
from clinaug_fast.features.shards import Shard
from clinaug_fast.json_files import misfit, read_versioned, write_json
from clinaug_fast.runs import AnyPath, atomic_folder, fingerprint, naming, provenance, regular

SCHEMA_VERSION = 1
ABOUT = {  # what features.json of any maker tells
    "mel": dict,
    "n_frames": int,
    "labels": [str],
    "lineage": dict,
    "n_clips": int,
    "shards": [dict],
    "fingerprint": str,
}
SHARD_BYTES = 64 << 20
CLIPS_AT_ONCE = 1024  # that are looked at
SHARD_NAME = re.compile(r"shards/\d{5,}\.npy")  # none that lies elsewhere
NOT_REAL = {  # kinds of lineage, and why their clips are no recordings
    "generated": "made with knowledge of subjects that they do not name",
    "augmented": "each an altered copy of a real one",
}
NO_THREADS = {"use_threads": False, "pre_buffer": False}  # for pq.read_table, which would wait for those it cannot have
MEND = "Restore it, or remove the feature set and make it anew"

INDEX_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # unique in the set
        pa.field("recording", pa.string(), nullable=False),  # path inside the corpus; generated: the clip itself;
        # augmented: that of the clip that was altered, as subject, site, device, label and start_s are
        pa.field("subject", pa.string()),  # null where unknown, and for generated clips
        pa.field("site", pa.string()),
        pa.field("device", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("start_s", pa.float64(), nullable=False),  # where the clip starts in its recording
        pa.field("fold", pa.int32()),  # generated clips: the fold whose training part their generator saw
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
    ]
)
REPEATING = ["subject", "site", "device", "label"]  # worth a dictionary in Parquet; one of ids would be given up again


@dataclass(frozen=True)
class FeatureSet:
    """A feature set on disk, opened for reading. `FeatureSet.open(path)` makes one."""

    path: Path
    about: dict[str, Any]  # features.json
    index: pa.Table  # INDEX_SCHEMA
    _folder: Path = field(init=False, repr=False)  # `path`, wherever the process goes

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folder", self.path.absolute())

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @classmethod
    def open(cls, path: AnyPath) -> "FeatureSet":
        """Read the JSON and the index; InputError where either is missing, foreign or changed since it was made."""
        path = Path(path)
        refuse_part(path)
        what = "a feature set's features.json (clinaug-fast preprocess makes one)"
        about = read_versioned(path / "features.json", what, SCHEMA_VERSION, MEND, ABOUT)
        _refuse_nonsense(path / "features.json", about)
        try:
            digest = feature_set_fingerprint(about, path / "index.parquet")
            index = pq.read_table(path / "index.parquet", schema=INDEX_SCHEMA, **NO_THREADS)
            index.validate(full=True)
        except (OSError, KeyError, pa.ArrowException) as error:  # KeyError: a column that is there twice
            raise cannot_be_read(path / "index.parquet", error, MEND) from None
        if about.get("fingerprint") != digest:
            raise InputError(
                f"{path} has the fingerprint {about.get('fingerprint')}; expected {digest}: features.json or "
                "index.parquet was changed after it was made, or an earlier build made it. Restore them, or remove the "
                "folder and make it anew"
            )
        if problem := next(misplaced(about, index, INDEX_SCHEMA), None):
            raise InputError(f"{path / 'index.parquet'} is not as it was made: {problem}. {MEND}")
        return cls(path, about, index)

    @cached_property
    def mel(self) -> MelConfig:
        return MelConfig(**self.about["mel"])

    @property
    def fingerprint(self) -> str:
        return self.about["fingerprint"]

    @property
    def lineage(self) -> dict[str, Any]:
        return self.about["lineage"]

    @property
    def labels(self) -> list[str]:
        """The label names in order; a clip's class number is its place here."""
        return self.about["labels"]

    @property
    def clip_shape(self) -> tuple[int, int]:
        """(n_mels, n_frames)."""
        return self.about["mel"]["n_mels"], self.about["n_frames"]

    def __len__(self) -> int:
        return self.index.num_rows

    def column(self, name: str) -> np.ndarray:
        """(n_clips,) one column of the index; strings as objects, null as None."""
        column = self.index.column(name)
        if pa.types.is_string(column.type) or column.null_count:
            return np.array(column.to_pylist(), dtype=object)
        return column.to_numpy()

    @cached_property
    def classes(self) -> np.ndarray:
        """(n_clips,) int64 class numbers, indices into `labels`."""
        number = {label: i for i, label in enumerate(self.labels)}
        try:
            return np.array([number[label] for label in self.column("label")], dtype=np.int64)
        except KeyError as error:
            told = f"it has the label {error}, which features.json does not list"
            raise InputError(f"{self.path / 'index.parquet'} is not as it was made: {told}. {MEND}") from None

    @cached_property
    def groups(self) -> np.ndarray:
        """(n_clips,) what may not be split: the subject where known, the recording otherwise."""
        subjects, recordings = self.column("subject"), self.column("recording")
        return np.array(
            [f"recording:{r}" if s is None else f"subject:{s}" for s, r in zip(subjects, recordings, strict=True)],
            dtype=object,
        )

    def _shard(self, number: int) -> np.ndarray:
        """Mapped anew each time, since a map keeps its file open, and a process may have few."""
        entry = self.about["shards"][number]
        path = self._folder / entry["file"]
        try:
            shard = np.load(regular(path), mmap_mode="r", allow_pickle=False)
            if not isinstance(shard, np.ndarray):
                raise ValueError("it holds several arrays")
        except InputError:
            raise
        except Exception as error:  # numpy's reader of headers raises whatever comes
            raise cannot_be_read(path, error, MEND) from None
        expected = (entry["rows"], *self.clip_shape)
        if shard.shape != expected or shard.dtype != np.float32:
            raise InputError(f"{path} holds {shard.dtype} {shard.shape}; expected float32 {expected}. {MEND}")
        return shard

    def refuse_made(self, instead: str) -> None:
        """InputError for generated or augmented clips, where only real ones can be meant."""
        if (kind := self.lineage.get("kind")) in NOT_REAL:
            raise InputError(f"{self.path} holds {kind} clips, {NOT_REAL[kind]}; expected real ones. {instead}")

    def refuse_all_but(self, kind: str) -> None:
        """InputError for a set of other clips, where those of this kind would go."""
        found = self.lineage.get("kind")
        if found != kind:
            found = found if found in NOT_REAL else "real"
            raise InputError(
                f"{self.path} holds {found} clips; expected a new folder for the {kind} ones. Name another"
            )

    def refuse_one_label(self) -> None:
        """InputError where there is nothing to tell apart."""
        if len(self.labels) < 2:
            raise InputError(f"{self.path} has one label, {self.labels[0]!r}; expected two or more to tell apart")

    def refuse_not_finite(self, rows: np.ndarray) -> None:
        """InputError where one of these clips holds NaN or infinity."""
        parts = (rows[first : first + CLIPS_AT_ONCE] for first in range(0, len(rows), CLIPS_AT_ONCE))
        bad = [part[~np.isfinite(self.clips(part)).all(axis=(1, 2))] for part in parts]
        if n_bad := sum(map(len, bad)):
            raise InputError(
                f"{n_bad} of {len(rows)} clips of {self.path} hold NaN or infinity, the first is "
                f"{self.column('id')[np.concatenate(bad)[0]]!r}; expected numbers. Make the feature set anew"
            )

    def refuse_lost_shards(self) -> None:
        """InputError where a shard is missing or is not of its size; `verify` looks at what it holds."""
        for number in range(len(self.about["shards"])):
            self._shard(number)

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """(n,) each clip's shard, and its row there."""
        return self.column("shard"), self.column("row")

    def clips(self, rows: Sequence[int] | np.ndarray | slice | None = None) -> np.ndarray:
        """(n, n_mels, n_frames) float32: the clips of these index rows (or mask), copied; all of them by default."""
        if rows is None:
            rows = slice(None)
        elif not isinstance(rows, slice):
            rows = np.asarray(rows)  # of a tuple numpy would take each number for an axis
            if rows.ndim != 1:
                raise ValueError(f"rows are of shape {rows.shape}; expected (n,), such as [0]")
            if not len(rows):  # of an empty list numpy makes floats
                rows = rows.astype(np.int64)
        shard, row = (places[rows] for places in self._places)
        out = np.empty((len(row), *self.clip_shape), np.float32)
        for number in np.unique(shard):
            mask = shard == number
            out[mask] = self._shard(number)[row[mask]]
        return out


def _refuse_nonsense(path: Path, about: Mapping[str, Any]) -> None:
    """What has the right type and no meaning: somebody else may have written it."""
    MelConfig.stored_in(path, about["mel"], MEND)
    if not 1 <= about["n_frames"] <= 1 << 24:
        raise InputError(f"{path} has clips of {about['n_frames']} frames; expected 1 or more. {MEND}")
    if not about["labels"]:
        raise InputError(f"{path} has no labels; expected one or more. {MEND}")
    for entry in about["shards"]:
        if misfit(entry, {"file": str, "rows": int}) or not SHARD_NAME.fullmatch(entry["file"]) or entry["rows"] < 0:
            raise InputError(
                f"{path} has a shard {entry.get('file')!r} of {entry.get('rows')!r} clips; expected one such as "
                f"'shards/00000.npy' of 0 or more. {MEND}"
            )


def heard_as_one(ids: pa.ChunkedArray, recordings: pa.ChunkedArray) -> pa.ChunkedArray:
    """What each clip was cut from; clips whose ids name no window are their recording's."""
    cut = cut_from(ids)
    return pc.if_else(pc.equal(cut, ids), recordings, cut)


def cut_from(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The id, in the corpus, of what each clip was cut from, a whole file or a segment that a table names: the clip's
    id without its window's number."""
    return pc.replace_substring_regex(ids, "#[0-9]+$", "")


def refuse_part(path: Path) -> None:
    """InputError where `path` is what one of several machines made."""
    if (path / "part.json").exists():
        raise InputError(f"{path} is a part of a feature set. Run clinaug-fast merge on all parts, and name the set")


class FeatureSetWriter:
    """Collects clips into the shards and the index of a draft folder; `new_feature_set` makes one.

    Clips arrive in the order of the index. `about` may take the maker's own keys until the block ends.
    """

    def __init__(self, draft: Path, about: dict[str, Any]):
        self.about = about
        self.folder = draft
        self._clip_shape = (about["mel"]["n_mels"], about["n_frames"])
        self._shard_rows = max(1, SHARD_BYTES // (4 * self._clip_shape[0] * self._clip_shape[1]))
        self._rows: list[dict[str, Any]] = []
        self._ids: set[str] = set()
        self._pending: list[np.ndarray] = []
        self._shards: list[dict[str, Any]] = []
        (draft / "shards").mkdir()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, clip: np.ndarray, **columns: Any) -> None:
        """One clip, float32 (n_mels, n_frames), with its index columns; those left out are null."""
        if clip.shape != self._clip_shape or clip.dtype != np.float32 or isinstance(clip, np.ma.MaskedArray):
            kind = type(clip).__name__
            raise ValueError(f"a clip is a {kind} of {clip.dtype} {clip.shape}; expected float32 {self._clip_shape}")
        if unknown := columns.keys() - {*INDEX_SCHEMA.names}:
            raise ValueError(
                f"the column {min(unknown)!r} is not of an index; expected some of {', '.join(INDEX_SCHEMA.names)}"
            )
        if columns["label"] not in self.about["labels"]:
            listed = ", ".join(self.about["labels"])
            raise InputError(f"the label {columns['label']!r} is not of this set; expected one of {listed}")
        if columns["id"] in self._ids:
            raise InputError(f"two clips have the id {columns['id']!r}; expected each once. Rename one recording")
        self._ids.add(columns["id"])
        row = dict.fromkeys(INDEX_SCHEMA.names) | columns
        self._rows.append(row | {"shard": len(self._shards), "row": len(self._pending)})
        self._pending.append(clip.copy())  # its maker may use the memory again
        if len(self._pending) == self._shard_rows:
            self._flush()

    def _flush(self) -> None:
        name = f"shards/{len(self._shards):05d}.npy"
        with open(self.folder / name, "w+b") as file:
            shard = Shard(file, self._clip_shape, len(self._pending))
            shard.append(np.ascontiguousarray(np.stack(self._pending)))
            digest = shard.finish()
        self._shards.append({"file": name, "rows": len(self._pending), "xxh3_64": digest})
        self._pending.clear()

    def finish(self) -> None:
        """Write what is pending, the index and `features.json`."""
        if self._pending:
            self._flush()
        index = self.folder / "index.parquet"
        with naming(index):
            pq.write_table(pa.Table.from_pylist(self._rows, schema=INDEX_SCHEMA), index, use_dictionary=REPEATING)
        self.about |= {"n_clips": len(self._rows), "shards": self._shards}
        digest = feature_set_fingerprint(self.about, index)
        write_json(self.folder / "features.json", self.about | {"fingerprint": digest, "provenance": provenance()})


def feature_set_fingerprint(about: Mapping[str, Any], index: Path) -> str:
    """`fingerprint_with` of the index in a Parquet file; OSError or ArrowException where it cannot be read."""
    return fingerprint_with(index_digest(index), about)


def fingerprint_with(index: str, about: Mapping[str, Any]) -> str:
    """Over the index's digest and all of features.json but itself, the versions and words: warnings, which a later
    build may word otherwise, and the digest of the rejected, whose reasons a library words. The shards are there by
    their digests."""
    made = {key: value for key, value in about.items() if key not in ("fingerprint", "provenance", "rejected")}
    return fingerprint(_without_warnings(made), index)


def _without_warnings(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {
        key: None if key == "warning" and isinstance(of, str) else _without_warnings(of) for key, of in value.items()
    }


@contextlib.contextmanager
def new_feature_set(
    out: AnyPath, mel: MelConfig, n_frames: int, labels: Sequence[str], lineage: Mapping[str, Any]
) -> Iterator[FeatureSetWriter]:
    """A writer whose feature set appears at `out` when the block ends well, and leaves nothing when it does not.

    `lineage` says what the clips were made from: `{"kind": "corpus", ...}`, `{"kind": "generated", ...}` or
    `{"kind": "augmented", ...}`.
    Other files of the maker go into `writer.folder` and appear with the rest.
    """
    if len(set(labels)) < len(labels):
        raise InputError(f"the labels are {', '.join(labels)}; expected each once")
    about = {
        "schema_version": SCHEMA_VERSION,
        "mel": mel.model_dump(),
        "n_frames": whole_number("n_frames", n_frames),
        "labels": list(labels),
        "lineage": dict(lineage),
    }
    with atomic_folder(Path(out)) as draft:
        writer = FeatureSetWriter(draft, about)
        yield writer
        writer.finish()
