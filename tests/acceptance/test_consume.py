"""`cdp consume` as a person runs it."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.support.commands import ROOT, Shell
from tests.support.databases import plain_url
from tests.support.rabbitmq import PASSWORD, RabbitMq
from tests.support.waits import PATIENCE_SECONDS, until


@pytest.fixture
def shell(database_url: str, home: Path) -> Shell:
    shell = Shell(home, {"CDP_DATABASE_URL": plain_url(database_url)})
    shell.run("source", "create", "backend", "--kind", "server")
    return shell


@pytest.fixture
def queue(rabbit: RabbitMq, request: pytest.FixtureRequest) -> str:
    return rabbit.declare(f"cli-{request.node.name}")


def orders(count: int) -> list[bytes]:
    return [
        json.dumps(
            {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": f"m{number}", "properties": {}}
        ).encode()
        for number in range(count)
    ]


def test_it_says_what_became_of_the_messages(shell: Shell, rabbit: RabbitMq, queue: str) -> None:
    rabbit.publish(queue, [*orders(3), b"{"])
    arguments = ("consume", "--from", rabbit.url, "--queue", queue, "--source", "backend", "--until-empty")
    done = shell.run(*arguments)
    assert f"4 messages of {queue} read into the source backend." in done.stdout
    assert "stored" in done.stdout
    assert "not valid JSON" in done.stdout
    assert "Nothing could be read of 1 message of the broker." in done.stdout
    rabbit.publish(queue, orders(2))
    again = shell.json(*arguments)
    assert again["counts"]["states"] == {"duplicate": 2}
    assert PASSWORD not in done.stdout + done.stderr + json.dumps(again)


def test_the_password_comes_from_a_file_or_a_setting_and_is_never_shown(
    shell: Shell, rabbit: RabbitMq, queue: str, tmp_path: Path
) -> None:
    url = rabbit.url.replace(PASSWORD, "wrong-secret")
    arguments = ("consume", "--from", url, "--queue", queue, "--source", "backend", "--until-empty")
    refused = shell.run(*arguments, code=3)
    assert refused.stderr.startswith("broker_refused: ")
    assert "wrong-secret" not in refused.stderr + refused.stdout
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    shell.run(*arguments, "--password-file", str(tmp_path / "password"))
    Shell(shell.home, {**shell.settings, "CDP_BROKER_PASSWORD": PASSWORD}).run(*arguments)
    broken = shell.run("consume", "--from", "amqp://u:wrong-secret@h:port", "--queue", "q", "--source", "s", code=2)
    assert broken.stderr.startswith("invalid_broker_url: ")
    assert "wrong-secret" not in broken.stderr


def events_in(database: "psycopg.Connection[tuple[int]]") -> int:
    row = database.execute("SELECT count(*) FROM behavior.event").fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(shell: Shell, rabbit: RabbitMq, queue: str, number: signal.Signals) -> None:
    rabbit.publish(queue, orders(5))
    process = subprocess.Popen(
        [sys.executable, "-m", "cdp", "consume", "--from", rabbit.url, "--queue", queue, "--source", "backend"],
        cwd=ROOT,
        env=shell.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = shell.settings["CDP_DATABASE_URL"]
    with psycopg.connect(url, autocommit=True) as database:
        until(lambda: process.poll() is not None or events_in(database) == 5)
    process.send_signal(number)
    out, errors = process.communicate(timeout=PATIENCE_SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert "5 messages of" in out
    assert "Stopped before the end." in out
    assert rabbit.depth(queue) == 0
