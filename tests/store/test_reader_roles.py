"""Several reader roles: each reads its purposes, in SQL, under ids of its own, and no two of them can be joined.

Three logins, of marketers, analysts and an agency, read everything that they may, and pool it.
"""

from collections.abc import Iterator
from itertools import combinations, product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from cdp.consent.store.projection import ROLE_PREFIX
from cdp.consent.store.role_projections import table_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.operations.policy import apply_policy
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.policy.model import MARKETER, Policy
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.consent import projection_of
from tests.support.marketer import attempt
from tests.support.messages import consent_context, identify, track
from tests.support.people import ADA, BOB
from tests.support.policies import permit_all, with_readers
from tests.support.reader_attacks import REFUSED, SILENT
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PASSWORD = "only-for-this-test"
Login = psycopg.Connection[tuple[Any, ...]]
READ = {
    MARKETER: ("advertising", "analytics", "email_marketing", "personalization"),
    "analyst": ("analytics", "personalization"),
    "agency": ("advertising",),
}
PAIRS = [(role, purpose) for role, purposes in READ.items() for purpose in purposes]
"""Every (role, purpose) that policy lets read."""


def three_roles() -> Policy:
    return with_readers(permit_all(), **{role: purposes for role, purposes in READ.items() if role != MARKETER})


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(answered(ADA))
    apply_policy(rights.context, three_roles())
    rights.pipeline.send(answered(BOB))
    return rights


def answered(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "context": consent_context(personalization=True, email_marketing=True, advertising=True)}


def name_of(role: str, purpose: str) -> str:
    return projection_of(purpose) if role == MARKETER else table_of(role, purpose)


@pytest.fixture
def logins(rights: RequestPipeline, server: EmbeddedPostgres) -> Iterator[dict[str, Login]]:
    """A login of each role."""
    database = rights.context.database.engine.url.database
    assert database is not None
    admin = server.url_for("cdp_admin", database).replace("+psycopg", "")
    names = {role: f"login_of_{role}" for role in READ}
    opened: dict[str, Login] = {}
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        for role, name in names.items():
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), PASSWORD))
            group = sql.Identifier("cdp_marketer" if role == MARKETER else ROLE_PREFIX + role)
            connection.execute(sql.SQL("GRANT {} TO {}").format(group, sql.Identifier(name)))
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), sql.Identifier(name))
            )
    try:
        for role, name in names.items():
            parts = psycopg.conninfo.conninfo_to_dict(admin) | {"user": name, "password": PASSWORD}
            opened[role] = psycopg.connect(**parts, autocommit=True)  # type: ignore[arg-type]
        yield opened
    finally:
        for login in opened.values():
            login.close()
        with psycopg.connect(admin, autocommit=True) as connection:
            for name in names.values():
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def rows_of(login: Login, role: str, purpose: str) -> list[tuple[Any, ...]]:
    query = sql.SQL("SELECT reader_pseudonym, since_on, until_on, traits FROM {} ORDER BY reader_pseudonym")
    return login.execute(query.format(sql.Identifier("consent", name_of(role, purpose)))).fetchall()


def test_each_role_reads_its_purposes_and_no_two_share_a_key(logins: dict[str, Login]) -> None:
    """Both people answered in one click; one before the roles existed, one after."""
    found = {pair: rows_of(logins[pair[0]], *pair) for pair in PAIRS}
    assert {pair: len(rows) for pair, rows in found.items()} == dict.fromkeys(PAIRS, 2)
    joined = {
        (one, other): {row[0] for row in found[one]} & {row[0] for row in found[other]}
        for one, other in combinations(PAIRS, 2)
    }
    assert len(joined) == len(PAIRS) * (len(PAIRS) - 1) // 2
    assert {pair: keys for pair, keys in joined.items() if keys} == {}
    for role, purpose in PAIRS:
        assert [row[1:] for row in sorted(found[role, purpose], key=repr_of)] == [
            row[1:] for row in sorted(found[MARKETER, purpose], key=repr_of)
        ], "what they read of a purpose is the same, but for the ids"


def repr_of(row: tuple[Any, ...]) -> str:
    return repr(row[1:])


def test_no_login_reads_a_table_of_another_role(logins: dict[str, Login]) -> None:
    for (role, purpose), (other, of_other) in combinations([*PAIRS, (MARKETER, "service")], 2):
        for login_role in {role, other}:
            one, two = (sql.Identifier("consent", name_of(*pair)) for pair in ((role, purpose), (other, of_other)))
            query = sql.SQL("SELECT count(*) FROM {} AS one JOIN {} AS other USING (reader_pseudonym)").format(one, two)
            if role == other == login_role and of_other != "service":
                assert logins[login_role].execute(query).fetchone() == (0,)
            else:
                with pytest.raises(errors.InsufficientPrivilege):
                    logins[login_role].execute(query)
    for role in ("analyst", "agency"):
        for forbidden in (
            sql.SQL("SELECT profile_id FROM {}"),
            sql.SQL("SELECT count(*) FROM consent.projection"),
            sql.SQL("SELECT count(*) FROM consent.permitted"),
            sql.SQL("SELECT consent.follow_verdicts()"),
            sql.SQL("SELECT ctid FROM {}"),
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                logins[role].execute(forbidden.format(sql.Identifier("consent", table_of(role, READ[role][0]))))


def of_projection(rights: RequestPipeline) -> set[tuple[Any, ...]]:
    """What the further roles read, without the ids."""
    with rights.context.database.transaction(read_only=True) as tx:
        return set(
            tx.execute(
                "SELECT role, purpose, profile_id, until, since_on, until_on, traits::text FROM consent.projection"
            )
        )


def expected(rights: RequestPipeline) -> set[tuple[Any, ...]]:
    """What they should read: the rows of consent.permitted for their purposes."""
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT purpose, profile_id, until, since_on, until_on, traits::text FROM consent.permitted")
    return {(role, *row) for role, purposes in READ.items() if role != MARKETER for row in rows if row[0] in purposes}


def ids(rights: RequestPipeline) -> dict[tuple[str, str, int], str]:
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT role, purpose, profile_id, reader_pseudonym FROM consent.projection")
    return {(role, purpose, profile): pseudonym for role, purpose, profile, pseudonym in rows}


def test_every_change_of_a_permission_is_followed_in_its_transaction(rights: RequestPipeline) -> None:
    context, pipeline = rights.context, rights.pipeline
    assert of_projection(rights) == expected(rights) != set()
    first = ids(rights)
    pipeline.send(identify(userId="ada", traits={"country": "FR"}))
    pipeline.send(track(userId="ada", anonymousId="phone"), answered(track(anonymousId="phone")))
    assert of_projection(rights) == expected(rights)
    assert ids(rights).items() >= first.items(), "a message renames nobody"
    record(context, ConsentStatement(("user_id", "ada"), "advertising", "withdraw"))
    assert of_projection(rights) == expected(rights)
    withdrawn = first.keys() - ids(rights).keys()
    assert {(role, purpose) for role, purpose, _ in withdrawn} == {("agency", "advertising")}
    clear_withdrawn(context)
    rights.later(minutes=5)
    record(context, ConsentStatement(("user_id", "ada"), "advertising", "grant"))
    assert of_projection(rights) == expected(rights)
    again = {key: ids(rights)[key] for key in withdrawn}
    assert again.keys() == withdrawn
    assert not set(again.values()) & set(first.values()), "a later grant has a new id"
    pipeline.send(track(userId="ada", anonymousId="shared"), track(anonymousId="shared"))
    unmerge(context, Identifier("user_id", "ada"), Identifier("anonymous_id", "shared"), dry_run=False)
    assert of_projection(rights) == expected(rights)
    rights.erase(("user_id", "ada"))
    assert of_projection(rights) == expected(rights)
    assert not set(again.values()) & set(ids(rights).values())


def test_a_policy_adds_and_removes_roles(rights: RequestPipeline) -> None:
    def tables() -> set[str]:
        with rights.context.database.transaction(read_only=True) as tx:
            rows = tx.execute("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname LIKE 'projection%%'")
        return {name for (name,) in rows}

    def has_trigger() -> bool:
        with rights.context.database.transaction(read_only=True) as tx:
            return bool(tx.execute("SELECT 1 FROM pg_trigger WHERE tgname = 'follow_verdicts'"))

    assert tables() == {table_of(role, purpose) for role, purpose in PAIRS if role != MARKETER}
    before = ids(rights)
    only_agency = with_readers(permit_all(), agency=READ["agency"])
    applied = apply_policy(rights.context.with_policy(three_roles()), only_agency)
    texts = {(".".join(map(str, change.path)), change.change.value): change.effect for change in applied.differences}
    assert "ids under which it knows people end" in texts["roles.analyst", "ended"], texts
    assert tables() == {table_of("agency", "advertising")}
    assert ids(rights) == {key: pseudonym for key, pseudonym in before.items() if key[0] == "agency"}
    apply_policy(rights.context.with_policy(only_agency), permit_all())
    assert tables() == set()
    assert not has_trigger()
    apply_policy(rights.context.with_policy(permit_all()), three_roles())
    assert has_trigger()
    assert of_projection(rights) == expected(rights)
    assert not set(ids(rights).values()) & set(before.values()), "a role that comes back knows nobody it knew"


# --- what each reader tries, on every table of every other ------------------------------------------------------------


def readable_by(role: str) -> list[str]:
    """The projections that a role reads."""
    return [f"consent.{name_of(role, purpose)}" for purpose in READ[role]]


def closed_to(role: str) -> list[str]:
    """The projections of every other pair, and that of a purpose which no reader reads."""
    others = [f"consent.{name_of(*pair)}" for pair in PAIRS if pair[0] != role]
    return [*others, f"consent.{projection_of('service')}"]


def tried(role: str) -> Iterator[str]:
    """Every statement that is refused, over all pairs of a projection that the role reads and one that it does not."""
    for statements in REFUSED.values():
        for statement in statements:
            own = readable_by(role) if "{own}" in statement else [""]
            other = closed_to(role) if "{other}" in statement else [""]
            for one, two in product(own, other):
                yield statement.replace("{own}", one).replace("{other}", two)


@pytest.mark.parametrize("role", READ)
def test_what_a_reader_tries_is_refused(logins: dict[str, Login], role: str) -> None:
    met = {statement: attempt(logins[role], statement) for statement in tried(role)}
    assert len(met) > 300
    # An extension that the server does not have, or has and would install in no schema that the login may use.
    refused = {"InsufficientPrivilege", "FeatureNotSupported", "InvalidSchemaName"}
    assert {statement: said for statement, said in met.items() if said not in refused} == {}


@pytest.mark.parametrize("role", READ)
def test_what_is_answered_tells_a_reader_nothing(logins: dict[str, Login], role: str) -> None:
    assert {query: logins[role].execute(query).fetchone() for query in SILENT} == dict.fromkeys(SILENT, (0,))


@pytest.mark.parametrize("role", READ)
def test_a_statement_prepared_on_the_table_of_another_is_never_executed(logins: dict[str, Login], role: str) -> None:
    """PostgreSQL prepares it, which tells nothing but the names of columns, and checks the rights whenever it runs."""
    for number, table in enumerate(closed_to(role)):
        columns = sql.SQL("PREPARE {} AS SELECT reader_pseudonym FROM {}")
        name = sql.Identifier(f"kept_{number}")
        logins[role].execute(columns.format(name, sql.Identifier(*table.split("."))))
        for run in ("EXECUTE {}", "EXPLAIN ANALYZE EXECUTE {}"):
            with pytest.raises(errors.InsufficientPrivilege):
                logins[role].execute(sql.SQL(run).format(name))


def test_no_statement_is_tried_twice() -> None:
    statements = [statement for group in REFUSED.values() for statement in group]
    assert len(statements) == len(set(statements)) > 150


@pytest.mark.parametrize("role", READ)
def test_no_setting_is_the_clock_of_a_reader(rights: RequestPipeline, logins: dict[str, Login], role: str) -> None:
    """A permission that has ended stays hidden whatever a session sets, and by whatever plan it is read."""
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE consent.permitted SET until = statement_timestamp() - interval '1 second'")
    settings = (
        "SET cdp.instant = '1999-01-01'",
        "SET timezone = 'Etc/GMT+12'",
        "SET search_path = pg_temp, public, pg_catalog",
        "SET row_security = on",
        "SET enable_seqscan = off",
        "SET plan_cache_mode = force_generic_plan",
        "SET default_transaction_isolation = 'serializable'",
    )
    for setting in settings:
        logins[role].execute(setting)
        for table in readable_by(role):
            query = sql.SQL("SELECT count(reader_pseudonym) FROM {}").format(sql.Identifier(*table.split(".")))
            assert logins[role].execute(query).fetchone() == (0,), setting


@pytest.mark.parametrize("role", READ)
def test_no_error_tells_a_reader_of_a_row_that_it_does_not_see(
    rights: RequestPipeline, logins: dict[str, Login], role: str
) -> None:
    """A condition that fails on a row is evaluated after the policy, so an ended permission makes no error."""
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE consent.permitted SET until = statement_timestamp() - interval '1 second'")
    conditions = (
        "1 / (length(reader_pseudonym) - length(reader_pseudonym)) = 1",
        "reader_pseudonym::int = 1",
        "traits::text::int = 1",
        "(traits ->> 'country')::date IS NOT NULL",
        "repeat(reader_pseudonym, 40000000) = ''",
        "factorial(length(reader_pseudonym) * 10000) > 0",
        "array_fill(0, ARRAY[length(reader_pseudonym) * 100000000]) IS NULL",
    )
    for table in readable_by(role):
        for condition in conditions:
            assert logins[role].execute(f"SELECT 1 FROM {table} WHERE {condition}").fetchall() == [], condition
