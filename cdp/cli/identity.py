"""Commands about the map of who is who, and the rules behind it."""

from pathlib import Path

import click

from cdp.cli import identity_lists
from cdp.cli.frame import command, opened, settings
from cdp.cli.screen import Screen
from cdp.flows import identity as journeys
from cdp.flows import unmerge
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
    with opened() as rooms:
        told = journeys.simulate(rooms.house, changed, actor="operator")
    screen.tell(told)
    screen.facts(
        [
            ("recorded steps", told.steps),
            ("profiles now", told.profiles_now),
            ("profiles then", told.profiles_then),
            ("merged", told.merged),
            ("split", told.split),
            ("quarantined", told.quarantined),
        ]
    )
    for example in told.examples:
        screen.line(", ".join(f"{name}: {value}" for name, value in example.items()))


@identity.command("rebuild")
@command("cdp identity rebuild")
def rebuild(screen: Screen) -> None:
    """Apply the rules in force to the whole history, in one transaction.

    The result equals a fresh ingest under these rules; profiles that do not change keep their ids.
    """
    with opened() as rooms:
        done = unmerge.rebuild(rooms.house)
    screen.tell(done)
    screen.line(f"{done.steps:,} steps replayed; {done.changed:,} profiles changed; there are {done.profiles:,} now.")
