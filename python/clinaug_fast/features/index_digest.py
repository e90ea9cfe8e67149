"""A digest of an index's values: of the same rows the same, whichever version of a library wrote their Parquet file.

Takes the rows, or the file; leaves hex digits that enter the feature set's fingerprint.
"""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from clinaug_fast.runs import fingerprint, regular


class IndexDigest:
    """Over the names, types, nulls and values of columns, strings and numbers, that come piece by piece; where they are
    cut is of no consequence."""

    def __init__(self, schema: pa.Schema):
        self._columns = {field.name: (str(field.type), _ColumnDigests()) for field in schema}

    def update(self, rows: pa.Table | pa.RecordBatch) -> None:
        """Further rows, of the schema's columns."""
        for name, (_, digests) in self._columns.items():
            column = rows.column(name)
            for piece in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
                digests.update(piece)

    def hexdigest(self) -> str:
        """Sixteen hex digits."""
        return fingerprint({name: [kind, *digests.hex] for name, (kind, digests) in self._columns.items()})


def index_digest(index: Path) -> str:
    """Of all columns of a Parquet file. OSError or ArrowException where it cannot be read."""
    with pq.ParquetFile(regular(index)) as file:
        digest = IndexDigest(file.schema_arrow)
        for batch in file.iter_batches():
            digest.update(batch)
    return digest.hexdigest()


class _ColumnDigests:
    """Where a column has values, the lengths of strings, the values."""

    def __init__(self) -> None:
        self._valid, self._lengths, self._values = (hashlib.blake2b(digest_size=8) for _ in range(3))

    @property
    def hex(self) -> list[str]:
        return [digest.hexdigest() for digest in (self._valid, self._lengths, self._values)]

    def update(self, column: pa.Array) -> None:
        self._valid.update(_bytes(column.is_valid()))
        if column.null_count:
            column = column.drop_null()
        if not len(column):
            return
        if not pa.types.is_string(column.type):
            self._values.update(_bytes(column))
            return
        self._lengths.update(_bytes(pc.binary_length(column)))
        together = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(column)], pa.int32()), column), "")
        self._values.update(together[0].as_buffer())


def _bytes(numbers: pa.Array) -> bytes:
    return numbers.to_numpy(zero_copy_only=False).tobytes()
