"""Commands about identity resolution and its rules."""

from pathlib import Path

import click

from cdp.cli import identity_lists
from cdp.cli.command import command, open_context, settings
from cdp.cli.screen import Screen
from cdp.cli.simulation_view import change_lines, example_rows
from cdp.flows.identity import simulate as simulate_flow
from cdp.flows.identity import unmerge
from cdp.kit.wording import counted
from cdp.policy.load import load_policy


@click.group()
def identity() -> None:
    """Review identity; simulate and apply rules."""


identity.add_command(identity_lists.shared)
identity.add_command(identity_lists.review)
identity.add_command(identity_lists.accept)
identity.add_command(identity_lists.reject)
identity.add_command(identity_lists.quarantined)


@identity.command("simulate")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A changed identifiers.yaml. Default: the one in CDP_POLICIES.",
)
@command("cdp identity simulate --rules /tmp/identifiers.yaml", "cdp identity simulate --json")
def simulate(rules: Path | None, screen: Screen) -> None:
    """Simulate changed identifier rules.

    Shows what the rules would merge, split and quarantine, computed from the recorded links. Nothing is changed.
    """
    changed = load_policy(settings().policies, instead={"identifiers.yaml": rules} if rules is not None else {})
    with open_context() as context:
        result = simulate_flow.simulate(context, changed, actor="operator")
    screen.result(result)
    requested = f"The rules of {rules or settings().policies / 'identifiers.yaml'}"
    screen.heading(f"{requested}, over {counted(result.steps, 'recorded step')}. Nothing was changed.")
    screen.table(
        ["", "now", "after"],
        [
            ("profiles", result.profiles_now, result.profiles_then),
            ("in quarantine", result.quarantined_now, result.quarantined),
            ("shared identifiers", result.shared_now, result.shared_then),
        ],
    )
    for line in change_lines(result):
        screen.line(line)
    if result.examples:
        screen.line()
        screen.table(
            ["change", "current profiles", "identifiers"],
            [
                (example.change, ", ".join(example.profiles) or "(new)", example.identifiers)
                for example in example_rows(result)
            ],
        )
        screen.line("The largest of each kind. `cdp profile show profile:ID` shows one.")


@identity.command("rebuild")
@command("cdp identity rebuild")
def rebuild(screen: Screen) -> None:
    """Apply the current rules to all history.

    Runs in one transaction, during which ingest waits. The result equals a fresh ingest under these rules; profiles that
    do not change keep their ids. `cdp identity simulate` previews the result.
    """
    with open_context() as context:
        done = unmerge.rebuild(context)
        policy = context.policy.fingerprint
    screen.result(done)
    screen.heading(f"{counted(done.steps, 'recorded step')} replayed under policy {policy[:12]}.")
    screen.line(
        f"{counted(done.before, 'profile')} before, {done.profiles:,} now. "
        f"{done.before - done.changed:,} kept their identifiers and their ids, {done.changed:,} changed."
    )
