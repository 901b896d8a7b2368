"""Commands about sources."""

from collections import Counter
from datetime import datetime, timedelta

import click

from cdp.cli.command import command, opened
from cdp.cli.consents import INSTANT
from cdp.cli.screen import Screen
from cdp.flows.operations import accounting as accounting_flow
from cdp.flows.operations import sources
from cdp.flows.operations.meanings import NOTICES, meaning_of
from cdp.sources.model import SourceKind


@click.group()
def source() -> None:
    """Sources: who may send messages, and what they can vouch for."""


@source.command("create")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in SourceKind]),
    default="browser",
    show_default=True,
    help="A browser's write key is public, so it vouches for a device only; a server's is not.",
)
@click.option("--jurisdiction", default="unknown", show_default=True, help="Whose rules hold; unknown: the strictest.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sources.SCOPES),
    default=[sources.INGEST],
    show_default=True,
    help="What the write key may do; give it again for more.",
)
@click.option(
    "--request-bytes-max",
    type=click.IntRange(32 * 1024, sources.REQUEST_BYTES_MAX),
    default=sources.REQUEST_BYTES_DEFAULT,
    show_default=True,
    help="The largest request, decompressed. RudderStack's SDKs send up to 4 MB.",
)
@command(
    "cdp source create web-shop --jurisdiction eu",
    "cdp source create backend --kind server --scope ingest --scope consent",
)
def create(
    name: str, kind: str, jurisdiction: str, *, scopes: tuple[str, ...], request_bytes_max: int, screen: Screen
) -> None:
    """Create a source and print its write key, which is shown this once."""
    with opened() as context:
        made = sources.create_source(
            context,
            name,
            kind=SourceKind(kind),
            jurisdiction=jurisdiction,
            scopes=scopes,
            request_bytes_max=request_bytes_max,
        )
    source = made.entry.source
    screen.tell(
        {
            "id": int(source.source_id),
            "name": source.name,
            "kind": source.kind.value,
            "jurisdiction": source.jurisdiction,
            "scopes": sorted(source.scopes),
            "write_key": made.write_key,
        }
    )
    screen.facts([("source", source.name), ("kind", source.kind.value), ("write key", made.write_key)])
    screen.line("The write key is kept only as a hash: note it now.")


@source.command("list")
@command("cdp source list", "cdp source list --json")
def list_(screen: Screen) -> None:
    """List every source, disabled ones included; write keys are not shown."""
    with opened() as context:
        found = sources.list_sources(context)
    screen.tell(
        [
            {
                "id": int(each.source.source_id),
                "name": each.source.name,
                "kind": each.source.kind.value,
                "jurisdiction": each.source.jurisdiction,
                "scopes": sorted(each.source.scopes),
                "created_at": each.created_at,
                "disabled_at": each.disabled_at,
            }
            for each in found
        ]
    )
    screen.table(
        ["name", "kind", "jurisdiction", "scopes", "created", "disabled"],
        [
            (
                each.source.name,
                each.source.kind.value,
                each.source.jurisdiction,
                ", ".join(sorted(each.source.scopes)),
                each.created_at,
                each.disabled_at,
            )
            for each in found
        ],
        empty="No source yet: cdp source create NAME",
    )


@source.command("accounting")
@click.argument("name", required=False)
@click.option("--from", "since", type=INSTANT, help="Begin of the period. Default: a day before its end.")
@click.option("--to", "until", type=INSTANT, help="End of the period. Default: now.")
@command("cdp source accounting", "cdp source accounting web-shop --from 2026-01-01 --to 2026-02-01 --json")
def accounting(name: str | None, since: datetime | None, until: datetime | None, *, screen: Screen) -> None:
    """Tell what became of every message: each ends in one state, and the states add up to what was received.

    Hours count that begin in the period. Every look is logged.
    """
    with opened() as context:
        until = until or context.clock.now() + timedelta(hours=1)
        found = accounting_flow.count_messages(
            context, since or until - timedelta(days=1), until, source=name, actor="operator"
        )
    screen.tell(found)
    total = " + ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(found.by_state.items()))
    screen.heading(f"{found.received:,} received" + (f" = {total}" if total else "."))
    counts: Counter[tuple[str, str, str]] = Counter()
    for each in found.counts:
        counts[each.source, each.state, each.reason] += each.messages
    if counts:
        screen.table(
            ["source", "state", "messages", "why"],
            [
                (source, state.replace("_", " "), count, meaning_of(state, reason))
                for (source, state, reason), count in sorted(counts.items(), key=lambda each: (each[0][0], -each[1]))
            ],
        )
    odd: Counter[tuple[str, str, str]] = Counter()
    for seen in found.notices:
        odd[seen.source, seen.kind, seen.subject] += seen.messages
    if odd:
        screen.line()
        screen.table(
            ["source", "of", "messages", "oddity"],
            [(source, subject, count, NOTICES.get(kind, kind)) for (source, kind, subject), count in odd.most_common()],
        )


@source.command("rotate")
@click.argument("name")
@command("cdp source rotate backend")
def rotate(name: str, screen: Screen) -> None:
    """Give a source another write key and print it this once; the old one stops within seconds."""
    with opened() as context:
        write_key = sources.replace_write_key(context, name)
    screen.tell({"name": name, "write_key": write_key})
    screen.facts([("source", name), ("write key", write_key)])
    screen.line("The write key is kept only as a hash: note it now. The old one stops within seconds.")


@source.command("disable")
@click.argument("name")
@command("cdp source disable web-shop")
def disable(name: str, screen: Screen) -> None:
    """Stop the write key of a source, for good."""
    with opened() as context:
        sources.disable_source(context, name)
    screen.tell({"disabled": name})
    screen.line("Its write key no longer works.")
