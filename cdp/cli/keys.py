"""Commands about keys: new versions, and the end of old ones."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cdp.cli.command import FAILED, command, opened
from cdp.cli.screen import Screen
from cdp.flows.operations import key_rotation
from cdp.vault import conformance
from cdp.vault.keys import open_kms_provider

DRY_RUN = click.option("--dry-run", is_flag=True, help="Only tell what would be done.")


@click.group()
def keys() -> None:
    """Keys: rotate them beside live traffic, and destroy what is no longer needed."""


@keys.command("rotate")
@click.option("--epoch", is_flag=True, help="Begin a new epoch for the keys that seal, instead of new pseudonyms.")
@DRY_RUN
@command("cdp keys rotate --dry-run", "cdp keys rotate", "cdp keys rotate --epoch")
def rotate(epoch: bool, dry_run: bool, screen: Screen) -> None:
    """Give every identifier a pseudonym under a new key, then destroy the old key.

    With --epoch, hang every living key on a new epoch instead; `cdp keys destroy-epoch` then ends the old one. Both go
    in small steps beside live traffic, and a rotation that was killed is finished by the next one.
    """
    what = "keys" if epoch else "identifiers"
    with opened() as context:
        if dry_run:
            seen = (
                key_rotation.preview_epoch_rotation(context)
                if epoch
                else key_rotation.preview_pseudonym_rotation(context)
            )
            screen.tell(seen)
            screen.line(
                f"{seen.to_move:,} {what} would move to version {seen.version}.{_destroyed(seen.to_destroy, 'would be')}"
            )
            return
        with _bar(screen, what) as progress:
            journey = key_rotation.rotate_epoch if epoch else key_rotation.rotate_pseudonyms
            done = journey(context, actor="operator", progress=progress)
    screen.tell(done)
    screen.line(f"{done.moved:,} {what} moved to version {done.version}.{_destroyed(done.destroyed, 'is')}")
    if epoch:
        screen.line("The old epoch's key still opens backups of its time. End it: cdp keys destroy-epoch")


@keys.command("destroy-epoch")
@DRY_RUN
@command("cdp keys destroy-epoch --dry-run", "cdp keys destroy-epoch")
def destroy_epoch(dry_run: bool, screen: Screen) -> None:
    """Destroy the keys of retired epochs: from then on no backup of their time can be opened by anybody.

    Living people lose nothing: their keys hang on the new epoch since `cdp keys rotate --epoch`.
    """
    with opened() as context:
        if dry_run:
            seen = key_rotation.preview_destruction(context)
            screen.tell(seen)
            screen.line(
                f"Would destroy {', '.join(seen.to_destroy)}." if seen.to_destroy else "There is no retired epoch."
            )
            if seen.to_move:
                screen.line(
                    f"{seen.to_move:,} living keys still hang on it: run `cdp keys rotate --epoch` again first."
                )
            return
        done = key_rotation.destroy_epochs(context, actor="operator")
    screen.tell(done)
    screen.line(f"Destroyed: {', '.join(done.destroyed)}. Backups made before cannot be opened any more.")


@keys.command("check-provider")
@click.argument("url")
@command("cdp keys check-provider example://vault.test/trial")
def check_provider(url: str, screen: Screen) -> None:
    """Try every promise of a key provider, for whoever writes one: give a place for trials, not that of your keys.

    Makes keys named conformance/..., and destroys them. Exit code 1 when a promise is broken.
    """
    with tempfile.TemporaryDirectory(prefix="cdp-keys-") as folder:
        place = Path(folder) / "keys"
        promises = conformance.check_provider(lambda: open_kms_provider(url, place), place)
    screen.tell({"is_kept": not any(each.broken for each in promises), "promises": promises})
    for each in promises:
        screen.line(
            f"{'BROKEN' if each.broken else 'kept  '}  {each.text}" + (f": {each.broken}" if each.broken else "")
        )
    if any(each.broken for each in promises):
        click.get_current_context().exit(FAILED)


def _destroyed(names: tuple[str, ...], verb: str) -> str:
    return f" {', '.join(names)} {verb} destroyed." if names else ""


@contextmanager
def _bar(screen: Screen, what: str) -> Iterator[Callable[[int, int], None]]:
    bar = Progress(
        TextColumn("moving " + what),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        console=Console(stderr=True),
        disable=screen.is_json,
        transient=True,
    )
    with bar:
        task = bar.add_task("moving", total=None)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)
