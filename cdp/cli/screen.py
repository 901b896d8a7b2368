"""What commands print: tables and sentences for people, JSON for machines."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cdp.kit.canonical import instant_text
from cdp.kit.plain_stream import plain_unless_terminal

_WIDTH: Final = 160

Cell = str | int | float | bool | datetime | None


class Screen:
    """Where the answer of a command goes: `tell` with --json prints JSON, the others print nothing then."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        width = None if sys.stdout.isatty() else _WIDTH
        self._console = Console(file=plain_unless_terminal(sys.stdout), highlight=False, width=width)

    def tell(self, value: Any) -> None:
        """The whole answer, for machines."""
        if self.is_json:
            click.echo(json.dumps(plain(value), indent=2, ensure_ascii=False))

    def line(self, text: str = "") -> None:
        """One line for people; it may hold values, so it is never read as markup."""
        if not self.is_json:
            self._console.print(escape(text), soft_wrap=True)

    def heading(self, text: str) -> None:
        """A line that stands out."""
        if not self.is_json:
            self._console.print(f"[bold]{escape(text)}[/bold]")

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, empty: str = "Nothing.") -> None:
        """Rows under headings, numbers to the right."""
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
        """Name and value, one pair a line."""
        if self.is_json:
            return
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(escape(name), escape(cell_text(value)))
        self._console.print(table)


def cell_text(cell: Cell) -> str:
    """A value as people read it."""
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


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural but for one."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def plain(value: Any) -> Any:
    """A value of ours as JSON holds it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def complain(text: str) -> None:
    """Something for the person at the terminal that is no answer."""
    click.echo(text, err=True)


def is_terminal() -> bool:
    """Whether a person looks on."""
    return sys.stderr.isatty()
