"""The command that reads a queue."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from cdp.cli.command import command, open_context, settings
from cdp.cli.screen import Screen, is_terminal, print_error
from cdp.kit.bounded_file import read_bounded
from cdp.kit.errors import Fault
from cdp.kit.wording import counted

if TYPE_CHECKING:
    from cdp.flows.consume.consume import Consumed, ConsumeProgress, Subscription


@click.command()
@click.option(
    "--from", "url", required=True, metavar="URL", help="The broker: amqp://, amqps://, kafka:// or kafkas://."
)
@click.option("--queue", "--topic", "queue", required=True, help="The queue of AMQP, or the topic of Kafka.")
@click.option("--source", "source_name", required=True, help="A source created with `cdp source create`.")
@click.option("--group", help="A consumer group of Kafka, whose members share the partitions.")
@click.option(
    "--password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the password. Default: CDP_BROKER_PASSWORD, or that of the URL.",
)
@click.option(
    "--mapping",
    "mapping_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A YAML file that maps messages of another form, as for a webhook.",
)
@click.option("--until-empty", is_flag=True, help="End when everything was read that the broker has.")
@click.option("--reset", is_flag=True, help="Read the topic from its oldest message, whatever was read before.")
@command(
    "cdp consume --from amqps://cdp@mq.example.com/shop --queue events --source backend",
    "cdp consume --from kafka://kafka.example.com:9092 --topic events --source backend --until-empty",
)
def consume(  # noqa: PLR0913 - each is an option
    url: str,
    queue: str,
    source_name: str,
    *,
    group: str | None,
    password_file: Path | None,
    mapping_file: Path | None,
    until_empty: bool,
    reset: bool,
    screen: Screen,
) -> None:
    """Read messages from a queue or a topic.

    Each message of the broker is one message of the Segment spec, or a batch of them, or another JSON value with --mapping. It passes the same checks as one that is sent to
    the service. It is acknowledged after it is stored, so that nothing is lost; what is delivered again counts once. A message that
    cannot be read is counted as invalid.

    Runs until Ctrl-C or SIGTERM. While the database or the broker is away it waits, and goes on by itself.
    """
    from cdp.brokers.address import parse_address
    from cdp.flows.consume import consume as use_case
    from cdp.flows.hooks.mapping import read_hook_mapping
    from cdp.flows.operations.startup import PolicyWatcher

    address = parse_address(url, _password(password_file))
    subscription = use_case.Subscription(
        address=address,
        queue=queue,
        source_name=source_name,
        group=group or "",
        until_empty=until_empty,
        reset=reset,
        mappings=() if mapping_file is None else read_hook_mapping(mapping_file.name, _content(mapping_file)),
    )
    with open_context() as context, _stopping() as stop, _shown(screen, subscription) as watch:
        done = use_case.consume(PolicyWatcher(context), subscription, stop=stop, watch=watch)
    screen.result(done)
    _print(screen, done)


def _password(file: Path | None) -> str | None:
    """The password of the file, or of the setting; None where the one in the URL counts."""
    if file is None:
        return settings().broker_password
    return _content(file).decode(errors="replace").rstrip("\r\n")


def _content(file: Path) -> bytes:
    try:
        return read_bounded(file)
    except OSError:
        raise Fault(
            "unreadable_file",
            "The file cannot be read",
            f"{file}: it must be a file that this process may read.",
            status=422,
        ) from None


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second signal ends the process at once."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, _frame: object) -> None:
        if stop.is_set():
            os._exit(128 + number)  # what is not committed is rolled back, and stays with the broker
        stop.set()

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@contextmanager
def _shown(screen: Screen, subscription: "Subscription") -> Iterator[Callable[["ConsumeProgress"], None]]:
    """A line on standard error with messages, rate and lag, and a line whenever it has to wait for something."""
    line = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        disable=screen.is_json or not is_terminal(),
        transient=True,
    )
    began = time.monotonic()
    waits_for: str | None = None

    def watch(progress: "ConsumeProgress") -> None:
        nonlocal waits_for
        code = None if progress.fault is None else progress.fault.code
        if code != waits_for:
            fault = progress.fault
            print_error(f"Waiting. {fault.code}: {fault.detail or fault.title}" if fault else "Reading again.")
            waits_for = code
        rate = progress.counts.messages / max(time.monotonic() - began, 1e-9)
        lag = "" if progress.waiting is None else f", {progress.waiting:,} waiting"
        line.update(
            task,
            description=f"{subscription.queue}: {counted(progress.counts.messages, 'message')}, {rate:,.0f} a second{lag}",
        )

    with line:
        task = line.add_task(subscription.queue, total=None)
        yield watch


def _print(screen: Screen, done: "Consumed") -> None:
    from cdp.accounting.model import State
    from cdp.flows.operations.meanings import STATES, meaning_of

    screen.heading(
        f"{counted(done.counts.fetched, 'message')} of {done.queue} read into the source {done.source}."
        + ("" if done.is_empty else " Stopped before the end.")
    )
    screen.table(
        ["state", "messages", "meaning"],
        [(state, count, STATES[state]) for state, count in done.counts.states.items()],
        empty="There was nothing to read.",
    )
    reasons = [(name.split(": ", 1), count) for name, count in done.counts.reasons.items()]
    if reasons:
        screen.line()
        screen.table(
            ["messages", "state", "reason"],
            [(count, state, meaning_of(State(state), reason)) for (state, reason), count in reasons],
        )
    if done.counts.unread:
        screen.line()
        screen.line(
            f"Nothing could be read of {counted(done.counts.unread, 'message')} of the broker. If one contained a refusal, that is not "
            "recorded: see them in the dead-letter queue, if there is one, or ask the sender."
        )
