"""`clinaug-fast merge`: the parts that several machines made become one feature set."""

from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.console import Json, Quiet, quoted, some_path, stage
from clinaug_fast.shown import counted


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            help="All parts, as preprocess --shard left them; they are used up.", metavar="PART", parser=some_path
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The feature set: a new folder beside the parts.", show_default=False, parser=some_path
        ),
    ],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Join the parts of a feature set, moving their shards: the same bytes as from one machine."""
    with stage("merge", as_json, quiet) as say:
        from dataclasses import asdict

        from clinaug_fast.features.feature_set import FeatureSet
        from clinaug_fast.preprocess.merge import merge as join

        made_before = out.exists()
        counts = join(parts, out, say)
        signature = FeatureSet.open(out).mel.signature
        made = f"{out} was made before" if made_before else f"{out} is made of {counted(len(parts), 'part')}"
        text = (
            f"{made}: {counted(counts.found, 'recording')} found, {counts.kept} kept, "
            f"{counted(sum(counts.clips.values()), 'clip')}\nmel: {signature}\n\nnext: clinaug-fast split {quoted(out)}"
        )
        say.result(text, out=str(out), parts=len(parts), counts=asdict(counts), mel_signature=signature)
