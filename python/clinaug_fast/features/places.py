"""Where the clips of an index lie: each row points to a place in a shard, and each place is pointed to once.

Takes features.json and the index; leaves sentences about what does not fit.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def misplaced(about: Mapping[str, Any], index: pa.Table, schema: pa.Schema) -> Iterator[str]:
    """What is wrong with the rows of an index of `schema`; no clip is looked at."""
    rows = [entry["rows"] for entry in about["shards"]]
    if not index.num_rows == about["n_clips"] == sum(rows):
        yield f"it has {index.num_rows} rows, features.json says {about['n_clips']} clips, its shards hold {sum(rows)}"
    for name in schema.names:
        if not schema.field(name).nullable and index.column(name).null_count:
            yield f"the column {name} lacks {index.column(name).null_count} values"
    doubled = index.num_rows - pc.count_distinct(index.column("id"), mode="all").as_py()
    if doubled:
        counts = pc.value_counts(index.column("id")).to_pylist()
        first = next(pair["values"] for pair in counts if pair["counts"] > 1)
        yield f"{doubled} ids come twice, the first is {first!r}"
    # Each place of each shard is pointed to once.
    shard, row = (index.column(name).fill_null(-1).to_numpy().astype(np.int64) for name in ("shard", "row"))
    begins = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    outside = (shard < 0) | (shard >= len(rows)) | (row < 0)
    outside |= row >= np.array([*rows, 0])[np.where(outside, len(rows), shard)]
    if outside.any():
        yield f"{outside.sum()} rows point outside the shards, the first is row {outside.argmax()}"
    if index.num_rows != begins[-1]:
        return  # told already
    pointed = np.bincount(begins[shard[~outside]] + row[~outside], minlength=begins[-1])
    if (pointed != 1).any():
        place = int((pointed != 1).argmax())
        number = int(np.searchsorted(begins, place, side="right")) - 1
        yield (
            f"{np.count_nonzero(pointed != 1)} places in shards are pointed to never or more than once, the first is "
            f"row {place - begins[number]} of {about['shards'][number]['file']}"
        )
