"""A grant that messages waited for begins at the first of them, never before the last no or the end of a permission."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import permutations

from cdp.consent.decide import decide
from cdp.consent.model import Act, Authority, Record, RecordId, Verdict, VerdictFacts
from tests.support.people import NOON
from tests.support.policies import shipped

PURPOSE = shipped().purposes["email_marketing"]
FACTS = VerdictFacts(jurisdictions=frozenset({"eu"}))


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour)


def act(
    number: int, hour: float, kind: Act = Act.GRANT, *, waited: float | None = None, until: float | None = None
) -> Record:
    return Record(
        record_id=RecordId(number),
        identifier_id=1,
        purpose=PURPOSE.key,
        act=kind,
        authority=Authority.DEVICE,
        jurisdiction="eu",
        occurred_at=at(hour),
        recorded_at=at(hour),
        policy_fingerprint=b"",
        valid_until=None if until is None else at(until),
        permits_from=None if waited is None else at(waited),
    )


def verdict(*records: Record, now: float = 20) -> Verdict:
    """The verdict, which must not depend on the order of the records."""
    found = {decide(order, PURPOSE, FACTS, now=at(now)) for order in permutations(records)}
    assert len(found) == 1
    return found.pop()


def since(*records: Record, now: float = 20) -> datetime | None:
    return verdict(*records, now=now).since


def test_it_begins_at_the_first_message_that_waited() -> None:
    assert since(act(1, 5)) == at(5)
    assert since(act(1, 5, waited=2)) == at(2)
    assert since(act(1, 5, waited=7)) == at(5)


def test_a_later_grant_of_the_same_permission_can_begin_it_earlier() -> None:
    assert since(act(1, 5), act(2, 6, waited=2)) == at(2)


def test_never_before_or_at_the_last_no() -> None:
    refused = act(1, 3, Act.REFUSE)
    assert since(refused, act(2, 5, waited=2)) == at(3) + timedelta.resolution
    assert since(refused, act(2, 5, waited=3)) == at(3) + timedelta.resolution
    assert since(refused, act(2, 5, waited=4)) == at(4)
    assert since(act(1, 1, waited=0), refused, act(3, 5)) == at(5)


def test_a_no_after_the_grant_ends_it_as_ever() -> None:
    assert since(act(1, 5, waited=2), act(2, 6, Act.WITHDRAW)) is None
    assert since(act(1, 5, waited=2), act(2, 5, Act.WITHDRAW)) is None


def test_never_before_the_end_of_a_permission() -> None:
    ended = act(1, 0, waited=-2, until=3)
    assert since(ended, act(2, 5, waited=1)) == at(3) + timedelta.resolution
    assert since(ended, act(2, 5, waited=4)) == at(4)
    assert since(ended, act(2, 5)) == at(5)


def test_a_grant_without_effect_begins_nothing() -> None:
    lower = act(2, 5, waited=4)
    refused = replace(act(1, 3, Act.REFUSE), authority=Authority.AUTHENTICATED)
    granted = replace(act(3, 8), authority=Authority.AUTHENTICATED)
    assert since(refused, lower) is None
    assert since(refused, lower, granted) == at(8)
    assert verdict(replace(act(1, 5, waited=2), is_shared=True)).since is None
