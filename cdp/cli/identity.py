"""Commands about the map of who is who, and the rules behind it."""

from pathlib import Path

import click

from cdp.cli import identity_lists
from cdp.cli.command import command, opened, settings
from cdp.cli.screen import Screen, counted
from cdp.cli.simulation_view import changes_told, examples_told
from cdp.flows.identity import simulate as simulate_flow
from cdp.flows.identity import unmerge
from cdp.policy.load import load_policy


@click.group()
def identity() -> None:
    """Who is who: what is shared or in quarantine; rehearse changed rules, and apply them to history."""


identity.add_command(identity_lists.shared)
identity.add_command(identity_lists.quarantined)


@identity.command("simulate")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A changed identifiers.yaml. Default: the one in CDP_POLICIES.",
)
@command("cdp identity simulate --rules /tmp/identifiers.yaml", "cdp identity simulate --json")
def simulate(rules: Path | None, screen: Screen) -> None:
    """Tell what changed rules would merge, split and quarantine, from the recorded links. Nothing is changed."""
    changed = load_policy(settings().policies, instead={"identifiers.yaml": rules} if rules is not None else {})
    with opened() as context:
        told = simulate_flow.simulate(context, changed, actor="operator")
    screen.tell(told)
    asked = f"The rules of {rules or settings().policies / 'identifiers.yaml'}"
    screen.heading(f"{asked}, over {counted(told.steps, 'recorded step')}. Nothing was changed.")
    screen.table(
        ["", "now", "then"],
        [
            ("profiles", told.profiles_now, told.profiles_then),
            ("in quarantine", told.quarantined_now, told.quarantined),
            ("shared identifiers", told.shared_now, told.shared_then),
        ],
    )
    for line in changes_told(told):
        screen.line(line)
    if told.examples:
        screen.line()
        screen.table(
            ["change", "profiles of today", "identifiers"],
            [(each.change, ", ".join(each.profiles) or "(new)", each.identifiers) for each in examples_told(told)],
        )
        screen.line("The largest of each kind. `cdp profile show profile:ID` shows one.")


@identity.command("rebuild")
@command("cdp identity rebuild")
def rebuild(screen: Screen) -> None:
    """Apply the rules in force to the whole history, in one transaction.

    The result equals a fresh ingest under these rules; profiles that do not change keep their ids. Ingest waits
    meanwhile. `cdp identity simulate` says beforehand what it would come to.
    """
    with opened() as context:
        done = unmerge.rebuild(context)
        policy = context.policy.fingerprint
    screen.tell(done)
    screen.heading(f"{counted(done.steps, 'recorded step')} replayed under policy {policy[:12]}.")
    screen.line(
        f"{counted(done.before, 'profile')} before, {done.profiles:,} now. "
        f"{done.before - done.changed:,} kept their identifiers and their ids, {done.changed:,} changed."
    )
