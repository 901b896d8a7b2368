"""The import command."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cdp.accounting.model import State
from cdp.accounting.row_reasons import EXPLANATIONS
from cdp.cli.command import command, open_context, settings
from cdp.cli.screen import Screen
from cdp.flows.imports.links import ImportedLinks, import_link_file, try_link_file
from cdp.flows.imports.mapping import Mapping, load_mapping
from cdp.flows.imports.messages import NOTED, Imported, Tally, import_file
from cdp.flows.imports.messages import Progress as Reached
from cdp.flows.imports.row_notices import EXPLANATIONS as OF_CELLS
from cdp.flows.imports.row_notices import first_lines
from cdp.flows.imports.suggest.propose import suggest_mapping
from cdp.flows.imports.trial import try_file
from cdp.flows.operations.meanings import STATES, meaning_of
from cdp.kit.wording import counted
from cdp.policy.load import load_policy


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file that maps columns to fields.",
)
@click.option("--source", "source_name", help="A source created with `cdp source create`. Default: one named import.")
@click.option("--resume", is_flag=True, help="Continue after the last row that an interrupted import stored.")
@click.option("--dry-run", is_flag=True, help="Only read and map every row; write nothing.")
@click.option("--suggest", is_flag=True, help="Only print a mapping that fits the columns, for you to read.")
@command(
    "cdp import orders.csv --suggest > mapping.yaml",
    "cdp import orders.csv.gz --mapping mapping.yaml --dry-run",
    "cdp import orders.csv.gz --mapping mapping.yaml --source backend",
    "cdp import orders.csv.gz --mapping mapping.yaml --source backend --resume",
)
def import_(
    file: Path,
    mapping_file: Path | None,
    source_name: str | None,
    *,
    resume: bool,
    dry_run: bool,
    suggest: bool,
    screen: Screen,
) -> None:
    """Import CSV, JSON Lines or Parquet files.

    CSV and JSON Lines may be compressed with gzip. Rows pass the same checks as every message; rows that cannot be read are counted
    and listed, the rest are imported. Progress is stored in the transaction of each chunk, so an interrupted import
    continues with --resume, and no row counts twice.

    A mapping with `links` imports a link table instead: rows that link two identifiers of one person. It is imported in
    parts, each of which contains whole groups of connected identifiers; a row that was imported before changes nothing.
    """
    if suggest:
        _suggest(file, screen)
        return
    if mapping_file is None:
        raise click.UsageError(
            "Missing option '--mapping'. `cdp import FILE --suggest` prints a mapping to begin with."
        )
    mapping = load_mapping(mapping_file)
    if mapping.links is not None:
        _import_links(file, mapping, source_name, resume=resume, dry_run=dry_run, screen=screen)
        return
    if dry_run:
        config = settings()
        with _bar(screen) as watch:
            done = try_file(load_policy(config.policies), file, mapping, now=config.clock().now(), watch=watch)
    else:
        with open_context() as context, _bar(screen) as watch:
            done = import_file(context, file, mapping, source_name=source_name, resume=resume, watch=watch)
    screen.result(done)
    _print(screen, done)


def _suggest(file: Path, screen: Screen) -> None:
    proposal = suggest_mapping(file, load_policy(settings().policies))
    screen.result(proposal)
    if not screen.is_json:
        click.echo(proposal.mapping, nl=False)


def _print(screen: Screen, done: Imported) -> None:
    if done.is_dry_run:
        valid = done.tally.states.get("stored", 0)
        screen.heading(f"{counted(done.rows, 'row')} read, {valid:,} of them messages. Nothing was written.")
    else:
        again = f", the first {done.resumed_after:,} of them in an earlier run" if done.resumed_after else ""
        screen.heading(f"{counted(done.rows, 'row')} imported into the source {done.source}{again}.")
        screen.table(
            ["state", "rows", "meaning"],
            [(state, count, STATES[state]) for state, count in done.tally.states.items()],
            empty="The file has no rows.",
        )
    _print_invalid(screen, done.tally)
    _print_noted(screen, done.tally)
    _print_notices(screen, done)


def _print_notices(screen: Screen, done: Imported) -> None:
    if done.notices:
        screen.line()
        screen.table(
            ["rows", "refused, or read in an odd way", "column", "cell", "lines"],
            [
                (
                    notice["rows"],
                    OF_CELLS.get(notice["kind"]) or EXPLANATIONS.get(notice["kind"], notice["kind"]),
                    notice["place"],
                    notice["shape"],
                    first_lines(notice["lines"], notice["rows"]),
                )
                for notice in done.notices
            ],
        )


def _import_links(
    file: Path, mapping: Mapping, source_name: str | None, *, resume: bool, dry_run: bool, screen: Screen
) -> None:
    if dry_run:
        with _steps(screen) as watch:
            done = try_link_file(load_policy(settings().policies), file, mapping, watch=watch)
    else:
        with open_context() as context, _steps(screen) as watch:
            done = import_link_file(context, file, mapping, source_name=source_name, resume=resume, watch=watch)
    screen.result(done)
    _print_links(screen, done)


def _print_links(screen: Screen, done: ImportedLinks) -> None:
    groups = counted(done.groups, "connected group")
    named = f"{counted(done.identifiers, 'identifier')} in {groups}"
    if done.is_dry_run:
        links = done.tally.states.get("stored", 0)
        screen.heading(f"{counted(done.rows, 'row')} read, {links:,} of them links: {named}. Nothing was written.")
    else:
        again = f", the first {counted(done.resumed_after, 'link')} in an earlier run" if done.resumed_after else ""
        screen.heading(f"{counted(done.rows, 'row')} imported into the source {done.source}{again}.")
        screen.table(
            ["state", "rows", "meaning"],
            [(state, count, STATES[state]) for state, count in done.tally.states.items()],
            empty="The file has no rows.",
        )
        if done.groups:
            profiles = counted(done.profiles or 0, "profile")
            screen.line(f"New rows name {named}, which now belong to {profiles}.")
        if done.by_rules:
            screen.line(
                f"Processed row by row, because a rule of the policy could apply: {counted(done.by_rules, 'group')} of these."
            )
    _print_invalid(screen, done.tally)
    _print_refused(screen, done.tally)


def _print_refused(screen: Screen, tally: Tally) -> None:
    prefix = f"{State.REFUSED.value}: "
    refused = {name.removeprefix(prefix): count for name, count in tally.reasons.items() if name.startswith(prefix)}
    if refused:
        screen.line()
        screen.table(
            ["refused rows", "reason", "row numbers"],
            [
                (count, meaning_of(State.REFUSED, rule), _numbers(tally.rows.get(prefix + rule, []), count))
                for rule, count in refused.items()
            ],
        )


def _print_invalid(screen: Screen, tally: Tally) -> None:
    failed = {name: count for name, count in tally.reasons.items() if name.startswith("invalid")}
    if failed:
        screen.line()
        screen.table(
            ["invalid rows", "reason", "row numbers"],
            [(count, _why(name), _numbers(tally.rows[name], count)) for name, count in failed.items()],
        )


def _print_noted(screen: Screen, tally: Tally) -> None:
    noted = {name: count for name, count in tally.reasons.items() if name.startswith(NOTED)}
    if noted:
        screen.line()
        screen.table(
            ["rows", "note", "row numbers"],
            [(count, _why(name), _numbers(tally.rows[name], count)) for name, count in noted.items()],
        )


def _why(name: str) -> str:
    reason = name.partition(": ")[2]
    return EXPLANATIONS.get(reason, reason.replace("_", " "))


def _numbers(listed: list[int], count: int) -> str:
    return ", ".join([*map(str, listed), *(["..."] if count > len(listed) else [])])


@contextmanager
def _steps(screen: Screen) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error that names the current step and restarts with each step."""
    bar = Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        console=Console(stderr=True),
        disable=screen.is_json,
        transient=True,
    )
    with bar:
        task = bar.add_task("reading", total=None)

        def watch(what: str, done: int, whole: int) -> None:
            bar.update(task, description=what, total=whole or None, completed=done)

        yield watch


@contextmanager
def _bar(screen: Screen) -> Iterator[Callable[[Reached], None]]:
    """A progress bar on standard error that shows rows and advances with the bytes read."""
    bar = Progress(
        TextColumn("importing"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[rows]} rows"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=screen.is_json,
        transient=True,
    )
    with bar:
        task = bar.add_task("importing", total=None, rows="0")

        def watch(reached: Reached) -> None:
            bar.update(task, total=reached.bytes_all, completed=reached.bytes_read, rows=f"{reached.rows:,}")

        yield watch
