"""The progress bar of a terminal: where there is little room the note is cut first, then the bar; the count and the
time that is left stay."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

BAR_WIDTHS = 5, 40
OTHERS_WIDTH = 75  # what the other columns want


def bar() -> Progress:
    """On stderr; a task has the field `note`."""
    console = Console(stderr=True)
    least, most = BAR_WIDTHS
    whole, note = Column(no_wrap=True, min_width=7), Column(no_wrap=True, ratio=1)
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
        BarColumn(bar_width=max(least, min(most, console.width - OTHERS_WIDTH))),
        MofNCompleteColumn(table_column=whole),
        TimeRemainingColumn(table_column=whole),
        TextColumn("{task.fields[note]}", markup=False, table_column=note),
    )
    return Progress(*columns, console=console, transient=True, expand=True)
