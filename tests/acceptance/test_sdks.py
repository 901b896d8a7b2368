"""Unmodified clients send to a running server, and what they send lands."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cdp.flows.ingest.batch import Ingest
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from tests.support.documents import blocks
from tests.support.ingest_endpoint import IngestEndpoint, Outage, open_ingest_endpoint
from tests.support.pipeline import Pipeline, people_of
from tests.support.policies import ROOT, permit_all, shipped
from tests.support.waits import PATIENCE_SECONDS, until

pytestmark = pytest.mark.postgres

SDK = Path(__file__).resolve().parents[1] / "sdk"
LEGACY = Path(sys.prefix) / "legacy-sdk"
NODE = Path(sys.prefix) / "node-sdk" / "node_modules"

WHO_IS_WHO = {
    frozenset(
        {("user_id", "u1"), ("email", "ada@example.com"), ("anonymous_id", "anon-1"), ("anonymous_id", "anon-2")}
    ),
    frozenset({("user_id", "12345")}),
}

STATED_AT = datetime.now(UTC).replace(microsecond=123000) - timedelta(days=30)
PATIENCE = timedelta(seconds=PATIENCE_SECONDS)

PYTHON_CLIENTS = ["segment.analytics", "analytics", "rudderstack.analytics", "customerio.analytics"]
NODE_CLIENTS = [
    ("send_segment.cjs", "@segment/analytics-node"),
    ("send_segment.cjs", "@customerio/cdp-analytics-node"),
    ("send_rudder.cjs", "@rudderstack/rudder-sdk-node"),
]


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    with open_ingest_endpoint(database, permit_all(), tmp_path, {"wk_sdk": SourceKind.SERVER}) as endpoint:
        yield endpoint


def run(command: Sequence[str | Path], **environment: str) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr


def send_python(client: str, url: str, key: str = "wk_sdk") -> None:
    path = str(LEGACY) if client == "analytics" else ""
    run([sys.executable, SDK / "send.py", client, url, key, STATED_AT.isoformat()], PYTHONPATH=path)


def assert_all_landed(endpoint: IngestEndpoint) -> None:
    assert endpoint.accounted() == {"stored": 7}
    context = endpoint.context
    pipeline = Pipeline(
        context,
        TestClock(context.clock.now()),
        Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay),
    )
    assert pipeline.partition() == WHO_IS_WHO
    with context.database.transaction(read_only=True) as tx:
        [(revenue, occurred_at)] = tx.execute(
            "SELECT plain->>'revenue', occurred_at FROM behavior.event WHERE plain ? 'revenue'"
        )
    assert revenue == "19.99"
    assert abs(occurred_at - STATED_AT) < PATIENCE, "but for the time that it took to arrive"


@pytest.mark.parametrize("client", PYTHON_CLIENTS)
def test_what_a_python_client_sends_lands(endpoint: IngestEndpoint, client: str) -> None:
    send_python(client, endpoint.url)
    assert_all_landed(endpoint)


@pytest.mark.node
@pytest.mark.parametrize(("script", "package"), NODE_CLIENTS)
def test_what_a_node_client_sends_lands(endpoint: IngestEndpoint, script: str, package: str) -> None:
    run(["node", SDK / script, endpoint.url, "wk_sdk", STATED_AT.isoformat(), package], NODE_PATH=str(NODE))
    assert_all_landed(endpoint)


@pytest.mark.node
def test_the_node_example_of_the_page_runs_as_written(endpoint: IngestEndpoint, tmp_path: Path) -> None:
    [example] = blocks((ROOT / "docs" / "how-to" / "use-an-sdk.md").read_text(encoding="utf-8"), "js")
    (tmp_path / "node_modules").symlink_to(NODE)
    file = tmp_path / "example.mjs"
    file.write_text(example.replace("wk_…", "wk_sdk").replace("http://127.0.0.1:8000", endpoint.url), encoding="utf-8")
    run(["node", file])
    assert endpoint.accounted() == {"stored": 1}


@contextmanager
def in_page(example: Path) -> Iterator[subprocess.Popen[str]]:
    """An example of a web page in a browser, whose timers end with the block."""
    command = ["node", str(SDK / "run_in_page.cjs"), str(example)]
    with subprocess.Popen(command, env={**os.environ, "NODE_PATH": str(NODE)}, text=True) as browser:
        try:
            yield browser
        finally:
            browser.kill()


@pytest.mark.node
@pytest.mark.parametrize("number", [0, 1], ids=["segment", "rudderstack"])
def test_the_browser_examples_of_the_page_send(database: Database, tmp_path: Path, number: int) -> None:
    page = (ROOT / "docs" / "how-to" / "use-an-sdk.md").read_text(encoding="utf-8")
    file = tmp_path / "example.mjs"
    with open_ingest_endpoint(database, permit_all(), tmp_path, {"wk_web": SourceKind.BROWSER}) as endpoint:
        example = blocks(page, "javascript")[number].replace("wk_…", "wk_web")
        file.write_text(example.replace("http://127.0.0.1:8000", endpoint.url), encoding="utf-8")
        with in_page(file) as browser:
            until(lambda: endpoint.accounted() == {"stored": 1} or browser.poll() is not None)
        assert endpoint.accounted() == {"stored": 1}


REUSED = """
import sys
import rudderstack.analytics as client

client.write_key, client.dataPlaneUrl, client.sync_mode = "wk_sdk", sys.argv[1], True
context = {"ip": "203.0.113.9"}
client.identify("cleo", {"email": "cleo@example.com"}, context)
client.track("dan", "Order Completed", {"revenue": 5}, context)
"""


def test_a_context_that_is_used_again_makes_no_two_people_one(endpoint: IngestEndpoint) -> None:
    """The library writes the traits of the one into the dictionary, and sends them with the event of the other."""
    run([sys.executable, "-c", REUSED, endpoint.url])
    assert endpoint.accounted() == {"stored": 2}
    assert len(people_of(endpoint.context)) == 2
    assert endpoint.notices() == {"left_over_traits": 1}


@pytest.mark.parametrize("client", PYTHON_CLIENTS)
def test_a_client_that_is_told_the_store_is_away_sends_again(database: Database, tmp_path: Path, client: str) -> None:
    keys = {"wk_sdk": SourceKind.SERVER}
    with open_ingest_endpoint(
        database, permit_all(), tmp_path, keys, between=lambda ingest: Outage(ingest, 1)
    ) as endpoint:
        send_python(client, endpoint.url)
        assert_all_landed(endpoint)
        assert endpoint.running.endpoint.answers[503] == 1


def test_an_unknown_write_key_is_reported_by_the_client(endpoint: IngestEndpoint) -> None:
    with pytest.raises(AssertionError, match="unknown_write_key"):
        send_python("segment.analytics", endpoint.url, "wk_unknown")
    assert endpoint.accounted() == {}


def test_under_the_shipped_policies_nothing_lands_without_consent(database: Database, tmp_path: Path) -> None:
    with open_ingest_endpoint(database, shipped(), tmp_path, {"wk_sdk": SourceKind.BROWSER}) as endpoint:
        send_python("segment.analytics", endpoint.url)
        assert set(endpoint.accounted()) <= {"not_permitted no_grant", "not_permitted not_covered"}
        assert sum(endpoint.accounted().values()) == 7
        with database.transaction(read_only=True) as tx:
            assert tx.execute("SELECT count(*) FROM behavior.event") == [(0,)]
            assert tx.execute("SELECT count(*) FROM identity.profile") == [(0,)]
