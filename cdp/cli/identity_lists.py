"""Commands about what staff should look at in the map."""

import click

from cdp.cli.command import command, opened
from cdp.cli.screen import Screen
from cdp.flows.identity import listings

LIMIT = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="How many to list.")


@click.command()
@LIMIT
@command("cdp identity shared", "cdp identity shared --limit 500 --json")
def shared(limit: int, screen: Screen) -> None:
    """List identifiers that several people share, such as the device of a shop floor. They link nobody.

    The values are personal data: every listing is logged.
    """
    with opened() as context:
        told = listings.list_shared(context, limit=limit, actor="operator")
    screen.tell(told)
    if told.total:
        by_type = ", ".join(f"{count:,} {type_}" for type_, count in told.by_type.items())
        screen.heading(f"{told.total:,} shared identifiers: {by_type}.")
    screen.table(
        ["identifier", "value", "people", "shared since"],
        [(each.type, each.value or "(erased)", each.people, each.since) for each in told.identifiers],
        empty="No identifier is shared.",
    )
    _more(screen, told.total, len(told.identifiers))


@click.command()
@LIMIT
@command("cdp identity quarantined", "cdp identity quarantined --json")
def quarantined(limit: int, screen: Screen) -> None:
    """List profiles that went beyond a bound of policies/identifiers.yaml. They are processed for no purpose.

    A reviewer parts what is not one person (`cdp profile unmerge`), or raises the bound and rebuilds.
    """
    with opened() as context:
        told = listings.list_quarantined(context, limit=limit)
    screen.tell(told)
    if told.total:
        screen.heading(f"{told.total:,} profiles in quarantine.")
    screen.table(
        ["profile", "identifiers", "merges", "bound reached", "links refused", "since"],
        [
            (
                each.profile,
                each.identifiers,
                each.merges,
                ", ".join(bound.bound for bound in each.bounds) or "-",
                sum(bound.refusals for bound in each.bounds),
                min((bound.since for bound in each.bounds), default=None),
            )
            for each in told.profiles
        ],
        empty="No profile is in quarantine.",
    )
    _more(screen, told.total, len(told.profiles))


def _more(screen: Screen, total: int, shown: int) -> None:
    if total > shown:
        screen.line(f"... and {total - shown:,} more; --limit lists more of them.")
