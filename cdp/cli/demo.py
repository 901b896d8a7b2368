"""The command that shows everything on real orders."""

import dataclasses
import sys

import click
from rich.console import Console

from cdp.cli.command import command, quiet_logging, settings
from cdp.cli.screen import Screen
from cdp.kit.plain_stream import plain_unless_terminal


@click.command()
@click.option("--url", help="A running service. Default: that of CDP_HOST and CDP_PORT, or one started for this.")
@click.option("--anyway", is_flag=True, help="Also in a store that has sources of its own.")
@click.option("--until-input-ends", is_flag=True, hidden=True, help="End with the service that started this.")
@command("cdp demo", "CDP_HOME=./var-demo CDP_PORT=8001 cdp demo")
def demo(url: str | None, anyway: bool, until_input_ends: bool, *, screen: Screen) -> None:
    """Replay a year of real orders through an SDK, then walk from consent to a provable erasure.

    18,532 orders of 4,338 customers are sent over HTTP; people, devices and consents around them are invented, the same
    in every run. It takes a minute or two, can be stopped anywhere and run again, and counts nothing twice.
    """
    from cdp.demo.first import end_with_input, require_demo

    require_demo()
    from cdp.demo.run import reachable, run_demo

    if until_input_ends:
        end_with_input()
    config = settings()
    quiet_logging(config)
    console = Console(file=plain_unless_terminal(sys.stdout), quiet=screen.is_json)
    with reachable(config, url, console) as (found, goes_on):
        notes = run_demo(config, found, console, anyway=anyway, is_serving=goes_on)
    screen.tell(
        {name: value for name, value in dataclasses.asdict(notes).items() if name not in ("write_keys", "tokens")}
    )
