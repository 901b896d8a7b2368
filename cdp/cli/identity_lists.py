"""Commands that list identity data for review."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.identity import listings

LIMIT = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The number of rows to list."
)


@click.command()
@LIMIT
@command("cdp identity shared", "cdp identity shared --limit 500 --json")
def shared(limit: int, screen: Screen) -> None:
    """List shared identifiers.

    A shared identifier, such as a device in a shop, belongs to several people and creates no links. The values are
    personal data: every listing is logged.
    """
    with open_context() as context:
        result = listings.list_shared(context, limit=limit, actor="operator")
    screen.result(result)
    if result.total:
        by_type = ", ".join(f"{count:,} {type_}" for type_, count in result.by_type.items())
        screen.heading(f"{result.total:,} shared identifiers: {by_type}.")
    screen.table(
        ["identifier", "value", "people", "shared since"],
        [
            (identifier.type, identifier.value or "(erased)", identifier.people, identifier.since)
            for identifier in result.identifiers
        ],
        empty="No shared identifiers.",
    )
    _more(screen, result.total, len(result.identifiers))


@click.command()
@LIMIT
@command("cdp identity review", "cdp identity review --limit 500 --json")
def review(limit: int, screen: Screen) -> None:
    """List claims that were left out.

    An identifier is left out where a source of a lower authority, or a server message about an earlier time, names it
    beside somebody else than the one it belongs to (docs/explanation/identity.md). `cdp profile explain` shows both
    sides. The values are personal data: every listing is logged.
    """
    with open_context() as context:
        result = listings.list_review(context, limit=limit, actor="operator")
    screen.result(result)
    if result.left_out_total:
        screen.heading(f"{result.left_out_total:,} identifiers were claimed and left out.")
    screen.table(
        ["identifier", "value", "left out by", "messages and rows", "people", "since"],
        [
            (claim.type, claim.value or "(erased)", claim.rule, claim.words, claim.people, claim.since)
            for claim in result.left_out
        ],
        empty="No claims were left out.",
    )
    _more(screen, result.left_out_total, len(result.left_out))


@click.command()
@LIMIT
@command("cdp identity quarantined", "cdp identity quarantined --json")
def quarantined(limit: int, screen: Screen) -> None:
    """List profiles in quarantine.

    They reached a bound of policies/identifiers.yaml and are not processed for any purpose. A reviewer separates what
    does not belong to one person (`cdp profile unmerge`), or raises the bound and rebuilds.
    """
    with open_context() as context:
        result = listings.list_quarantined(context, limit=limit)
    screen.result(result)
    if result.total:
        screen.heading(f"{result.total:,} profiles in quarantine.")
    screen.table(
        ["profile", "identifiers", "merges", "bound reached", "links refused", "since"],
        [
            (
                profile.profile,
                profile.identifiers,
                profile.merges,
                ", ".join(bound.bound for bound in profile.bounds) or "-",
                sum(bound.refusals for bound in profile.bounds),
                min((bound.since for bound in profile.bounds), default=None),
            )
            for profile in result.profiles
        ],
        empty="No profiles in quarantine.",
    )
    _more(screen, result.total, len(result.profiles))


def _more(screen: Screen, total: int, shown: int) -> None:
    if total > shown:
        screen.line(f"... and {total - shown:,} more; --limit lists more of them.")
