"""Commands about sources."""

import time
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import click

from cdp.cli.command import command, open_context
from cdp.cli.consents import INSTANT
from cdp.cli.hooks import hook
from cdp.cli.screen import Screen
from cdp.flows.operations import accounting as accounting_flow
from cdp.flows.operations import sources
from cdp.flows.operations.meanings import NOTICES, PROPERTY_NOTICES, meaning_of
from cdp.sources.model import Source, SourceKind

_DEFER_HELP = (
    "Whether messages of devices that have not answered wait for their answer, sealed, for the term of purposes.yaml."
)


@click.group()
def source() -> None:
    """Manage sources and their write keys."""


source.add_command(hook)


@source.command("create")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in SourceKind]),
    default="browser",
    show_default=True,
    help="The write key of a browser is public, so it identifies a device only; that of a server is secret.",
)
@click.option(
    "--jurisdiction",
    default="unknown",
    show_default=True,
    help="The jurisdiction whose rules apply; unknown: the strictest.",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(sources.SCOPES),
    default=[sources.INGEST],
    show_default=True,
    help="What the write key allows; may be given several times.",
)
@click.option(
    "--request-bytes-max",
    type=click.IntRange(32 * 1024, sources.REQUEST_BYTES_MAX),
    default=sources.REQUEST_BYTES_DEFAULT,
    show_default=True,
    help="The largest request, decompressed. RudderStack's SDKs send up to 4 MB.",
)
@click.option("--defer/--no-defer", default=False, show_default=True, help=_DEFER_HELP)
@command(
    "cdp source create web-shop --jurisdiction eu",
    "cdp source create web-shop --jurisdiction eu --defer",
    "cdp source create backend --kind server --scope ingest --scope consent",
)
def create(
    name: str,
    kind: str,
    jurisdiction: str,
    *,
    scopes: tuple[str, ...],
    request_bytes_max: int,
    defer: bool,
    screen: Screen,
) -> None:
    """Create a source and print its write key.

    The write key cannot be shown again.
    """
    with open_context() as context:
        created = sources.create_source(
            context,
            name,
            kind=SourceKind(kind),
            jurisdiction=jurisdiction,
            scopes=scopes,
            request_bytes_max=request_bytes_max,
            defer=defer,
        )
    source = created.entry.source
    screen.result(
        _values(source) | {"write_key": created.write_key},
    )
    screen.facts([("source", source.name), ("kind", source.kind.value), ("write key", created.write_key)])
    screen.line("Only a hash of the write key is stored: save it now.")


def _values(shown: Source) -> dict[str, Any]:
    """A source as `--json` shows it."""
    return {
        "id": int(shown.source_id),
        "name": shown.name,
        "kind": shown.kind.value,
        "jurisdiction": shown.jurisdiction,
        "scopes": sorted(shown.scopes),
        "defer": shown.defer,
    }


@source.command("update")
@click.argument("name")
@click.option("--defer/--no-defer", required=True, help=_DEFER_HELP)
@command("cdp source update web-shop --defer", "cdp source update web-shop --no-defer --json")
def update(name: str, *, defer: bool, screen: Screen) -> None:
    """Let messages wait for an answer, or not.

    When the command ends, every service follows. What waits already waits on until its answer or the end of its term. The
    change is logged, and `cdp policy ropa` states which sources defer.
    """
    with open_context() as context:
        changed = sources.set_defer(context, name, defer=defer)
    time.sleep(sources.KEY_SECONDS_MAX)
    screen.result({"name": name, "defer": changed.source.defer})
    screen.line("Its messages wait for an answer." if defer else "Its messages do not wait for an answer.")


@source.command("list")
@command("cdp source list", "cdp source list --json")
def list_(screen: Screen) -> None:
    """List all sources.

    Includes disabled sources. Write keys are not shown.
    """
    with open_context() as context:
        found = sources.list_sources(context)
    screen.result(
        [_values(entry.source) | {"created_at": entry.created_at, "disabled_at": entry.disabled_at} for entry in found]
    )
    screen.table(
        ["name", "kind", "jurisdiction", "scopes", "defers", "created", "disabled"],
        [
            (
                entry.source.name,
                entry.source.kind.value,
                entry.source.jurisdiction,
                ", ".join(sorted(entry.source.scopes)),
                entry.source.defer,
                entry.created_at,
                entry.disabled_at,
            )
            for entry in found
        ],
        empty="No sources yet. Create one: cdp source create NAME",
    )


@source.command("accounting")
@click.argument("name", required=False)
@click.option("--from", "since", type=INSTANT, help="Start of the period. Default: a day before its end.")
@click.option("--to", "until", type=INSTANT, help="End of the period. Default: now.")
@command("cdp source accounting", "cdp source accounting web-shop --from 2026-01-01 --to 2026-02-01 --json")
def accounting(name: str | None, since: datetime | None, until: datetime | None, *, screen: Screen) -> None:
    """Count messages by outcome.

    Every message ends in exactly one state, and the states add up to the number received. Covers the hours that start in
    the period. Every read is logged.
    """
    with open_context() as context:
        until = until or context.clock.now() + timedelta(hours=1)
        found = accounting_flow.count_messages(
            context, since or until - timedelta(days=1), until, source=name, actor="operator"
        )
    screen.result(found)
    total = " + ".join(f"{count:,} {state.replace('_', ' ')}" for state, count in sorted(found.by_state.items()))
    screen.heading(f"{found.received:,} received" + (f" = {total}" if total else "."))
    counts: Counter[tuple[str, str, str]] = Counter()
    for line in found.counts:
        counts[line.source, line.state, line.reason] += line.messages
    if counts:
        screen.table(
            ["source", "state", "messages", "reason"],
            [
                (source, state.replace("_", " "), count, meaning_of(state, reason))
                for (source, state, reason), count in sorted(counts.items(), key=lambda pair: (pair[0][0], -pair[1]))
            ],
        )
    notices: Counter[tuple[str, str, str]] = Counter()
    for seen in found.notices:
        notices[seen.source, seen.kind, seen.subject] += seen.messages
    if notices:
        screen.line()
        screen.table(
            ["source", "subject", "messages", "notice"],
            [
                (source, subject, count, NOTICES.get(kind, kind))
                for (source, kind, subject), count in notices.most_common()
            ],
        )
    _print_properties(found, screen)


def _print_properties(found: accounting_flow.Accounting, screen: Screen) -> None:
    properties: Counter[tuple[str, str, str, str, str]] = Counter()
    for fault in found.properties:
        properties[fault.source, fault.event, fault.property, fault.expected, fault.kind] += fault.messages
    if properties:
        screen.line()
        screen.table(
            ["source", "event", "property", "expected", "messages", "problem"],
            [(*names, count, PROPERTY_NOTICES[kind]) for (*names, kind), count in properties.most_common()],
        )


@source.command("recent")
@click.argument("name")
@command("cdp source recent web-shop")
def recent(name: str, screen: Screen) -> None:
    """Show what became of the latest messages.

    At most a hundred of the last day, newest first, to find faults of a sender: type, event, state, reason and what was odd. Ids
    and values are withheld; what a webhook brought has the name of its delivery. Of several messages in one transaction, the last twenty are kept. Every read is logged.
    """
    with open_context() as context:
        found = accounting_flow.recent_messages(context, name, actor="operator")
    screen.result(found)
    screen.table(
        ["received", "type", "event", "state", "reason", "odd", "delivery"],
        [
            (
                message.received_at,
                message.type,
                message.event,
                message.state.value.replace("_", " "),
                meaning_of(message.state.value, message.reason),
                ", ".join(message.notices),
                message.delivery,
            )
            for message in found
        ],
        empty="No message of the last day.",
    )


@source.command("rotate")
@click.argument("name")
@command("cdp source rotate backend")
def rotate(name: str, screen: Screen) -> None:
    """Replace the write key of a source.

    Prints the new write key, which cannot be shown again. When the command ends, no service accepts the old one any more.
    """
    with open_context() as context:
        write_key = sources.replace_write_key(context, name)
    time.sleep(sources.KEY_SECONDS_MAX)
    screen.result({"name": name, "write_key": write_key})
    screen.facts([("source", name), ("write key", write_key)])
    screen.line("Only a hash of the write key is stored: save it now. The old one no longer works.")


@source.command("disable")
@click.argument("name")
@command("cdp source disable web-shop")
def disable(name: str, screen: Screen) -> None:
    """Disable a source permanently.

    When the command ends, no service accepts its write key any more.
    """
    with open_context() as context:
        sources.disable_source(context, name)
    time.sleep(sources.KEY_SECONDS_MAX)
    screen.result({"disabled": name})
    screen.line("Its write key no longer works.")
