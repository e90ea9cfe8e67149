"""Is a feature set still what was made? Each shard's bytes, each row of the index and each count are looked at again.

Takes the folder of a feature set, whatever made it; leaves a `Report` that names each damaged file. Nothing is raised
for damage: the checks that a missing file allows still run.
"""

import json
import stat
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.config import whole_number
from clinaug_fast.errors import InputError, UnreadableError, cannot_be_read, is_of_the_system
from clinaug_fast.features.card import CARD
from clinaug_fast.features.feature_set import (
    INDEX_SCHEMA,
    MEND,
    NO_THREADS,
    SCHEMA_VERSION,
    cut_from,
    feature_set_fingerprint,
    refuse_part,
)
from clinaug_fast.features.places import misplaced
from clinaug_fast.features.shards import fingerprint_shard
from clinaug_fast.json_files import read_versioned
from clinaug_fast.runs import AnyPath, Progress, Silent, fingerprint_file, regular


@dataclass
class Report:
    """What `verify` found."""

    shards: int = 0  # listed in features.json
    clips: int = 0  # in the index
    checks: list[str] = field(default_factory=list)  # what could be checked, in order
    problems: list[dict[str, str]] = field(default_factory=list)  # {"file", "problem"}

    @property
    def whole(self) -> bool:
        return not self.problems

    @property
    def damaged(self) -> list[str]:
        """The files with problems, each once."""
        return list(dict.fromkeys(problem["file"] for problem in self.problems))


def verify(path: AnyPath, *, threads: int = 1, progress: Progress = Silent()) -> Report:
    """Check the feature set in `path` against what its features.json says. InputError where there is no such folder."""
    path, threads = Path(path), whole_number("threads", threads, least=1)
    if not path.is_dir():
        raise InputError(f"{path} is no folder; expected a feature set. Check the path")
    refuse_part(path)
    if not any((path / name).exists() for name in ("features.json", "index.parquet", "shards")):
        made_by = "Give a folder that preprocess, merge, generate or augment made"
        raise InputError(f"{path} is no feature set: it has no features.json, index.parquet or shards. {made_by}")
    report = Report()

    def check(name: str, file: str, problems: Iterator[tuple[str, str]]) -> None:
        """Run one check; where it cannot be done, because of `file`, that is the problem."""
        report.checks.append(name)
        try:
            report.problems += [{"file": of, "problem": problem} for of, problem in problems]
        except (InputError, OSError, pa.ArrowException) as error:
            _refuse_unreadable(path / file, error)
            report.problems.append({"file": file, "problem": f"it cannot be read: {error}"})
        except KeyError as error:
            report.problems.append({"file": file, "problem": f"it lacks {error}; an earlier build may have made it"})
        except (IndexError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            report.problems.append({"file": file, "problem": f"{name} cannot be checked: {error!r}"})

    try:
        about = read_versioned(path / "features.json", "a feature set's features.json", SCHEMA_VERSION, MEND, {})
    except UnreadableError:
        raise
    except InputError as error:
        report.problems.append({"file": "features.json", "problem": str(error)})
        return report
    shards = about.get("shards")
    report.shards = len(shards) if isinstance(shards, list) else 0
    check("the fingerprint", "index.parquet", _fingerprint(path, about))
    check("every shard's shape and digest", "features.json", _shards(path, about, threads, progress))
    check("no other shards", "shards", _foreign(path, about))
    try:
        index = pq.read_table(path / "index.parquet", schema=INDEX_SCHEMA, **NO_THREADS)
    except (OSError, KeyError, pa.ArrowException) as error:
        _refuse_unreadable(path / "index.parquet", error)
        report.problems.append({"file": "index.parquet", "problem": f"it cannot be read: {error}"})
        return report
    report.clips = index.num_rows
    check("the index's rows, ids and places", "features.json", _index(about, index))
    check("the labels", "features.json", _labels(about, index))
    if "counts" in about:
        check("the counts", "features.json", _counts(about["counts"], index))
        check("the rejected recordings", "rejected.jsonl", _rejected(path, about))
        check("that there is a card", CARD, _card(path))
    return report


def _refuse_unreadable(file: Path, error: Exception) -> None:
    """What the system does not give may be whole."""
    if isinstance(error, UnreadableError):
        raise error
    if is_of_the_system(error):
        raise cannot_be_read(file, error, "") from None


def _fingerprint(path: Path, about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    digest = feature_set_fingerprint(about, path / "index.parquet")
    if about["fingerprint"] != digest:
        told = f"the fingerprint is {about['fingerprint']}; expected {digest}: one of the two files was changed"
        yield "features.json or index.parquet", f"{told}, or an earlier build made them"


def _shards(path: Path, about: dict[str, Any], threads: int, progress: Progress) -> Iterator[tuple[str, str]]:
    entries = about["shards"]
    progress.start("verify, shards", len(entries))
    with ThreadPoolExecutor(threads) as pool:
        for entry, problem in zip(entries, pool.map(lambda e: _shard(path, about, e), entries), strict=True):
            if problem:
                yield entry["file"], problem
            progress.advance()


def _shard(path: Path, about: dict[str, Any], entry: dict[str, Any]) -> str | None:
    """What is wrong with one shard."""
    file = path / entry["file"]
    shape = (entry["rows"], about["mel"]["n_mels"], about["n_frames"])
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe or a device may never end
            return "it is not a regular file"
        if (digest := fingerprint_shard(file)) == entry["xxh3_64"]:
            shard = np.load(file, mmap_mode="r", allow_pickle=False)
            if shard.shape == shape and shard.dtype == np.float32:
                return None
            return f"it holds {shard.dtype} {shard.shape}; expected float32 {shape}"
        missing = 4 * int(np.prod(shape)) - file.stat().st_size
        return f"its digest is {digest}; expected {entry['xxh3_64']}" + ("; it was cut short" if missing > 0 else "")
    except FileNotFoundError:
        return "it is missing"
    except (OSError, ValueError, EOFError) as error:
        _refuse_unreadable(file, error)
        return f"it cannot be read: {error}"


def _foreign(path: Path, about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    listed = {entry["file"] for entry in about["shards"]}
    for file in sorted((path / "shards").iterdir()):
        if (name := f"shards/{file.name}") not in listed:
            yield name, "features.json does not list it"


def _index(about: dict[str, Any], index: pa.Table) -> Iterator[tuple[str, str]]:
    for problem in misplaced(about, index, INDEX_SCHEMA):
        yield "index.parquet", problem


def _labels(about: dict[str, Any], index: pa.Table) -> Iterator[tuple[str, str]]:
    foreign = sorted({*index.column("label").drop_null().unique().to_pylist()} - {*about["labels"]})
    if foreign:
        yield "index.parquet", f"it has the labels {', '.join(foreign)}, which features.json does not list"


def _counts(counts: dict[str, Any], index: pa.Table) -> Iterator[tuple[str, str]]:
    rejected = sum(counts["rejected"].values())
    if counts["found"] != counts["kept"] + rejected:
        yield "features.json", f"found is {counts['found']}; expected kept {counts['kept']} + rejected {rejected}"
    kept = pc.count_distinct(cut_from(index.column("id"))).as_py()
    if counts["kept"] != kept:
        yield "features.json", f"{counts['kept']} recordings are kept; the index has clips of {kept}"
    clips = {pair["values"]: pair["counts"] for pair in pc.value_counts(index.column("label")).to_pylist()}
    if counts["clips"] != clips:
        yield "features.json", f"clips by label are {counts['clips']}; the index has {clips}"
    subjects = pc.count_distinct(index.column("subject"), mode="only_valid").as_py()
    if counts["subjects"] != subjects:
        yield "features.json", f"{counts['subjects']} subjects are known; the index has {subjects}"


def _card(path: Path) -> Iterator[tuple[str, str]]:
    if not (path / CARD).is_file():
        yield CARD, "it is missing; the command that made the set, preprocess or merge, writes it again"


def _rejected(path: Path, about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    with open(regular(path / "rejected.jsonl"), encoding="utf-8") as lines:
        codes = dict(Counter(json.loads(line).get("code") for line in lines))
    digest, counted = fingerprint_file(path / "rejected.jsonl"), about["counts"]["rejected"]
    if codes != counted:
        yield "rejected.jsonl", f"it lists {codes}; features.json counts {counted}"
    elif "rejected" not in about:
        yield "features.json", "it does not tell the digest of rejected.jsonl"
    elif about["rejected"]["blake2b_64"] != digest:
        yield "rejected.jsonl", f"its digest is {digest}; expected {about['rejected']['blake2b_64']}"
