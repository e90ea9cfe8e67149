"""Tables for a terminal of any width, and for a pipe."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import StringIO
from itertools import zip_longest

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from clinaug_fast.shown import shown

NAME_WIDTH = 8  # longer names are folded where there is no room
PLAIN_WIDTH = 1000  # wide enough that nothing wraps: a pipe has no edge


def numbers_table(corner: str, headings: Sequence[str], rows: Mapping[str, Sequence[str]], *, plain: bool) -> Table:
    """A name, then a number below each heading, none below the last ones where a row is shorter."""
    style = None if plain else box.SIMPLE_HEAD  # its divider is one column wide
    table = Table(box=style, padding=(0, 1 + plain, 0, 0), pad_edge=False, show_edge=False)
    table.add_column(corner, overflow="fold")
    for heading, *column in zip_longest(headings, *rows.values(), fillvalue=""):
        table.add_column(heading, justify="right", no_wrap=True, min_width=max(map(len, [heading, *column])))
    for name, cells in rows.items():
        table.add_row(Text(shown(name)), *cells)
    return table


def numbers_lines(headings: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The same, a line a row."""
    for name, cells in rows.items():
        numbers = (f"{heading} {cell}" for heading, cell in zip(headings, cells, strict=False))
        yield f"{shown(name)}: {', '.join(numbers)}"


class Fitting:
    """The first of some tables that a terminal has room for, else lines: rich would leave out names and numbers.

    tables: the widest first; `names` stand in their first column.
    """

    def __init__(self, tables: Sequence[Table], names: Iterable[str], lines: Iterable[str]):
        self.tables, self.names, self.lines = tables, names, lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        open_end = options.update(width=PLAIN_WIDTH)  # what is measured within an edge is never wider
        for table in self.tables:
            first = table.columns[0]
            first.width = min(NAME_WIDTH, max(map(len, self.names)))  # only to measure: names fold
            needed = Measurement.get(console, open_end, table).minimum
            first.width = None
            if needed <= options.max_width:
                yield table
                return
        yield from map(Text, self.lines)


def plain_text(rendered: RenderableType) -> str:
    """As plain aligned text for a pipe."""
    console = Console(file=StringIO(), width=PLAIN_WIDTH, color_system=None, highlight=False, markup=False, emoji=False)
    console.print(rendered)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
