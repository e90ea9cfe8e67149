"""Arguments that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clinaug_fast.cli.console import Say, quoted, some_path
from clinaug_fast.errors import SettingsError

if TYPE_CHECKING:
    from clinaug_fast.features.feature_set import FeatureSet

MOST_DIGITS = 9  # of a fold's number

Features = Annotated[
    Path,
    typer.Argument(
        metavar="FEATURES", help="The feature set of the real recordings.", show_default=False, parser=some_path
    ),
]
FoldsFile = Annotated[
    Path | None,
    typer.Option(help="The folds.json of the split.", show_default="FEATURES/folds.json", parser=some_path),
]
Synthetic = Annotated[
    list[str],
    typer.Option(
        metavar="[NAME=]DIR",
        help="A generated or augmented feature set: one more arm, called NAME, by default as its folder. "
        "Repeat for more.",
        show_default=False,
    ),
]


def real_set(path: Path, say: Say) -> "FeatureSet":
    """Open what FEATURES names, and note its contract: it stands in the log."""
    from clinaug_fast.features.feature_set import FeatureSet

    real = FeatureSet.open(path)
    say.note(f"mel: {real.mel.signature}")
    return real


def arms_of(synthetic: list[str]) -> dict[str, Path]:
    """The values of `--synthetic`, NAME=DIR or DIR, by name."""
    arms: dict[str, Path] = {}
    for given in synthetic:
        name, separator, path = given.partition("=")
        path = path if separator else given
        try:
            path = some_path(path)
        except typer.BadParameter as error:
            raise SettingsError(f"synthetic is {given!r}: {error.message}") from None
        name = name if separator else path.resolve().name
        if name in arms:
            raise SettingsError(
                f"two arms are named {name!r}: {arms[name]} and {path}. "
                f"Name one otherwise: --synthetic {quoted(f'NAME={path}')}"
            )
        arms[name] = path
    return arms


def chosen_folds(given: list[str]) -> list[int] | None:
    """The values of `--fold`: numbers, or None for all."""
    if set(given) == {"all"}:
        return None
    wrong = [text for text in given if not text.isdecimal() or len(text) > MOST_DIGITS]
    if wrong:
        raise SettingsError(f"fold is {wrong[0]!r}; expected a number from 0 on, or all, alone")
    return [int(text) for text in given]
