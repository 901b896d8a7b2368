"""The demonstration command."""

import dataclasses
import sys

import click
from rich.console import Console

from cdp.cli.command import command, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.kit.plain_stream import plain_unless_terminal


@click.command()
@click.option(
    "--url",
    help="The URL of a running service. Default: the one at CDP_HOST and CDP_PORT, or one that is started for the demonstration.",
)
@click.option("--anyway", is_flag=True, help="Run even if the store already has sources.")
@click.option("--until-input-ends", is_flag=True, hidden=True, help="Stop when standard input ends.")
@command("cdp demo", "CDP_HOME=./var-demo CDP_PORT=8001 cdp demo")
def demo(url: str | None, anyway: bool, until_input_ends: bool, *, screen: Screen) -> None:
    """Run the demonstration on real orders.

    Sends a year of orders through an SDK (18,532 orders of 4,338 customers) and shows every step from consent to a
    verifiable erasure. E-mail addresses, devices and consent choices are invented, identically in every run. It takes
    two to three minutes, can be stopped at any point and run again, and counts nothing twice.
    """
    from cdp.demo.first_start import end_with_input, require_demo

    require_demo()  # before the import of what imports the SDK
    from cdp.demo.run import reachable, run_demo

    if until_input_ends:
        end_with_input()
    config = settings()
    quiet_logging(config)
    console = Console(file=plain_unless_terminal(sys.stdout), quiet=screen.is_json)
    with reachable(config, url, console) as (found, goes_on):
        notes = run_demo(config, found, console, anyway=anyway, is_serving=goes_on)
    screen.result(
        {name: value for name, value in dataclasses.asdict(notes).items() if name not in ("write_keys", "tokens")}
    )
