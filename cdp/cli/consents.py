"""Commands about consent."""

from datetime import datetime
from typing import Any

import click

from cdp.cli.command import PAIR, command, opened
from cdp.cli.screen import Screen
from cdp.consent.model import Act, Authority
from cdp.flows.consent import acts, lookup
from cdp.flows.operations.meanings import permission_start
from cdp.kit.clock import parse_instant


class InstantType(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """An instant in ISO 8601; without an offset it is UTC."""

    name = "INSTANT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The instant, or a usage error."""
        try:
            return value if isinstance(value, datetime) else parse_instant(str(value))
        except (ValueError, OverflowError):
            self.fail("give an instant such as 2026-01-31T12:00:00Z", param, ctx)


INSTANT = InstantType()


@click.group()
def consent() -> None:
    """Consent: record an act, show what a person decided and what follows."""


@consent.command("record")
@click.argument("identifier", type=PAIR)
@click.option("--purpose", required=True, help="A purpose of policies/purposes.yaml.")
@click.option("--act", required=True, type=click.Choice([each.value for each in Act]))
@click.option(
    "--authority",
    type=click.Choice([each.value for each in Authority]),
    help="Who says so. Default: operator, for what was told by letter or telephone.",
)
@click.option("--jurisdiction", help="Whose rules hold. Default: unknown, the strictest.")
@click.option("--notice-version", help="Which notice the person saw.")
@click.option("--occurred-at", type=INSTANT, help="When the person decided. Default: now.")
@click.option("--two-step", "is_two_step", is_flag=True, help="An opt-in that was asked for and confirmed separately.")
@command(
    "cdp consent record email:ada@example.com --purpose email_marketing --act grant --jurisdiction eu",
    "cdp consent record email:ada@example.com --purpose email_marketing --act withdraw",
)
def record(identifier: tuple[str, str], screen: Screen, **given: Any) -> None:
    """Record one act; what follows is in force when the command ends."""
    with opened() as context:
        told = acts.ConsentStatement(identifier=identifier, **given)
        done = acts.record(context, told, context.clock.now())
    screen.tell(done)
    screen.line(
        f"Recorded as {done.record}, on the authority {done.authority}. With --json it prints the signed receipt."
    )


@consent.command("show")
@click.argument("identifier", type=PAIR)
@click.option("--as-of", type=INSTANT, help="What was recorded and in force at an earlier instant.")
@command(
    "cdp consent show email:ada@example.com", "cdp consent show email:ada@example.com --as-of 2026-01-31T12:00:00Z"
)
def show(identifier: tuple[str, str], as_of: datetime | None, screen: Screen) -> None:
    """Show every act that decides about a person, and the verdict for each purpose."""
    with opened() as context:
        found = lookup.look_up(context, identifier, context.clock.now(), actor="operator", as_of=as_of)
    screen.tell(
        {
            "records": found.records,
            "verdicts": {
                key: {
                    "allowed": each.allowed,
                    "reason": each.reason.value,
                    "since": each.since,
                    "until": each.until,
                }
                for key, each in found.verdicts.items()
            },
            "may_ask_from": found.may_ask_from,
        }
    )
    screen.table(
        ["record", "act", "purpose", "authority", "jurisdiction", "occurred", "by"],
        [
            (
                each["record"],
                each["act"],
                each["purpose"],
                each["authority"],
                each["jurisdiction"],
                str(each["occurred_at"])[:19].replace("T", " "),
                each["identifier_type"],
            )
            for each in found.records
        ],
        empty="No act is recorded.",
    )
    screen.line()
    screen.table(
        ["purpose", "allowed", "reason", "since", "until"],
        [
            (key, each.allowed, each.reason.value, permission_start(each.since), each.until)
            for key, each in found.verdicts.items()
        ],
    )
