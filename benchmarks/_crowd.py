"""A large consented population, made by the server itself: one anchor a profile, orders and product views over 390 days.

Everything is seeded but the message ids. A sealed part is 200 bytes that nobody can open. The rows go in before the keys
and indexes of the table, which are then built from the declared schema; everything else is stored as ingest stores it.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from benchmarks._bulk import settle_down, without_keys
from cdp.behavior.retention import month_of
from cdp.behavior.store.partitions import ensure_partitions
from cdp.consent.store import projection as projection_store
from cdp.kit.db import Database, Transaction
from cdp.policy.load import load_policy
from cdp.schema.behavior import event

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PURPOSE = "email_marketing"
ORDER, VIEW = "Order Completed", "Product Viewed"
DAYS = 390

_PERMITTED = """
    INSERT INTO consent.permitted (profile_id, purpose, since, until, reader_pseudonym, traits)
    SELECT n, 'email_marketing',
           CASE WHEN random() < 0.5 THEN '-infinity' ELSE :now - interval '1 day' - random() * interval '700 days' END,
           CASE WHEN random() < 0.02 THEN :now - random() * interval '1 hour' END,
           md5(n::text),
           jsonb_build_object('country', :country + (random() * 3)::int, 'age', 18 + (random() * 60)::int)
    FROM generate_series(1, :profiles) AS n
"""
_EVENTS = """
    INSERT INTO behavior.event
    SELECT 1 + (power(random(), 2) * (:profiles - 1))::int, at, gen_random_uuid(), :class, at, 1, :name, :mask,
           jsonb_build_object('revenue', round((random() * 200)::numeric, 2), 'category', :category + (random() * 4)::int,
                              'items', (random() * 9)::int),
           decode(repeat('5e', 200), 'hex')
    FROM (SELECT :now - random() * make_interval(days => :days) AS at FROM generate_series(1, :count)) AS given
"""
_KINDS = ((ORDER, "transactions", 0.3), (VIEW, "browsing", 0.7))


def fill(database: Database, profiles: int, events: int) -> float:
    """Make the population; the seconds it took. A fiftieth of the permissions ended within the last hour."""
    begun = time.perf_counter()
    policy = load_policy(Path("policies"))
    days = [NOW - timedelta(days=day) for day in range(0, DAYS + 31, 5)]
    ensure_partitions(database, {(name, month_of(day)) for name in ("transactions", "browsing") for day in days})
    with database.transaction() as tx:
        masks = projection_store.prepare_purposes(tx, list(policy.purposes), NOW)
        _intern(tx)
        ids = terms(tx)
        tx.execute_core(text("SELECT setseed(0.42)"))
        tx.execute_core(
            text("INSERT INTO identity.canonical SELECT n, n FROM generate_series(1, :profiles) AS n"),
            {"profiles": profiles},
        )
        tx.execute_core(text(_PERMITTED), {"profiles": profiles, "now": NOW, "country": ids["country", "DE"]})
    with without_keys(database, event), ThreadPoolExecutor(len(_KINDS)) as threads:

        def add(name: str, class_: str, share: float) -> None:
            with database.transaction() as tx:
                tx.execute_core(text("SELECT setseed(:seed)"), {"seed": share})
                tx.execute_core(
                    text(_EVENTS),
                    {
                        "profiles": profiles, "class": class_, "name": ids["event", name], "mask": masks[PURPOSE],
                        "category": ids["product_category", "shoes"], "now": NOW, "days": DAYS, "count": int(events * share),
                    },
                )  # fmt: skip

        for done in [threads.submit(add, *kind) for kind in _KINDS]:
            done.result()
    settle_down(database)
    return time.perf_counter() - begun


def terms(tx: Transaction) -> dict[tuple[str, str], int]:
    """The interned ids by (vocabulary, string)."""
    rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
    return {(vocabulary, term): number for vocabulary, term, number in rows}


def _intern(tx: Transaction) -> None:
    tx.execute(
        "INSERT INTO behavior.term (vocabulary, term) SELECT * FROM unnest(%(v)s::text[], %(t)s::text[])",
        {
            "v": ["event", "event", *["country"] * 4, *["product_category"] * 5],
            "t": [ORDER, VIEW, "DE", "FR", "GB", "US", "shoes", "hats", "coats", "bags", "toys"],
        },
    )
