"""`clinaug-fast verify`: is a feature set still what was made?"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.console import Json, Quiet, Threads, some_path, stage
from clinaug_fast.shown import counted


def verify(
    features: Annotated[
        Path,
        typer.Argument(
            metavar="FEATURES", help="The feature set, whatever made it.", parser=some_path, show_default=False
        ),
    ],
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Recompute every checksum and count of a feature set and name what is damaged; exit code 3 where anything is."""
    with stage("verify", as_json, quiet) as say:
        from clinaug_fast.errors import InputError
        from clinaug_fast.features.verify import verify
        from clinaug_fast.native import allowed_threads

        report = verify(features, threads=threads or allowed_threads(), progress=say)
        lines = [f"{features}: {counted(report.clips, 'clip')} in {counted(report.shards, 'shard')}"]
        lines += [f"  checked: {', '.join(report.checks) or 'nothing could be'}"]
        lines += [f"  {problem['file']}: {problem['problem']}" for problem in report.problems]
        lines += ["" if report.whole else f"damaged: {', '.join(report.damaged)}"]
        mend = "restore these files, or remove the folder and make it anew"
        lines += ["all that was checked is as it was made" if report.whole else mend]
        fields = {"out": str(features), "whole": report.whole, "damaged": report.damaged} | asdict(report)
        say.result("\n".join(filter(None, lines)), exit_code=0 if report.whole else InputError.exit_code, **fields)
