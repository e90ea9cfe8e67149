"""Tables for a terminal of any width, and for a pipe."""

from collections.abc import Iterable, Sequence
from io import StringIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

NAME_WIDTH = 8  # longer names are folded where there is no room
PLAIN_WIDTH = 1000  # wide enough that nothing wraps: a pipe has no edge


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
    console = Console(file=StringIO(), width=PLAIN_WIDTH, color_system=None, highlight=False)
    console.print(rendered)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())
