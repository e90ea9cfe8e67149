"""Blocks worked on by a Dask cluster whose workers share the file system with this process.

Takes the scheduler's address; the workers write the blocks' files where this process would. A block whose worker dies
is begun anew on another; two workers on one block write the same bytes.
"""

import itertools
from collections.abc import Callable, Iterable

import pyarrow as pa

from clinaug_fast.errors import InputError, ResourceError, SettingsError
from clinaug_fast.preprocess.clips import Seconds
from clinaug_fast.preprocess.stopping import FINISHING
from clinaug_fast.preprocess.workers import Job, run_blocks
from clinaug_fast.runs import Progress, Silent


def run_blocks_on_dask(
    address: str,
    job: Job,
    blocks: Iterable[tuple[int, pa.Table]],
    threads: int,
    progress: Progress,
    stop: Callable[[], bool],
) -> Seconds:
    """As `workers.run_blocks`, a task a block; `threads` is that of each worker's task."""
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise SettingsError("--dask needs Dask. Install it with: pip install 'clinaug-fast[dask]'") from None
    try:
        client = Client(address)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no Dask scheduler answers at {address!r}: {error}. Start one, or check the address"
        ) from None
    total = Seconds()
    with client:
        blocks = iter(blocks)
        ahead = max(2, 2 * len(client.scheduler_info()["workers"]))

        def submit(number: int, rows: pa.Table) -> object:
            future = client.submit(
                _block, job, number, rows, threads, key=f"block-{number}-{job.files.sidecars}", pure=False
            )
            n_recordings[future.key] = rows.num_rows
            return future

        n_recordings: dict[str, int] = {}
        under_way = as_completed([submit(*block) for block in itertools.islice(blocks, ahead)])
        for future in under_way:
            try:
                seconds = future.result()
            except KilledWorker as error:
                raise ResourceError(
                    f"several Dask workers died on one block ({error}); a cause may be their memory. Give them more"
                ) from None
            total.add(Seconds(**seconds))
            progress.advance(n_recordings[future.key], FINISHING if stop() else "")
            if not stop() and (block := next(blocks, None)) is not None:
                under_way.add(submit(*block))
    return total


def _block(job: Job, number: int, rows: pa.Table, threads: int) -> dict[str, float]:
    """On a worker."""
    return vars(run_blocks(job, [(number, rows)], threads, Silent()))
