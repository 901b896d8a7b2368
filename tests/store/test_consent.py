"""The ledger and the verdicts in force, on PostgreSQL."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cdp.consent.model import ALWAYS, Act, Authority, Reason, Record, RecordId, Verdict
from cdp.consent.store import projection as projection_store
from cdp.consent.store import records as record_store
from cdp.consent.store import verdicts as verdict_store
from cdp.kit.db import Database
from tests.support.people import NEW_YEAR

pytestmark = pytest.mark.postgres

PURPOSES = ("analytics", "email_marketing")


def day(number: int) -> datetime:
    return NEW_YEAR + timedelta(days=number)


def record(number: int, identifier_id: int, act: Act = Act.GRANT, at: int = 1, purpose: str = "analytics") -> Record:
    return Record(
        RecordId(number), identifier_id, purpose, act, Authority.DEVICE, "eu", day(at), day(at + 1), b"\x01" * 32
    )


def allowed(since: datetime = ALWAYS, until: datetime | None = None) -> Verdict:
    return Verdict(True, Reason.GRANTED, since, until, (RecordId(1),))


REFUSED = Verdict(False, Reason.WITHDRAWN, by=(RecordId(2),))
SILENT = Verdict(False, Reason.NO_GRANT)


def put(
    database: Database, verdicts: verdict_store.Verdicts, at: int = 10, **more: dict[int, int]
) -> verdict_store.VerdictChanges:
    with database.transaction() as tx:
        return verdict_store.put_verdicts(tx, verdicts, now=day(at), **more)


def pseudonyms(database: Database) -> dict[tuple[int, str], str]:
    """The reader pseudonym of every permission."""
    with database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT profile_id, purpose, reader_pseudonym FROM consent.permitted")
    return {(profile_id, purpose): pseudonym for profile_id, purpose, pseudonym in rows}


@pytest.fixture
def prepared(database: Database) -> Database:
    with database.transaction() as tx:
        projection_store.prepare_purposes(tx, PURPOSES, NEW_YEAR)
    return database


class TestTheLedger:
    def test_gives_back_every_field(self, database: Database) -> None:
        full = replace(
            record(1, 7),
            valid_until=day(300),
            notice_version="2026-01",
            notice_hash=b"\x02" * 32,
            source_id=4,
            signal="segment",
            signal_hash=b"\x03" * 32,
            rule="signals.segment",
            is_two_step=True,
        )
        with database.transaction() as tx:
            record_store.append(tx, [full, record(2, 8, Act.OBJECT)])
            assert record_store.records_of(tx, [7]) == [full]
            assert record_store.records_of(tx, [8]) == [record(2, 8, Act.OBJECT)]

    def test_remembers_the_last_time_a_no_was_repeated(self, database: Database) -> None:
        no = record(1, 7, Act.REFUSE)
        with database.transaction() as tx:
            record_store.append(tx, [no])
            record_store.append_repetitions(tx, [replace(no, repeated_at=day(5))], now=day(5))
            record_store.append_repetitions(tx, [replace(no, repeated_at=day(3))], now=day(6))
            assert record_store.records_of(tx, [7]) == [replace(no, repeated_at=day(5))]

    def test_refuses_a_no_that_ends(self, database: Database) -> None:
        with pytest.raises(Exception, match="only_grants_end"), database.transaction() as tx:
            record_store.append(tx, [replace(record(1, 7, Act.REFUSE), valid_until=day(9))])

    def test_tells_what_it_held_at_an_instant(self, database: Database) -> None:
        with database.transaction() as tx:
            record_store.append(tx, [record(1, 11, at=1), record(2, 11, Act.WITHDRAW, at=5)])
            held = record_store.records_of(tx, [11], as_of=day(3))
        assert [each.record_id for each in held] == [1]


class TestTheVerdictsInForce:
    def test_permitted_profiles_have_a_row_and_others_none(self, prepared: Database) -> None:
        outcome = put(
            prepared, {1: {"analytics": allowed(day(1), day(90))}, 2: {"analytics": SILENT}, 3: {"analytics": REFUSED}}
        )
        assert outcome.begun == {(1, "analytics")}
        assert outcome.ended == frozenset()
        with prepared.transaction() as tx:
            assert verdict_store.permitted_of(tx, [1, 2, 3]) == {
                1: {"analytics": verdict_store.PermittedVerdict(day(1), day(90))}
            }
            assert verdict_store.refused_of(tx, [1, 2, 3]) == {3: {"analytics": Reason.WITHDRAWN}}

    def test_the_same_again_changes_nothing(self, prepared: Database) -> None:
        verdicts = {1: {"analytics": allowed(day(1))}, 3: {"analytics": REFUSED}}
        put(prepared, verdicts)
        assert not put(prepared, verdicts).has_changes

    def test_a_withdrawal_deletes_the_row_and_is_noted_for_the_worker(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1)), "email_marketing": allowed(day(1))}})
        outcome = put(prepared, {1: {"analytics": REFUSED}}, at=20)
        assert outcome.ended == {(1, "analytics")}
        with prepared.transaction() as tx:
            assert set(verdict_store.permitted_of(tx, [1])[1]) == {"email_marketing"}
            [noted] = verdict_store.withdrawals(tx, 10)
            assert (noted.profile_id, noted.purpose, noted.withdrawn_at, noted.since) == (1, "analytics", day(20), None)
            verdict_store.delete_withdrawals(tx, [noted.withdrawal_id])
            assert verdict_store.withdrawals(tx, 10) == []

    def test_a_permission_that_begins_later_forgets_what_came_before(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1))}})
        with prepared.transaction() as tx:
            verdict_store.put_traits(tx, {(1, "analytics"): {"country": "DE"}})
        outcome = put(prepared, {1: {"analytics": allowed(day(5))}})
        assert outcome.ended == outcome.begun == {(1, "analytics")}
        with prepared.transaction() as tx:
            assert verdict_store.withdrawals(tx, 10)[0].since == day(5)
            assert tx.execute("SELECT traits FROM consent.permitted") == [({},)]

    def test_a_longer_permission_keeps_its_traits(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1), day(90))}})
        with prepared.transaction() as tx:
            verdict_store.put_traits(tx, {(1, "analytics"): {"country": "DE"}})
        assert put(prepared, {1: {"analytics": allowed(day(1), day(400))}}).ended == frozenset()
        with prepared.transaction() as tx:
            assert tx.execute("SELECT traits, until FROM consent.permitted") == [({"country": "DE"}, day(400))]

    def test_a_refusal_disappears_when_it_is_lifted(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": REFUSED}, 2: {"analytics": REFUSED}})
        put(prepared, {1: {"analytics": allowed(day(3))}, 2: {"analytics": SILENT}})
        with prepared.transaction() as tx:
            assert verdict_store.refused_of(tx, [1, 2]) == {}

    @pytest.mark.parametrize(
        ("merged", "has_ended"),
        [(allowed(day(1)), False), (allowed(day(4)), True), (REFUSED, True)],
        ids=["same beginning", "later beginning", "refused"],
    )
    def test_a_merge_hands_permissions_over(self, prepared: Database, merged: Verdict, has_ended: bool) -> None:
        put(prepared, {2: {"analytics": allowed(day(1))}, 1: {"analytics": SILENT, "email_marketing": REFUSED}})
        outcome = put(prepared, {1: {"analytics": merged}}, retired={2: 1})
        assert outcome.ended == ({(1, "analytics")} if has_ended else frozenset())
        assert outcome.begun == ({(1, "analytics")} if merged.allowed else frozenset())
        with prepared.transaction() as tx:
            assert 2 not in verdict_store.permitted_of(tx, [1, 2])

    def test_a_reader_pseudonym_lasts_as_long_as_its_permission(self, prepared: Database) -> None:
        """Whoever kept a list has nothing that leads from a permission to the next one, or to another purpose."""
        put(prepared, {1: {"analytics": allowed(day(1), day(30)), "email_marketing": allowed(day(1))}})
        first = pseudonyms(prepared)
        assert len(set(first.values())) == 2
        put(prepared, {1: {"analytics": allowed(day(1), day(300)), "email_marketing": allowed(day(0))}})
        assert pseudonyms(prepared) == first
        put(prepared, {1: {"analytics": allowed(day(20)), "email_marketing": REFUSED}})
        assert pseudonyms(prepared).keys() == {(1, "analytics")}
        put(prepared, {1: {"email_marketing": allowed(day(25))}})
        later = pseudonyms(prepared)
        assert later.keys() == first.keys()
        assert not set(later.values()) & set(first.values())

    def test_a_merge_leaves_the_survivor_its_reader_pseudonym(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1))}, 2: {"analytics": allowed(day(1))}})
        before = pseudonyms(prepared)
        put(prepared, {1: {"analytics": allowed(day(1))}}, retired={2: 1})
        assert pseudonyms(prepared) == {(1, "analytics"): before[1, "analytics"]}

    def test_a_merge_carries_withdrawals_that_are_not_settled(self, prepared: Database) -> None:
        put(prepared, {2: {"analytics": allowed(day(1))}})
        put(prepared, {2: {"analytics": REFUSED}})
        put(prepared, {1: {"analytics": REFUSED}}, retired={2: 1})
        with prepared.transaction() as tx:
            assert {each.profile_id for each in verdict_store.withdrawals(tx, 10)} == {1}
            assert verdict_store.refused_of(tx, [1, 2]) == {1: {"analytics": Reason.WITHDRAWN}}

    def test_permissions_that_ended_by_themselves_are_found(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1), day(30))}, 2: {"analytics": allowed(day(1))}})
        with prepared.transaction() as tx:
            assert verdict_store.ended_by(tx, day(29), 10) == set()
            assert verdict_store.ended_by(tx, day(30), 10) == {1}

    def test_statements_do_not_grow_with_profiles(self, prepared: Database) -> None:
        counts = set()
        for size in (1, 50):
            verdicts = {
                each: {"analytics": allowed(day(1)), "email_marketing": REFUSED}
                for each in range(size * 100, size * 101)
            }
            with prepared.transaction() as tx:
                verdict_store.put_verdicts(tx, verdicts, now=day(1))
                counts.add(tx.statements)
        assert counts == {3}

    def test_of_newborn_profiles_nothing_is_looked_for(self, prepared: Database) -> None:
        with prepared.transaction() as tx:
            outcome = verdict_store.put_verdicts(tx, {1: {"analytics": allowed()}}, now=day(1), new_profiles={1})
            assert tx.statements == 1
            assert outcome.begun == {(1, "analytics")}
            assert outcome.ended == frozenset()
            assert set(verdict_store.permitted_of(tx, [1])[1]) == {"analytics"}


class TestPurposes:
    def test_bits_are_given_once_and_never_again(self, database: Database) -> None:
        with database.transaction() as tx:
            assert projection_store.prepare_purposes(tx, ("a", "b"), NEW_YEAR) == {"a": 1, "b": 2}
            assert projection_store.prepare_purposes(tx, ("b", "c"), NEW_YEAR) == {"a": 1, "b": 2, "c": 4}
            assert projection_store.prepare_purposes(tx, ("a", "b", "c"), NEW_YEAR) == {"a": 1, "b": 2, "c": 4}

    def test_a_purpose_that_is_no_more_permits_nobody(self, prepared: Database) -> None:
        put(prepared, {1: {"analytics": allowed(day(1))}, 2: {"analytics": REFUSED}})
        with prepared.transaction() as tx:
            projection_store.prepare_purposes(tx, ("email_marketing",), day(9))
            assert verdict_store.permitted_of(tx, [1]) == {}
            assert [each.purpose for each in verdict_store.withdrawals(tx, 10)] == ["analytics"]
