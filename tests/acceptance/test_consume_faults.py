"""`cdp consume` is killed, its broker is killed, its database goes away: in the end every message is there once."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from tests.support.budget import IS_LONG
from tests.support.commands import ROOT, Shell
from tests.support.consuming import Producer, consume_until_killed, faults_in_store, order, text
from tests.support.databases import administer, plain_url
from tests.support.kafka import kept_kafka
from tests.support.rabbitmq import RabbitMq, rabbitmq
from tests.support.waits import PATIENCE_SECONDS, until, until_disconnected

pytestmark = pytest.mark.slow

KILLS = {"classic": 40, "quorum": 40, "topic": 40} if IS_LONG else {"classic": 4, "quorum": 2, "topic": 3}
BROKER_KILLS = 3 if IS_LONG else 1


@pytest.fixture
def shell(database_url: str, home: Path) -> Shell:
    shell = Shell(home, {"CDP_DATABASE_URL": plain_url(database_url)})
    shell.run("source", "create", "backend", "--kind", "server")
    return shell


def arguments(rabbit: RabbitMq, queue: str) -> tuple[str, ...]:
    return ("--from", rabbit.url, "--queue", queue, "--source", "backend", "--until-empty")


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_killed_between_any_two_steps_it_stores_every_message_once(
    shell: Shell, database: Database, rabbit: RabbitMq, kind: str
) -> None:
    queue = rabbit.declare(f"killed-{kind}", **{"x-queue-type": kind})
    drawn = random.Random(kind)
    producer = Producer(lambda bodies: rabbit.publish(queue, bodies))
    producer.start()
    try:
        for _ in range(KILLS[kind]):
            consume_until_killed(shell, arguments(rabbit, queue)[:-1], drawn)
            until_disconnected(database, "cdp-command")
    finally:
        sent = producer.stop()
    shell.spawn("consume", *arguments(rabbit, queue))
    assert faults_in_store(database, sent) == []
    assert rabbit.depth(queue) == 0


def test_killed_between_any_two_steps_it_stores_every_offset_once(shell: Shell, database: Database) -> None:
    with kept_kafka() as kafka:
        topic = kafka.create("orders")
        given = ("--from", kafka.url, "--topic", topic, "--source", "backend")
        drawn = random.Random("topic")
        producer = Producer(lambda bodies: kafka.publish(topic, bodies))
        producer.start()
        try:
            for _ in range(KILLS["topic"]):
                consume_until_killed(shell, given, drawn)
                until_disconnected(database, "cdp-command")
        finally:
            sent = producer.stop()
        shell.spawn("consume", *given, "--until-empty")
    assert faults_in_store(database, sent) == []


@contextmanager
def consuming(shell: Shell, rabbit: RabbitMq, queue: str) -> Iterator["subprocess.Popen[str]"]:
    """`cdp consume` until the block ends, and then without a complaint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cdp", "consume", *arguments(rabbit, queue)[:-1]],
        cwd=ROOT,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)
    assert process.returncode == 0


def events_in(database: Database) -> int:
    with database.transaction(read_only=True) as tx:
        return int(tx.execute("SELECT count(*) FROM behavior.event")[0][0])


def further_than(database: Database, reached: int, process: "subprocess.Popen[str]") -> Callable[[], bool]:
    return lambda: events_in(database) > reached or process.poll() is not None


def test_a_broker_that_is_killed_is_read_again(shell: Shell, database: Database) -> None:
    with rabbitmq() as own:
        queue = own.declare("orders")
        producer = Producer(lambda bodies: own.publish(queue, bodies))
        with consuming(shell, own, queue) as process:
            producer.start()
            for _ in range(BROKER_KILLS):
                reached = events_in(database)
                until(further_than(database, reached, process))
                own.kill()
                own.start()
            sent = producer.stop()
            until(lambda: events_in(database) == sent or process.poll() is not None)
        assert process.stderr is not None
        said = process.stderr.read()
        assert "Waiting. broker_unavailable" in said
        assert "Reading again." in said
        shell.spawn("consume", *arguments(own, queue))
    assert faults_in_store(database, sent) == []


def test_while_the_database_is_away_nothing_is_acknowledged(
    shell: Shell, database: Database, server: EmbeddedPostgres, rabbit: RabbitMq
) -> None:
    queue = rabbit.declare("away")
    name = psycopg.conninfo.conninfo_to_dict(shell.settings["CDP_DATABASE_URL"])["dbname"]
    assert isinstance(name, str)
    with consuming(shell, rabbit, queue) as process:
        rabbit.publish(queue, [text(order(0))])
        until(lambda: events_in(database) == 1 or process.poll() is not None)
        database.close()
        administer(server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false", name)
        with psycopg.connect(plain_url(server.admin_url), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        rabbit.publish(queue, [text(order(number)) for number in range(1, 40)])
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Waiting. database_")
        assert process.poll() is None
        administer(server, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS true", name)
        assert process.stderr.readline() == "Reading again.\n"
        until(lambda: events_in(database) == 40 or process.poll() is not None)
    assert faults_in_store(database, 40) == []
    assert rabbit.depth(queue) == 0
