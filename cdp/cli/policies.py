"""Commands about the policy folder."""

from pathlib import Path

import click

from cdp.cli.command import command, open_context, settings
from cdp.cli.screen import Screen
from cdp.flows.operations.policy import apply_policy
from cdp.flows.segments.texts import conditions_of
from cdp.policy.diff import PolicyDifference, differences
from cdp.policy.load import load_policy, warnings_of
from cdp.policy.model import Policy

_folder = click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))


@click.group()
def policy() -> None:
    """Check, compare and apply policies."""


@policy.command("check")
@_folder
@command("cdp policy check", "cdp policy check ./policies --json")
def check(folder: Path | None, screen: Screen) -> None:
    """Check the policy files.

    Lists every problem with its file, line and remedy. Exit code 2 when there is one. Warns of a purpose based on
    consent to which no category of a consent tool is mapped.
    """
    found = _load(folder)
    warnings = warnings_of(folder or settings().policies, found)
    screen.result(
        {"fingerprint": found.fingerprint, "purposes": list(found.purposes), "problems": [], "warnings": warnings}
    )
    for warning in warnings:
        screen.line(f"Warning: {warning}")
    screen.line(f"The policy is valid. Its fingerprint is {found.fingerprint}.")


@policy.command("plan")
@_folder
@command("cdp policy plan")
def plan(folder: Path | None, screen: Screen) -> None:
    """Compare with the policy in force."""
    _plan(folder, screen)


def _plan(folder: Path | None, screen: Screen) -> None:
    found = _load(folder)
    with open_context() as context:
        changes = differences(context.policy, found)
        in_force = context.policy.fingerprint
    screen.result({"in_force": in_force, "fingerprint": found.fingerprint, "differences": changes})
    _print(screen, changes)
    if changes:
        screen.line("Next: cdp policy apply")


@policy.command("apply")
@_folder
@click.option("--dry-run", is_flag=True, help="Only show what would change, as `cdp policy plan` does.")
@command("cdp policy apply --dry-run", "cdp policy apply", "cdp policy apply /etc/cdp/policies")
def apply(folder: Path | None, dry_run: bool, screen: Screen) -> None:
    """Put the policy folder in force.

    All verdicts are recomputed first; a running service follows within seconds. A service applies the folder in its
    CDP_POLICIES whenever it starts.
    """
    if dry_run:
        _plan(folder, screen)
        return
    found = _load(folder)
    with open_context() as context:
        done = apply_policy(context, found)
    screen.result(
        {
            "fingerprint": found.fingerprint,
            "is_new": done.is_new,
            "profiles": done.profiles,
            "differences": done.differences,
        }
    )
    _print(screen, done.differences)
    if done.is_new:
        screen.line(f"In force now: {found.fingerprint}. The verdicts of {done.profiles:,} profiles were recomputed.")


def _load(folder: Path | None) -> Policy:
    policy = load_policy(folder or settings().policies)
    conditions_of(policy)
    return policy


def _print(screen: Screen, changes: tuple[PolicyDifference, ...]) -> None:
    screen.table(
        ["file", "what", "change", "effect"],
        [(change.file, ".".join(change.path), change.change.value, change.effect or change.text) for change in changes],
        empty="Nothing differs from the policy in force.",
    )
