"""For every basis of a purpose, what readers see of a person who is not permitted: nothing, in segments, lists, look-ups and SQL.

`tests/support/mutations` names these tests; each goes red when the check of its stage is removed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

import psycopg
import pytest
from psycopg import errors, sql

from cdp.consent.store.projection import grant_reading
from cdp.consent.store.reader_view import rows_under
from cdp.flows.identity.reader_lookup import look_up_pseudonym
from cdp.flows.segments import reading
from cdp.flows.segments.evaluation import compiled_condition
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import MARKETER
from cdp.postgres.server import EmbeddedPostgres
from cdp.query.language.check import parse_and_check
from cdp.schema.consent import projection_of
from cdp.segments.model import Segment
from cdp.segments.store import definitions as definition_store
from cdp.segments.store import members as member_store
from tests.support.databases import plain_url
from tests.support.every_basis import AGENCY, ALL, EVENT, Basis, Everybody, everybody_in, policy_of

pytestmark = pytest.mark.postgres

ANYBODY = 'sample 100% by "x"'
ORDERED = f'did("{EVENT}")'
ROLES = (MARKETER, AGENCY)


@pytest.fixture(scope="module")
def people(server: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everybody]:
    with everybody_in(server, template, tmp_path_factory.mktemp("people")) as people:
        yield people


def found(tx: Transaction, people: Everybody, where: str, basis: Basis, *, now: datetime | None = None) -> set[int]:
    """The members of a condition for the purpose of a basis."""
    catalogue = definition_store.catalogue_of(tx, people.context.policy)
    condition = parse_and_check(where, catalogue, basis.value)
    assert not isinstance(condition, tuple)
    at = now or people.context.clock.now()
    compiled = compiled_condition(tx, condition, catalogue, purpose=basis.value, now=at)
    return {profile_id for (profile_id,) in tx.all(compiled.members)}


def other_than(basis: Basis) -> Basis:
    return next(one for one in ALL if one is not basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_has_nobody_who_is_not_permitted(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        members = found(tx, people, ANYBODY, basis)
        assert people.open(tx) in members
        assert people.closed(tx, basis) not in members


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_has_nobody_whose_permission_ended_by_time(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.permit_until(tx, profile_id, basis, people.context.clock.now())
        assert profile_id not in found(tx, people, ANYBODY, basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_reads_no_event_without_its_bit(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        assert profile_id in found(tx, people, ORDERED, basis)
        people.set_bits(tx, profile_id, basis, has_bit=False)
        assert profile_id not in found(tx, people, ORDERED, basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_reads_no_event_from_before_the_permission(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.permit_from(tx, profile_id, basis, people.context.clock.now())
        assert profile_id in found(tx, people, ANYBODY, basis)
        assert profile_id not in found(tx, people, ORDERED, basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_segment_reads_no_computed_trait_from_before_the_permission(people: Everybody, basis: Basis) -> None:
    now, where = people.context.clock.now() + timedelta(days=2), f"computed.{basis}_orders > 0"
    with people.undone() as tx:
        profile_id = people.open(tx)
        assert profile_id in found(tx, people, where, basis, now=now)
        people.permit_from(tx, profile_id, basis, now - timedelta(days=1))
        assert profile_id not in found(tx, people, where, basis, now=now)


def segment_of(tx: Transaction, basis: Basis) -> Segment:
    segment = definition_store.find(tx, f"of_{basis}")
    assert segment is not None
    return segment


def listed(tx: Transaction, people: Everybody, basis: Basis, *others: Basis) -> set[int]:
    """Whom the list of members of a segment shows, which has to be whom its size and the single question count."""
    segment, now = segment_of(tx, basis), people.context.clock.now()
    purposes = [basis.value, *(other.value for other in others)]
    page = member_store.members(tx, segment, purposes, now=now, after=None, limit=100)
    pseudonyms = [member.reader_pseudonym for member in page.members]
    rows = tx.execute(
        "SELECT profile_id FROM consent.permitted WHERE reader_pseudonym = ANY(%(ids)s)", {"ids": pseudonyms}
    )
    shown = {profile_id for (profile_id,) in rows}
    assert member_store.size_of(tx, segment, purposes, now=now) == len(page.members)
    for profile_id in (people.open(tx), people.closed(tx, basis)):
        is_shown = member_store.is_member(tx, segment, purposes, profile_id=profile_id, now=now)
        assert is_shown == (profile_id in shown)
    return shown


def enroll(tx: Transaction, profile_id: int, basis: Basis, since: datetime) -> None:
    """A stored membership, as one from before a refusal."""
    segment = segment_of(tx, basis)
    tx.execute(
        "INSERT INTO segments.membership (profile_id, key, version, since) "
        "VALUES (%(id)s, %(key)s, %(version)s, %(since)s) ON CONFLICT DO NOTHING",
        {"id": profile_id, "key": segment.key, "version": segment.version, "since": since},
    )


@pytest.mark.parametrize("basis", ALL)
def test_a_list_shows_no_member_who_is_not_permitted(people: Everybody, basis: Basis) -> None:
    """Whatever memberships are stored; this is what is delivered today."""
    with people.undone() as tx:
        closed = people.closed(tx, basis)
        enroll(tx, closed, basis, people.context.clock.now())
        shown = listed(tx, people, basis)
        assert people.open(tx) in shown
        assert closed not in shown


@pytest.mark.parametrize("basis", ALL)
def test_a_list_shows_no_member_whose_permission_ended_or_began_again(people: Everybody, basis: Basis) -> None:
    now = people.context.clock.now()
    with people.undone() as tx:
        people.permit_until(tx, people.open(tx), basis, now)
        assert people.open(tx) not in listed(tx, people, basis)
    with people.undone() as tx:
        people.permit_from(tx, people.open(tx), basis, now)
        assert people.open(tx) not in listed(tx, people, basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_list_of_two_purposes_needs_permission_for_both(people: Everybody, basis: Basis) -> None:
    other = other_than(basis)
    with people.undone() as tx:
        assert people.open(tx) in listed(tx, people, other, basis)
        closed = people.closed(tx, basis)
        enroll(tx, closed, other, people.context.clock.now())
        assert closed not in listed(tx, people, other, basis)


@pytest.mark.parametrize("basis", ALL)
def test_a_role_lists_nobody_for_a_purpose_that_it_does_not_read(people: Everybody, basis: Basis) -> None:
    context = people.context.with_policy(policy_of(ALL, readable=()))
    with pytest.raises(Fault) as caught:
        reading.members(context, f"of_{basis}", after=None, limit=10, actor="marketer")
    assert caught.value.code == "purpose_not_readable"


def pseudonym_of(tx: Transaction, profile_id: int, basis: Basis, role: str = MARKETER) -> str:
    """The id under which a role knows a profile for the purpose of a basis."""
    table = "permitted" if role == MARKETER else "projection"
    ((pseudonym,),) = tx.execute(
        sql.SQL("SELECT reader_pseudonym FROM {} WHERE profile_id = %(id)s AND purpose = %(purpose)s").format(
            sql.Identifier("consent", table)
        )
        + (sql.SQL("") if role == MARKETER else sql.SQL(" AND role = 'agency'")),
        {"id": profile_id, "purpose": basis.value},
    )
    return str(pseudonym)


@pytest.mark.parametrize("basis", ALL)
def test_a_role_looks_up_nobody_for_a_purpose_that_it_does_not_read(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        pseudonym = pseudonym_of(tx, people.open(tx), basis)
    narrow = people.context.with_policy(policy_of(ALL, readable=()))
    assert look_up_pseudonym(people.context, pseudonym, actor="marketer").purposes.keys() == {basis.value}
    with pytest.raises(Fault) as caught:
        look_up_pseudonym(narrow, pseudonym, actor="marketer")
    assert caught.value.code == "unknown_profile"


@pytest.mark.parametrize("basis", ALL)
def test_a_look_up_shows_data_of_its_own_purpose_alone(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        pseudonym = pseudonym_of(tx, people.open(tx), basis)
    shown = look_up_pseudonym(people.context, pseudonym, actor="marketer")
    assert shown.computed_traits.keys() == {f"{basis}_orders"}
    assert shown.segments == (f"of_{basis}",)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("basis", ALL)
def test_a_look_up_finds_nobody_whose_permission_ended_by_time(people: Everybody, basis: Basis, role: str) -> None:
    now, purposes = people.context.clock.now(), [one.value for one in ALL]
    with people.undone() as tx:
        pseudonym = pseudonym_of(tx, people.open(tx), basis, role)
        (row,) = rows_under(tx, pseudonym, purposes, role=role, now=now)
        assert row.purpose == basis
        people.permit_until(tx, people.open(tx), basis, now)
        assert rows_under(tx, pseudonym, purposes, role=role, now=now) == []


@contextmanager
def administrator(people: Everybody, server: EmbeddedPostgres) -> Iterator["psycopg.Connection[tuple[int]]"]:
    """A connection whose changes do not stay, and that may read as another role."""
    name = people.database.engine.url.database
    assert name is not None
    with psycopg.connect(plain_url(server.url_for("cdp_admin", name))) as connection:
        try:
            yield connection
        finally:
            connection.rollback()


def rows_of(connection: "psycopg.Connection[tuple[int]]", basis: Basis) -> int:
    """How many people the marketers' role sees for the purpose of a basis in SQL."""
    connection.execute("SET LOCAL ROLE cdp_marketer")
    table = sql.Identifier("consent", projection_of(basis.value))
    ((rows,),) = connection.execute(
        sql.SQL("SELECT count(*) FROM {} WHERE traits IS NOT NULL").format(table)
    ).fetchall()
    connection.execute("RESET ROLE")
    return rows


@pytest.mark.parametrize("basis", ALL)
def test_sql_shows_nobody_whose_permission_ended_by_time(
    people: Everybody, server: EmbeddedPostgres, basis: Basis
) -> None:
    with administrator(people, server) as connection:
        assert rows_of(connection, basis) > 0
        connection.execute(
            "UPDATE consent.permitted SET until = now() - interval '1 s' WHERE purpose = %s", [basis.value]
        )
        assert rows_of(connection, basis) == 0


@pytest.mark.parametrize("basis", ALL)
def test_sql_shows_nobody_for_a_purpose_that_the_role_does_not_read(
    people: Everybody, server: EmbeddedPostgres, basis: Basis
) -> None:
    readable = [one.value for one in ALL]
    try:
        with people.database.transaction() as tx:
            assert grant_reading(tx, [purpose for purpose in readable if purpose != basis])
        with administrator(people, server) as connection:
            assert rows_of(connection, other_than(basis)) > 0
            with pytest.raises(errors.InsufficientPrivilege):
                rows_of(connection, basis)
    finally:
        with people.database.transaction() as tx:
            grant_reading(tx, readable)


@pytest.mark.parametrize("basis", ALL)
def test_the_tables_of_further_roles_follow_the_end_of_a_permission(people: Everybody, basis: Basis) -> None:
    of_one = "SELECT count(*) FROM consent.projection WHERE profile_id = %(id)s AND purpose = %(purpose)s"
    with people.undone() as tx:
        params = {"id": people.open(tx), "purpose": basis.value}
        assert tx.execute(of_one, params) == [(1,)]
        tx.execute("DELETE FROM consent.permitted WHERE profile_id = %(id)s AND purpose = %(purpose)s", params)
        assert tx.execute(of_one, params) == [(0,)]
        assert tx.execute(of_one, params | {"id": people.closed(tx, basis)}) == [(0,)]
