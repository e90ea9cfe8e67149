"""Finished blocks to a feature set: the index, the rejected recordings, the counts, the facts, features.json.

Takes the blocks' sidecar files, whoever made them; leaves the set's other files, the same bytes for the same blocks.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.corpus.facts import FACTS_SCHEMA, NUMBERS, corpus_facts
from clinaug_fast.corpus.verdicts import Code
from clinaug_fast.errors import InputError, RejectedError
from clinaug_fast.features.card import write_card
from clinaug_fast.features.feature_set import INDEX_SCHEMA, REPEATING, SCHEMA_VERSION, fingerprint_with
from clinaug_fast.features.index_digest import IndexDigest
from clinaug_fast.json_files import as_json, write_json_lines
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.memory import give_back
from clinaug_fast.runs import fingerprint_file, provenance, write_in_draft
from clinaug_fast.shown import shown


@dataclass(frozen=True)
class Counts:
    """Every file accounted for: `found` = `kept` + the sum of `rejected`."""

    found: int  # recordings (files, or rows of a table)
    kept: int
    rejected: dict[str, int]  # by code
    ignored: dict[str, int]  # files that are not audio, by suffix
    unlabelled: int  # audio files outside any label's sub-folder
    clips: dict[str, int]  # by label
    quiet_clips: int  # dropped
    subjects: int  # known ones
    without_subject: int  # kept recordings
    file_rates: dict[str, int]  # kept recordings by their file's sample rate in Hz
    audio_seconds: float  # kept
    unused_seconds: float = 0.0  # of these, in no window: behind the last whole one, or between them


def assemble(folder: Path, files: BlockFiles, n_blocks: int, made_with: Mapping[str, Any], name: object) -> Counts:
    """Make the feature set in `folder` of its shards and the blocks' sidecars.

    made_with: what features.json says of the settings, and `corpus`: its counts `ignored` and `unlabelled`.
    name: of the corpus, for errors.

    Raises RejectedError or InputError where fewer than two labels are left.
    """
    blocks = [files.read(number) for number in range(n_blocks)]
    rejected = [row for block in blocks for row in block["rejected"]]
    clips, index = _write_index(folder / "index.parquet", files, n_blocks)
    _refuse_too_little(name, sorted(clips), rejected)
    give_back()
    kept = [block["found"] - len(block["rejected"]) for block in blocks]
    facts = _read_facts(files, kept)
    write_json_lines(folder / "rejected.jsonl", rejected)
    rates, n_of_rate = np.unique(facts.column("file_rate").to_numpy(), return_counts=True)
    seen = made_with["corpus"]
    counts = Counts(
        found=sum(block["found"] for block in blocks),
        kept=facts.num_rows,
        rejected=dict(sorted(Counter(row["code"] for row in rejected).items())),
        ignored=seen["ignored"],
        unlabelled=seen["unlabelled"],
        clips=dict(sorted(clips.items())),
        quiet_clips=sum(block["quiet_clips"] for block in blocks),
        subjects=pc.count_distinct(facts.column("subject")).as_py(),
        without_subject=facts.column("subject").null_count,
        file_rates={str(rate): int(n) for rate, n in zip(rates, n_of_rate, strict=True)},
        audio_seconds=round(float(np.sum(facts.column("seconds").to_numpy())), 3),
        unused_seconds=round(sum(block["unused_seconds"] for block in blocks), 3),
    )
    about = {"schema_version": SCHEMA_VERSION} | {key: value for key, value in made_with.items() if key != "corpus"}
    about |= {
        "labels": sorted(counts.clips),
        "counts": asdict(counts),
        "corpus_facts": corpus_facts(facts, partial(_names, files, kept)),
    }
    about |= {"n_clips": sum(counts.clips.values())}
    about["rejected"] = {"file": "rejected.jsonl", "blake2b_64": fingerprint_file(folder / "rejected.jsonl")}
    about["shards"] = [
        {"file": f"shards/{number:05d}.npy", "rows": block["rows"], "xxh3_64": block["digests"]["shard"]}
        for number, block in enumerate(blocks)
    ]
    about |= {"fingerprint": fingerprint_with(index, about), "provenance": provenance()}
    write_in_draft(folder / "features.json", as_json(about))
    write_card(folder, about)
    return counts


def _write_index(path: Path, files: BlockFiles, n_blocks: int) -> tuple[Counter[str], str]:
    """Join the blocks' rows; returns the number of clips by label, and the digest of the index."""
    clips: Counter[str] = Counter()
    digest = IndexDigest(INDEX_SCHEMA)
    with pq.ParquetWriter(path, INDEX_SCHEMA, use_dictionary=REPEATING) as writer:
        for number in range(n_blocks):
            index = _read(files.index(number)).cast(INDEX_SCHEMA)
            writer.write_table(index)
            digest.update(index)
            clips.update(
                {entry["values"]: entry["counts"] for entry in index.column("label").value_counts().to_pylist()}
            )
    return clips, digest.hexdigest()


def _read_facts(files: BlockFiles, kept: Sequence[int]) -> pa.Table:
    """FACTS_SCHEMA but for `recording`, of all blocks: it grows with the corpus, so each number is held once.

    kept: recordings of each block.
    """
    texts: dict[str, list[pa.Array]] = {name: [] for name in ("label", "subject", "site", "device")}
    numbers = {
        name: np.empty(sum(kept), pa.array([], FACTS_SCHEMA.field(name).type).to_numpy().dtype) for name in NUMBERS
    }
    at = 0
    for block in range(len(kept)):
        rows = _read(files.facts(block), [*texts, *numbers])
        for name, chunks in texts.items():
            chunks += rows.column(name).chunks
        for name, values in numbers.items():
            values[at : at + rows.num_rows] = rows.column(name).to_numpy()
        at += rows.num_rows
    columns = {name: pa.chunked_array(chunks, pa.string()) for name, chunks in texts.items()}
    return pa.table(columns | {name: pa.array(values) for name, values in numbers.items()})


def _names(files: BlockFiles, kept: Sequence[int], rows: np.ndarray) -> list[str]:
    """What stands in `recording` in some rows of the facts."""
    starts = np.cumsum([0, *kept])
    blocks = np.searchsorted(starts, rows, "right") - 1
    places = zip(blocks.tolist(), (rows - starts[blocks]).tolist(), strict=True)
    columns = {block: _read(files.facts(block), ["recording"]).column("recording") for block in {*blocks.tolist()}}
    return [columns[block][place].as_py() for block, place in places]


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A block's table; on this thread, since other threads' allocators keep what they were given."""
    with pq.ParquetFile(path) as file:
        return file.read(columns, use_threads=False)


def _refuse_too_little(corpus: object, labels: list[str], rejected: list[dict[str, Any]]) -> None:
    """Nothing is worth writing without recordings of two labels."""
    rows = ((row.get("path", row.get("recording")), row["code"], row.get("reason")) for row in rejected[:3])
    first = shown("; ".join(f"{path}: {code}" + (f", {reason}" if reason else "") for path, code, reason in rows))
    if rejected and "path" not in rejected[0]:
        first += " (names and reasons without --deidentify, in another output folder)"
    if not labels:
        raise RejectedError(
            f"all {len(rejected)} recordings of {corpus} were rejected, nothing was written. The first reasons: "
            f"{first.rstrip('.')}. {_cure(rejected, corpus)}"
        )
    if len(labels) < 2:
        raise InputError(
            f"only the label {labels[0]!r} of {corpus} has recordings that can be used; expected two or more. "
            f"The first reasons: {first.rstrip('.')}. {_cure(rejected, corpus)}"
        )


def _cure(rejected: list[dict[str, Any]], corpus: object) -> str:
    codes = {row["code"] for row in rejected}
    if codes == {Code.MISSING} and isinstance(corpus, Path) and corpus.is_dir():
        return "They are links that lead nowhere (mend or remove them), or files that are gone since the run began"
    if codes == {Code.MISSING}:
        told = "Correct the table's paths, which start at its folder and are spelled as the files are"
        if any("\\" in row.get("path", "") for row in rejected):
            told += ", with / between folders"
        return told
    return cure(codes)


def cure(codes: Collection[str]) -> str:
    """What to do about recordings that were rejected with these codes."""
    known = {
        Code.MISSING: "correct the paths that lead nowhere",
        Code.TOO_LONG: "raise --max-duration",
        Code.TOO_SHORT: "lower --min-seconds",
    }
    if not codes or {*codes} - {*known}:
        of_segments = {Code.EMPTY, Code.TRUNCATED} & {*codes}
        return "Repair the files" + (" (or the table's times, where a reason says so)" if of_segments else "")
    cures = " and ".join(known[code] for code in sorted(codes))
    return cures[0].upper() + cures[1:]
