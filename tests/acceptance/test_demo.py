"""The whole demonstration on the real orders with their true dates: what it claims is computed again independently."""

import csv
import gzip
import logging
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from cdp.cli.main import cdp
from cdp.demo.api_client import ApiClient
from cdp.demo.calls import joining
from cdp.demo.first_start import run_first_demo
from cdp.demo.notes import new_notes
from cdp.demo.orders import Calendar, data_file, read_orders
from cdp.demo.people import CHOICES, NO_ANSWER, WITHDRAWN, chance, invent
from cdp.demo.run import DemoRun, prepare, run_demo, send_all, show_results
from cdp.demo.send import Senders
from cdp.demo.transcript import Transcript
from cdp.flows.context import Context
from cdp.flows.identifiers import open_identifiers
from cdp.flows.operations.startup import open_for_command
from cdp.flows.segments import memberships
from cdp.kit.config import Config, read_config
from cdp.kit.errors import Fault
from tests.support.commands import Shell
from tests.support.policies import ROOT
from tests.support.waits import PATIENCE_SECONDS, until

NOW = "2011-12-12T04:00:00Z"
LOCAL_NOW = datetime(2011, 12, 12, 4)
POUND = 1.16
"""What the orders' currency is worth in that of the shipped policy, in which the segment adds up."""


@contextmanager
def silent_port() -> Iterator[int]:
    """A port of ours at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@dataclass
class Shop:
    """A service with a stopped clock, and how to look behind it."""

    config: Config
    url: str

    @contextmanager
    def context(self) -> Iterator[Context]:
        with open_for_command(self.config) as context:
            yield context

    def one(self, query: str) -> object:
        with self.context() as context, context.database.transaction(read_only=True) as tx:
            return tx.execute(query)[0][0]


@pytest.fixture
def shop(home: Path) -> Iterator[Shop]:
    settings = {
        "CDP_HOME": str(home),
        "CDP_POLICIES": str(ROOT / "policies"),
        "CDP_NOW": NOW,
        "CDP_ALLOW_TEST_CLOCK": "1",
        "CDP_LOG_LEVEL": "error",
    }
    with Shell(home, settings).serving() as service:
        yield Shop(read_config(settings), service.url)


def expected_lapsing() -> set[str]:
    """Who the segment must hold, from the file and the seeded answers, without any code of the demonstration's tour."""
    orders: dict[str, list[tuple[datetime, float]]] = {}
    with gzip.open(data_file(), "rt", newline="") as file:
        for row in csv.DictReader(file):
            at = datetime.fromisoformat(row["ts"])
            orders.setdefault(row["customer_id"], []).append((at, float(row["amount"])))
    found = set()
    for buyer, theirs in orders.items():
        answered = chance(buyer, "answers") >= NO_ANSWER
        said_yes = chance(buyer, "email_marketing") < CHOICES["email_marketing"]
        withdrew = chance(buyer, "withdraws") < WITHDRAWN
        year = [(at, amount) for at, amount in theirs if at > LOCAL_NOW - timedelta(days=365)]
        is_lapsing = (
            len(year) >= 3
            and sum(amount for _, amount in year) * POUND > 1000
            and all(at <= LOCAL_NOW - timedelta(days=60) for at, _ in year)
        )
        if answered and said_yes and not withdrew and is_lapsing:
            found.add(f"C{buyer}")
    return found


def members(context: Context) -> set[str]:
    """The user ids of the people who are in the segment now."""
    memberships.refresh(context, "lapsing_high_value")
    with context.database.transaction(read_only=True) as tx:
        owned = tx.execute(
            "SELECT l.identifier_id FROM segments.membership m JOIN identity.link l USING (profile_id) "
            "WHERE m.key = 'lapsing_high_value'"
        )
        opened = open_identifiers(tx, context.vault, [row[0] for row in owned])
    return {str(each.value) for each in opened.values() if each.type == "user_id"}


def check_what_was_sent(shop: Shop, play: DemoRun) -> set[str]:
    with shop.context() as context, context.database.transaction(read_only=True) as tx:
        orders = tx.execute(
            "SELECT count(*)::int, round(sum((plain->>'revenue')::numeric), 2)::text, min(occurred_at), max(occurred_at) "
            "FROM behavior.event WHERE retention_class = 'transactions'"
        )
        [(count, revenue, first, last)] = orders
        assert (count, revenue) == (18_532, "8911407.90")
        # The service's clock stands still while the sender's goes on, so dates slip by as long as sending takes.
        assert abs(first - datetime.fromisoformat("2010-12-01T08:26:00Z")) < timedelta(minutes=25)
        assert abs(last - datetime.fromisoformat("2011-12-09T12:50:00Z")) < timedelta(minutes=25)
        assert tx.execute(
            "SELECT count(DISTINCT l.profile_id)::int FROM identity.link l JOIN identity.identifier i USING (identifier_id) "
            "WHERE i.type = 'user_id'"
        ) == [(4_338,)]
        [(shared,)] = tx.execute("SELECT count(*)::int FROM identity.identifier WHERE is_shared")
        assert shared == 1
    result = play.api.post(
        "privacy",
        "/api/v1/profiles/explain",
        {"a": {"type": "user_id", "value": "C12749"}, "b": {"type": "user_id", "value": "C12823"}},
    )
    assert result["same_profile"] is False
    with shop.context() as context:
        found = members(context)
    assert found == expected_lapsing()
    assert len(found) > 100
    return found


def test_the_demonstration_shows_what_it_claims(shop: Shop) -> None:
    output = StringIO()
    console = Console(file=output, width=100)
    token = (shop.config.home / "admin.token").read_text().strip()
    with closing(ApiClient(shop.url, {"admin": token})) as api:
        play = send_all(prepare(shop.config, api, Transcript(console), anyway=False))
        lapsing = check_what_was_sent(shop, play)
        show_results(shop.config, play, is_serving=True)

    text = output.getvalue()
    check_front_page(shop, text)
    assert "18,532 orders are stored" in text
    assert "4,338 profiles" in text
    assert "would be wrong" not in text
    erased = next(line.split()[1] for line in text.splitlines() if line.startswith("4  "))
    assert erased in lapsing
    with gzip.open(data_file(), "rt", newline="") as file:
        amounts = [float(row["amount"]) for row in csv.DictReader(file) if f"C{row['customer_id']}" == erased]
    left = shop.one("SELECT round(sum((plain->>'revenue')::numeric), 2) FROM behavior.event")
    assert float(str(left)) == round(8_911_407.90 - sum(amounts), 2)
    assert f"{len(amounts)} refused as suppressed" in text
    with shop.context() as context:
        assert members(context) == lapsing - {erased}

    receipt = shop.config.home / "demo" / "receipt.json"
    assert erased not in receipt.read_text()
    assert erased[1:] not in receipt.read_text()
    verified = CliRunner().invoke(cdp, ["audit", "verify", str(receipt)])
    assert verified.exit_code == 0, verified.output
    assert "Verified." in verified.output
    check_second_run(shop)


def check_front_page(shop: Shop, text: str) -> None:
    """What README.md shows is what happens, up to numbers, which move with the dates."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = page.partition("```text\n")[2].partition("```")[0]
    seen = plain(text.replace(str(shop.config.home), "var").replace(shop.url, "http://127.0.0.1:8000"))
    lines = [plain(line) for line in shown.splitlines() if line.strip()]
    assert len(lines) > 50
    assert [line for line in lines if line not in seen] == []


def plain(text: str) -> str:
    """Without layout, numbers, and whom it is about."""
    return re.sub(r"[0-9a-f]{16}|\d[\d,.]*", "#", " ".join(text.split()))


def check_second_run(shop: Shop) -> None:
    """Running it again sends nothing, erases nobody, and shows the receipt of the first run."""
    # The worker deletes what withdrawals took the permission from; only then does the number of events stand still.
    until(lambda: shop.one("SELECT count(*) FROM consent.withdrawal") == 0)
    events = shop.one("SELECT count(*) FROM behavior.event")
    requests = shop.one("SELECT count(*) FROM rights.request")
    output = StringIO()
    run_demo(shop.config, shop.url, Console(file=output, width=100))
    assert "Everything was sent in an earlier run" in output.getvalue()
    assert "would be wrong" not in output.getvalue()
    assert shop.one("SELECT count(*) FROM behavior.event") == events
    assert shop.one("SELECT count(*) FROM rights.request") == requests


def test_the_demonstration_sends_to_its_service_whatever_proxy_there_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name)
    token = (shop.config.home / "admin.token").read_text().strip()
    with silent_port() as port, closing(ApiClient(shop.url, {"admin": token})) as api:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        key = api.post("admin", "/api/v1/sources", {"name": "ours"})["write_key"]
        with Senders(shop.url, {"shop": key, "web": key}, {"shop": 1, "web": 1}) as senders:
            assert senders.send(islice(joining(invent(read_orders()), Calendar()), 3)) == 3


def test_the_demonstration_leaves_a_store_in_use_alone(shop: Shop) -> None:
    token = (shop.config.home / "admin.token").read_text().strip()
    with closing(ApiClient(shop.url, {"admin": token})) as api:
        api.post("admin", "/api/v1/sources", {"name": "ours"})
    with pytest.raises(Fault, match="not_empty"):
        run_demo(shop.config, shop.url, None)
    wrong = Senders(shop.url, {"shop": "wk_wrong", "web": "wk_wrong"}, {"shop": 1, "web": 1})
    with wrong, pytest.raises(Fault, match="demo_not_sent") as refused:
        wrong.send(islice(joining(invent(read_orders()), Calendar()), 3))
    assert "unknown_write_key" in refused.value.detail


def test_at_later_starts_nothing_is_shown(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = replace(read_config({}), home=tmp_path)
    run_first_demo(config, "no address", is_empty=False)
    new_notes(tmp_path).noted(is_erased=True)
    run_first_demo(config, "no address", is_empty=True)
    assert capfd.readouterr() == ("", "")


def test_the_demonstration_at_the_first_start_ends_with_its_service(tmp_path: Path) -> None:
    config = replace(read_config({}), home=tmp_path)
    level = logging.getLogger().level
    with silent_port() as port:
        run_first_demo(config, f"http://127.0.0.1:{port}", is_empty=True)
    assert logging.getLogger().level == level


WATCHED = """
import sys, time
from cdp.demo.first_start import end_with_input
end_with_input()
time.sleep(float(sys.argv[1]))
"""


@pytest.mark.parametrize(("lasts", "code"), [(0.2, 0), (3600, 130)])
def test_what_a_first_start_began_ends_with_its_input_and_by_itself(lasts: float, code: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", WATCHED, str(lasts)], stdin=subprocess.PIPE, cwd=ROOT)
    assert process.stdin is not None
    if code:
        process.stdin.close()
    assert process.wait(PATIENCE_SECONDS) == code


def test_without_a_service_it_says_how_to_start_one(tmp_path: Path) -> None:
    config = replace(read_config({}), home=tmp_path)
    with pytest.raises(Fault, match="no_admin_token"):
        run_demo(config, "http://127.0.0.1:9", None)
    (tmp_path / "admin.token").write_text("cdp_x\n")
    with silent_port() as port, pytest.raises(Fault, match="no_service"):
        run_demo(config, f"http://127.0.0.1:{port}", None)


def test_where_its_service_cannot_start_it_names_the_log(home: Path) -> None:
    with silent_port() as port:
        refused = Shell(home, {"CDP_PORT": str(port)}).run("demo", code=1).stderr
    assert refused.startswith("no_service: The service did not start")
    assert str(home / "demo-service.log") in refused
    assert "address_not_usable" in (home / "demo-service.log").read_text()
