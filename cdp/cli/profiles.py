"""Commands about profiles. They show personal data; every read is logged."""

import click

from cdp.cli.command import PAIR, command, identifier_of, open_context
from cdp.cli.explain_view import path_lines, refusal_lines
from cdp.cli.screen import Screen
from cdp.cli.unmerge_view import print_sides
from cdp.flows.identity import explain as explain_flow
from cdp.flows.identity import lookup, unmerge
from cdp.flows.identity.profile_view import ProfileView
from cdp.flows.operations.meanings import effective_since, value_text
from cdp.kit.wording import counted


@click.group()
def profile() -> None:
    """Show profiles, explain links, undo merges."""


@profile.command("show")
@click.argument("identifier", type=PAIR)
@command(
    "cdp profile show email:ada@example.com",
    "cdp profile show user_id:u-17 --json",
    "cdp profile show profile:prf_3cq9t67vbsjpq",
)
def show(identifier: tuple[str, str], screen: Screen) -> None:
    """Show everything held about one person.

    IDENTIFIER is an identifier of the person, or `profile:ID` with a current or former profile id.
    """
    with open_context() as context:
        if identifier[0] == "profile":
            shown = lookup.look_up_profile(context, identifier[1], actor="operator")
        else:
            shown = lookup.look_up(context, identifier_of(context, identifier), actor="operator")
    screen.result(shown)
    print_profile(screen, shown)


@profile.command("explain")
@click.argument("one", type=PAIR)
@click.argument("other", type=PAIR)
@command("cdp profile explain email:ada@example.com anonymous_id:9f2c")
def explain(one: tuple[str, str], other: tuple[str, str], screen: Screen) -> None:
    """Explain the links between two identifiers.

    Shows every link between them, or what keeps them apart.
    """
    with open_context() as context:
        result = explain_flow.explain(
            context, identifier_of(context, one), identifier_of(context, other), actor="operator"
        )
    screen.result(result)
    if result.is_same_profile:
        screen.heading(f"One person, by {counted(len(result.path), 'link')}:")
    elif result.refusals:
        screen.heading("Two people. What keeps them apart:")
    else:
        screen.heading("Two people: no message ever named both, directly or through others.")
    for line in (*path_lines(result.path), *refusal_lines(result.refusals)):
        screen.line(line)


@profile.command("unmerge")
@click.argument("keep", type=PAIR)
@click.option("--from", "severed", required=True, type=PAIR, help="The identifier that belongs to another person.")
@click.option("--dry-run", is_flag=True, help="Only show what each side would hold.")
@click.option("--undo", is_flag=True, help="Undo an earlier unmerge of these two.")
@command(
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com --dry-run",
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com",
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com --undo",
)
def unmerge_(keep: tuple[str, str], severed: tuple[str, str], dry_run: bool, *, undo: bool, screen: Screen) -> None:
    """Undo a merge.

    Separates two identifiers as if they had never been linked, and keeps them apart from then on.
    """
    with open_context() as context:
        use_case = unmerge.remerge if undo else unmerge.unmerge
        done = use_case(
            context, identifier_of(context, keep), identifier_of(context, severed), dry_run=dry_run, actor="operator"
        )
    screen.result(done)
    names = ":".join(keep), ":".join(severed)
    if dry_run:
        screen.heading(
            f"Nothing was changed. This is what {'undoing the unmerge' if undo else 'an unmerge'} would result in:"
        )
    elif undo:
        screen.heading("Done: recorded messages may link them again.")
    else:
        are_two = done.keep is not None and done.sever is not None
        screen.heading(f"Done: they are {'two profiles, and are ' if are_two else ''}kept apart from now on.")
    print_sides(screen, done, names)
    if not (dry_run or undo):
        screen.line(f"To undo it: cdp profile unmerge {names[0]} --from {names[1]} --undo")


def print_profile(screen: Screen, shown: ProfileView) -> None:
    """Print one profile."""
    screen.facts(
        [
            ("profile", shown.profile),
            ("events", shown.events),
            ("first seen", shown.first_seen_at),
            ("last seen", shown.last_seen_at),
            ("segments", ", ".join(shown.segments) or "-"),
            *([("quarantine", "yes: a reviewer must decide")] if shown.is_quarantined else []),
        ]
    )
    screen.line()
    screen.table(
        ["identifier", "value", "shared"],
        [(identifier.type, identifier.value or "(erased)", identifier.is_shared) for identifier in shown.identifiers],
    )
    values = {
        **shown.traits,
        **{f"computed.{key}": computed_trait for key, computed_trait in shown.computed_traits.items()},
    }
    if values:
        screen.line()
        screen.table(["trait", "value"], [(key, value_text(value)) for key, value in values.items()])
    screen.line()
    screen.table(
        ["purpose", "allowed", "reason", "since", "until"],
        [
            (key, consent.allowed, consent.reason, effective_since(consent.since), consent.until)
            for key, consent in shown.consents.items()
        ],
    )
