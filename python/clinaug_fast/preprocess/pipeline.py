"""Corpus to feature set: decode, cut into clips of one length, log-mel.

Takes a corpus and the settings; leaves a feature set with `rejected.jsonl` beside the index. The work is done block by
block in a draft beside the output, so that a run that was stopped anywhere goes on, to the same bytes. Shards, index
and JSON are flushed to disk (fsync) before the rename that makes the output appear: after a power loss it is whole or
absent.
"""

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from clinaug_fast import native
from clinaug_fast.config import ClipConfig, MelConfig, whole_number
from clinaug_fast.corpus.long_recording import COPIES
from clinaug_fast.corpus.misread import warn_of_misreading
from clinaug_fast.corpus.overlaps import refuse_shared_sound
from clinaug_fast.corpus.recordings import Corpus, read_corpus
from clinaug_fast.errors import InputError, RejectedError, SettingsError
from clinaug_fast.features.card import write_lost_card
from clinaug_fast.features.settings import flat_settings, refuse_other_set
from clinaug_fast.json_files import read_json
from clinaug_fast.mel import refuse_empty_bands
from clinaug_fast.preprocess.assemble import Counts, assemble
from clinaug_fast.preprocess.blocks import BlockFiles, cut_into_blocks, cutting
from clinaug_fast.preprocess.clips import ClipSettings, Seconds
from clinaug_fast.preprocess.deidentify import key_check, keyed_hash, public_digest, public_pattern, public_suffixes
from clinaug_fast.preprocess.draft import Draft, open_draft, remove_left, with_a_name
from clinaug_fast.preprocess.judgement import judge, warn_of_odd_clips
from clinaug_fast.preprocess.memory import INTERPRETER_BYTES, default_limit, frugal_arrow, give_back
from clinaug_fast.preprocess.parts import Part, part_files, read_part, refuse_used_up, write_part
from clinaug_fast.preprocess.receipt import receipt_of
from clinaug_fast.preprocess.stopping import Stopper
from clinaug_fast.preprocess.workers import Job, accelerator_of, arithmetic_with, run_blocks, within_memory
from clinaug_fast.runs import AnyPath, Progress, Silent, refuse_changed
from clinaug_fast.shown import counted

MAX_HOURS = 24.0


@dataclass(frozen=True)
class PreprocessResult:
    """What `preprocess` left in `out`: a feature set, or a part of one."""

    out: Path
    counts: Counts | None  # None: a part
    already_done: bool
    receipt: dict[str, Any] | None  # of this run; None where nothing was to do


def preprocess(
    corpus: AnyPath,
    out: AnyPath,
    mel: MelConfig,
    clip: ClipConfig,
    *,
    subject_pattern: str | None = None,
    threads: int = 1,
    memory: int | None = None,
    max_hours: float = MAX_HOURS,
    max_bad: float = 0.05,
    fail_at_first: bool = False,
    part: Part | None = None,
    dask: str | None = None,
    deidentify_key: bytes | None = None,
    device: str = "cpu",
    progress: Progress = Silent(),
) -> PreprocessResult:
    """Make the feature set `out` of a corpus (see `read_corpus`), going on where an earlier run was stopped; nothing is
    done where it stands already.

    memory: bytes that this process may take; 2 GiB or a quarter of the machine by default.
    max_hours: longer recordings are rejected.
    fail_at_first: the first rejected recording ends the run, with nothing written.
    part: only these blocks, into a folder beside `out` for `merge`.
    dask: the address of a cluster that works on the blocks, `threads` and `memory` being each worker's.
    deidentify_key: see `preprocess.deidentify`.
    device: cuda makes the log-mels on the current GPU, in single precision throughout: thousandths of a dB from the
        CPU's on real recordings that were tried, more, up to decibels, where a band lies far below the loudest of its
        frame. The rest stays on the CPU, and the bytes still do not depend on `threads`.

    Raises SettingsError (empty mel bands, no such device, no Dask, a number out of its range, clips that do not fit
    into `memory`), InputError (no corpus, fewer than two labels, `out` or its draft made with other settings),
    ResourceError (a cluster that was lost), StoppedError (a signal; the blocks in hand are finished first), and
    RejectedError where more than the fraction `max_bad` of the recordings cannot be used: after writing the others, or
    with nothing written where none is left or `fail_at_first` ends the run.
    """
    threads, max_hours = whole_number("threads", threads, least=1), float(max_hours)
    if not 0.0 <= max_bad <= 1.0:
        raise SettingsError(f"max_bad is {max_bad}; expected a fraction from 0 to 1, such as 0.05")
    if not 0.0 < max_hours < float("inf"):
        raise SettingsError(f"the longest duration is {max_hours} hours; expected more than 0, such as {MAX_HOURS:g}")
    refuse_empty_bands(mel)
    native.refuse_narrow_names()
    arithmetic = arithmetic_with(accelerator_of(device))
    if dask is not None:
        from clinaug_fast.preprocess.cluster import refuse_without_dask

        refuse_without_dask()
    settings = ClipSettings(mel, clip, 3600.0 * max_hours)
    memory = default_limit() if memory is None else memory
    threads = within_memory(threads, memory)
    _refuse_large_clips(settings, threads, memory)
    warn_of_odd_clips(mel, clip.n_frames, progress)
    with Stopper() as stop, frugal_arrow():
        source = read_corpus(corpus, subject_pattern, threads)
        refuse_shared_sound(source.table, source.root)
        unlabelled = source.unlabelled
        warn_of_misreading(source, progress)
        made_with = _made_with(source, settings, max_hours, subject_pattern, device, arithmetic, deidentify_key)
        out = with_a_name(Path(out))
        if part is not None:
            if others := part.of_other_counts(out):
                progress.warn(
                    f"{others[0]} is there, of another number of parts than this one, {part}, and a merge takes parts "
                    "of one number. To repeat a task give --shard I/N as it was: SLURM counts each array's tasks anew"
                )
            out = part.path(out)
        already_done = out.exists()  # asked once: another process may make it between two answers
        counts, receipt = _standing(out, made_with, part, max_bad) if already_done else None, None
        if already_done:
            remove_left(out)
            if fail_at_first and counts is not None:
                _refuse_rejected_before(sum(counts.rejected.values()))
            elif fail_at_first and part is not None:
                made = range(part.number, read_part(out)["n_blocks"], part.count)
                _refuse_rejected_before(_n_rejected(part_files(out), made))
        else:
            begun_at = time.perf_counter()
            with open_draft(out, _settings(made_with, part, cutting())) as draft:
                if draft is None:  # another process has just made it
                    return PreprocessResult(out, _standing(out, made_with, part, max_bad), True, None)
                files = draft.files(sidecars_stay=part is not None)
                root, key = source.root.absolute(), deidentify_key
                job = Job(settings, root, files, memory, fail_at_first, key, device, arithmetic)
                table = _in_public_order(source.table, deidentify_key)
                blocks = dict(enumerate(cut_into_blocks(table)))
                mine = {number: rows for number, rows in blocks.items() if part is None or part.has(number)}
                if not mine:
                    progress.warn(
                        f"part {part} has nothing to do: the corpus is cut into {len(blocks)}, each of at most "
                        f"{cutting()}, and an array of as many tasks is enough"
                    )
                give_back()
                seconds = _work(job, mine, table, threads, dask, progress, stop)
                n_blocks = len(blocks)
                del source, table, job, blocks, mine  # the listing makes room for the facts
                give_back()
                with draft.flushing():
                    if part is None:
                        counts = _assemble(draft, files, n_blocks, made_with, Path(corpus))
                    else:
                        write_part(draft.set, part, n_blocks, made_with, max_bad)
                draft.publish()
                wall = time.perf_counter() - begun_at
                receipt = receipt_of(wall, seconds, threads if dask is None else None)
                # Times differ from run to run, so they lie beside a set; a part is used up by merge anyway.
                draft.add(out.with_name(f"{out.name}.receipt.json") if part is None else out / "receipt.json", receipt)
                draft.remove()
    if counts is not None:
        about = read_json(out / "features.json", "a feature set's")
        judge(out, about, max_bad, progress, made_with["corpus"]["labels"], unlabelled)
    return PreprocessResult(out, counts, already_done, receipt)


def _made_with(
    corpus: Corpus,
    settings: ClipSettings,
    max_hours: float,
    subject_pattern: str | None,
    device: str,
    arithmetic: str,
    key: bytes | None,
) -> dict[str, Any]:
    """All that the bytes of a feature set depend on, as features.json tells it."""
    return {
        "mel": settings.mel.model_dump(),
        "n_frames": settings.clip.n_frames,
        "lineage": {"kind": "corpus", "corpus": public_digest(corpus.fingerprint, key)},
        "clip": settings.clip.model_dump(),
        "subject_pattern": public_pattern(subject_pattern, key),
        "max_hours": max_hours,
        "device": device,
        "arithmetic": arithmetic,
        "deidentified": None if key is None else key_check(key),
        "corpus": {
            "ignored": public_suffixes(corpus.ignored, key),
            "unlabelled": len(corpus.unlabelled),
            "labels": corpus.labels,
        },
    }


def _refuse_large_clips(settings: ClipSettings, threads: int, memory: int) -> None:
    """A window is whole in memory, with some copies, and its log-mel beside it."""
    n_mels, n_frames = settings.clip_shape
    needed, room = threads * 4 * (COPIES * settings.length + 2 * n_mels * n_frames), memory - INTERPRETER_BYTES
    if needed > room:
        raise SettingsError(
            f"clips of {n_frames} frames ({settings.length} samples) take {needed >> 20} MiB on {threads} threads; "
            f"expected at most {room >> 20} MiB, the memory limit less what Python takes. Lower n_frames, hop_length "
            "or the number of threads, or raise --mem-limit"
        )


def _in_public_order(table: pa.Table, key: bytes | None) -> pa.Table:
    """Under a key the recordings are sorted by their hashed ids: the order of paths would tell the order of names."""
    if key is None:
        return table
    hashed = np.array([keyed_hash(key, "recording", name) for name in table.column("id").to_pylist()])
    return table.take(pa.array(np.argsort(hashed, kind="stable"))).combine_chunks()


def _settings(made_with: Mapping[str, Any], part: Part | None, block: str) -> dict[str, Any]:
    """What a draft or a part follows from, as a refusal names it."""
    return flat_settings(made_with) | {"shard": None if part is None else str(part), "block": block}


def _standing(out: Path, made_with: Mapping[str, Any], part: Part | None, max_bad: float) -> Counts | None:
    """The counts of a feature set that stands at `out`; InputError where it was made with other settings, or has lost
    something. A part that stands takes over `max_bad`, which is the merge's."""
    if part is None:
        stands = refuse_other_set(out, flat_settings(made_with))
        stands.refuse_lost_shards()
        write_lost_card(out, stands.about)
        return Counts(**stands.about["counts"])
    about = read_part(out)
    made = Part(about["number"], about["count"])
    refuse_changed(out, _settings(about["made_with"], made, about["block"]), _settings(made_with, part, cutting()))
    refuse_used_up(out, about)
    if about["max_bad"] != max_bad:
        write_part(out, made, about["n_blocks"], about["made_with"], max_bad)
    return None


def _work(
    job: Job,
    blocks: Mapping[int, range],
    table: pa.Table,
    threads: int,
    dask: str | None,
    progress: Progress,
    stop: Stopper,
) -> Seconds:
    """Make the blocks that are not there yet; StoppedError where a signal came before the last."""
    with ThreadPoolExecutor(threads) as pool:
        whole = pool.map(job.files.is_whole, blocks)
        left = [number for number, is_whole in zip(blocks, whole, strict=True) if not is_whole]
    if job.fail_at_first:
        _refuse_rejected_before(_n_rejected(job.files, {*blocks} - {*left}))
    done = len(blocks) - len(left)
    title = f"preprocess, {done} of {len(blocks)} blocks done before" if done else "preprocess"
    progress.start(title, sum(len(blocks[number]) for number in left))
    rows = ((number, table.slice(blocks[number].start, len(blocks[number]))) for number in left)
    if dask is None:
        seconds = run_blocks(job, rows, threads, progress, stop)
    else:
        from clinaug_fast.preprocess.cluster import run_blocks_on_dask

        seconds = run_blocks_on_dask(dask, job, rows, threads, progress, stop)
    if not all(job.files.about(number).exists() for number in left):
        stop.refuse()
    return seconds


def _n_rejected(files: BlockFiles, numbers: Iterable[int]) -> int:
    return sum(len(files.read(number)["rejected"]) for number in numbers)


def _refuse_rejected_before(n: int) -> None:
    """What a run without --on-error fail has passed by."""
    if n:
        rejected = counted(n, "recording was", "recordings were")
        raise RejectedError(
            f"{rejected} rejected before, and --on-error is fail. Repair or take out what was, and name a new output "
            "folder, or give --on-error skip, which lists them in rejected.jsonl"
        )


def _assemble(draft: Draft, files: BlockFiles, n_blocks: int, made_with: Mapping[str, Any], corpus: Path) -> Counts:
    try:
        return assemble(draft.set, files, n_blocks, made_with, corpus)
    except (RejectedError, InputError):  # there is nothing to go on with
        draft.remove()
        raise
