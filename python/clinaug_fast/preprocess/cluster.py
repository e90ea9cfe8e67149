"""Blocks worked on by a Dask cluster whose workers share the file system with this process.

Takes the scheduler's address; the workers write the blocks' files where this process would. A block whose worker dies
is begun anew on another; two workers on one block write the same bytes. A worker that does not see a file that is there
ends the run: it would reject it.
"""

import logging
import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from clinaug_fast.errors import InputError, RejectedError, ResourceError, SettingsError
from clinaug_fast.preprocess.clips import Seconds
from clinaug_fast.preprocess.stopping import CAME, FINISHING
from clinaug_fast.preprocess.workers import Job, Unseen, run_blocks
from clinaug_fast.runs import Progress, Silent

WAIT_S = 60.0  # for a first worker
LOOK_S = 1.0  # at signals and workers, at least so often


def refuse_without_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise SettingsError("--dask needs Dask. Install it with: pip install 'clinaug-fast[dask]'") from None


def run_blocks_on_dask(
    address: str,
    job: Job,
    blocks: Iterable[tuple[int, pa.Table]],
    threads: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> Seconds:
    """As `workers.run_blocks`, a task a block, one at a time on each worker; `threads` is that of a task.

    Raises InputError where no scheduler or no worker answers, or where a worker does not see the corpus, ResourceError
    where they die or the connection is lost.
    """
    from distributed import Client, KilledWorker
    from distributed.comm import CommClosedError

    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r}: {error}. Start one, or check the address"
        ) from None
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would tell of a loss is told below
    total = Seconds()
    # Rows of their own: of a slice, the whole table would be sent.
    own = ((number, rows.take(pa.array(range(rows.num_rows), pa.int64()))) for number, rows in blocks)
    tasks = (_Task(replace(job, gone=frozenset()), number, rows, threads) for number, rows in own)
    with client:
        try:
            _wait_for_workers(client, address, stop)
            for task, seconds in _as_they_end(client, tasks, progress, stop):
                total.add(seconds)
                progress.advance(task.rows.num_rows, FINISHING if stop() else "")
        except KilledWorker as error:
            raise ResourceError(
                f"several Dask workers died on one block ({error}); a cause may be their memory. Give them more"
            ) from None
        except (CancelledError, CommClosedError, _LostError) as error:
            raise ResourceError(
                f"the connection to the Dask scheduler at {address!r} was lost ({error}); finished blocks are kept. "
                "Start it anew and run the same command again"
            ) from None
    return total


def _wait_for_workers(client: Any, address: str, stop: Callable[[], bool]) -> None:
    for _ in range(int(WAIT_S / LOOK_S)):
        try:
            return client.wait_for_workers(1, timeout=LOOK_S)
        except TimeoutError:
            if stop():
                return
        except OSError as error:
            raise _LostError(error) from None
    raise InputError(
        f"the Dask scheduler at {address!r} has had no worker for {WAIT_S:g} s; expected one or more. Start workers in "
        "an environment that has clinaug-fast, and look into their logs"
    )


def _as_they_end(
    client: Any, tasks: Iterator["_Task"], progress: Progress, stop: Callable[[], bool]
) -> Iterator[tuple["_Task", Seconds]]:
    """Each task once it is done; after a signal those in hand, as long as there is a worker."""
    from distributed import wait

    under_way: dict[Any, _Task] = {}
    told = set()

    def submit(task: _Task) -> None:
        key = f"block-{task.number}-{len(task.job.gone)}-{task.job.files.sidecars}"
        under_way[client.submit(_block, task, key=key, pure=False)] = task

    def tell_once(text: str) -> None:
        if text not in told:
            told.add(text)
            progress.warn(text)

    for task in islice(tasks, 0 if stop() else max(2, 2 * _n_workers(client))):
        submit(task)
    while under_way:
        try:
            ended = wait(list(under_way), timeout=LOOK_S, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            ended = ()
            if not _n_workers(client):
                if stop():
                    return
                tell_once("no Dask worker is left; waiting for one. Ctrl-C ends the run")
        if stop():
            tell_once(CAME)
        for future in ended:
            result = future.result()
            if isinstance(result, str):
                raise RejectedError(result)
            task = under_way.pop(future)
            if isinstance(result, _BlindWorker):
                result.refuse_if_seen_here()
                submit(replace(task, job=replace(task.job, gone=task.job.gone | result.reasons.keys())))
                continue
            yield task, Seconds(**result)
            if not stop() and (task := next(tasks, None)) is not None:
                submit(task)


class _LostError(Exception):
    """The scheduler does not answer; an OSError of a task is a worker's."""


def _n_workers(client: Any) -> int:
    try:
        return len(client.nthreads())
    except OSError as error:
        raise _LostError(error) from None


@dataclass(frozen=True)
class _Task:
    job: Job
    number: int
    rows: pa.Table
    threads: int

    def __repr__(self) -> str:
        """Without names of recordings and without a key: a worker's log tells what it was given when it fails."""
        return f"block {self.number}"


@dataclass(frozen=True)
class _BlindWorker:
    """What a worker could not open (path -> reason), and where it runs."""

    reasons: dict[str, str]
    host: str

    def refuse_if_seen_here(self) -> None:
        for path, reason in self.reasons.items():
            if os.access(path, os.R_OK):
                raise InputError(
                    f"a Dask worker on {self.host} cannot read {path} ({reason}), which can be read here. Let every "
                    "worker see the corpus under the same path, or stop that one, and run the same command again"
                )


_one_at_a_time = threading.Lock()  # a worker's threads and memory are one block's


def _block(task: _Task) -> dict[str, float] | _BlindWorker | str:
    """On a worker: the seconds, or why a recording was rejected that should not have been, which no log is to hold."""
    try:
        with _one_at_a_time:
            return vars(run_blocks(task.job, [(task.number, task.rows)], task.threads, Silent()))
    except RejectedError as error:
        return str(error)
    except Unseen as unseen:
        return _BlindWorker(unseen.reasons, platform.node())
