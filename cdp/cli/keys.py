"""Commands about keys: rotation and destruction."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cdp.cli.command import FAILED, command, open_context
from cdp.cli.screen import Screen
from cdp.flows.operations import key_rotation
from cdp.vault import conformance
from cdp.vault.keys import open_kms_provider

DRY_RUN = click.option("--dry-run", is_flag=True, help="Only show what would be done.")


@click.group()
def keys() -> None:
    """Rotate and destroy keys."""


@keys.command("rotate")
@click.option(
    "--epoch", is_flag=True, help="Start a new epoch for the keys that encrypt data, instead of new pseudonyms."
)
@DRY_RUN
@command("cdp keys rotate --dry-run", "cdp keys rotate", "cdp keys rotate --epoch")
def rotate(epoch: bool, dry_run: bool, screen: Screen) -> None:
    """Rotate the pseudonym key or the epoch key.

    Gives every identifier a pseudonym under a new key, then destroys the old key. With --epoch, wraps every key in use
    with a new epoch key instead; `cdp keys destroy-epoch` then destroys the old one. Both run in small steps during
    normal operation, and an interrupted rotation is completed by the next one.
    """
    what = "keys" if epoch else "identifiers"
    with open_context() as context:
        if dry_run:
            seen = (
                key_rotation.preview_epoch_rotation(context)
                if epoch
                else key_rotation.preview_pseudonym_rotation(context)
            )
            screen.result(seen)
            screen.line(
                f"{seen.to_move:,} {what} would move to version {seen.version}.{_destroyed(seen.to_destroy, 'would be')}"
            )
            return
        with _bar(screen, what) as progress:
            use_case = key_rotation.rotate_epoch if epoch else key_rotation.rotate_pseudonyms
            done = use_case(context, actor="operator", progress=progress)
    screen.result(done)
    screen.line(f"{done.moved:,} {what} moved to version {done.version}.{_destroyed(done.destroyed, 'is')}")
    if epoch:
        screen.line("The old epoch key still decrypts backups of its time. To destroy it: cdp keys destroy-epoch")


@keys.command("destroy-epoch")
@DRY_RUN
@command("cdp keys destroy-epoch --dry-run", "cdp keys destroy-epoch")
def destroy_epoch(dry_run: bool, screen: Screen) -> None:
    """Destroy the keys of retired epochs.

    Backups from before the rotation can then no longer be decrypted. Current data is not affected: `cdp keys rotate
    --epoch` has moved its keys to the new epoch.
    """
    with open_context() as context:
        if dry_run:
            seen = key_rotation.preview_destruction(context)
            screen.result(seen)
            screen.line(
                f"Would destroy {', '.join(seen.to_destroy)}." if seen.to_destroy else "There are no retired epochs."
            )
            if seen.to_move:
                screen.line(
                    f"{seen.to_move:,} keys in use still depend on them. Run `cdp keys rotate --epoch` again first."
                )
            return
        done = key_rotation.destroy_epochs(context, actor="operator")
    screen.result(done)
    screen.line(f"Destroyed: {', '.join(done.destroyed)}. Earlier backups can no longer be decrypted.")


@keys.command("check-provider")
@click.argument("url")
@command("cdp keys check-provider example://vault.test/trial")
def check_provider(url: str, screen: Screen) -> None:
    """Run the conformance tests of a provider.

    For authors of key providers. Use a test location, not that of your keys: the command creates keys named
    conformance/... and destroys them. Exit code 1 when a test fails.
    """
    with tempfile.TemporaryDirectory(prefix="cdp-keys-") as folder:
        place = Path(folder) / "keys"
        promises = conformance.check_provider(lambda: open_kms_provider(url, place), place)
    screen.result({"is_kept": not any(promise.broken for promise in promises), "promises": promises})
    for promise in promises:
        screen.line(
            f"{'BROKEN' if promise.broken else 'ok    '}  {promise.text}"
            + (f": {promise.broken}" if promise.broken else "")
        )
    if any(promise.broken for promise in promises):
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
