"""Tables and progress on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

T = TypeVar("T")
_PIPED_WIDTH = 400  # a file or pipe has no width: wide enough that no line of ours is broken


def stdout_console() -> Console:
    """A console on stdout; what is printed to a pipe is plain text."""
    return Console() if sys.stdout.isatty() else Console(width=_PIPED_WIDTH)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[int] = ()) -> Table:
    """A table; columns whose index is in `right` are right-aligned, cells are shown without markup."""
    result = Table(title=Text(title), title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        result.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        result.add_row(*(Text(str(cell)) for cell in row))
    return result


def facts(title: str, rows: Iterable[tuple[str, object]]) -> Table:
    """A table of names and values."""
    result = table(title, ("name", "value"), rows)
    result.show_header = False
    return result


def counted(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield the items while a line on stderr, if it is a terminal, counts them and shows their rate."""
    if not sys.stderr.isatty():
        yield from items
        return
    columns = (
        SpinnerColumn(),
        TextColumn(f"{{task.completed:.0f}} {what}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None, rate="")
        for item in items:
            yield item
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f"{speed:.1f}/s" if speed else "")
