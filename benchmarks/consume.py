"""`cdp consume` of a queue and of a topic beside the ingest pipeline on the same messages, on one durable PostgreSQL.

    python -m benchmarks.consume                      # 60,000 messages
    python -m benchmarks.consume --messages 6000 --rounds 2

Consume: the use case behind the command, from its connection to the empty queue. RabbitMQ (Debian: rabbitmq-server) has the messages in a
classic queue, the broker of the tests in a topic of three partitions; both run on this machine. Pipeline: `Ingest.process` on the
same kind of messages, read before the clock started, in batches of as many. Rounds alternate on one store; everybody is known before. Processor time is that
of this process and its server process, without the broker. With `--backlog`, that many messages wait in the queue and only memory is measured, in a process of its own.
"""

import argparse
import json
import random
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from benchmarks._stage import PERMIT_ALL, Spent, Stage, Stopwatch, backend_pid, machine, median, stage, table
from cdp.accounting.model import State
from cdp.brokers.address import parse_address
from cdp.brokers.model import FETCH_MESSAGES_MAX
from cdp.flows.consume.consume import ConsumeProgress, Subscription, consume
from cdp.flows.context import Context
from cdp.flows.imports.messages import source_of
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import PolicyWatcher, open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.policy.load import load_policy
from cdp.sources.model import SourceKind
from cdp.wire.frame import Frame, Queued
from cdp.wire.queued import read_queued
from tests.support.kafka import kept_kafka
from tests.support.rabbitmq import rabbitmq

_SOURCE: Final = "backend"
_PEOPLE: Final = 2_000


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--messages", type=int, default=60_000, help="messages of each of the three, in all rounds together"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=0, help="messages in the queue whose memory is measured")
    options = parser.parse_args()
    with stage() as place:
        if options.backlog:
            print(_backlog(place, options.backlog))
        else:
            print(_measure(place, options.messages, options.rounds))


def _opened(place: Stage) -> tuple[Database, Context]:
    database = Database(place.url)
    context = open_context(database, load_policy(PERMIT_ALL), SystemClock(), home=place.home)
    create_source(context, _SOURCE, kind=SourceKind.SERVER)
    return database, context


def _measure(place: Stage, messages: int, rounds: int) -> str:
    database, context = _opened(place)
    facts = machine(database) | {"messages": f"{messages:,}", "people": f"{_PEOPLE:,}", "rounds": str(rounds)}
    count, watched = messages // rounds, backend_pid(database)
    spent: dict[str, list[Spent]] = {"pipeline": [], "queue": [], "topic": []}
    with ExitStack() as stack:
        rabbit, kafka = stack.enter_context(rabbitmq()), stack.enter_context(kept_kafka())
        rabbit.declare("bench")
        kafka.create("bench")
        _pipe(context, _bodies("known", range(_PEOPLE)), watched)
        for number in range(rounds):
            numbers = range(number * count, (number + 1) * count)
            spent["pipeline"].append(_pipe(context, _bodies("p", numbers), watched))
            rabbit.publish("bench", _bodies("q", numbers))
            spent["queue"].append(_consume(context, rabbit.url, watched, count))
            kafka.publish("bench", _bodies("t", numbers))
            spent["topic"].append(_consume(context, kafka.url, watched, count))
    database.close()
    rows = []
    for name, label in (("pipeline", "pipeline alone"), ("queue", "queue of RabbitMQ"), ("topic", "topic")):
        share = median([base.wall / one.wall for base, one in zip(spent["pipeline"], spent[name], strict=True)])
        processor = median(
            [base.processor / one.processor for base, one in zip(spent["pipeline"], spent[name], strict=True)]
        )
        rate = count / median([one.wall for one in spent[name]])
        rows.append([label, f"{rate:,.0f}", f"{share:.2f}", f"{processor:.2f}"])
    return "\n".join(
        [
            "## Consume",
            "",
            table(["fact", "value"], [[name, value] for name, value in facts.items()]),
            "",
            table(["measured", "messages a second", "share of the pipeline", "in processor time"], rows),
        ]
    )


def _bodies(prefix: str, numbers: range) -> list[bytes]:
    """Orders of the last year, of about 600 bytes."""
    drawn = random.Random(f"{prefix}{numbers.start}")
    latest = datetime.now(UTC) - timedelta(days=2)
    return [json.dumps(_order(prefix, number, drawn, latest=latest)).encode() for number in numbers]


def _order(prefix: str, number: int, drawn: random.Random, *, latest: datetime) -> dict[str, Any]:
    who = number if prefix == "known" else int(drawn.paretovariate(0.7)) % _PEOPLE
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"{prefix}-{number}",
        "userId": f"c{who}",
        "anonymousId": f"device-of-{who}",
        "timestamp": (latest - timedelta(minutes=drawn.randrange(300 * 24 * 60))).isoformat(),
        "properties": {
            "order_id": f"{prefix}{number}",
            "revenue": drawn.randrange(500, 20_000) / 100,
            "currency": "EUR",
        },
        "context": {"library": {"name": "backend", "version": "1.0"}, "page": {"path": "/checkout"}, "note": "x" * 150},
    }


def _pipe(context: Context, bodies: list[bytes], watched: int) -> Spent:
    ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
    total = Spent(0.0, 0.0, 0.0)
    for batch in _batches(context, bodies):
        watch = Stopwatch(watched)
        outcomes = ingest.process(batch)
        read = watch.read()
        total = Spent(total.wall + read.wall, total.here + read.here, total.database + read.database)
        assert all(outcome.state is State.STORED for outcome in outcomes), outcomes[0]
    return total


def _batches(context: Context, bodies: list[bytes]) -> Iterator[list[Any]]:
    frame = Frame(source_of(context, _SOURCE), context.clock.now())
    for start in range(0, len(bodies), FETCH_MESSAGES_MAX):
        some = bodies[start : start + FETCH_MESSAGES_MAX]
        yield [message for body in some for message in read_queued(body, frame, Queued("bench"))]


def _consume(context: Context, url: str, watched: int, count: int) -> Spent:
    watch = Stopwatch(watched)
    subscription = Subscription(parse_address(url), "bench", _SOURCE, group="bench", until_empty=True)
    done = consume(PolicyWatcher(context), subscription, stop=threading.Event())
    spent = watch.read()
    assert done.counts.states == {"stored": count}, done
    return spent


def _backlog(place: Stage, messages: int) -> str:
    """The peak of memory while a long queue is read for a while."""
    database, context = _opened(place)
    stop = threading.Event()
    lines = []
    with rabbitmq() as rabbit:
        rabbit.declare("bench")
        for start in range(0, messages, 10_000):
            rabbit.publish("bench", _bodies("q", range(start, min(messages, start + 10_000))))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        consume(
            PolicyWatcher(context),
            Subscription(parse_address(rabbit.url), "bench", _SOURCE),
            stop=stop,
            watch=_until(stop, min(messages, 20_000)),
        )
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        lines = [
            f"{rabbit.depth('bench'):,} messages still wait; peak memory {before} MB before, {after} MB after 20,000 of them"
        ]
    database.close()
    return "\n".join(lines)


def _until(stop: threading.Event, count: int) -> Callable[[ConsumeProgress], None]:
    return lambda progress: stop.set() if progress.counts.messages >= count else None


if __name__ == "__main__":
    main()
