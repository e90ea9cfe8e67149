"""`clinaug-fast split`: decide once which subjects are tested in which fold."""

from pathlib import Path
from typing import Annotated

import typer

from clinaug_fast.cli.console import Json, Quiet, quoted, some_path, stage


def split(
    features: Annotated[
        Path, typer.Argument(metavar="FEATURES", help="The feature set to split.", show_default=False, parser=some_path)
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDS", help="The file to write.", show_default="FEATURES/folds.json", parser=some_path
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds; each tests its part and trains on the others.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Decides which subjects come together.")] = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Split by subject, balanced by label, before any generator is trained."""
    with stage("split", as_json, quiet) as say:
        import numpy as np

        from clinaug_fast.features.feature_set import FeatureSet
        from clinaug_fast.features.folds import Folds, make_folds, show_table, write_folds

        path, real = out or features / "folds.json", FeatureSet.open(features)
        written = write_folds(make_folds(real, folds, seed), path)
        made = Folds.load(path)
        table = np.array([fold["test_recordings"] for fold in made.about["folds"]])
        group_by = made.about["group_by"]
        if group_by != "subject":
            recordings, subjects = real.index.column("recording"), real.index.column("subject")
            unknown, n = len(recordings.filter(subjects.is_null()).unique()), len(recordings.unique())
            kept = "each recording together, not each patient"
            give = "--subject-pattern, or a table with a subject column; clinaug-fast audit finds what is alike"
            if unknown < n:
                kept = "each patient together who is known, else each recording"
                give = "a table whose subject column is filled where it is empty now"
            say.warn(f"the folds keep {kept}: the subject of {unknown} of {n} is not known. Give preprocess {give}")
        if uneven := made.uneven():
            say.warn(f"{uneven}. evaluate counts each fold's score alike, and its intervals are made for equal folds")
        if few := made.few_tested(real, range(len(made))):
            say.warn(few)
        state = "is written" if written else "was made before with these settings: nothing to do"
        where = f" --folds {quoted(path)}" if out else ""
        text = (
            f"{path} {state}\n\ntest recordings, grouped by {group_by}:\n{show_table(made.about['labels'], table)}\n\n"
            f"next: clinaug-fast train {quoted(features)} RUN{where}"
        )
        about = {key: made.about[key] for key in ("features", "fingerprint", "seed", "group_by", "labels", "folds")}
        say.result(text, out=str(path), already_done=not written, **about)
