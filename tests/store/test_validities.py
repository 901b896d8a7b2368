"""The end that changes of the validity give a grant: the database agrees with the rule, which is applied change by change."""

from random import Random

import pytest

from cdp.consent.ledger import shortened
from cdp.consent.store import records as record_store
from cdp.consent.store import validities as validity_store
from cdp.consent.store.sweep import ended_records
from cdp.kit.db import Database
from tests.spec.consent.acts import day, grant, refuse

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("seed", range(20))
def test_the_database_ends_grants_by_the_rule(database: Database, seed: int) -> None:
    """Each change shortens the grants that were recorded before it, or while it was in force, as of any instant."""
    random = Random(seed)
    changes = [(day(at), random.choice([None, 3, 10, 40])) for at in sorted(random.sample(range(60), 4))]
    grants = [
        grant(random.randint(0, 70), number=number, valid_until=random.choice([None, day(80)]))
        for number in range(1, 9)
    ]
    with database.transaction() as tx:
        record_store.append(tx, sorted(grants, key=lambda record: record.recorded_at))
        for at, days in changes:
            validity_store.record_validities(tx, {"analytics": days, "advertising": 1}, now=at)
    for instant in (None, *(day(at) for at in range(0, 75, 7))):
        known = [(at, days) for at, days in changes if instant is None or at <= instant]
        replaced = [*(at for at, _ in known[1:]), None]
        expected = {}
        for record in grants:
            if instant is None or record.recorded_at <= instant:
                ended = record
                for (at, days), until in zip(known, replaced, strict=bool(known)):
                    if until is None or until > record.recorded_at:
                        ended = shortened(ended, days, at)
                expected[record.record_id] = ended.until
        with database.transaction(read_only=True) as tx:
            found = record_store.records_of(tx, [1], as_of=instant)
        assert {record.record_id: record.until for record in found} == expected


def test_a_grant_that_a_shorter_validity_ended_is_swept_as_expired(database: Database) -> None:
    with database.transaction() as tx:
        record_store.append(tx, [grant(1, number=1, valid_until=day(900)), grant(2, number=2)])
        validity_store.record_validities(tx, {"analytics": 30}, now=day(20))
        ended = [ended_records(tx, day(at), None, opt_in_only=["analytics"]) for at in (30, 31, 32)]
    assert [[record.record_id for record in found] for found in ended] == [[], [1], [1, 2]]


def test_only_what_differs_is_recorded(database: Database) -> None:
    with database.transaction() as tx:
        before: dict[str, int | None] = {"a": 30, "b": None, "c": 7}
        assert validity_store.changed_validities(tx, before, before) == {}
        changed = validity_store.changed_validities(tx, before, {"a": 10, "b": 5, "new": 1})
        assert changed == {"a": 10, "b": 5, "c": 7}, "what ends keeps its validity, and what is new has no grants"
        validity_store.record_validities(tx, changed, now=day(1))
        after: dict[str, int | None] = {"a": 10, "b": 5, "new": 1}
        assert validity_store.changed_validities(tx, after, after | {"c": 90}) == {"c": 90}


def test_a_validity_ends_no_refusal() -> None:
    refusal = refuse(1)
    assert shortened(refusal, 1, day(9)) is refusal
