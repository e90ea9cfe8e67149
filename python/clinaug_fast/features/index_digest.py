"""A digest of an index's values: of the same rows the same, whichever version of a library wrote their Parquet file.

Takes the file; leaves hex digits that enter the feature set's fingerprint.
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.runs import fingerprint


def index_digest(index: Path) -> str:
    """Sixteen hex digits over the names, types, nulls and values of a Parquet file's columns, strings and numbers; into
    which pieces the file cuts its rows is of no consequence. OSError or ArrowException where it cannot be read."""
    with pq.ParquetFile(index) as file:
        columns = {field.name: (str(field.type), _Digests()) for field in file.schema_arrow}
        for batch in file.iter_batches():
            for name, (_, digests) in columns.items():
                digests.update(batch.column(name))
    return fingerprint({name: [kind, *digests.hex] for name, (kind, digests) in columns.items()})


class _Digests:
    """Of one column, piece by piece: which values are there, the lengths of strings, the values."""

    def __init__(self) -> None:
        self._valid, self._lengths, self._values = (hashlib.blake2b(digest_size=8) for _ in range(3))

    @property
    def hex(self) -> list[str]:
        return [digest.hexdigest() for digest in (self._valid, self._lengths, self._values)]

    def update(self, column: pa.Array) -> None:
        self._valid.update(_bytes(column.is_valid()))
        if not pa.types.is_string(column.type):
            self._values.update(_bytes(column.fill_null(0)))
            return
        texts = column.fill_null("")
        self._lengths.update(_bytes(pc.binary_length(texts)))
        together = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts), "")
        self._values.update(together[0].as_buffer())


def _bytes(numbers: pa.Array) -> bytes:
    return np.ascontiguousarray(numbers.to_numpy(zero_copy_only=False)).tobytes()
