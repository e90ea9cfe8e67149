"""A block's tables: a row a clip for the index, a row a recording for the facts; made by columns, not row by row."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from clinaug_fast.corpus.facts import FACTS_SCHEMA, FLOOR_DB
from clinaug_fast.corpus.recordings import recordings_of
from clinaug_fast.features.feature_set import INDEX_SCHEMA
from clinaug_fast.preprocess.deidentify import public_fields

PUBLIC = ("id", "recording", "subject", "site", "device", "label")


def public_table(rows: pa.Table, root: Path, key: bytes | None) -> pa.Table:
    """What of the recordings may be told: the columns PUBLIC and start_s; hashed under a key."""
    if key is None:
        columns = {name: rows.column("path" if name == "recording" else name) for name in PUBLIC}
    else:
        fields = [public_fields(recording, key) for recording in recordings_of(rows, root)]
        columns = {name: pa.array([row[name] for row in fields], pa.string()) for name in PUBLIC}
    return pa.table(columns | {"start_s": rows.column("start_s")})


def index_table(
    public: pa.Table, at: np.ndarray, counts: np.ndarray, numbers: np.ndarray, shard: int, stride_s: float
) -> pa.Table:
    """INDEX_SCHEMA: the clips of the kept recordings, which are the rows `at` of `public`.

    counts: (n,) clips of each; numbers: (n_clips,) the place of each one's window in its recording.
    """
    of_recording = public.take(pa.array(np.repeat(at, counts)))
    n = len(numbers)
    ids = pc.binary_join_element_wise(of_recording.column("id"), pa.array(numbers).cast(pa.string()), "#")
    starts = pc.fill_null(of_recording.column("start_s"), 0.0).to_numpy() + numbers * stride_s
    columns = {name: of_recording.column(name) for name in PUBLIC[1:]}
    columns |= {"id": ids, "start_s": starts, "fold": pa.nulls(n, pa.int32())}
    columns |= {"shard": np.full(n, shard, np.int32), "row": np.arange(n, dtype=np.int32)}
    return pa.table([columns[name] for name in INDEX_SCHEMA.names], schema=INDEX_SCHEMA).combine_chunks()


def facts_table(public: pa.Table, at: np.ndarray, measured: np.ndarray) -> pa.Table:
    """FACTS_SCHEMA: one row a kept recording; measured: native.MEASURED."""
    of_recording = public.take(pa.array(at))
    files = of_recording.column("recording").combine_chunks().dictionary_encode()
    digests = np.array([xxh3_64_intdigest(name.encode()) for name in files.dictionary.to_pylist()], np.uint64).view(
        np.int64
    )
    n = (measured["samples"] * measured["channels"]).astype(np.float64)
    rms_db, channels_db = (
        10.0 * np.log10(np.maximum(power, 10.0 ** (FLOOR_DB / 10.0)))
        for power in (measured["mono_power"], measured["square_sum"] / n)
    )
    columns = {
        "recording": of_recording.column("id"),
        "label": of_recording.column("label"),
        **{name: of_recording.column(name) for name in ("subject", "site", "device")},
        "file": digests[files.indices.to_numpy()],
        "seconds": measured["samples"] / measured["rate"],
        "file_rate": measured["rate"].astype(np.int32),
        "channels": measured["channels"].astype(np.int32),
        "peak": measured["peak"].astype(np.float32),
        "square_sum": measured["square_sum"],
        "rms_db": np.round(rms_db, 3).astype(np.float32),
        "mixing_db": np.round(rms_db - channels_db, 3).astype(np.float32),
        "clipped_share": (measured["clipped"] / n).astype(np.float32),
        "silent_share": (measured["silent"] / n).astype(np.float32),
    }
    return pa.table([columns[name] for name in FACTS_SCHEMA.names], schema=FACTS_SCHEMA).combine_chunks()
