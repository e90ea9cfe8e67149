"""The block, the unit of preprocessing: some consecutive recordings that become one shard and its sidecar files.

The listing alone says where the blocks are cut, so that resuming, any number of threads and any number of machines make
the same bytes. A block is written under a hidden name; its JSON comes last and says that the rest is whole. Nothing
here waits for the disk: `is_whole` tells a block that power cut short, and a finished set is flushed before it appears.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.errors import InputError, is_of_the_system
from clinaug_fast.features.feature_set import REPEATING
from clinaug_fast.features.shards import fingerprint_shard
from clinaug_fast.json_files import misfit, read_record, write_json_lines
from clinaug_fast.runs import fingerprint_file, naming, new_draft, regular

BLOCK_BYTES = 128 << 20  # of files
BLOCK_RECORDINGS = 4096
ABOUT = {  # what is told of a block
    "rows": int,
    "found": int,
    "quiet_clips": int,
    "unused_seconds": float,
    "rejected": [dict],
    "digests": {"shard": str, "index": str, "facts": str},
}


def cut_into_blocks(table: pa.Table) -> list[range]:
    """The rows of each block of a table of RECORDINGS_SCHEMA: a new one begins where the next recording would pass
    BLOCK_BYTES or BLOCK_RECORDINGS. Segments that follow one another in one file count its bytes once."""
    paths, n_bytes = table.column("path"), table.column("bytes").fill_null(0).to_numpy().copy()
    if table.num_rows > 1:
        n_bytes[1:][pc.equal(paths[1:], paths[:-1]).to_numpy()] = 0
    ends = np.cumsum(n_bytes)
    blocks, start = [], 0
    while start < table.num_rows:
        before = ends[start] - n_bytes[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK_BYTES, "right")))
        blocks.append(range(start, min(stop, start + BLOCK_RECORDINGS, table.num_rows)))
        start = blocks[-1].stop
    return blocks


def cutting() -> str:
    """How large blocks are; those of another cutting are not the same blocks."""
    return f"{BLOCK_RECORDINGS} recordings or {BLOCK_BYTES} bytes"


class BlockFiles:
    """Where the files of a folder of blocks lie: shards in one place, sidecars in another, and what is under way in a
    third, by default beside the sidecars."""

    def __init__(self, shards: Path, sidecars: Path, work: Path | None = None):
        self.shards, self.sidecars, self._work = shards, sidecars, work or sidecars

    def make_folders(self) -> None:
        for folder in (self.shards, self.sidecars, self._work):
            folder.mkdir(parents=True, exist_ok=True)

    def shard(self, number: int) -> Path:
        return self.shards / f"{number:05d}.npy"

    def about(self, number: int) -> Path:
        """JSON: rows, counts, the rejected recordings, the digests of the other files. Its presence says: complete."""
        return self.sidecars / f"{number:05d}.json"

    def index(self, number: int) -> Path:
        """Parquet of INDEX_SCHEMA: one row a clip."""
        return self.sidecars / f"{number:05d}.index.parquet"

    def facts(self, number: int) -> Path:
        """Parquet of FACTS_SCHEMA: one row a recording."""
        return self.sidecars / f"{number:05d}.facts.parquet"

    def read(self, number: int) -> dict[str, Any]:
        """What `complete` wrote of a block; InputError where something else is there."""
        return read_record(self.about(number), "a block's sidecar file", ABOUT)

    def is_whole(self, number: int) -> bool:
        """Its files are there and hold the bytes that were written: power may have gone before the disk had them."""
        if not self.about(number).exists():
            return False
        try:
            digests = self.read(number)["digests"]
            return digests == self._digests(number, fingerprint_shard(self.shard(number)))
        except (OSError, InputError):
            return False

    def damage(self, number: int, taken_by: "BlockFiles", clip_shape: tuple[int, int]) -> str:
        """What is wrong with a block that `taken_by` is to take over, and may have begun to; "" for nothing.

        Shards are looked at, not read: verify reads them.
        """
        theirs, ours = self._parts(number), taken_by._parts(number)
        at = {name: path if path.exists() else ours[name] for name, path in theirs.items()}
        if missing := [name for name, path in at.items() if not path.exists()]:
            return f"{theirs[missing[0]]} is missing"
        try:
            about = self.read(number)
            if linked := [path for path in at.values() if path.is_symlink()]:
                return f"{linked[0]} is a link, which would be moved without what it leads to"
            for name in ("index", "facts"):
                if fingerprint_file(at[name]) != about["digests"][name]:
                    return f"{theirs[name]} is not what was written"
            n_kept = about["found"] - len(about["rejected"])
            counts = [pq.read_metadata(at[name]).num_rows for name in ("index", "facts")]
            if counts != [about["rows"], n_kept] or any(misfit(row, {"code": str}) for row in about["rejected"]):
                return f"{self.about(number)} is not what was written"
            with naming(at["shard"]):
                clips = np.load(regular(at["shard"]), mmap_mode="r", allow_pickle=False)
            if clips.shape != (about["rows"], *clip_shape) or clips.dtype != np.float32:
                return f"{theirs['shard']} does not hold {about['rows']} clips of {clip_shape}"
        except (InputError, KeyError):
            return f"{self.about(number)} is not what was written"
        except (OSError, ValueError, EOFError, AttributeError) as error:  # AttributeError: several arrays
            if is_of_the_system(error):
                raise
            return f"{theirs['shard']} was cut short or changed: {error}"
        return ""

    def _digests(self, number: int, shard: str) -> dict[str, str]:
        tables = ((name, path) for name, path in self._parts(number).items() if name != "shard")
        return {"shard": shard} | {name: fingerprint_file(path) for name, path in tables}

    def _parts(self, number: int) -> dict[str, Path]:
        return {"shard": self.shard(number), "index": self.index(number), "facts": self.facts(number)}

    @contextmanager
    def draft_of_shard(self, number: int) -> Iterator[tuple[Path, BinaryIO]]:
        """A hidden file that no other process or machine has; gone at the end unless it was renamed."""
        draft = new_draft(self._work / f"{number:05d}")
        try:
            with open(draft, "w+b") as file:
                yield draft, file
        finally:
            draft.unlink(missing_ok=True)

    def complete(
        self, number: int, draft: Path, digest: str, index: pa.Table, facts: pa.Table, about: Mapping[str, Any]
    ) -> None:
        """Put the block's files in their places; draft: the shard, `digest` its fingerprint."""
        for table, path in ((index, self.index(number)), (facts, self.facts(number))):
            hidden = draft.with_name(f"{draft.name}.parquet")
            with naming(hidden):
                pq.write_table(table, hidden, use_dictionary=REPEATING)
            os.replace(hidden, path)
        os.replace(draft, self.shard(number))
        about = {**about, "rows": index.num_rows, "digests": self._digests(number, digest)}
        hidden = draft.with_name(f"{draft.name}.json")
        write_json_lines(hidden, [about])
        os.replace(hidden, self.about(number))

    def move_from(self, other: "BlockFiles", number: int) -> None:
        """Take a complete block of another folder over, its shard without copying; may be repeated after a kill."""
        theirs, ours = other._parts(number), self._parts(number)
        for name in theirs:
            if theirs[name].exists():
                os.rename(theirs[name], ours[name])
        os.rename(other.about(number), self.about(number))
