"""What a corpus is like: hours by label, rates, channels, levels, clipping, silence, and what gives the label away.

Takes a table with one row a kept recording, measured while it is decoded; leaves `corpus_facts`, which goes into
features.json and the dataset card.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from clinaug_fast.corpus.copies import Names, copies
from clinaug_fast.corpus.origins import KINDS, label_by_origin
from clinaug_fast.corpus.shortcut import duration_and_level_shortcut
from clinaug_fast.shown import counted, shown

SILENCE_DB = -60.0  # a sample smaller than this, relative to full scale, is silent
FLOOR_DB = -120.0  # the level of digital silence, whose logarithm is not finite
MOST_CHANNELS = 1 << 16  # of any format
CANCELLED_DB = -20.0  # of the mean of channels beside themselves, below which they cancel each other

FACTS_SCHEMA = pa.schema(
    [
        pa.field("recording", pa.string(), nullable=False),  # Recording.id, hashed where de-identified
        pa.field("label", pa.string(), nullable=False),
        pa.field("subject", pa.string()),
        pa.field("site", pa.string()),
        pa.field("device", pa.string()),
        pa.field("file", pa.int64(), nullable=False),  # a digest, the same for the segments of one file
        pa.field("seconds", pa.float64(), nullable=False),  # decoded, at the file's rate
        pa.field("file_rate", pa.int32(), nullable=False),  # Hz
        pa.field("channels", pa.int32(), nullable=False),
        pa.field("peak", pa.float32(), nullable=False),  # largest |sample|, full scale 1
        pa.field("square_sum", pa.float64(), nullable=False),  # of all samples
        pa.field("rms_db", pa.float32(), nullable=False),  # of the channels' mean; dB relative to full scale
        pa.field("mixing_db", pa.float32(), nullable=False),  # that, beside the mean power of the channels
        pa.field("clipped_share", pa.float32(), nullable=False),  # of samples at full scale
        pa.field("silent_share", pa.float32(), nullable=False),  # of samples below SILENCE_DB
    ]
)
NUMBERS = [field.name for field in FACTS_SCHEMA if not pa.types.is_string(field.type)]


def corpus_facts(recordings: pa.Table, names: Names) -> dict[str, Any]:
    """`corpus_facts` of features.json from a table of FACTS_SCHEMA with at least one row; `names` gives what stands in
    `recording` in some rows, and is asked for few. Draws with a fixed seed."""
    column = {name: recordings.column(name).to_numpy() for name in NUMBERS}
    labels, of_label = _coded(recordings.column("label"))
    subjects, seconds = _groups(recordings.column("subject"), column["file"]), column["seconds"]
    column["rms_db"] = np.maximum(column["rms_db"], FLOOR_DB)
    shortcut = duration_and_level_shortcut(  # first: it needs the most memory
        seconds, column["rms_db"], column["peak"], of_label, subjects, labels
    )
    silent = column["silent_share"] * seconds
    clipped = column["clipped_share"] > 0
    # Of many channels, each with a sound of its own, the mean is quieter too.
    cancelled = column["mixing_db"] < np.minimum(CANCELLED_DB, CANCELLED_DB / 2 - 10.0 * np.log10(column["channels"]))
    hours = np.bincount(of_label, seconds) / 3600.0
    silent_hours = np.bincount(of_label, silent) / 3600.0
    by_label = {
        label: {
            "recordings": int(np.count_nonzero(of_label == number)),
            "hours": round(float(hours[number]), 4),
            "median_seconds": _round(np.median(seconds[of_label == number])),
            "median_rms_db": _round(np.median(column["rms_db"][of_label == number])),
            "clipped_recordings": int(np.count_nonzero(clipped & (of_label == number))),
            "silent_share": _round(silent_hours[number] / hours[number]),
        }
        for number, label in enumerate(labels)
    }
    return {
        "recordings": len(seconds),
        "hours": round(float(hours.sum()), 4),
        "by_label": by_label,
        "file_rates": _counts(column["file_rate"]),
        "channels": _counts(column["channels"]),
        "seconds": _spread(seconds),
        "rms_db": _spread(column["rms_db"]),
        "peak": _spread(column["peak"]),
        "clipped_recordings": int(np.count_nonzero(clipped)),
        "clipped_share": _spread(column["clipped_share"]),
        "cancelled": {  # recordings whose channels, mixed, leave next to nothing
            label: n
            for label, n in zip(labels, np.bincount(of_label[cancelled], minlength=len(labels)).tolist(), strict=True)
            if n
        },
        "silence_below_db": SILENCE_DB,
        "silent_share": _round(silent.sum() / seconds.sum()),
        "mostly_silent_recordings": int(np.count_nonzero(column["silent_share"] > 0.5)),
        "shortcut": shortcut,
        "origins": {kind: label_by_origin(recordings.column(kind), of_label, subjects, labels, kind) for kind in KINDS},
        "formats": label_by_origin(_formats(column), of_label, subjects, labels, "format"),
        "copies": copies(column, of_label, subjects, names),
    }


def _formats(column: dict[str, np.ndarray]) -> pa.ChunkedArray:
    """(n,) what a person would call a recording's format: its rate and channels."""
    keys = column["file_rate"].astype(np.int64) * MOST_CHANNELS + column["channels"]
    different = np.unique(keys)
    names = [f"{key // MOST_CHANNELS} Hz, {counted(int(key % MOST_CHANNELS), 'channel')}" for key in different]
    return pa.chunked_array([pa.array(names, pa.string()).take(pa.array(np.searchsorted(different, keys)))])


def warning_of_cancelled(facts: dict[str, Any]) -> str | None:
    """Of recordings whose channels cancel in their mean, which is what is transformed."""
    if not (lost := facts.get("cancelled")):  # none: an older build made the set
        return None
    n, each = sum(lost.values()), ", ".join(f"{shown(label)} {of}" for label, of in lost.items())
    verb, their = ("lose", "their clips") if n > 1 else ("loses", "its clips")
    return (
        f"{n} of {counted(facts['recordings'], 'recording')} {verb} more than {-CANCELLED_DB:g} dB where the channels "
        f"are mixed, as these cancel each other ({each}): next to nothing is left for {their}. Keep one channel of "
        "such files"
    )


def _coded(texts: pa.ChunkedArray) -> tuple[list[str], np.ndarray]:
    """The different texts in order, and (n,) the number of each; no Python object a row."""
    different = sorted(texts.unique().to_pylist())
    return different, pc.index_in(texts, value_set=pa.array(different, texts.type)).to_numpy()


def _groups(subjects: pa.ChunkedArray, files: np.ndarray) -> np.ndarray:
    """(n,) what is left out together, as a split keeps it: a subject's recordings, or a file's where the subject is not
    known."""
    numbers = pc.index_in(subjects, value_set=pc.drop_null(subjects.unique())).fill_null(-1).to_numpy().copy()
    unknown = numbers < 0
    files = files[unknown]
    numbers[unknown] = numbers.max(initial=-1) + 1 + np.searchsorted(np.unique(files), files)
    return numbers


def _counts(values: np.ndarray) -> dict[str, int]:
    return {str(value): int(n) for value, n in zip(*np.unique(values, return_counts=True), strict=True)}


def _spread(values: np.ndarray) -> dict[str, float]:
    """Five points of a distribution."""
    points = np.percentile(values, [0, 5, 50, 95, 100])
    return dict(zip(("min", "p5", "median", "p95", "max"), map(_round, points), strict=True))


def _round(value: float) -> float:
    return round(float(value), 4)
