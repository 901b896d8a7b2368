"""What a marketer's database login sees: the projections, their permitted rows, and nothing beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors, sql

from cdp.consent.model import Reason, RecordId, Verdict
from cdp.consent.store import projection as projection_store
from cdp.consent.store import verdicts as verdict_store
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.operations.store.test_clock import override_instant
from cdp.postgres.server import EmbeddedPostgres
from tests.support.people import NEW_YEAR

pytestmark = pytest.mark.postgres

PURPOSES = ("analytics", "email_marketing")
PASSWORD = "only-for-this-test"
SHOWN = (
    "SELECT reader_pseudonym, since_on, until_on, traits FROM consent.permitted_analytics ORDER BY since_on, until_on"
)


def allowed(until: datetime | None = None) -> Verdict:
    return Verdict(True, Reason.GRANTED, NEW_YEAR, until, (RecordId(1),))


REFUSED = Verdict(False, Reason.WITHDRAWN, by=(RecordId(2),))


@dataclass(slots=True)
class Shop:
    """A database with people in it, and a marketer who is logged in."""

    database: Database
    marketer: "psycopg.Connection[tuple[Any, ...]]"

    def put(self, profile_id: int, verdict: Verdict, purpose: str = "analytics") -> None:
        with self.database.transaction() as tx:
            verdict_store.put_verdicts(tx, {profile_id: {purpose: verdict}}, now=NEW_YEAR)

    def ask(self, query: LiteralString = SHOWN) -> list[tuple[Any, ...]]:
        with self.marketer.transaction():
            return self.marketer.execute(query).fetchall()


@pytest.fixture
def shop(database: Database, server: EmbeddedPostgres) -> Iterator[Shop]:
    name = database.engine.url.database
    assert name is not None
    with database.transaction() as tx:
        projection_store.prepare_purposes(tx, PURPOSES, NEW_YEAR)
        assert projection_store.grant_reading(tx, PURPOSES)
    admin = server.url_for("cdp_admin", name).replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS mara")
        connection.execute(sql.SQL("CREATE ROLE mara LOGIN NOBYPASSRLS PASSWORD {}").format(PASSWORD))
        connection.execute("GRANT cdp_marketer TO mara")
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO mara").format(sql.Identifier(name)))
    parts = psycopg.conninfo.conninfo_to_dict(admin) | {"user": "mara", "password": PASSWORD}
    with psycopg.connect(**parts, autocommit=True) as marketer:  # type: ignore[arg-type]
        yield Shop(database, marketer)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP OWNED BY mara")
        connection.execute("DROP ROLE mara")


def test_sees_permitted_people_under_pseudonyms(shop: Shop) -> None:
    shop.put(1, allowed())
    shop.put(2, REFUSED)
    with shop.database.transaction() as tx:
        verdict_store.put_traits(tx, {(1, "analytics"): {"country": "DE"}})
    ((pseudonym, *rest),) = shop.ask()
    assert re.fullmatch("[0-9a-f]{32}", pseudonym)
    assert rest == [NEW_YEAR.date(), None, {"country": "DE"}]


FORBIDDEN: tuple[LiteralString, ...] = (
    "SELECT profile_id FROM consent.permitted_analytics",
    "SELECT since FROM consent.permitted_analytics",
    "SELECT until FROM consent.permitted_analytics",
    "SELECT * FROM consent.permitted_analytics",
    "SELECT ctid, xmin FROM consent.permitted_analytics",
    "SELECT reader_pseudonym FROM consent.permitted",
    "SELECT count(*) FROM consent.refused",
    "SELECT count(*) FROM consent.record",
    "SELECT count(*) FROM consent.withdrawal",
    "SELECT count(*) FROM identity.identifier",
    "SELECT count(*) FROM identity.canonical",
    "SELECT count(*) FROM behavior.event",
    "SELECT count(*) FROM vault.subject_key",
    "SELECT count(*) FROM operations.instant_override",
    "DELETE FROM consent.permitted_analytics",
    "UPDATE consent.permitted_analytics SET until = NULL",
    "INSERT INTO operations.instant_override VALUES (1, now())",
    "SET ROLE cdp",
)


def test_sees_and_changes_nothing_else(shop: Shop) -> None:
    shop.put(1, allowed())
    for query in FORBIDDEN:
        with pytest.raises(errors.InsufficientPrivilege):
            shop.ask(query)


def test_plans_and_statistics_tell_of_the_projection_alone(shop: Shop) -> None:
    for profile_id in range(1, 8):
        shop.put(profile_id, allowed() if profile_id < 3 else REFUSED)
    with shop.database.transaction() as tx:
        tx.execute("ANALYZE consent.permitted_analytics")
    plan = "\n".join(
        row[0]
        for row in shop.ask("EXPLAIN (ANALYZE, VERBOSE, BUFFERS OFF) SELECT traits FROM consent.permitted_analytics")
    )
    assert "Removed by Filter" not in plan
    assert "profile_id" not in plan
    with pytest.raises(errors.InsufficientPrivilege):
        shop.ask("SELECT reltuples::int FROM pg_class WHERE relname = 'permitted_analytics'")
    seen = shop.ask("SELECT DISTINCT attname::text FROM pg_stats WHERE schemaname = 'consent' ORDER BY 1")
    assert {name for (name,) in seen} <= {"reader_pseudonym", "since_on", "until_on", "traits"}


def test_a_withdrawal_is_gone_for_whoever_begins_after_it(shop: Shop) -> None:
    shop.put(1, allowed())
    assert len(shop.ask()) == 1
    shop.put(1, REFUSED)
    assert shop.ask() == []


def test_an_ended_row_is_hidden_before_the_worker_comes(shop: Shop) -> None:
    shop.put(1, allowed(until=NEW_YEAR + timedelta(days=30)))
    shop.put(2, allowed())
    with shop.database.transaction() as tx:
        override_instant(tx, NEW_YEAR + timedelta(days=29))
    assert [row[2] for row in shop.ask()] == [(NEW_YEAR + timedelta(days=30)).date(), None]
    with shop.database.transaction() as tx:
        override_instant(tx, NEW_YEAR + timedelta(days=30))
    assert [row[2] for row in shop.ask()] == [None]


def test_no_setting_moves_the_clock(shop: Shop) -> None:
    shop.put(1, allowed(until=NEW_YEAR))
    shop.marketer.execute("SELECT set_config('cdp.now', '2020-01-01', false)")
    assert shop.ask() == []


def test_a_purpose_added_later_is_readable_too(shop: Shop) -> None:
    with shop.database.transaction() as tx:
        projection_store.prepare_purposes(tx, (*PURPOSES, "research"), NEW_YEAR)
        assert projection_store.grant_reading(tx, (*PURPOSES, "research"))
        before = tx.statements
        assert projection_store.grant_reading(tx, (*PURPOSES, "research"))
        assert tx.statements == before + 2
    assert shop.ask("SELECT count(*) FROM consent.permitted_research WHERE traits IS NOT NULL") == [(0,)]


def test_a_purpose_that_is_taken_away_is_no_longer_readable(shop: Shop) -> None:
    shop.put(1, allowed())
    assert len(shop.ask()) == 1
    with shop.database.transaction() as tx:
        assert projection_store.grant_reading(tx, ("email_marketing",))
    with pytest.raises(errors.InsufficientPrivilege):
        shop.ask()
    assert shop.ask("SELECT count(*) FROM consent.permitted_email_marketing WHERE traits IS NOT NULL") == [(0,)]
    with shop.database.transaction() as tx:
        assert projection_store.grant_reading(tx, PURPOSES)
    assert len(shop.ask()) == 1


def test_purposes_end_with_the_bits(database: Database) -> None:
    with pytest.raises(Fault, match="too_many_purposes"), database.transaction() as tx:
        projection_store.prepare_purposes(tx, [f"p{number}" for number in range(64)], NEW_YEAR)
