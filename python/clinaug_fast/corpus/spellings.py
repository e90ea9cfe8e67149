"""Names that are one name in two spellings, as tables and file systems make them."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

from clinaug_fast.errors import InputError

UNSEEN_RANGES = ((0xFE00, 0xFE10), (0xE0100, 0xE01F0))  # variation selectors
UNSEEN = {*"\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u3164\uffa0"}
UNSEEN |= {chr(code) for first, end in UNSEEN_RANGES for code in range(first, end)}
VARIANTS = ("<wide>", "<narrow>", "<compat>", "<noBreak>")
DASHES = "[\u2010-\u2015\u2212\ufe58]"


def refuse_two_spellings(path: Path, what: str, names: Sequence[str | None], plain: Callable[[str], str]) -> None:
    """Of a patient in two spellings, one may be tested and the other trained on. plain: what both have in common."""
    seen: dict[str, str] = {}
    for name in filter(None, names):
        twin = seen.setdefault(plain(name.strip()), name)
        if twin != name:
            looks_alike = twin.strip() != name.strip() and _in_plain_letters(twin) == _in_plain_letters(name)
            shown = ascii if looks_alike else repr
            raise InputError(
                f"{path} has the {what}s {shown(twin)} and {shown(name)}; expected one spelling of each. Correct one "
                "of them"
            )


def as_it_is_seen(name: str) -> str:
    """Composed, one kind of white space between words, and without what is not seen, such as a space of no width."""
    seen = name if name.isascii() else "".join(c for c in unicodedata.normalize("NFC", name) if _is_seen(c))
    return " ".join(seen.split())


def _is_seen(letter: str) -> bool:
    return unicodedata.category(letter) != "Cf" and letter not in UNSEEN


def _in_plain_letters(name: str) -> str:
    """As it is seen, in letters as wide as any and one kind of dash, for which keyboards and word processors put others
    unasked; 1 and a raised or circled 1 stay apart."""
    return re.sub(DASHES, "-", "".join(map(_in_plain_letter, as_it_is_seen(name))))


def _in_plain_letter(letter: str) -> str:
    is_variant = unicodedata.decomposition(letter).startswith(VARIANTS)
    return unicodedata.normalize("NFKC", letter) if is_variant else letter


def as_a_person(name: str) -> str:
    """What spellings of one person's name or number have in common: upper and lower case, white space, width, dashes,
    what is not seen, and what programs make of a number: 007, 7, 7.0, 7E+00."""
    plain = as_it_is_seen(_in_plain_letters(name).casefold())
    if re.fullmatch(r"[0-9](\.[0-9]{1,16})?e\+[0-9]{2}", plain):  # as spreadsheets write it; 1e5 may be a code
        plain = f"{Decimal(plain):f}"
    digits, _, zeros = plain.partition(".")
    if digits.isascii() and digits.isdigit() and not zeros.strip("0"):
        return digits.lstrip("0") or "0"
    return plain
