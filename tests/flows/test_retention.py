"""The sweep: what has expired ends, what has not stays, and a dry run says so beforehand."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.behavior.retention import is_expired
from cdp.flows.operations.retention import BUCKETS, EVENTS, MESSAGES, TRAITS, Expired, Swept, sweep
from cdp.flows.rights.legal_hold import HOLD_PLACE
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.vault.vault import Item
from tests.support.pipeline import NOON
from tests.support.policies import changed, permit_all
from tests.support.requests import ADA, RequestPipeline, open_request_pipeline
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

AGE = {"type": "identify", "userId": "ada", "traits": {"age": 36}}
HOLD = {"law": "§ 147 AO", "columns": ["order_id", "revenue"], "keep_for_days": 400}


def short_lived(**transactions: Any) -> Policy:
    """Orders live for 60 days, page views for 30, statements for 90."""
    policy = permit_all()
    classes = json.loads(json.dumps(policy.documents["retention.yaml"]))["classes"]  # type: ignore[index,call-overload]
    classes["browsing"]["keep_for_days"] = 30
    orders = {**classes["transactions"], "keep_for_days": 60, "hold": None, **transactions}
    classes["transactions"] = {key: value for key, value in orders.items() if value is not None}
    classes["system"]["keep_for_days"] = 45
    traits = {"keep_for_days": 90, "reason": "for the test"}
    return changed(policy, "retention.yaml", classes=classes, traits=traits)


@pytest.fixture
def office(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, short_lived(), tmp_path)


def order(revenue: float = 10, user_id: str = "ada", **fields: Any) -> dict[str, Any]:
    properties = {"order_id": f"o-{revenue:g}", "revenue": revenue, "currency": "EUR"}
    return {"type": "track", "event": "Order Completed", "userId": user_id, "properties": properties, **fields}


def view(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Product Viewed", "userId": "ada", "properties": {"category": "Hats"}, **fields}


def run(office: RequestPipeline, *, dry_run: bool = False, rows_max: int = 10_000) -> Swept:
    return sweep(office.context, office.pipeline.clock.now(), dry_run=dry_run, rows_max=rows_max)


def rows(swept: Swept) -> dict[str, int]:
    """Rows by table and part, lines without any left out."""
    return {f"{line.table} {line.part}".strip(): line.rows for line in swept.lines if line.rows}


def events(office: RequestPipeline) -> int:
    return int(office.pipeline.one("SELECT count(*) FROM behavior.event"))


def test_months_end_when_all_of_them_has_expired(office: RequestPipeline) -> None:
    office.pipeline.send(order(), order(20), view())  # on the first of June
    office.later(days=58)
    assert run(office).lines[:1][0].rows == 0 or "browsing" in run(office).lines[0].part
    office.later(
        days=3
    )  # the first of August: views of June are over, orders of June are not, for the month ends later
    assert rows(run(office, dry_run=True)).get(f"{EVENTS} transactions 2026-06") is None
    office.later(days=30)
    assert rows(run(office))[f"{EVENTS} transactions 2026-06"] == 2
    assert events(office) == 0
    assert office.pipeline.one("SELECT count(*) FROM pg_class WHERE relname = 'event_transactions_2026_06'") == 0


def test_what_expired_is_dropped_within_31_days(office: RequestPipeline) -> None:
    office.pipeline.send(order())
    ends_at = NOON + timedelta(days=60)
    office.pipeline.clock.instant = ends_at + timedelta(days=31)
    run(office)
    assert events(office) == 0


def test_a_sweep_before_the_time_touches_nothing(office: RequestPipeline) -> None:
    office.pipeline.send(ADA, order(), view())
    before = office.counts()
    assert rows(run(office)) == {}
    assert office.counts() == before


def test_a_dry_run_tells_the_numbers_and_touches_nothing(office: RequestPipeline) -> None:
    office.pipeline.send(AGE, order(), order(20), view())
    office.later(days=130)
    before = office.counts()
    planned = run(office, dry_run=True)
    assert planned.is_dry_run
    assert office.counts() == before
    done = run(office)
    assert rows(done) == rows(planned)
    assert rows(planned) == {
        f"{EVENTS} transactions 2026-06": 2,
        f"{EVENTS} browsing 2026-06": 1,
        f"{EVENTS} system 2026-06": 1,
        TRAITS: 1,
        BUCKETS: rows(planned)[BUCKETS],
        MESSAGES: 4,
    }
    assert rows(run(office)) == {}


def test_every_line_says_why(office: RequestPipeline) -> None:
    office.pipeline.send(order())
    office.later(days=130)
    planned = run(office, dry_run=True)
    assert all(line.reason for line in planned.lines)
    rule = office.context.policy.retention.classes["transactions"]
    assert planned.lines[0] == Expired(EVENTS, "delete", 1, rule.reason, "transactions 2026-06")


def test_chunks_end_everything(office: RequestPipeline) -> None:
    office.pipeline.send(*(order(number, f"user-{number}") for number in range(1, 8)), AGE, ADA)
    office.later(days=130)
    planned = rows(run(office, dry_run=True))
    assert rows(run(office, rows_max=2)) == planned
    assert office.pipeline.one("SELECT count(*) FROM behavior.bucket") == 0
    assert office.pipeline.one("SELECT count(*) FROM behavior.duplicate") == 0


def test_projections_follow_expired_statements(office: RequestPipeline) -> None:
    office.pipeline.send(AGE)
    assert projected(office) == [{"age": 36}]
    office.later(days=90)
    run(office)
    assert projected(office) == [{}]
    assert office.pipeline.one("SELECT count(*) FROM behavior.trait") == 0


def projected(office: RequestPipeline) -> list[Any]:
    with office.context.database.transaction() as tx:
        return [row[0] for row in tx.execute("SELECT traits FROM consent.permitted WHERE purpose = 'analytics'")]


def test_an_expired_message_that_comes_again_is_refused(office: RequestPipeline) -> None:
    old = order(messageId="old", timestamp=NOON.isoformat())
    office.pipeline.send(old)
    office.later(days=130)
    run(office)
    assert office.pipeline.send(old) == [Outcome(State.INVALID, "expired")]


def test_a_message_id_is_remembered_as_long_as_its_event_may_be_sent_again(office: RequestPipeline) -> None:
    office.pipeline.send(order(messageId="one"))
    for _ in range(8):
        office.later(days=10)
        run(office)
        (again,) = office.pipeline.send(order(messageId="one", timestamp=NOON.isoformat()))
        late = is_expired(NOON, 60, office.pipeline.clock.now())
        assert again == (Outcome(State.INVALID, "expired") if late else Outcome(State.DUPLICATE))


def test_the_log_says_what_was_dropped(office: RequestPipeline) -> None:
    office.pipeline.send(order(), AGE)
    office.later(days=130)
    run(office)
    with office.context.database.transaction() as tx:
        facts = [row[0] for row in tx.execute("SELECT body FROM audit.fact ORDER BY entry_id")]
    dropped = [fact for fact in facts if fact["kind"] == "retention.dropped"]
    assert {(each["retention_class"], each["month"], each["rows"]) for each in dropped} == {
        ("transactions", "2026-06-01", 1),
        ("system", "2026-06-01", 1),
    }
    assert [fact["tally"][TRAITS] for fact in facts if fact["kind"] == "sweep.run"] == [1]


def test_a_busy_month_is_postponed(office: RequestPipeline) -> None:
    office.pipeline.send(order())
    office.later(days=130)
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with office.context.database.transaction() as tx:
            tx.execute("SELECT count(*) FROM behavior.event")
            reading.set()
            done.wait(PATIENCE_SECONDS)

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(PATIENCE_SECONDS)
    try:
        swept = run(office)
    finally:
        done.set()
        reader.join()
    assert swept.postponed == ("transactions 2026-06",)
    assert events(office) == 1
    assert run(office).postponed == ()
    assert events(office) == 0


def test_a_class_that_left_the_policy_is_named_and_kept(office: RequestPipeline) -> None:
    office.pipeline.send(order())
    office.later(days=400)
    rules = office.context.policy.retention
    fewer = rules.model_copy(
        update={"classes": {key: each for key, each in rules.classes.items() if key != "transactions"}}
    )
    policy = office.context.policy.model_copy(update={"retention": fewer, "traits": {}})
    swept = sweep(replace(office.context, policy=policy), office.pipeline.clock.now(), dry_run=True)
    assert swept.unruled == ("transactions",)
    assert all(line.table != EVENTS for line in swept.lines)


def test_a_hold_keeps_its_columns_and_no_person(database: Database, tmp_path: Path) -> None:
    office = open_request_pipeline(database, short_lived(hold=HOLD), tmp_path)
    office.pipeline.send(*(order(number) for number in (1, 2, 3)), view())
    office.later(days=130)
    assert rows(run(office, rows_max=2))[f"{EVENTS} transactions 2026-06"] == 3
    held = holds(office)
    assert sorted(each["revenue"] for each in held) == [1, 2, 3]
    assert {frozenset(each) for each in held} == {frozenset({"event", "occurred_at", "order_id", "revenue"})}
    assert events(office) == 0


def test_a_hold_that_is_over_keeps_nothing(database: Database, tmp_path: Path) -> None:
    office = open_request_pipeline(database, short_lived(hold=HOLD), tmp_path)
    office.pipeline.send(order())
    office.later(days=500)
    run(office)
    assert holds(office) == []
    assert events(office) == 0


def holds(office: RequestPipeline) -> Sequence[dict[str, Any]]:
    vault = office.context.vault
    with office.context.database.transaction() as tx:
        stored = tx.execute("SELECT hold_id, sealed FROM rights.hold")
        keys = vault.keys_for(tx, [row[0] for row in stored])
        opened = vault.open_many(keys, HOLD_PLACE, [Item(row[0], row[0], bytes(row[1])) for row in stored])
    return [json.loads(each or b"null") for each in opened]


def test_severing_counts_what_enough_people_share(database: Database, tmp_path: Path) -> None:
    policy = changed(short_lived(after="sever"), "jurisdictions.yaml", minimum_disclosure_size=3)
    office = open_request_pipeline(database, policy, tmp_path)
    office.pipeline.send(*(order(10, f"user-{number}") for number in range(3)), order(999, "user-9"))
    office.later(days=130)
    assert run(office).lines[0].verb == "sever"
    with office.context.database.transaction() as tx:
        left = tx.execute("SELECT month, plain ->> 'revenue', events FROM behavior.severed")
    assert left == [(datetime(2026, 6, 1).date(), "10", 3)]
    assert events(office) == 0


def test_old_changes_of_membership_end(office: RequestPipeline) -> None:
    with office.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO segments.membership_change (profile_id, key, version, change, changed_at) "
            "SELECT 1, 'vip', 1, 'entered', %(now)s::timestamptz + make_interval(days => n) FROM generate_series(0, 3) n",
            {"now": NOON},
        )
    office.later(days=396)
    assert rows(run(office, dry_run=True)) == rows(run(office, rows_max=1)) == {"segments.membership_change": 2}
    assert office.pipeline.one("SELECT count(*) FROM segments.membership_change") == 2


def test_old_deliveries_end(office: RequestPipeline) -> None:
    with office.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO destinations.outbox (destination, kind, body, created_at, due_at) "
            "SELECT 'mail', 'member', '{}', at, at FROM unnest(%(at)s::timestamptz[]) at",
            {"at": [NOON, NOON + timedelta(days=2)]},
        )
    office.later(days=1095)
    assert rows(run(office, dry_run=True)) == rows(run(office, rows_max=1)) == {"destinations.outbox": 1}
    assert office.pipeline.one("SELECT count(*) FROM destinations.outbox") == 1


def test_old_requests_end_and_suppressions_stay(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    office.erase(("user_id", "ada"))
    suppressions = office.pipeline.one("SELECT count(*) FROM rights.suppression")
    assert suppressions > 0
    office.later(days=730)
    assert "rights.request" not in rows(run(office))
    office.later(days=2)
    assert rows(run(office, dry_run=True))["rights.request"] == rows(run(office))["rights.request"] == 1
    for table in ("request", "step", "request_identifier"):
        assert office.pipeline.one(f"SELECT count(*) FROM rights.{table}") == 0
    assert office.pipeline.one("SELECT count(*) FROM rights.suppression") == suppressions


def test_open_requests_never_end_by_age(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    office.ask("erasure", ("user_id", "ada"))
    office.later(days=2000)
    run(office)
    assert office.pipeline.one("SELECT count(*) FROM rights.request") == 1


def test_old_salts_end_and_leaves_stay(office: RequestPipeline) -> None:
    office.pipeline.send(ADA)
    office.sequence()
    leaves = office.pipeline.one("SELECT count(*) FROM audit.entry")
    facts = office.pipeline.one("SELECT count(*) FROM audit.fact")
    office.later(days=1828)
    assert rows(run(office, dry_run=True))["audit.fact"] == facts
    assert rows(run(office))["audit.fact"] >= facts
    assert office.pipeline.one("SELECT min(recorded_at) FROM audit.fact") == office.pipeline.clock.now()
    assert office.pipeline.one("SELECT count(*) FROM audit.entry") >= leaves
