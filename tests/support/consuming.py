"""`cdp consume` in processes that are killed, a producer that goes on meanwhile, and a checker that counts."""

import json
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.kit.db import Database
from tests.support.commands import ROOT, Shell
from tests.support.waits import PATIENCE_SECONDS

POINTS: Final = ("fetched", "committing", "committed", "acknowledged")
"""Where a process can be killed: with messages in memory, before and after a commit, after an acknowledgment was sent."""
_PROGRAM: Final = """
import os, signal, sys
import psycopg
from cdp.brokers import amqp, kafka
from cdp.cli.main import main
point, left = sys.argv.pop(1), [int(sys.argv.pop(1))]
armed = []
def strike(at):
    if armed and at == point:
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
def wrapped(kind, name, before, after):
    act = getattr(kind, name)
    def step(*arguments, **named):
        strike(before)
        result = act(*arguments, **named)
        if name == "fetch" and result:
            armed.append(True)
        if name != "fetch" or result:
            strike(after)
        return result
    setattr(kind, name, step)
wrapped(psycopg.Connection, "commit", "committing", "committed")
for kind in (amqp.AmqpConsumer, kafka.KafkaConsumer):
    wrapped(kind, "fetch", None, "fetched")
    wrapped(kind, "acknowledge", None, "acknowledged")
main()
"""


def order(number: int, **more: Any) -> dict[str, Any]:
    """An order that says by its number whether it was stored, and how often."""
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": f"c{number % 7}",
        "messageId": f"o-{number}",
        "properties": {"order_id": str(number), "revenue": number},
        **more,
    }


def text(body: Any) -> bytes:
    """The bytes of a message."""
    return json.dumps(body).encode()


def consume_until_killed(shell: Shell, arguments: tuple[str, ...], drawn: random.Random) -> None:
    """Run `cdp consume`, which goes on while messages arrive, and kill it somewhere."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, drawn.choice(POINTS), str(drawn.randint(1, 3)), "consume", *arguments],
        cwd=ROOT,
        env=shell.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@dataclass(slots=True)
class Producer:
    """Sends orders in a thread until it is stopped; one whose confirmation was lost is sent again."""

    send: Callable[[list[bytes]], object]
    sent: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> int:
        """End, once everything that was begun is confirmed; returns how many orders were sent."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join()
        return self.sent

    def _run(self) -> None:
        while not self._stop.is_set():
            numbers = range(self.sent, self.sent + 20)
            bodies = [text(order(number)) for number in numbers[:10]]
            bodies.append(text({"batch": [order(number) for number in numbers[10:]]}))
            is_confirmed = False
            while not is_confirmed:
                with suppress(Exception):
                    self.send(bodies)
                    is_confirmed = True
            self.sent += 20
            self._stop.wait(0.02)


def faults_in_store(database: Database, sent: int) -> list[str]:
    """What is wrong with a store that should have each of so many orders once, and have accounted for each."""
    with database.transaction(read_only=True) as tx:
        stored = Counter(
            round(float(number)) for (number,) in tx.execute("SELECT plain ->> 'revenue' FROM behavior.event")
        )
        rows = tx.execute("SELECT state, sum(messages)::bigint FROM accounting.accounting GROUP BY 1")
    states: dict[str, int] = {state: int(count) for state, count in rows}
    found = [f"order {number} is missing" for number in range(sent) if not stored[number]]
    found += [f"order {number} is stored {count} times" for number, count in stored.items() if count > 1]
    found += [f"order {number} was never sent" for number in stored if number >= sent]
    if states.get("stored", 0) != sent:
        found.append(f"accounted as stored: {states.get('stored', 0)} of {sent}")
    if states.keys() - {"stored", "duplicate"}:
        found.append(f"unexpected states: {states}")
    return found
