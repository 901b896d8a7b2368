"""Commands about segments."""

from pathlib import Path

import click

from cdp.cli.command import PAIR, command, identifier_of, open_context, settings
from cdp.cli.screen import Screen
from cdp.flows.segments import definitions, memberships, reading, texts
from cdp.kit.bounded_file import read_bounded
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.policy.load import load_policy
from cdp.policy.problems import fault_of
from cdp.policy.source import SourceRefused, parse


@click.group()
def segment() -> None:
    """List, check, preview and explain segments."""


@segment.command("list")
@command("cdp segment list")
def list_(screen: Screen) -> None:
    """List all active segments."""
    with open_context() as context:
        found = definitions.list_segments(context)
    screen.result(found)
    screen.table(
        ["key", "name", "purpose", "version", "refreshed"],
        [(segment.key, segment.name, segment.purpose, segment.version, segment.refreshed_at) for segment in found],
        empty="No segments yet. Add one to policies/segments and run `cdp policy apply`.",
    )


@segment.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@command("cdp segment check policies/segments/loyal_buyers.yaml")
def check(file: Path, screen: Screen) -> None:
    """Check one segment file.

    Checks it against the policy folder and shows the position of an error with a hint. Exit code 2 when there is one. No
    database is needed.
    """
    policy = load_policy(settings().policies)
    try:
        content = parse(str(file), read_bounded(file)).content
    except SourceRefused as refused:
        raise fault_of([refused.problem]) from None
    purpose, where = (content.get("purpose"), content.get("where")) if isinstance(content, dict) else (None, None)
    if not isinstance(purpose, str) or not isinstance(where, str):
        raise Fault("segment_malformed", "The file is not a segment", "It needs `purpose` and `where`.", status=422)
    canonical = texts.check_alone(policy, where, purpose, key=file.stem)
    screen.result({"purpose": purpose, "where": canonical})
    screen.line("Valid. Canonical form:")
    screen.line(canonical)


@segment.command("preview")
@click.argument("key", required=False)
@click.option("--where", help="A condition, instead of the key of a segment.")
@click.option("--purpose", help="The purpose of the condition.")
@command(
    "cdp segment preview loyal_buyers",
    "cdp segment preview --purpose email_marketing --where 'count(\"Order Completed\") >= 3'",
)
def preview(key: str | None, where: str | None, purpose: str | None, *, screen: Screen) -> None:
    """Preview the size of a segment.

    Shows the number of people, the effect of each part of the condition, and the number of people refused by reason.
    """
    if (key is None) == (where is None) or (where is None) != (purpose is None):
        raise click.UsageError("Give a KEY, or --where with --purpose.")
    with open_context() as context:
        if key is not None:
            known = definitions.find(context, key)
            where, purpose = known.where, known.purpose
        result = reading.preview(context, where or "", purpose or "", actor="operator")
    shown = result.preview
    screen.result(
        {
            "purpose": purpose,
            "where": where,
            "size": shown.size,
            "permitted": shown.permitted,
            "share": shown.share,
            "conditions": [
                {"text": condition.text, "alone": condition.alone, "together": condition.together}
                for condition in shown.conditions
            ],
            "refused_by_reason": dict(shown.refused_by_reason),
            "sample": result.sample,
        }
    )
    share = "" if shown.share is None else f", {shown.share:.1%} of them"
    screen.heading(f"{shown.size:,} of {counted(shown.permitted, 'person', 'people')} permitted for {purpose}{share}")
    screen.table(
        ["condition", "alone", "combined with those above"],
        [(condition.text, condition.alone, condition.together) for condition in shown.conditions],
    )
    screen.line()
    screen.table(
        ["not evaluated, reason", "people"],
        list(shown.refused_by_reason.items()),
        empty="No people are refused for this purpose.",
    )


@segment.command("members")
@click.argument("key")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="The number of rows to list."
)
@click.option("--cursor", help="`next` of the previous page.")
@command("cdp segment members loyal_buyers --limit 5", "cdp segment members loyal_buyers --json")
def members(key: str, limit: int, cursor: str | None, *, screen: Screen) -> None:
    """List the members of a segment.

    Members are listed by the marketer's pseudonyms. Every read is logged.
    """
    with open_context() as context:
        memberships.refresh(context, key)
        page, size = reading.members(context, key, after=cursor, limit=limit, actor="operator")
    screen.result(
        {
            "size": size,
            "members": [{"profile": member.reader_pseudonym, "since": member.since} for member in page.members],
            "next": page.after,
        }
    )
    screen.heading(counted(size, "person", "people"))
    screen.table(["profile", "since"], [(member.reader_pseudonym, member.since.isoformat()) for member in page.members])
    if page.after is not None:
        screen.line(f"More: --cursor {page.after}")


@segment.command("explain")
@click.argument("key")
@click.argument("identifier", type=PAIR, required=False)
@command("cdp segment explain loyal_buyers", "cdp segment explain loyal_buyers email:ada@example.com")
def explain(key: str, identifier: tuple[str, str] | None, screen: Screen) -> None:
    """Explain a segment, or one membership.

    With an identifier, shows for each condition whether the person meets it.
    """
    with open_context() as context:
        requested = None if identifier is None else identifier_of(context, identifier)
        result = reading.explain(context, key, identifier=requested, actor="operator")
    screen.result(result)
    screen.line(result.explanation.where)
    screen.line()
    screen.table(["field", "data category"], [(field.name, field.category) for field in result.explanation.fields])
    if result.standing is None:
        return
    screen.line()
    if not result.standing.is_permitted:
        screen.heading(f"Not a member: the purpose {result.segment.purpose} is not permitted ({result.reason}).")
    else:
        screen.heading("Member." if result.standing.is_in else "Not a member.")
        screen.table(
            ["condition", "met"],
            [
                (answer.condition, "unknown: a value is missing" if answer.truth is None else answer.truth)
                for answer in result.standing.answers
            ],
        )
    if result.records:
        screen.line(f"Determined by consent records {', '.join(result.records)}.")
