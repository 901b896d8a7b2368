"""Commands about keys: rotation and destruction."""

import tempfile
from pathlib import Path

import click

from cdp.cli.command import FAILED, command, open_context
from cdp.cli.screen import Screen, counting_bar
from cdp.flows.operations import key_destruction, key_rotation
from cdp.kit.canonical import instant_text
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.vault import conformance
from cdp.vault.keys import open_kms_provider

YES = click.option("--yes", is_flag=True, help="Confirm the destruction.")
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

    Gives every identifier a pseudonym under a new key. With --epoch, wraps every key in use with a new epoch key
    instead. The old key is retired and kept, because backups from before need it; `cdp keys destroy` ends it. Back up the
    keys again afterwards (`cdp backup`). Both rotations run in small steps during normal operation, and an interrupted one
    is completed by the next.
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
                f"{seen.to_move:,} {what} would move to version {seen.version}.{_retired(seen.to_retire, 'would be')}"
            )
            return
        with counting_bar(screen, "moving " + what) as progress:
            use_case = key_rotation.rotate_epoch if epoch else key_rotation.rotate_pseudonyms
            done = use_case(context, actor="operator", progress=progress)
    screen.result(done)
    screen.line(f"{done.moved:,} {what} moved to version {done.version}.{_retired(done.retired, 'is')}")
    screen.line("Next:")
    screen.line("  back up    the database and the keys again (cdp backup): copies from before lack the new key")
    screen.line("  destroy    the retired key once no backup that needs it is kept: cdp keys destroy --dry-run")


@keys.command("destroy")
@DRY_RUN
@YES
@command("cdp keys destroy --dry-run", "cdp keys destroy --yes")
def destroy(dry_run: bool, yes: bool, screen: Screen) -> None:
    """Destroy all retired keys, and with them earlier backups.

    Backups made while a retired key was in use can then not be restored by anyone. Current data is not affected. Copies
    of the keys that were made before must be destroyed, too.
    """
    _destroy(screen, is_dry_run=dry_run, is_confirmed=yes, only_epochs=False)


@keys.command("destroy-epoch")
@DRY_RUN
@YES
@command("cdp keys destroy-epoch --dry-run", "cdp keys destroy-epoch --yes")
def destroy_epoch(dry_run: bool, yes: bool, screen: Screen) -> None:
    """Destroy the keys of retired epochs only.

    As `cdp keys destroy`, but keeps retired pseudonym keys. Backups from before the rotation can then no longer be
    decrypted.
    """
    _destroy(screen, is_dry_run=dry_run, is_confirmed=yes, only_epochs=True)


def _destroy(screen: Screen, *, is_dry_run: bool, is_confirmed: bool, only_epochs: bool) -> None:
    with open_context() as context:
        if is_dry_run or not is_confirmed:
            plan = key_destruction.plan_destruction(context, only_epochs=only_epochs)
            if is_dry_run:
                screen.result(_described(plan))
            _print_plan(screen, plan)
            if plan.keys and not is_dry_run:
                raise Fault(
                    "destruction_not_confirmed",
                    "Nothing was destroyed",
                    "Destroying keys cannot be undone. To confirm it, repeat the command with --yes.",
                    status=409,
                )
            if is_dry_run or plan.keys:
                return
        plan, destroyed = key_destruction.destroy_keys(context, only_epochs=only_epochs, actor="operator")
    screen.result({**_described(plan), "destroyed": destroyed})
    screen.line(f"Destroyed: {', '.join(destroyed)}. {_ended(plan)}")


def _print_plan(screen: Screen, plan: key_destruction.DestructionPlan) -> None:
    if not plan.keys:
        screen.line("There are no retired keys.")
        return
    screen.table(["key", "retired at"], [(key.name, key.retired_at) for key in plan.keys])
    screen.line(_ended(plan))
    if plan.in_use:
        screen.line(
            f"Still depending on them: {counted(plan.in_use, 'key')} in use. Run `cdp keys rotate --epoch` again first."
        )


def _ended(plan: key_destruction.DestructionPlan) -> str:
    before = instant_text(plan.unreadable_before) if plan.unreadable_before is not None else ""
    return f"Backups made before {before}, or while its rotation ran, cannot be restored without them."


def _described(plan: key_destruction.DestructionPlan) -> dict[str, object]:
    return {
        "to_destroy": plan.to_destroy,
        "unreadable_before": plan.unreadable_before,
        "in_use": plan.in_use,
        "keys": plan.keys,
    }


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


def _retired(names: tuple[str, ...], verb: str) -> str:
    return f" {', '.join(names)} {verb} retired." if names else ""
