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
from cdp.flows.operations.retention import EVENTS, SweepLine, SweepResult, sweep
from cdp.flows.operations.retention_tasks import AGES, BUCKETS, MESSAGES, TRAITS
from cdp.flows.rights.legal_hold import HOLD_COLUMN
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.vault.vault import Item
from tests.support import messages
from tests.support.messages import identify, track
from tests.support.people import ADA, NOON
from tests.support.policies import changed, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

AGE = identify(userId="ada", traits={"age": 36})
HOLD = {"law": "§ 147 AO", "columns": ["order_id", "revenue"], "keep_for_days": 400}


def short_lived(**transactions: Any) -> Policy:
    """Orders live for 60 days, page views for 30, statements for 90."""
    policy = permit_all()
    classes = json.loads(json.dumps(policy.documents["retention.yaml"]))["classes"]
    classes["browsing"]["keep_for_days"] = 30
    orders = {**classes["transactions"], "keep_for_days": 60, "hold": None, **transactions}
    classes["transactions"] = {key: value for key, value in orders.items() if value is not None}
    classes["system"]["keep_for_days"] = 45
    traits = {"keep_for_days": 90, "reason": "for the test"}
    return changed(policy, "retention.yaml", classes=classes, traits=traits)


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, short_lived(), tmp_path)


def order(revenue: float = 10, user_id: str = "ada", **fields: Any) -> dict[str, Any]:
    properties = {"order_id": f"o-{revenue:g}", "revenue": revenue, "currency": "EUR"}
    return messages.order(userId=user_id, properties=properties, **fields)


def view(**fields: Any) -> dict[str, Any]:
    return track(userId="ada", properties={"category": "Hats"}, **fields)


def run(rights: RequestPipeline, *, dry_run: bool = False, rows_max: int = 10_000) -> SweepResult:
    return sweep(rights.context, rights.pipeline.clock.now(), dry_run=dry_run, rows_max=rows_max)


def rows(swept: SweepResult) -> dict[str, int]:
    """Rows by table and part, lines without any left out."""
    return {f"{line.table} {line.part}".strip(): line.rows for line in swept.lines if line.rows}


def events(rights: RequestPipeline) -> int:
    return int(rights.pipeline.one("SELECT count(*) FROM behavior.event"))


def test_months_end_when_all_of_them_has_expired(rights: RequestPipeline) -> None:
    rights.pipeline.send(order(), order(20), view())  # on the first of June
    rights.later(days=58)
    assert run(rights).lines[:1][0].rows == 0 or "browsing" in run(rights).lines[0].part
    rights.later(
        days=3
    )  # the first of August: views of June are over, orders of June are not, for the month ends later
    assert rows(run(rights, dry_run=True)).get(f"{EVENTS} transactions 2026-06") is None
    rights.later(days=30)
    assert rows(run(rights))[f"{EVENTS} transactions 2026-06"] == 2
    assert events(rights) == 0
    assert rights.pipeline.one("SELECT count(*) FROM pg_class WHERE relname = 'event_transactions_2026_06'") == 0


def test_what_expired_is_dropped_within_31_days(rights: RequestPipeline) -> None:
    rights.pipeline.send(order())
    ends_at = NOON + timedelta(days=60)
    rights.pipeline.clock.instant = ends_at + timedelta(days=31)
    run(rights)
    assert events(rights) == 0


def test_a_sweep_before_the_time_touches_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, order(), view())
    before = rights.counts()
    assert rows(run(rights)) == {}
    assert rights.counts() == before


def test_a_dry_run_tells_the_numbers_and_touches_nothing(rights: RequestPipeline) -> None:
    rights.pipeline.send(AGE, order(), order(20), view())
    rights.later(days=130)
    before = rights.counts()
    planned = run(rights, dry_run=True)
    assert planned.is_dry_run
    assert rights.counts() == before
    done = run(rights)
    assert rows(done) == rows(planned)
    assert rows(planned) == {
        f"{EVENTS} transactions 2026-06": 2,
        f"{EVENTS} browsing 2026-06": 1,
        f"{EVENTS} system 2026-06": 1,
        TRAITS: 1,
        AGES: 1,
        BUCKETS: rows(planned)[BUCKETS],
        MESSAGES: 4,
    }
    assert rows(run(rights)) == {}


def test_every_line_says_why(rights: RequestPipeline) -> None:
    rights.pipeline.send(order())
    rights.later(days=130)
    planned = run(rights, dry_run=True)
    assert all(line.reason for line in planned.lines)
    rule = rights.context.policy.retention.classes["transactions"]
    assert planned.lines[0] == SweepLine(EVENTS, "delete", 1, rule.reason, "transactions 2026-06")


def test_chunks_end_everything(rights: RequestPipeline) -> None:
    rights.pipeline.send(*(order(number, f"user-{number}") for number in range(1, 8)), AGE, ADA)
    rights.later(days=130)
    planned = rows(run(rights, dry_run=True))
    assert rows(run(rights, rows_max=2)) == planned
    assert rights.pipeline.one("SELECT count(*) FROM behavior.bucket") == 0
    assert rights.pipeline.one("SELECT count(*) FROM behavior.duplicate") == 0


def test_projections_follow_expired_statements(rights: RequestPipeline) -> None:
    rights.pipeline.send(AGE)
    assert projected(rights) == [{"age": 36}]
    rights.later(days=90)
    run(rights)
    assert projected(rights) == [{}]
    assert rights.pipeline.one("SELECT count(*) FROM behavior.trait") == 0


def projected(rights: RequestPipeline) -> list[Any]:
    with rights.context.database.transaction() as tx:
        return [row[0] for row in tx.execute("SELECT traits FROM consent.permitted WHERE purpose = 'analytics'")]


def test_an_expired_message_that_comes_again_is_refused(rights: RequestPipeline) -> None:
    old = order(messageId="old", timestamp=NOON.isoformat())
    rights.pipeline.send(old)
    rights.later(days=130)
    run(rights)
    assert rights.pipeline.send(old) == [Outcome(State.INVALID, "expired")]


def test_a_message_id_is_remembered_as_long_as_its_event_may_be_sent_again(rights: RequestPipeline) -> None:
    rights.pipeline.send(order(messageId="one"))
    for _ in range(8):
        rights.later(days=10)
        run(rights)
        (again,) = rights.pipeline.send(order(messageId="one", timestamp=NOON.isoformat()))
        late = is_expired(NOON, 60, rights.pipeline.clock.now())
        assert again == (Outcome(State.INVALID, "expired") if late else Outcome(State.DUPLICATE))


def test_the_log_says_what_was_dropped(rights: RequestPipeline) -> None:
    rights.pipeline.send(order(), AGE)
    rights.later(days=130)
    run(rights)
    with rights.context.database.transaction() as tx:
        facts = [row[0] for row in tx.execute("SELECT body FROM audit.fact ORDER BY entry_id")]
    dropped = [fact for fact in facts if fact["kind"] == "retention.dropped"]
    assert {(each["retention_class"], each["month"], each["rows"]) for each in dropped} == {
        ("transactions", "2026-06-01", 1),
        ("system", "2026-06-01", 1),
    }
    assert [fact["tally"][TRAITS] for fact in facts if fact["kind"] == "sweep.run"] == [1]


def test_a_busy_month_is_postponed(rights: RequestPipeline) -> None:
    rights.pipeline.send(order())
    rights.later(days=130)
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        with rights.context.database.transaction() as tx:
            tx.execute("SELECT count(*) FROM behavior.event")
            reading.set()
            done.wait(PATIENCE_SECONDS)

    reader = threading.Thread(target=read)
    reader.start()
    assert reading.wait(PATIENCE_SECONDS)
    try:
        swept = run(rights)
    finally:
        done.set()
        reader.join()
    assert swept.postponed == ("transactions 2026-06",)
    assert events(rights) == 1
    assert run(rights).postponed == ()
    assert events(rights) == 0


def test_a_class_that_left_the_policy_is_named_and_kept(rights: RequestPipeline) -> None:
    rights.pipeline.send(order())
    rights.later(days=400)
    rules = rights.context.policy.retention
    fewer = rules.model_copy(
        update={"classes": {key: each for key, each in rules.classes.items() if key != "transactions"}}
    )
    policy = rights.context.policy.model_copy(update={"retention": fewer, "traits": {}})
    swept = sweep(replace(rights.context, policy=policy), rights.pipeline.clock.now(), dry_run=True)
    assert swept.without_rule == ("transactions",)
    assert all(line.table != EVENTS for line in swept.lines)


def test_a_hold_keeps_its_columns_and_no_person(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, short_lived(hold=HOLD), tmp_path)
    rights.pipeline.send(*(order(number) for number in (1, 2, 3)), view())
    rights.later(days=130)
    assert rows(run(rights, rows_max=2))[f"{EVENTS} transactions 2026-06"] == 3
    held = holds(rights)
    assert sorted(each["revenue"] for each in held) == [1, 2, 3]
    assert {frozenset(each) for each in held} == {frozenset({"event", "occurred_at", "order_id", "revenue"})}
    assert events(rights) == 0


def test_a_hold_that_is_over_keeps_nothing(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, short_lived(hold=HOLD), tmp_path)
    rights.pipeline.send(order())
    rights.later(days=500)
    run(rights)
    assert holds(rights) == []
    assert events(rights) == 0


def holds(rights: RequestPipeline) -> Sequence[dict[str, Any]]:
    vault = rights.context.vault
    with rights.context.database.transaction() as tx:
        stored = tx.execute("SELECT hold_id, sealed FROM rights.hold")
        keys = vault.subject_keys.keys_for(tx, [row[0] for row in stored])
        opened = vault.open_many(keys, HOLD_COLUMN, [Item(row[0], row[0], bytes(row[1])) for row in stored])
    return [json.loads(each or b"null") for each in opened]


def test_severing_counts_what_enough_people_share(database: Database, tmp_path: Path) -> None:
    policy = changed(short_lived(after="sever"), "jurisdictions.yaml", minimum_disclosure_size=3)
    rights = open_request_pipeline(database, policy, tmp_path)
    rights.pipeline.send(*(order(10, f"user-{number}") for number in range(3)), order(999, "user-9"))
    rights.later(days=130)
    assert run(rights).lines[0].verb == "sever"
    with rights.context.database.transaction() as tx:
        left = tx.execute("SELECT month, plain ->> 'revenue', events FROM behavior.severed")
    assert left == [(datetime(2026, 6, 1).date(), "10", 3)]
    assert events(rights) == 0


def test_old_changes_of_membership_end(rights: RequestPipeline) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO segments.membership_change (profile_id, key, version, change, changed_at) "
            "SELECT 1, 'vip', 1, 'entered', %(now)s::timestamptz + make_interval(days => n) FROM generate_series(0, 3) n",
            {"now": NOON},
        )
    rights.later(days=396)
    assert rows(run(rights, dry_run=True)) == rows(run(rights, rows_max=1)) == {"segments.membership_change": 2}
    assert rights.pipeline.one("SELECT count(*) FROM segments.membership_change") == 2


def test_old_deliveries_end(rights: RequestPipeline) -> None:
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO destinations.outbox (destination, kind, body, created_at, due_at) "
            "SELECT 'mail', 'member', '{}', at, at FROM unnest(%(at)s::timestamptz[]) at",
            {"at": [NOON, NOON + timedelta(days=2)]},
        )
    rights.later(days=1095)
    assert rows(run(rights, dry_run=True)) == rows(run(rights, rows_max=1)) == {"destinations.outbox": 1}
    assert rights.pipeline.one("SELECT count(*) FROM destinations.outbox") == 1


def test_old_requests_end_and_suppressions_stay(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    rights.erase(("user_id", "ada"))
    suppressions = rights.pipeline.one("SELECT count(*) FROM rights.suppression")
    assert suppressions > 0
    rights.later(days=730)
    assert "rights.request" not in rows(run(rights))
    rights.later(days=2)
    assert rows(run(rights, dry_run=True))["rights.request"] == rows(run(rights))["rights.request"] == 1
    for table in ("request", "step", "request_identifier"):
        assert rights.pipeline.one(f"SELECT count(*) FROM rights.{table}") == 0
    assert rights.pipeline.one("SELECT count(*) FROM rights.suppression") == suppressions


def test_open_requests_never_end_by_age(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    rights.ask("erasure", ("user_id", "ada"))
    rights.later(days=2000)
    run(rights)
    assert rights.pipeline.one("SELECT count(*) FROM rights.request") == 1


def test_old_salts_end_and_leaves_stay(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    rights.sequence()
    leaves = rights.pipeline.one("SELECT count(*) FROM audit.entry")
    facts = rights.pipeline.one("SELECT count(*) FROM audit.fact")
    rights.later(days=1828)
    assert rows(run(rights, dry_run=True))["audit.fact"] == facts
    assert rows(run(rights))["audit.fact"] >= facts
    assert rights.pipeline.one("SELECT min(recorded_at) FROM audit.fact") == rights.pipeline.clock.now()
    assert rights.pipeline.one("SELECT count(*) FROM audit.entry") >= leaves
