"""Segments over a large consented population: our SQL beside the same questions written by hand, on one PostgreSQL.

    python -m benchmarks.segment --profiles 200000 --events 2000000

The store is filled by the server itself (seeded): one anchor a profile, orders and product views over 400 days, every
profile permitted for e-mail marketing. Each question is asked `--rounds` times, alternating with its baseline; the
table shows medians. Both sides must give the same number.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from cdp.behavior.retention import month_of
from cdp.behavior.store_partitions import ensure_partitions
from cdp.consent import store_projection
from cdp.kit.db import Database, Transaction
from cdp.kit.embedded import EmbeddedPostgres
from cdp.policy.load import load_policy
from cdp.schema.migrate import migrate
from cdp.segments import store
from cdp.segments.catalogue import Catalogue
from cdp.segments.check import understand
from cdp.segments.compile import compile_segment

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PURPOSE = "email_marketing"
ORDER, VIEW = "Order Completed", "Product Viewed"
DAYS = 390


@dataclass(frozen=True, slots=True)
class Question:
    """One segment, and the SQL that somebody who knows the tables would write for it."""

    name: str
    where: str
    by_hand: str


QUESTIONS = (
    Question(
        "two traits",
        'trait.country = "DE" and trait.age >= 40',
        """
        SELECT count(*) FROM consent.permitted
        WHERE purpose = 'email_marketing' AND (until IS NULL OR until > :now) AND since <= :now
          AND (traits -> 'country')::int = :germany AND (traits -> 'age')::int >= 40
        """,
    ),
    Question(
        "three orders in a year",
        f'count("{ORDER}", within 365 days) >= 3',
        """
        SELECT count(*) FROM (
            SELECT c.profile_id
            FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
            JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
            WHERE e.retention_class = 'transactions' AND e.name_id = :order AND e.bits & :mask <> 0
              AND e.occurred_at >= p.since AND e.occurred_at > :year_ago AND e.occurred_at <= :now
              AND (p.until IS NULL OR p.until > :now)
            GROUP BY c.profile_id HAVING count(*) >= 3
        ) AS found
        """,
    ),
    Question(
        "lapsing high value",
        f'count("{ORDER}", within 365 days) >= 3 and sum("{ORDER}".revenue, within 365 days) > 250 '
        f'and not did("{ORDER}", within 60 days)',
        """
        SELECT count(*) FROM (
            SELECT c.profile_id
            FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
            JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
            WHERE e.retention_class = 'transactions' AND e.name_id = :order AND e.bits & :mask <> 0
              AND e.occurred_at >= p.since AND e.occurred_at > :year_ago AND e.occurred_at <= :now
              AND (p.until IS NULL OR p.until > :now)
            GROUP BY c.profile_id
            HAVING count(*) >= 3 AND sum((e.plain -> 'revenue')::numeric) > 250 AND max(e.occurred_at) <= :two_months_ago
        ) AS found
        """,
    ),
    Question(
        "viewed a category, no order",
        f'count("{VIEW}" where category = "shoes", within 30 days) >= 3 and not did("{ORDER}", within 14 days)',
        """
        SELECT count(*) FROM (
            SELECT c.profile_id
            FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
            JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
            WHERE e.retention_class = 'browsing' AND e.name_id = :view AND e.bits & :mask <> 0
              AND e.occurred_at >= p.since AND e.occurred_at > :month_ago AND e.occurred_at <= :now
              AND (p.until IS NULL OR p.until > :now) AND (e.plain -> 'category')::int = :shoes
            GROUP BY c.profile_id HAVING count(*) >= 3
        ) AS viewed
        WHERE NOT EXISTS (
            SELECT FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
            JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
            WHERE c.profile_id = viewed.profile_id AND e.retention_class = 'transactions' AND e.name_id = :order
              AND e.bits & :mask <> 0 AND e.occurred_at >= p.since AND e.occurred_at > :fortnight_ago
              AND e.occurred_at <= :now
        )
        """,
    ),
    Question(
        "recent and few",
        f'did("{ORDER}", within 30 minutes)',
        """
        SELECT count(DISTINCT c.profile_id)
        FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
        JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
        WHERE e.retention_class = 'transactions' AND e.name_id = :order AND e.bits & :mask <> 0
          AND e.occurred_at >= p.since AND e.occurred_at > :half_an_hour_ago AND e.occurred_at <= :now
          AND (p.until IS NULL OR p.until > :now)
        """,
    ),
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--profiles", type=int, default=200_000)
    arguments.add_argument("--events", type=int, default=2_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--plans", action="store_true", help="print EXPLAIN (ANALYZE, BUFFERS) of our statements")
    given = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cdp-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "home", version="18", durable=False)
    try:
        server.start()
        url = server.url_for("cdp", "cdp")
        migrate(url)
        database = Database(url)
        fill(database, given.profiles, given.events)
        report(database, given.rounds, plans=given.plans)
        database.close()
    finally:
        server.stop()
        shutil.rmtree(folder)


def fill(database: Database, profiles: int, events: int) -> None:
    """Make the population; the server's own generator is seeded."""
    policy = load_policy(Path("policies"))
    days = [NOW - timedelta(days=day) for day in range(0, DAYS + 31, 5)]
    ensure_partitions(database, {(name, month_of(day)) for name in ("transactions", "browsing") for day in days})
    with database.transaction() as tx:
        masks = store_projection.prepare(tx, list(policy.purposes), NOW)
        tx.bulk(
            "INSERT INTO behavior.term (vocabulary, term) SELECT * FROM unnest(%(v)s::text[], %(t)s::text[])",
            {
                "v": ["event", "event", *["country"] * 4, *["product_category"] * 5],
                "t": [ORDER, VIEW, "DE", "FR", "GB", "US", "shoes", "hats", "coats", "bags", "toys"],
            },
        )
        ids = terms(tx)
        params = {"profiles": profiles, "events": events, "mask": masks[PURPOSE], "now": NOW, "days": DAYS}
        tx.run(text("SELECT setseed(0.42)"))
        tx.run(text("INSERT INTO identity.canonical SELECT n, n FROM generate_series(1, :profiles) AS n"), params)
        tx.run(
            text(
                """
                INSERT INTO consent.permitted (profile_id, purpose, since, reader_pseudonym, traits)
                SELECT n, 'email_marketing', '-infinity', md5(n::text),
                       jsonb_build_object('country', :country + (random() * 3)::int, 'age', 18 + (random() * 60)::int)
                FROM generate_series(1, :profiles) AS n
                """
            ),
            params | {"country": ids["country", "DE"]},
        )
        for name, class_, share in ((ORDER, "transactions", 0.3), (VIEW, "browsing", 0.7)):
            tx.run(
                text(
                    """
                    INSERT INTO behavior.event
                    SELECT 1 + (power(random(), 2) * (:profiles - 1))::int, at, gen_random_uuid(), :class, at, 1, :name, :mask,
                           jsonb_build_object(
                               'revenue', round((random() * 200)::numeric, 2), 'category', :category + (random() * 4)::int,
                               'items', (random() * 9)::int),
                           '\\x00'
                    FROM (SELECT :now - random() * make_interval(days => :days) AS at FROM generate_series(1, :count)) AS given
                    """
                ),
                params
                | {
                    "class": class_,
                    "name": ids["event", name],
                    "count": int(events * share),
                    "category": ids["product_category", "shoes"],
                },
            )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def terms(tx: Transaction) -> dict[tuple[str, str], int]:
    rows = tx.bulk("SELECT vocabulary, term, term_id FROM behavior.term")
    return {(vocabulary, term): number for vocabulary, term, number in rows}


def report(database: Database, rounds: int, *, plans: bool) -> None:
    """Ask everything, in turns, and print the table."""
    catalogue = Catalogue(load_policy(Path("policies")))
    print(f"{'segment':<30} {'people':>9} {'ours':>9} {'by hand':>9} {'ratio':>6}")
    for question in QUESTIONS:
        with database.transaction(read_only=True) as tx:
            ids = terms(tx)
            condition = understand(question.where, catalogue, PURPOSE, now=NOW)
            assert not isinstance(condition, tuple), condition
            ground = store.ground_of(tx, condition, catalogue)
            members = compile_segment(condition, catalogue, ground, purpose=PURPOSE, now=NOW).members
            ours = select(func.count()).select_from(members.subquery())
            params = {
                "mask": ground.masks[PURPOSE], "now": NOW, "germany": ids["country", "DE"], "order": ids["event", ORDER],
                "view": ids["event", VIEW], "shoes": ids["product_category", "shoes"],
                "year_ago": NOW - timedelta(days=365), "two_months_ago": NOW - timedelta(days=60),
                "month_ago": NOW - timedelta(days=30), "fortnight_ago": NOW - timedelta(days=14),
                "half_an_hour_ago": NOW - timedelta(minutes=30),
            }  # fmt: skip
            by_hand = text(question.by_hand)
            counts, spent = race(
                rounds, lambda tx=tx, ours=ours: tx.scalar(ours), lambda tx=tx, sql=by_hand, p=params: tx.scalar(sql, p)
            )
            assert counts[0] == counts[1], counts
            print(
                f"{question.name:<30} {counts[0]:>9,} {spent[0]:>6.0f} ms {spent[1]:>6.0f} ms {spent[0] / spent[1]:>6.2f}"
            )
            if plans:
                compiled = ours.compile(database.engine, compile_kwargs={"literal_binds": True})
                rows = tx.raw.execute("EXPLAIN (ANALYZE, BUFFERS) " + str(compiled)).fetchall()
                print("\n".join(row[0] for row in rows))


def race(rounds: int, *sides: Callable[[], int]) -> tuple[list[int], list[float]]:
    """Run the sides in turns; their answers and their median milliseconds."""
    answers = [side() for side in sides]
    spent: list[list[float]] = [[] for _ in sides]
    for _ in range(rounds):
        for at, side in enumerate(sides):
            begun = time.perf_counter()
            side()
            spent[at].append((time.perf_counter() - begun) * 1000)
    return answers, [statistics.median(each) for each in spent]


if __name__ == "__main__":
    main()
