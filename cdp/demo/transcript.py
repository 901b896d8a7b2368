"""The output of the demonstration: short paragraphs, aligned tables, and the commands to repeat a step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

_INDENT: Final = 3
_WIDTH_MAX: Final = 100

Row = Sequence[str | int | float | None]


class Transcript:
    """Prints to one console; without one it prints nothing, for tests and for --json."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(quiet=True)
        self._width = min(self._console.width, _WIDTH_MAX)

    def title(self, text: str) -> None:
        """Print the title of a section."""
        self._console.print()
        self._console.print(f"[bold]{escape(text)}[/bold]")

    def say(self, text: str) -> None:
        """Print a wrapped paragraph."""
        self._print(escape(text))

    def note(self, text: str) -> None:
        """Print a remark in a dimmed style."""
        self._print(f"[dim]{escape(text)}[/dim]")

    def commands(self, *lines: str) -> None:
        """Print commands, never wrapped, so that they can be copied."""
        for line in lines:
            self._console.print(f"{' ' * _INDENT}[cyan]$ {escape(line)}[/cyan]", soft_wrap=True, highlight=False)

    def table(self, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Print a table, numbers right-aligned."""
        table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(columns))
        for position, column in enumerate(columns):
            is_number = bool(rows) and all(_is_number(row[position]) for row in rows)
            table.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(escape(_text(cell)) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, _INDENT)), width=self._width, highlight=False)

    @contextmanager
    def bar(self, name: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress bar, fed with the number of completed items and removed at the end. In a file or pipe, one line instead."""
        if not self._console.is_terminal:
            self.note(f"Now: {name}.")
            yield lambda _done: None
            return
        bar = Progress(
            TextColumn(" " * (_INDENT - 1) + "{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        with bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)

    def _print(self, text: str) -> None:
        self._console.print(Padding(text, (0, 0, 0, _INDENT)), width=self._width, highlight=False)


def _is_number(cell: str | float | None) -> bool:
    """Whether a cell is right-aligned."""
    return not isinstance(cell, str) or cell.replace(",", "").isdigit()


def _text(cell: str | float | None) -> str:
    match cell:
        case None:
            return ""
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:,.2f}"
        case _:
            return cell
