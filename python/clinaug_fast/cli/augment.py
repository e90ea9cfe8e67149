"""`clinaug-fast augment`: altered copies of real clips, as arms that a generated set has to beat."""

from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.arguments import Features, real_set
from clinaug_fast.cli.console import Json, Quiet, Threads, quoted, some_path, stage
from clinaug_fast.shown import counted


def augment(
    features: Features,
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="The augmented feature set: a new folder.", show_default=False, parser=some_path
        ),
    ],
    by: Annotated[
        str,
        typer.Option(metavar="KIND", help="noise, pitch, stretch (tempo) or specaugment (masks).", show_default=False),
    ],
    corpus: Annotated[
        Path | None,
        typer.Option(
            help="What FEATURES was made of, which noise, pitch and stretch read again.",
            show_default=False,
            parser=some_path,
        ),
    ] = None,
    snr_db: Annotated[
        float | None,
        typer.Option(help="noise: this many dB below the clip, or up to 20 dB lower still.", show_default="10"),
    ] = None,
    semitones: Annotated[
        float | None, typer.Option(help="pitch: up or down by at most this many.", show_default="2")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="stretch: tempo is drawn between 1/RATE and RATE times the original.", show_default="1.25"),
    ] = None,
    mask: Annotated[
        float | None,
        typer.Option(help="specaugment: a mask's largest share of bands or frames.", show_default="0.2"),
    ] = None,
    copies: Annotated[int | None, typer.Option(help="Altered clips of each real one.", show_default="1")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides what is drawn.", show_default="0")] = None,
    threads: Threads = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Alter every real clip by noise, pitch, tempo or masks: an arm for evaluate, for every fold and split."""
    with stage("augment", as_json, quiet) as say:
        from clinaug_fast.augment.augment import augment as alter
        from clinaug_fast.config import STRENGTHS, AugmentConfig
        from clinaug_fast.errors import SettingsError
        from clinaug_fast.native import allowed_threads

        if by not in STRENGTHS:
            raise SettingsError(f"by is {by!r}; expected one of {', '.join(STRENGTHS)}. Name one")
        config = AugmentConfig(
            by=by, snr_db=snr_db, semitones=semitones, rate=rate, mask=mask, copies=copies, seed=seed
        )
        real = real_set(features, say)
        result = alter(
            real,
            out,
            config,
            corpus=corpus,
            threads=threads or allowed_threads(),
            progress=say,
        )
        made = result.features
        state = "was made before with these settings: nothing to do" if result.already_done else "is written"
        split = "" if (features / "folds.json").exists() else f"clinaug-fast split {quoted(features)}, then "
        text = (
            f"{out} {state}: {counted(len(made), 'clip')} of {len(made.labels)} labels, altered by {by}\n"
            f"real above augmented: {result.picture}\n\n"
            f"next: {split}clinaug-fast evaluate {quoted(features)} EVALUATION --synthetic {quoted(f'{by}={out}')}"
        )
        say.result(
            text,
            out=str(out),
            already_done=result.already_done,
            clips=len(made),
            labels=made.labels,
            by=by,
            strength={config.strength: getattr(config, config.strength)},
            picture=str(result.picture),
            fingerprint=made.fingerprint,
        )
