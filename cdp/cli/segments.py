"""Commands about segments."""

from pathlib import Path

import click

from cdp.cli.command import PAIR, command, identifier_of, opened, settings
from cdp.cli.screen import Screen
from cdp.flows.segments import definitions, memberships, reading, texts
from cdp.kit.errors import Fault
from cdp.policy.load import load_policy
from cdp.policy.problems import fault_of
from cdp.policy.source import SourceRefused, parse
from cdp.segments.model import Size


@click.group()
def segment() -> None:
    """Segments: each a short text with one purpose; only people permitted for it can be in."""


@segment.command("list")
@command("cdp segment list")
def list_(screen: Screen) -> None:
    """List every segment in force."""
    with opened() as context:
        found = definitions.list_segments(context)
    screen.tell(found)
    screen.table(
        ["key", "name", "purpose", "version", "refreshed"],
        [(each.key, each.name, each.purpose, each.version, each.refreshed_at) for each in found],
        empty="No segment yet: put one into policies/segments and run cdp policy apply",
    )


@segment.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@command("cdp segment check policies/segments/loyal_buyers.yaml")
def check(file: Path, screen: Screen) -> None:
    """Check one segment file against the policy folder. A mistake is shown at its place, with what would be right.

    Exit code 2 when something is wrong. No database is needed.
    """
    policy = load_policy(settings().policies)
    try:
        content = parse(str(file), file.read_bytes()).content
    except SourceRefused as refused:
        raise fault_of([refused.problem]) from None
    purpose, where = (content.get("purpose"), content.get("where")) if isinstance(content, dict) else (None, None)
    if not isinstance(purpose, str) or not isinstance(where, str):
        raise Fault("segment_malformed", "The file is no segment", "It needs `purpose` and `where`.", status=422)
    canonical = texts.check_alone(policy, where, purpose, key=file.stem)
    screen.tell({"purpose": purpose, "where": canonical})
    screen.line("In order. In canonical form it reads:")
    screen.line(canonical)


@segment.command("preview")
@click.argument("key", required=False)
@click.option("--where", help="A text, instead of a segment in force.")
@click.option("--purpose", help="The purpose of the text.")
@command(
    "cdp segment preview loyal_buyers",
    "cdp segment preview --purpose email_marketing --where 'count(\"Order Completed\") >= 3'",
)
def preview(key: str | None, where: str | None, purpose: str | None, *, screen: Screen) -> None:
    """Tell how many people a condition would give, what each part contributes, and how many are refused why."""
    if (key is None) == (where is None) or (where is None) != (purpose is None):
        raise click.UsageError("Give a KEY, or --where with --purpose.")
    with opened() as context:
        if key is not None:
            known = definitions.find(context, key)
            where, purpose = known.where, known.purpose
        told = reading.preview(context, where or "", purpose or "", actor="operator")
    shown = told.preview
    screen.tell(
        {
            "purpose": purpose,
            "where": where,
            **_size(shown.size),
            "permitted": _size(shown.permitted),
            "share": shown.share,
            "conditions": [
                {"text": each.text, "alone": _size(each.alone), "together": _size(each.together)}
                for each in shown.conditions
            ],
            "refused_by_reason": {reason: _size(each) for reason, each in shown.refused_by_reason.items()},
            "sample": told.sample,
        }
    )
    share = "" if shown.share is None else f", {shown.share:.1%} of them"
    screen.heading(f"{shown.size.text} of {shown.permitted.text} people permitted for {purpose}{share}")
    screen.table(
        ["condition", "alone", "with those above"],
        [(each.text, each.alone.text, each.together.text) for each in shown.conditions],
    )
    screen.line()
    screen.table(
        ["not looked at, because", "people"],
        [(reason, each.text) for reason, each in shown.refused_by_reason.items()],
        empty="Nobody is refused for this purpose.",
    )


@segment.command("members")
@click.argument("key")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--cursor", help="`next` of the page before.")
@command("cdp segment members loyal_buyers --limit 5", "cdp segment members loyal_buyers --json")
def members(key: str, limit: int, cursor: str | None, *, screen: Screen) -> None:
    """List who is in, by the marketer's pseudonyms. Withheld when there are too few; every reading is logged."""
    with opened() as context:
        memberships.refresh(context, key)
        page, size = reading.members(context, key, after=cursor, limit=limit, actor="operator")
    screen.tell(
        {
            **_size(size),
            "members": [{"profile": each.reader_pseudonym, "since": each.since} for each in page.members],
            "next": page.after,
            "withheld": page.withheld,
        }
    )
    screen.heading(f"{size.text} people")
    if page.withheld:
        screen.line(f"Nobody is listed: {page.withheld}.")
    else:
        screen.table(["profile", "since"], [(each.reader_pseudonym, each.since) for each in page.members])
    if page.after is not None:
        screen.line(f"More: --cursor {page.after}")


@segment.command("explain")
@click.argument("key")
@click.argument("identifier", type=PAIR, required=False)
@command("cdp segment explain loyal_buyers", "cdp segment explain loyal_buyers email:ada@example.com")
def explain(key: str, identifier: tuple[str, str] | None, screen: Screen) -> None:
    """Tell what a segment asks; with a person, condition by condition why that person is in or out."""
    with opened() as context:
        asked = None if identifier is None else identifier_of(context, identifier)
        told = reading.explain(context, key, identifier=asked, actor="operator")
    screen.tell(told)
    screen.line(told.explanation.where)
    screen.line()
    screen.table(["reads", "data category"], [(each.name, each.category) for each in told.explanation.fields])
    if told.standing is None:
        return
    screen.line()
    if not told.standing.is_permitted:
        screen.heading(f"Not in: the purpose {told.segment.purpose} is refused ({told.reason}).")
    else:
        screen.heading("In." if told.standing.is_in else "Not in.")
        screen.table(
            ["condition", "holds"],
            [
                (each.condition, "unknown: a value is absent" if each.truth is None else each.truth)
                for each in told.standing.answers
            ],
        )
    if told.records:
        screen.line(f"Decided by the consent records {', '.join(told.records)}.")


def _size(size: Size) -> dict[str, object]:
    return {"size": size.shown, "size_text": size.text}
