"""Blocks worked on by the threads of one process.

Takes the rows of each block; leaves its files. Batches of recordings are decoded at once and written in the order of
the corpus, so the bytes do not depend on how many threads there are; no more are begun than memory has room for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from clinaug_fast import native
from clinaug_fast.config import MelConfig
from clinaug_fast.corpus.read_faults import refuse_lost_folder
from clinaug_fast.corpus.verdicts import Unopened
from clinaug_fast.errors import RejectedError, SettingsError
from clinaug_fast.features.shards import Shard
from clinaug_fast.preprocess.block_tables import facts_table, index_table, public_table
from clinaug_fast.preprocess.blocks import BlockFiles
from clinaug_fast.preprocess.clips import ClipSettings, ClipSink, Recordings, Seconds, Verdicts, clips_of_batch
from clinaug_fast.preprocess.deidentify import rejected_row
from clinaug_fast.preprocess.double_buffer import DoubleBuffer, Lane
from clinaug_fast.preprocess.memory import INTERPRETER_BYTES, Budget, keep_freed
from clinaug_fast.preprocess.stopping import CAME, FINISHING
from clinaug_fast.runs import Progress
from clinaug_fast.shown import shown

BATCH_RECORDINGS = 64
ONE_BY_ONE = 8  # so many of a batch's recordings one counts for that is decoded alone, which takes longer
BATCH_BYTES = 8 << 20  # of files and their log-mels, as far as the listing tells
FEWEST_BATCHES = 4  # at once, however little memory there is
CACHED_BYTES = 512 << 20  # of shards that are left in the system's cache; after so many it would be filled for nobody
PENDING_BYTES = 8 << 20  # of a batch's log-mels that wait for their turn


@dataclass(frozen=True)
class Job:
    """What a worker, maybe on another machine, needs to know besides the recordings."""

    settings: ClipSettings
    root: Path  # the folder that the recordings' paths start at
    files: BlockFiles
    memory: int  # bytes
    fail_at_first: bool  # rejected recording
    key: bytes | None = field(repr=False)  # of de-identification; in no log
    device: str = "cpu"  # cpu or cuda: where the log-mels are made
    arithmetic: str = native.ARITHMETIC  # of whoever asks for the work
    # Files that have gone since they were listed; that another cannot be opened on this machine is no verdict on it.
    gone: frozenset[str] | None = None  # None: of any file it is


class Unseen(Exception):  # noqa: N818 - no verdict on files, and maybe one on this machine
    """The listing saw these files, and they cannot be opened here: path -> reason."""

    def __init__(self, reasons: dict[str, str]):
        super().__init__(f"{len(reasons)} files")
        self.reasons = reasons


class Abandoned(Exception):  # noqa: N818 - another thread has failed, or the user is in a hurry
    """This block will not be finished."""


def within_memory(n: int, memory: int) -> int:
    """How many of n batches, or threads that have one each, may be under way or wait for their turn."""
    of_one = 2 * (BATCH_BYTES + PENDING_BYTES)  # as much again stays with the thread that made it
    return min(n, max(FEWEST_BATCHES, (memory - INTERPRETER_BYTES) // of_one))


def run_blocks(
    job: Job,
    blocks: Iterable[tuple[int, pa.Table]],
    threads: int,
    progress: Progress,
    stop: Callable[[], bool] = lambda: False,
) -> Seconds:
    """Work on these blocks, (number, rows) each; once `stop()` is true, begin no further one. SettingsError on a
    machine of another arithmetic than the job's: its blocks would hold other bits. Unseen as in `Job.gone`."""
    accelerator = accelerator_of(job.device)
    if job.arithmetic != (here := arithmetic_with(accelerator)):
        raise SettingsError(
            f"a worker computes in the arithmetic {here!r}; expected {job.arithmetic!r}, as asked for. Set "
            "CLINAUG_ISA=baseline for all, here and there, and install one build; GPUs must be of one kind, torch one"
        )
    native.refuse_narrow_names()
    keep_freed()
    budget = Budget(job.memory - INTERPRETER_BYTES)
    lanes = accelerator and _Lanes(job.settings, accelerator.make_lanes)
    threads, most = within_memory(threads, job.memory), within_memory(2 * threads, job.memory)
    pending: deque[tuple[_Block, int, Future[None]]] = deque()
    total, told, cached = Seconds(), False, CACHED_BYTES

    def collect() -> None:
        nonlocal told
        block, n, done = pending[0]
        done.result()
        pending.popleft()
        if stop() and not told:
            told = True
            progress.warn(CAME)
        progress.advance(n, FINISHING if stop() else "")
        if not pending or pending[0][0] is not block:
            total.add(block.seconds)

    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, rows in blocks:
                if stop():
                    break
                block = _Block(job, number, rows, budget, lanes, cached)
                cached = max(0, cached - block.shard.expected_bytes)
                for batch, span in enumerate(block.batches):
                    pending.append((block, len(span), pool.submit(block.work, batch)))
                    if len(pending) > most:
                        collect()
            while pending:
                collect()
        except BaseException:
            left = {id(block): block for block, *_ in pending}.values()
            for block in left:
                block.abandon()
            pool.shutdown(cancel_futures=True)
            for block in left:  # once no thread writes into it any more
                with suppress(OSError):  # of what nobody wants
                    block.close()
            raise
    return total


MakeLanes = Callable[[MelConfig, int, tuple[int, int]], list[Lane]]


class Accelerator(NamedTuple):
    """A device beside the CPU."""

    make_lanes: MakeLanes  # of one thread
    arithmetic: str  # what its rounding depends on


def accelerator_of(device: str) -> Accelerator | None:
    """None for the CPU; SettingsError where there is no such device. Call it in the thread whose GPU it is."""
    if device == "cpu":
        return None
    if device != "cuda":
        raise SettingsError(f"device is {device!r}; expected cpu or cuda")
    from clinaug_fast.preprocess.cuda import gpu_arithmetic, lanes_of_gpu, refuse_without_gpu

    refuse_without_gpu()
    return Accelerator(lanes_of_gpu(), gpu_arithmetic())


def arithmetic_with(accelerator: Accelerator | None) -> str:
    """Where it is the same, feature sets are the same to the bit."""
    return native.ARITHMETIC if accelerator is None else f"{native.ARITHMETIC}, {accelerator.arithmetic}"


class _Lanes(threading.local):
    """The buffers of each thread, made when it first needs them and used again from batch to batch."""

    def __init__(self, settings: ClipSettings, make: MakeLanes):
        self._settings, self._make = settings, make
        self._lanes: list[Lane] | None = None

    def of_this_thread(self) -> list[Lane]:
        if self._lanes is None:
            self._lanes = self._make(self._settings.mel, self._settings.length, self._settings.clip_shape)
        return self._lanes


class _Block:
    """A block under way: its shard grows batch by batch."""

    def __init__(self, job: Job, number: int, rows: pa.Table, budget: Budget, lanes: "_Lanes | None", cached: int):
        self.job, self.number, self.budget, self.lanes = job, number, budget, lanes
        self.recordings = Recordings.of(rows, job.root, job.settings)
        self.batches = list(self._cut())
        self.verdicts = Verdicts(rows.num_rows)
        self.numbers: list[np.ndarray] = []  # of the clips' windows, of the batches whose turn it was
        self.seconds = Seconds()
        self.abandoned = False
        self._turn = threading.Condition()
        self._next = 0  # the batch whose turn it is
        self._being_written = False
        self._handed_in: dict[int, tuple[list[np.ndarray], list[np.ndarray]]] = {}  # numbers, log-mels
        self._open = ExitStack()
        self.draft, file = self._open.enter_context(job.files.draft_of_shard(number))
        self.shard = Shard(file, job.settings.clip_shape, int(np.sum(self.recordings.n_clips)), cached)

    def _cut(self) -> Iterable[range]:
        """The rows of each batch; of no consequence for the result."""
        n_mels, n_frames = self.job.settings.clip_shape
        costs = self.recordings.n_bytes + 4 * n_mels * n_frames * self.recordings.n_clips
        alone = ONE_BY_ONE if self.lanes is None else 1  # a device takes all together
        start = size = n = 0
        for row, (cost, plain) in enumerate(zip(costs.tolist(), self.recordings.plain, strict=True)):
            if row > start and (size + cost > BATCH_BYTES or n >= BATCH_RECORDINGS):
                yield range(start, row)
                start, size, n = row, 0, 0
            size += cost
            n += 1 if plain else alone
        yield range(start, self.recordings.rows.num_rows)

    def work(self, batch: int) -> None:
        """Decode a batch and hand it in; the last one to do so finishes the block."""
        job, rows = self.job, self.batches[batch]
        turn = _Turn(self, batch)
        sink = ClipSink(turn.emit, turn.settle, turn.begin_long, turn.end_long)
        if self.lanes is not None:
            sink.device = DoubleBuffer(self.lanes.of_this_thread(), turn.emit)
        try:
            numbers = clips_of_batch(self.recordings, rows, job.settings, sink, self.verdicts, self.budget)
        except BaseException:
            if sink.device is not None:
                sink.device.drop()
            raise
        self._refuse_unseen(rows)
        if job.fail_at_first:
            self._refuse_rejected(rows)
        self._hand_in(batch, numbers, turn.pending, sink.seconds)

    def _refuse_unseen(self, rows: range) -> None:
        """What the listing saw and this machine does not: see `Job.gone`; InputError where a folder is gone."""
        found = ((row, self.verdicts.rejected.get(row)) for row in rows)
        unopened = [(row, verdict) for row, verdict in found if isinstance(verdict, Unopened)]
        unseen = {self.recordings.paths[row]: it.reason for row, it in unopened if self.recordings.n_bytes[row] > 0}
        if self.job.gone is not None and unseen.keys() - self.job.gone:
            raise Unseen(unseen)
        for path in unseen:
            refuse_lost_folder(path)

    def _refuse_rejected(self, rows: range) -> None:
        for row in rows:
            if reason := self.verdicts.rejected.get(row):
                path, told = shown(self.recordings.paths[row]), shown(f"{reason.code}: {reason}")
                raise RejectedError(
                    f"{path} was rejected ({told}), and --on-error is fail. Repair it or take it out, or give "
                    "--on-error skip"
                )

    def take_turn(self, batch: int) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._next == batch or self.abandoned)
            if self.abandoned:
                raise Abandoned

    def abandon(self) -> None:
        with self._turn:
            self.abandoned = True
            self._turn.notify_all()

    def close(self) -> None:
        """The shard's draft is gone, unless the block is whole."""
        self._open.close()

    def _hand_in(self, batch: int, numbers: list[np.ndarray], mels: list[np.ndarray], seconds: Seconds) -> None:
        """Write what is due; whoever is writing already takes this batch along, so nobody waits.

        A writer begins with its own batch. So where writing fails, the batch that tells of it comes before those that
        wait for their turn, and `run_blocks`, which asks batch by batch, hears of it.
        """
        with self._turn:
            if self.abandoned:
                raise Abandoned
            self.seconds.add(seconds)
            self._handed_in[batch] = numbers, mels
            if self._being_written:
                return
            self._being_written = True
        begun = time.perf_counter()
        while (due := self._due()) is not None:
            numbers, mels = due
            self.numbers += numbers
            for clips in mels:
                self.shard.append(clips)
            with self._turn:
                self._next += 1
                self._turn.notify_all()
            if self._next == len(self.batches):
                self._finish()
        with self._turn:
            self.seconds.write += time.perf_counter() - begun

    def _due(self) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
        """The batch whose turn it is, if it was handed in; else nobody is writing any more."""
        with self._turn:
            if self.abandoned:
                raise Abandoned
            due = self._handed_in.pop(self._next, None)
            self._being_written = due is not None
            return due

    def _finish(self) -> None:
        digest = self.shard.finish()
        key = self.job.key
        rows = self.recordings.rows
        public = public_table(rows, self.job.root, key)
        measured, numbers = self.verdicts.measured, np.concatenate([np.empty(0, np.int64), *self.numbers])
        refused = sorted(self.verdicts.rejected.items())
        at = np.delete(np.arange(rows.num_rows), [row for row, _ in refused])
        self.seconds.audio = float(np.sum(measured["samples"][at] / measured["rate"][at]))
        stride_s = self.job.settings.stride / self.job.settings.mel.sample_rate
        index = index_table(public, at, measured["clips"][at], numbers, self.number, stride_s)
        facts = facts_table(public, at, measured[at])
        rejected = [
            rejected_row(self.recordings.described[row], reason.code, reason.reason, key) for row, reason in refused
        ]
        about = {
            "block": self.number,
            "found": rows.num_rows,
            "quiet_clips": int(np.sum(measured["windows"] - measured["clips"])),
            "unused_seconds": self.job.settings.unused_s(measured[at]),
            "rejected": rejected,
        }
        self.job.files.complete(self.number, self.draft, digest, index, facts, about)
        self.close()


class _Turn:
    """Where a batch's clips go: into memory until it is its turn, into the shard from then on."""

    def __init__(self, block: _Block, batch: int):
        self._block, self._batch = block, batch
        self.pending: list[np.ndarray] = []
        self._bytes, self._is_on, self._mark = 0, False, 0

    def emit(self, clips: np.ndarray) -> None:
        if self._is_on:
            if self._block.abandoned:
                raise Abandoned
            self._block.shard.append(clips)
        else:
            self.pending.append(clips)
            self._bytes += clips.nbytes

    def settle(self) -> None:
        if self._bytes > PENDING_BYTES:
            self._take()

    def _take(self) -> None:
        self._block.take_turn(self._batch)
        self._is_on, self._bytes = True, 0
        for clips in self.pending:
            self._block.shard.append(clips)
        self.pending.clear()

    def begin_long(self) -> None:
        if not self._is_on:
            self._take()
        self._mark = self._block.shard.rows
        self._block.shard.hold()

    def end_long(self, numbers: np.ndarray | None) -> None:
        self._block.shard.keep(self._mark, np.arange(0) if numbers is None else numbers)
