"""Commands that end what stands in the way of processing: suppressions and restrictions."""

import click

from cdp.cli.command import PAIR, command, open_context
from cdp.cli.screen import Screen
from cdp.flows.rights.restrict import release
from cdp.flows.rights.suppression import lift_suppression
from cdp.kit.wording import counted


@click.group()
def suppression() -> None:
    """Lift suppressions."""


@suppression.command("lift")
@click.argument("identifiers", type=PAIR, nargs=-1, required=True)
@click.option("--verified", "is_verified", is_flag=True, help="Confirm that you verified who the person is.")
@command("cdp suppression lift email:ada@example.com user_id:4711 --verified")
def lift(identifiers: tuple[tuple[str, str], ...], *, is_verified: bool, screen: Screen) -> None:
    """Lift the suppression of a person's identifiers.

    For a person who was erased, or asked not to be stored, and wants to be known again. Only messages that occur from now
    on are stored; nothing from before comes back. The act is recorded in the audit log.
    """
    with open_context() as context:
        count = lift_suppression(context, identifiers, is_verified=is_verified, now=context.clock.now())
    screen.result({"lifted": count})
    screen.line(f"Lifted for {counted(count, 'identifier')}.")


@click.group()
def restriction() -> None:
    """End restrictions of processing."""


@restriction.command("end")
@click.argument("identifiers", type=PAIR, nargs=-1, required=True)
@click.option("--informed", "is_informed", is_flag=True, help="Confirm that the person was informed before.")
@command("cdp restriction end email:ada@example.com --informed")
def end(identifiers: tuple[tuple[str, str], ...], *, is_informed: bool, screen: Screen) -> None:
    """End the restriction of a person's data.

    The person must be informed before (GDPR Art. 18(3)). What is stored is used again where a purpose still permits it.
    """
    with open_context() as context:
        count = release(context, identifiers, is_informed=is_informed, now=context.clock.now())
    screen.result({"released": count})
    screen.line(f"Ended for {counted(count, 'identifier')}.")
