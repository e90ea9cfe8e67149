"""Names that are one name in two spellings, as tables and file systems make them."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

from clinaug_fast.errors import InputError


def refuse_two_spellings(path: Path, what: str, names: Sequence[str | None], plain: Callable[[str], str]) -> None:
    """Of a patient in two spellings, one may be tested and the other trained on. plain: what both have in common."""
    seen: dict[str, str] = {}
    for name in filter(None, names):
        twin = seen.setdefault(plain(name.strip()), name)
        if twin != name:
            shown = ascii if composed(twin) == composed(name) and twin.strip() != name.strip() else repr
            raise InputError(
                f"{path} has the {what}s {shown(twin)} and {shown(name)}; expected one spelling of each. Correct one "
                "of them"
            )


def composed(name: str) -> str:
    """With letters and their accents in one, as macOS does not write them."""
    return unicodedata.normalize("NFC", name)
