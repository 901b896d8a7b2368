"""Commands that list identity data for review."""

import click

from cdp.cli.command import command, open_context
from cdp.cli.screen import Screen
from cdp.flows.identity import accept as acceptance
from cdp.flows.identity import listings
from cdp.flows.identity import reject as rejection
from cdp.flows.identity import review as reviews
from cdp.identity.model import RejectionReason
from cdp.kit.wording import counted

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
        screen.heading(f"{counted(result.total, 'shared identifier')}: {by_type}.")
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
@click.option("--rejected", is_flag=True, help="List the rejected cases instead.")
@command("cdp identity review", "cdp identity review --limit 500 --json", "cdp identity review --rejected")
def review(limit: int, screen: Screen, *, rejected: bool) -> None:
    """List claims and values to decide about.

    Claims that were left out: a source of a lower authority, or a server message about an earlier time, names an
    identifier beside somebody else than the one it belongs to (docs/explanation/identity.md). `cdp profile explain` shows
    both sides.

    Values stored under earlier rules that the present ones read differently: what is not an identifier and may join
    several people, and other spellings of one value, which may make two profiles of one person
    (docs/reference/identifiers.md).

    `cdp identity accept` and `cdp identity reject` decide a case; --rejected lists the rejected ones. A claim is accepted by
    letting a source of a higher authority state it. The values are personal data: every listing is logged.
    """
    if rejected:
        _list_rejected(limit, screen)
        return
    with open_context() as context:
        result = reviews.list_review(context, limit=limit, actor="operator")
    screen.result(result)
    if result.left_out_total:
        were = "was" if result.left_out_total == 1 else "were"
        screen.heading(f"{counted(result.left_out_total, 'identifier')} {were} claimed and left out.")
    screen.table(
        ["case", "identifier", "value", "left out by", "messages and rows", "people", "since"],
        [
            (claim.case, claim.type, claim.value or "(erased)", claim.rule, claim.words, claim.people, claim.since)
            for claim in result.left_out
        ],
        empty="No claims were left out.",
    )
    _more(screen, result.left_out_total, len(result.left_out))
    if result.reread_total:
        screen.heading(f"{counted(result.reread_total, 'stored identifier')} would be read differently today.")
    screen.table(
        ["case", "identifier", "stored", "reads as", "profile", "identifiers", "profile of what it reads as"],
        [
            (
                case.identifier,
                case.type,
                case.value,
                reviews.reading_of(case),
                case.profile or "-",
                case.identifiers,
                case.other_profile or "-",
            )
            for case in result.reread
        ],
        empty="No other identifiers to review." if result.left_out_total else "No identifiers to review.",
    )
    _more(screen, result.reread_total, len(result.reread))


def _list_rejected(limit: int, screen: Screen) -> None:
    with open_context() as context:
        result = rejection.list_rejected(context, limit=limit, actor="operator")
    screen.result(result)
    screen.table(
        ["case", "identifier", "value", "kind", "reason", "rejected"],
        [
            (case.case, case.type, case.value or "(erased)", case.kind, case.reason, case.rejected_at)
            for case in result.rejected
        ],
        empty="No cases were rejected.",
    )
    _more(screen, result.rejected_total, len(result.rejected))


@click.command()
@click.argument("case")
@click.option(
    "--reason", required=True, type=click.Choice([reason.value for reason in RejectionReason]), help="The ground."
)
@command("cdp identity reject idn_0004zc8e6w1rk --reason different_people")
def reject(case: str, reason: str, screen: Screen) -> None:
    """Reject a case of the identity review.

    Nothing changes but the list: the case is recorded with the reason, logged, and not listed again unless its evidence
    changes. For a value, that is what it reads as and whether anybody has that value; for a claim, a new message or row
    that makes it.
    """
    with open_context() as context:
        rejection.reject(context, case, reason=reason, actor="operator")
    screen.result({"case": case, "reason": reason})
    screen.heading(f"The case {case} is rejected: {reason.replace('_', ' ')}.")


@click.command()
@click.argument("case")
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@command("cdp identity accept idn_0004zc8e6w1rk --dry-run", "cdp identity accept idn_0004zc8e6w1rk")
def accept(case: str, screen: Screen, *, dry_run: bool) -> None:
    """Accept a case of the identity review.

    Another spelling becomes the value that it means, with everything recorded about it: two profiles of one person become
    one, if no rule keeps them apart. A value that is not an identifier links nobody from now on, and people whom it joined
    are separated. The outcome is what it would be if the value had always been read so. It cannot be undone.
    """
    with open_context() as context:
        done = acceptance.accept(context, case, dry_run=dry_run, actor="operator")
    screen.result(done)
    reads_as = "is not an identifier and links nobody" if done.reads_as is None else f"is {done.reads_as}"
    preview = "Preview, nothing was changed: the" if done.is_dry_run else "The"
    screen.heading(f"{preview} {done.type} {reads_as}.")
    screen.facts(
        [
            ("profiles before", ", ".join(done.before) or "none"),
            ("profiles after", ", ".join(done.after) or "none"),
            ("events erased", done.erased_events),
        ]
    )


@click.command()
@LIMIT
@command("cdp identity quarantined", "cdp identity quarantined --json")
def quarantined(limit: int, screen: Screen) -> None:
    """List profiles in quarantine.

    They reached a bound of policies/identifiers.yaml and are not processed for any purpose. A reviewer separates what
    does not belong to one person (`cdp profile unmerge`), or raises the bound and rebuilds.
    """
    with open_context() as context:
        result = listings.list_quarantined(context, limit=limit, actor="operator")
    screen.result(result)
    if result.total:
        screen.heading(f"{counted(result.total, 'profile')} in quarantine.")
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
