"""Exports of shops and mail services: the proposed mapping is accepted, and every number that comes of it is right.

The files of tests/data/exports have the columns of real exports; what is in them is invented.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from cdp.flows.consent.lookup import look_up
from cdp.flows.imports.links import import_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.imports.suggest.propose import suggest_mapping
from cdp.flows.imports.trial import try_file
from cdp.kit.db import Database
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import ROOT, shipped

pytestmark = pytest.mark.postgres

EXPORTS: Final = ROOT / "tests" / "data" / "exports"
NOVEMBER: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)
LINKS: Final = """
links:
  - {type: user_id, column: Customer ID}
  - {type: email, column: Email}
"""

Load = Callable[[str], dict[str, int]]


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, shipped(), tmp_path, NOVEMBER)


@pytest.fixture
def load(pipeline: Pipeline, tmp_path: Path) -> Load:
    """Import a file by the mapping that is proposed for it; gives the number of rows by state and reason."""

    def imported(name: str) -> dict[str, int]:
        rules = tmp_path / "mapping.yaml"
        rules.write_text(suggest_mapping(EXPORTS / f"{name}.csv", shipped()).mapping, encoding="utf-8")
        tried = try_file(shipped(), EXPORTS / f"{name}.csv", load_mapping(rules), now=NOVEMBER)
        done = import_file(pipeline.context, EXPORTS / f"{name}.csv", load_mapping(rules))
        assert tried.rows == done.rows == sum(done.tally.states.values())
        reasons = {name: count for name, count in done.tally.reasons.items() if not name.startswith("noted")}
        return {**{state: done.tally.states[state] for state in ("stored",) if state in done.tally.states}, **reasons}

    return imported


def plain_events(pipeline: Pipeline) -> list[tuple[str, Any]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'MM-DD HH24:MI'), (plain->>'revenue')::float "
            "FROM behavior.event WHERE plain ? 'revenue' ORDER BY occurred_at"
        )
    return [(str(at), revenue) for at, revenue in rows]


def accounted(pipeline: Pipeline) -> dict[str, int]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT trim(state || ' ' || reason), sum(messages)::int FROM accounting.accounting GROUP BY 1"
        )
    return {str(state): int(count) for state, count in rows}


def may_mail(pipeline: Pipeline, mail: str) -> bool:
    found = look_up(pipeline.context, ("email", mail), NOVEMBER, actor="operator")
    return found.verdicts["email_marketing"].allowed


def articles(pipeline: Pipeline) -> list[tuple[str, float, int]]:
    """Number, price and pieces of each article that was ordered, as segments can ask for them."""
    with pipeline.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT t.term, (entry ->> 'price')::float, (entry ->> 'quantity')::int FROM behavior.event AS e "
            "CROSS JOIN jsonb_array_elements(e.plain -> 'products') AS entry "
            "JOIN behavior.term AS t ON t.term_id = (entry ->> 'sku')::int ORDER BY t.term, e.occurred_at"
        )
    return [(str(number), price, pieces) for number, price, pieces in rows]


def test_shopify(pipeline: Pipeline, load: Load, tmp_path: Path) -> None:
    """The three steps of docs/how-to/import-an-export.md."""
    links = tmp_path / "links.yaml"
    links.write_text(LINKS, encoding="utf-8")
    linked = import_link_file(pipeline.context, EXPORTS / "shopify_customers.csv", load_mapping(links))
    assert linked.tally.states == {"stored": 3}
    assert load("shopify_customers") == {"stored": 2, "not_permitted: refused": 1}
    assert load("shopify_orders") == {
        "stored": 4,
        "invalid: not_selected": 2,
        "not_permitted: no_unique_identifier": 1,
    }
    assert plain_events(pipeline) == [("10-02 07:59", 90.0), ("10-12 16:30", 15.0), ("10-25 01:30", 120.0)]
    assert accounted(pipeline) == {
        "stored": 3 + 2 + 3,
        "not_permitted refused": 1,
        "invalid not_selected": 2,
        "not_permitted no_unique_identifier": 1,
    }
    assert pipeline.partition() == {
        frozenset({("user_id", "7100000000101"), ("email", "kim@shop.example"), ("phone", "+4930555010")}),
        frozenset({("user_id", "7100000000102"), ("email", "lou@shop.example"), ("phone", "+4930555011")}),
        frozenset({("user_id", "7100000000103"), ("email", "mia@shop.example")}),
    }
    assert [may_mail(pipeline, f"{name}@shop.example") for name in ("kim", "lou", "mia")] == [True, False, True]
    assert {("CUP-40", 40.0, 1), ("PLA-25", 25.0, 2)} <= set(articles(pipeline))
    assert load("shopify_orders") == {
        "invalid: not_selected": 2,
        "not_permitted: no_unique_identifier": 1,
    }


@pytest.mark.parametrize("order", [("subscribed", "unsubscribed"), ("unsubscribed", "subscribed")])
def test_mailchimp(pipeline: Pipeline, load: Load, order: tuple[str, str]) -> None:
    for name in order:
        load(f"mailchimp_{name}")
    load("mailchimp_cleaned")
    names = ("kim", "ada", "una", "bo", "old")
    assert [may_mail(pipeline, f"{name}@shop.example") for name in names] == [True, True, False, False, False]
    found = look_up(pipeline.context, ("email", "kim@shop.example"), NOVEMBER, actor="operator")
    assert found.verdicts["email_marketing"].since == datetime(2026, 3, 14, 9, 12, 31, tzinfo=UTC)
    (refusal,) = [
        record
        for record in look_up(pipeline.context, ("email", "bo@shop.example"), NOVEMBER, actor="operator").records
        if record["act"] == "refuse"
    ]
    assert refusal["occurred_at"].startswith("2026-09-01T12:00:00")


def test_klaviyo(pipeline: Pipeline, load: Load) -> None:
    assert load("klaviyo_list") == {"stored": 1, "not_permitted: refused": 1, "not_permitted: no_grant": 1}
    assert [may_mail(pipeline, f"{name}@shop.example") for name in ("kim", "bo", "new")] == [True, False, False]
    assert pipeline.one("SELECT count(*) FROM consent.record WHERE act = 'refuse'") == 1


def test_hubspot(pipeline: Pipeline, load: Load) -> None:
    assert load("hubspot_contacts") == {"not_permitted: refused": 1, "not_permitted: no_grant": 2}
    assert pipeline.one("SELECT count(*) FROM consent.record WHERE act = 'refuse'") == 1


def test_stripe(pipeline: Pipeline, load: Load) -> None:
    assert load("stripe_customers") == {"not_permitted: no_grant": 2}
    assert load("stripe_payments") == {"stored": 2, "invalid: not_selected": 1}
    assert plain_events(pipeline) == [("10-02 07:59", 94.9), ("10-03 07:59", 1250.0)]


def test_woocommerce(pipeline: Pipeline, load: Load) -> None:
    assert load("woocommerce_orders") == {
        "stored": 2,
        "not_permitted: no_unique_identifier": 1,
        "invalid: not_selected": 1,
    }
    assert load("woocommerce_order_export") == {"invalid: not_selected": 1}, "order 501 is known from the other file"
    assert plain_events(pipeline) == [("10-02 09:59", 90.0)]
