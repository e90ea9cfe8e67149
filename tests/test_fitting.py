"""Which terminal has room for a table: the widest that fits, else lines."""

from io import StringIO

import pytest
from rich.console import Console

from clinaug_fast.cli.fitting import Fitting, numbers_lines, numbers_table

HEADINGS = ("x", "wide")


def printed(rows: dict[str, list[str]], width: int) -> list[str]:
    console = Console(width=width, file=StringIO())
    table = numbers_table("set", HEADINGS, rows, plain=False)
    console.print(Fitting([table], rows, numbers_lines(HEADINGS, rows)))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("name", "least"),
    [("abc", 15), ("abcdefgh", 20), ("a name that is long", 20)],  # of which it takes 3, or 8 and more
)
def test_a_table_stands_wherever_it_has_room_to_the_column(name: str, least: int):
    rows = {name: ["1.00", "22.0"]}
    table = printed(rows, least)
    assert table[0].split() == ["set", "x", "wide"]
    assert table[2].endswith("1.00  22.0")
    assert " ".join(line[:9].rstrip() for line in table[2:]).startswith(name[:3])
    assert " ".join(printed(rows, least - 1)) == f"{name}: x 1.00, wide 22.0"
