"""Names and numbers as they may be shown: somebody else chose the names, and a terminal obeys some characters."""

import unicodedata
from collections.abc import Iterable, Sequence

# Control characters, halves of characters and separators of lines; beside them what changes the direction of text.
OBEYED = ("Cc", "Cs", "Zl", "Zp")
MOST_COLUMNS = 40  # of a name in a table for a terminal
TURNS = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}


def shown(text: str, keep: str = "") -> str:
    """`text` with what a terminal obeys, line breaks too, as escapes; but for `keep`."""
    return text if text.isprintable() else "".join(c if c in keep else _shown(c) for c in text)


def shown_in_json(text: str) -> str:
    """One line of JSON in the escapes that JSON has."""
    return text if text.isprintable() else "".join(f"\\u{ord(c):04x}" if is_obeyed(c) else c for c in text)


def _shown(c: str) -> str:
    return c.encode("unicode_escape").decode() if is_obeyed(c) else c


def counted(n: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `2 clips`; `many` where it is more than an s."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def columns(text: str) -> int:
    """That a terminal shows `text` in: letters of Chinese, Japanese and Korean take two, combining ones none."""
    from rich.cells import cell_len  # here: machines that run the kernels' tests alone lack it

    return cell_len(text)


def name_column(names: Iterable[str]) -> int:
    """How wide a column of these names is; a longer one than MOST_COLUMNS moves its own row alone."""
    return max((min(columns(name), MOST_COLUMNS) for name in names), default=0)


def padded(text: str, width: int) -> str:
    """With blanks behind, to so many columns of a terminal."""
    return text + " " * (width - columns(text))


def is_obeyed(c: str) -> bool:
    """Whether a terminal, or whoever draws text, does something for this character in place of showing it."""
    return unicodedata.category(c) in OBEYED or ord(c) in TURNS


def spanned(numbers: Sequence[int]) -> str:
    """The number that all are, or the least and the most."""
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"
