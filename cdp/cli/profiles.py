"""Commands about people. They show personal data: that is their purpose, and every reading is logged."""

import click

from cdp.cli.command import PAIR, command, identifier_of, opened
from cdp.cli.explain_view import path_told, refusals_told
from cdp.cli.screen import Screen
from cdp.cli.unmerge_view import print_sides
from cdp.flows.identity import explain as explain_flow
from cdp.flows.identity import lookup, unmerge
from cdp.flows.identity.profile_view import ProfileView
from cdp.flows.operations.meanings import permission_start, value_text


@click.group()
def profile() -> None:
    """People: what is held about one, why two identifiers are one, and how to part them."""


@profile.command("show")
@click.argument("identifier", type=PAIR)
@command(
    "cdp profile show email:ada@example.com",
    "cdp profile show user_id:u-17 --json",
    "cdp profile show profile:prf_3cq9t67vbsjpq",
)
def show(identifier: tuple[str, str], screen: Screen) -> None:
    """Show everything that is held about one person, by an identifier or by the profile's id, retired ones included."""
    with opened() as context:
        if identifier[0] == "profile":
            shown = lookup.look_up_profile(context, identifier[1], actor="operator")
        else:
            shown = lookup.look_up(context, identifier_of(context, identifier), actor="operator")
    screen.tell(shown)
    print_profile(screen, shown)


@profile.command("explain")
@click.argument("one", type=PAIR)
@click.argument("other", type=PAIR)
@command("cdp profile explain email:ada@example.com anonymous_id:9f2c")
def explain(one: tuple[str, str], other: tuple[str, str], screen: Screen) -> None:
    """Tell why two identifiers are one person, link by link, or what keeps them apart."""
    with opened() as context:
        told = explain_flow.explain(
            context, identifier_of(context, one), identifier_of(context, other), actor="operator"
        )
    screen.tell(told)
    if told.is_same_profile:
        screen.heading(f"One person, by {_count(len(told.path), 'link')}:")
    elif told.refusals:
        screen.heading("Two people. This keeps them apart:")
    else:
        screen.heading("Two people: no message ever named both, directly or through others.")
    for line in (*path_told(told.path), *refusals_told(told.refusals)):
        screen.line(line)


@profile.command("unmerge")
@click.argument("keep", type=PAIR)
@click.option("--from", "severed", required=True, type=PAIR, help="The identifier that is another person's.")
@click.option("--dry-run", is_flag=True, help="Only tell what each side would hold.")
@click.option("--undo", is_flag=True, help="Take an earlier unmerge of these two back.")
@command(
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com --dry-run",
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com",
    "cdp profile unmerge email:ada@example.com --from email:bob@example.com --undo",
)
def unmerge_(keep: tuple[str, str], severed: tuple[str, str], dry_run: bool, *, undo: bool, screen: Screen) -> None:
    """Make it so that two identifiers were never linked, and keep them apart from now on."""
    with opened() as context:
        journey = unmerge.remerge if undo else unmerge.unmerge
        done = journey(
            context, identifier_of(context, keep), identifier_of(context, severed), dry_run=dry_run, actor="operator"
        )
    screen.tell(done)
    names = ":".join(keep), ":".join(severed)
    if dry_run:
        screen.heading(
            f"Nothing was changed. This is what {'taking the unmerge back' if undo else 'an unmerge'} would leave:"
        )
    elif undo:
        screen.heading("Done: the recorded messages may join them again.")
    else:
        screen.heading("Done: they are two, and are kept apart from now on.")
    print_sides(screen, done, names)
    if not (dry_run or undo):
        screen.line(f"To take it back: cdp profile unmerge {names[0]} --from {names[1]} --undo")


def print_profile(screen: Screen, shown: ProfileView) -> None:
    """One profile for people."""
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
        [(each.type, each.value or "(erased)", each.is_shared) for each in shown.identifiers],
    )
    values = {**shown.traits, **{f"computed.{key}": each for key, each in shown.computed_traits.items()}}
    if values:
        screen.line()
        screen.table(["trait", "value"], [(key, value_text(value)) for key, value in values.items()])
    screen.line()
    screen.table(
        ["purpose", "allowed", "reason", "since", "until"],
        [
            (key, each.allowed, each.reason, permission_start(each.since), each.until)
            for key, each in shown.consents.items()
        ],
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
