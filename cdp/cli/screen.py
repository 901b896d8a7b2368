"""Output of commands: text and tables, or JSON with --json."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import Enum
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from cdp.kit.canonical import instant_text
from cdp.kit.plain_stream import plain_unless_terminal

_WIDTH: Final = 160

Cell = str | int | float | bool | datetime | None


class Screen:
    """The output of a command. With --json only `result` prints, otherwise only the other methods."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        width = None if sys.stdout.isatty() else _WIDTH
        self._console = Console(file=plain_unless_terminal(sys.stdout), highlight=False, width=width)

    def result(self, value: Any) -> None:
        """Print the result as JSON."""
        if self.is_json:
            click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        """Print a line of text; it may contain values, so it is never parsed as markup."""
        if not self.is_json:
            self._console.print(escape(text), soft_wrap=True)

    def heading(self, text: str) -> None:
        """Print a heading."""
        if not self.is_json:
            self._console.print(f"[bold]{escape(text)}[/bold]")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str = "Nothing.") -> None:
        """Print a table, numbers right-aligned."""
        if self.is_json:
            return
        listed = [list(row) for row in rows]
        if not listed:
            self.line(empty)
            return
        table = Table(box=None, pad_edge=False, header_style="dim")
        for position, column in enumerate(columns):
            is_number = all(isinstance(row[position], int | float) for row in listed)
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in listed:
            table.add_row(*(escape(cell_text(cell)) for cell in row))
        self._console.print(table)

    def facts(self, pairs: Iterable[tuple[str, Cell]]) -> None:
        """Print name and value, one pair per line."""
        if self.is_json:
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(escape(name), escape(cell_text(value)))
        self._console.print(table)


@contextmanager
def counting_bar(screen: Screen, text: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; call it with how many are done, and of how many (0: unknown)."""
    bar = Progress(
        TextColumn(text),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        console=Console(stderr=True),
        disable=screen.is_json,
        transient=True,
    )
    with bar:
        task = bar.add_task(text, total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole or None)


def cell_text(cell: Cell) -> str:
    """A value as text."""
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case datetime():
            return cell.strftime("%Y-%m-%d %H:%M:%S")
        case int():
            return f"{cell:,}"
        case _:
            return str(cell)


def plain(value: Any) -> Any:
    """Convert a value to JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def print_error(text: str) -> None:
    """Print a message on standard error."""
    click.echo(text, err=True)


def is_terminal() -> bool:
    """Whether standard error is a terminal."""
    return sys.stderr.isatty()
