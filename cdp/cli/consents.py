"""Commands about consent."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cdp.cli.command import PAIR, command, open_context, write_out
from cdp.cli.consent_trial import try_command
from cdp.cli.screen import Screen, cell_text
from cdp.consent.model import STATED_ACTS, Authority
from cdp.flows.consent import acts, lookup, receipts
from cdp.flows.consent.as_of import AsOf, AsOfBasis
from cdp.flows.operations.meanings import effective_since
from cdp.kit.clock import parse_instant
from cdp.rights.archive import to_json


class InstantType(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """An instant in ISO 8601; without an offset it is UTC."""

    name = "INSTANT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse an instant; anything else is a usage error."""
        try:
            return value if isinstance(value, datetime) else parse_instant(str(value))
        except (ValueError, OverflowError):
            self.fail("give an instant such as 2026-01-31T12:00:00Z", param, ctx)


INSTANT = InstantType()


@click.group()
def consent() -> None:
    """Record and show consent."""


@consent.command("record")
@click.argument("identifier", type=PAIR)
@click.option("--purpose", required=True, help="A purpose from policies/purposes.yaml.")
@click.option(
    "--act", required=True, type=click.Choice([act.value for act in STATED_ACTS]), help="What the person decided."
)
@click.option(
    "--authority",
    type=click.Choice([authority.value for authority in Authority]),
    help="Who vouches for the act. Default: operator, for acts received by letter or telephone.",
)
@click.option("--jurisdiction", help="The jurisdiction whose rules apply. Default: unknown, the strictest.")
@click.option("--notice-version", help="The version of the notice that the person saw.")
@click.option("--occurred-at", type=INSTANT, help="When the person decided. Default: now.")
@click.option("--two-step", "is_two_step", is_flag=True, help="Confirms an opt-in that was requested before.")
@click.option("--subject-initiated", "is_subject_initiated", is_flag=True, help="Nobody asked the person to opt in.")
@command(
    "cdp consent record email:ada@example.com --purpose email_marketing --act grant --jurisdiction eu",
    "cdp consent record email:ada@example.com --purpose email_marketing --act withdraw",
)
def record(identifier: tuple[str, str], screen: Screen, **given: Any) -> None:
    """Record a consent act.

    It is in force when the command ends.
    """
    with open_context() as context:
        result = acts.ConsentStatement(identifier=identifier, **given)
        done = acts.record(context, result)
    screen.result(done)
    screen.line(f"Recorded as {done.record} with authority {done.authority}. --json prints the signed receipt.")


@consent.command("show")
@click.argument("identifier", type=PAIR)
@click.option("--as-of", "instant", type=INSTANT, help="Answer as of an earlier instant, under the policy of then.")
@click.option(
    "--basis",
    type=click.Choice([basis.value for basis in AsOfBasis]),
    default=AsOfBasis.RECORDED.value,
    show_default=True,
    help="With --as-of: by what was recorded by then, or by what had occurred by then.",
)
@command(
    "cdp consent show email:ada@example.com",
    "cdp consent show email:ada@example.com --as-of 2026-01-31T12:00:00Z",
    "cdp consent show email:ada@example.com --as-of 2026-01-31 --basis occurred",
)
def show(identifier: tuple[str, str], instant: datetime | None, *, basis: str, screen: Screen) -> None:
    """Show consent records and verdicts.

    Lists every consent record of a person, oldest first, and the verdict for each purpose.

    --as-of asks one of two questions about an earlier instant. As recorded: what did the store know then? As it was
    (--basis occurred): what had happened by then, by everything that is known now?
    """
    as_of = None if instant is None else AsOf(instant, AsOfBasis(basis))
    with open_context() as context:
        found = lookup.look_up(context, identifier, context.clock.now(), actor="operator", as_of=as_of)
    _print_consents(screen, found)


@consent.command("receipt")
@click.argument("record")
@click.option("--out", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="FILE.json")
@command("cdp consent receipt con_0004zc8e6w1rk --out receipt.json")
def receipt(record: str, out: Path | None, screen: Screen) -> None:
    """Issue the receipt of a consent act.

    Works for every act in the ledger, whether it came by a message, a signal, an import, a request or `cdp consent record`;
    `cdp consent show` lists them. The receipt of a grant contains a token that withdraws it: hand it to the person only.
    """
    with open_context() as context:
        signed = receipts.receipt(context, record, actor="operator")
    screen.result(signed)
    if out is None:
        screen.line(to_json(signed).rstrip())
    else:
        write_out(out, to_json(signed).encode())
        screen.line(f"{out}. Next: cdp audit verify {out} --key KEY, with the key that `cdp audit check-log` shows.")


def _print_consents(screen: Screen, found: lookup.Consents) -> None:
    screen.result(
        {
            "records": found.records,
            "verdicts": {
                key: {
                    "allowed": verdict.allowed,
                    "reason": verdict.reason.value,
                    "since": verdict.since,
                    "until": verdict.until,
                }
                for key, verdict in found.verdicts.items()
            },
            "may_ask_from": found.may_ask_from,
            "opt_in_over_gpc": found.opt_in_over_gpc,
            "incomplete": found.incomplete,
            "mapping_on_record_since": found.mapping_on_record_since,
        }
    )
    screen.table(
        ["record", "act", "purpose", "authority", "jurisdiction", "occurred", "identifier"],
        [
            (
                record["record"],
                record["act"],
                record["purpose"],
                record["authority"],
                record["jurisdiction"],
                str(record["occurred_at"])[:19].replace("T", " "),
                record["identifier_type"],
            )
            for record in found.records
        ],
        empty="No consent records.",
    )
    screen.line()
    screen.table(
        ["purpose", "allowed", "reason", "since", "until"],
        [
            (key, verdict.allowed, verdict.reason.value, effective_since(verdict.since), verdict.until)
            for key, verdict in found.verdicts.items()
        ],
    )
    for key, opt_in in found.opt_in_over_gpc.items():
        screen.line(f"{key}: the opt-in {opt_in} stands against the GPC signal of a browser.")
    if found.mapping_on_record_since is not None:
        screen.line(
            f"The identity map of that time is not on record: changes before {cell_text(found.mapping_on_record_since)} were "
            "not kept, so that the map of that instant was used. Who was one person may have been another."
        )
    if found.incomplete:
        screen.line(f"Incomplete: an age that counted then was deleted since ({', '.join(found.incomplete)}).")


consent.add_command(try_command)
