"""The throughput receipt: where the time of a preprocess run went, in `OUT.receipt.json` beside the feature set.

Takes seconds a stage; leaves hours of audio per second and what bound the run. Times differ from run to run, so the
receipt lies outside the folder, whose bytes do not (of a part inside: its merge uses it up).
"""

import resource
import sys
from typing import Any

from clinaug_fast.preprocess.clips import Seconds
from clinaug_fast.shown import counted

STAGES = ("decode", "resample", "mel", "write")
OTHER = "other"  # none of them

ADVICE = {
    "decode": "reading and decoding the files; WAV decodes faster than FLAC, and a faster disk or page cache helps",
    "resample": "resampling; store the corpus at the contract's rate, or choose a contract at the corpus's rate",
    "mel": "the log-mel; more threads help, as does a longer hop",
    "write": "writing the shards; a faster disk helps",
    OTHER: "what any run costs, whatever its size: listing, tables, waiting for the disk; nothing to mend",
}


def receipt_of(wall: float, seconds: Seconds, threads: int | None) -> dict[str, Any]:
    """What goes into receipt.json, for a run of `wall` seconds on so many threads; None: on those of other machines,
    whose number and memory this process does not know.

    A resumed run counts what it did itself. Stages overlap on several threads, so their sum can exceed the wall.
    """
    of_stage = {stage: getattr(seconds, stage) for stage in STAGES}
    busy, hours = sum(of_stage.values()), seconds.audio / 3600.0
    slowest = max(STAGES, key=of_stage.__getitem__)
    if threads is not None and wall - busy > of_stage[slowest]:  # also if no two stages had overlapped
        slowest = OTHER
    return {
        "wall_seconds": round(wall, 3),
        "threads": threads,
        "audio_hours": round(hours, 4),
        "audio_hours_per_second": round(hours / wall, 5),
        "stages": {
            stage: {
                "seconds": round(spent, 3),
                "share": round(spent / busy, 4) if busy else 0.0,
                "audio_hours_per_second": round(hours / spent, 5) if spent else None,
            }
            for stage, spent in of_stage.items()
        },
        "peak_memory_mib": None if threads is None else round(peak_memory_bytes() / 2**20, 1),
        "bound_by": slowest if busy else None,
        "advice": f"bound by {slowest}: {ADVICE[slowest]}" if busy else "nothing was left to do",
    }


def peak_memory_bytes() -> int:
    """The largest resident memory this process has had. Linux counts it as VmHWM in KiB; its ru_maxrss would be that of
    the process which started this one, where that is more. Elsewhere ru_maxrss, in KiB, on macOS in bytes."""
    try:
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak


def show_receipt(about: dict[str, Any]) -> str:
    """The receipt as a few lines of text."""
    where, memory = "a Dask cluster", ""
    if about["threads"] is not None:
        where, memory = counted(about["threads"], "thread"), f", peak memory {about['peak_memory_mib']:,.0f} MiB"
    lines = [
        f"{about['audio_hours']:.2f} h of audio in {about['wall_seconds']:.1f} s on {where}: "
        f"{3600 * about['audio_hours_per_second']:,.0f} x real time{memory}"
    ]
    for stage, part in about["stages"].items():
        lines.append(f"  {stage:<8}  {part['seconds']:>9.2f} s  {part['share']:>6.1%}")
    return "\n".join([*lines, f"  {about['advice']}"])
