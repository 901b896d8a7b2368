"""The ledger of one transaction: which acts are recorded, which are only repeated, and which change nothing."""

from dataclasses import replace
from datetime import datetime
from itertools import count

from cdp.consent.ledger import Ledger, SignalContext, valid_until
from cdp.consent.model import Act, Authority, Record
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose
from tests.spec.consent.acts import ANALYTICS, day, purpose


def signal(kind: str, authority: Authority = Authority.DEVICE, name: str = "segment") -> ProposedAct:
    return ProposedAct("analytics", Act(kind), authority, None, name, b"", f"signals.{name}")


def context_at(at: float, *, recorded: float | None = None, where: str = "eu") -> SignalContext:
    return SignalContext(where, 4, day(at), day(at if recorded is None else recorded), b"\x07")


class LedgerWithDrafts:
    """A ledger to which every draft is added."""

    def __init__(self, *known: Record) -> None:
        numbers = count(1)
        self.ledger = Ledger(known, lambda: next(numbers))

    def record(
        self, kind: str, at: float, rule: Purpose = ANALYTICS, *, name: str = "segment", where: str = "eu"
    ) -> Record | None:
        draft = self.ledger.draft(signal(kind, name=name), 1, context_at(at, where=where), rule=rule)
        if draft is not None:
            self.ledger.add(draft)
        return draft

    def instants(self) -> list[tuple[str, datetime, datetime | None]]:
        return sorted((record.act.value, record.at, record.repeated_at) for record in self.ledger.of(1))


def test_a_draft_is_not_in_the_ledger_until_it_is_added() -> None:
    drafted = LedgerWithDrafts()
    assert drafted.ledger.draft(signal("grant"), 1, context_at(1), rule=ANALYTICS) is not None
    assert drafted.ledger.of(1) == drafted.ledger.added == []


def test_an_answer_to_another_notice_is_another_act() -> None:
    drafted = LedgerWithDrafts()
    for number, version in enumerate((None, "2026-11", "2026-11", "2027-01"), 1):
        act = replace(signal("grant"), notice_version=version)
        draft = drafted.ledger.draft(act, 1, context_at(number), rule=ANALYTICS)
        if draft is not None:
            drafted.ledger.add(draft)
    assert [record.notice_version for record in drafted.ledger.of(1)] == [None, "2026-11", "2027-01"]


def test_a_record_carries_the_circumstances() -> None:
    record = LedgerWithDrafts().record("grant", 1, purpose(validity_days=30), where="us-ca")
    assert record is not None
    assert (record.jurisdiction, record.source_id, record.signal, record.rule) == (
        "us-ca",
        4,
        "segment",
        "signals.segment",
    )
    assert (record.policy_fingerprint, record.valid_until) == (b"\x07", day(31))


def test_only_grants_end() -> None:
    limited = purpose(validity_days=30)
    assert valid_until(limited, Act.REFUSE, day(1)) is None
    assert valid_until(ANALYTICS, Act.GRANT, day(1)) is None


def test_a_grant_in_force_is_not_recorded_again() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("grant", 1)
    assert drafted.record("grant", 2) is None
    assert len(drafted.ledger.added) == 1


def test_a_grant_that_ended_is_recorded_again() -> None:
    drafted, limited = LedgerWithDrafts(), purpose(validity_days=10)
    drafted.record("grant", 1, limited)
    assert drafted.record("grant", 10, limited) is None
    assert drafted.record("grant", 11, limited) is not None


def test_a_change_of_mind_is_recorded_each_time() -> None:
    drafted = LedgerWithDrafts()
    for at, kind in enumerate(["grant", "refuse", "grant", "refuse"]):
        assert drafted.record(kind, at) is not None
    assert len(drafted.ledger.added) == 4


def test_another_signal_or_jurisdiction_is_something_new() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("refuse", 1)
    assert drafted.record("refuse", 2, name="gpc") is not None
    assert drafted.record("refuse", 3, where="us-ca") is not None


def test_a_repeated_refusal_keeps_its_last_instant() -> None:
    known = LedgerWithDrafts().record("refuse", 1)
    assert known is not None
    drafted = LedgerWithDrafts(known)
    drafted.record("refuse", 5)
    drafted.record("refuse", 3)
    assert drafted.instants() == [("refuse", day(1), day(5))]
    assert drafted.ledger.added == []
    assert [record.repeated_at for record in drafted.ledger.repeated] == [day(5)]


def test_an_earlier_refusal_that_arrives_late_adds_nothing() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("refuse", 5)
    assert drafted.record("refuse", 3) is None


def test_a_late_grant_is_recorded_and_the_repeated_refusal_stays_later() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("refuse", 1)
    drafted.record("refuse", 9)
    drafted.record("grant", 5)
    assert drafted.instants() == [("grant", day(5), None), ("refuse", day(1), day(9))]


def test_a_new_refusal_that_is_repeated_at_once_is_added_and_repeated() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("refuse", 1)
    drafted.record("refuse", 2)
    assert len(drafted.ledger.added) == 1
    assert [record.repeated_at for record in drafted.ledger.repeated] == [day(2)]


def test_a_signal_that_repeats_a_grant_which_a_shorter_validity_ended_is_a_new_act() -> None:
    granted = LedgerWithDrafts().record("grant", 1)
    assert granted is not None
    ended = LedgerWithDrafts(replace(granted, shortened_to=day(9)))
    assert ended.record("grant", 8) is None
    assert ended.record("grant", 9) is not None


def test_refusals_of_two_signals_that_each_message_repeats_are_two_records() -> None:
    drafted = LedgerWithDrafts()
    for at in range(1, 6):
        for name in ("segment", "gpc"):
            drafted.record("refuse", at, name=name)
    assert drafted.instants() == [("refuse", day(1), day(5))] * 2


def test_a_refusal_that_a_grant_ended_is_recorded_again() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("refuse", 1)
    drafted.record("refuse", 2, name="gpc")
    drafted.record("grant", 3)
    drafted.record("refuse", 4)
    assert drafted.instants() == [("grant", day(3), None), *[("refuse", day(at), None) for at in (1, 2, 4)]]


def test_a_grant_that_each_message_contradicts_is_recorded_once_and_counts_when_none_does() -> None:
    ledger = LedgerWithDrafts()
    for at in range(1, 4):
        draft = ledger.ledger.draft(signal("grant"), 1, context_at(at), rule=ANALYTICS, is_contradicted=True)
        if draft is not None:
            ledger.ledger.add(draft)
        ledger.record("refuse", at, name="gpc")
    assert ledger.instants() == [("grant", day(1), None), ("refuse", day(1), day(3))]
    assert ledger.record("grant", 4) is not None


def test_a_grant_ends_when_it_says_and_never_later_than_by_its_purpose() -> None:
    limited = purpose(validity_days=30)
    ledger = LedgerWithDrafts().ledger
    for ends, until in ((day(10), day(10)), (day(90), day(31))):
        draft = ledger.draft(replace(signal("grant"), ends_at=ends), 1, context_at(1), rule=limited)
        assert draft is not None
        assert draft.valid_until == until
    unlimited = ledger.draft(replace(signal("grant"), ends_at=day(90)), 1, context_at(1), rule=ANALYTICS)
    assert unlimited is not None
    assert unlimited.valid_until == day(90)


def test_a_grant_in_force_is_recorded_again_where_it_ends_at_another_instant() -> None:
    drafted = LedgerWithDrafts()
    drafted.record("grant", 1)
    ending = replace(signal("grant"), ends_at=day(90))
    draft = drafted.ledger.draft(ending, 1, context_at(2), rule=ANALYTICS)
    assert draft is not None
    drafted.ledger.add(draft)
    assert drafted.ledger.draft(ending, 1, context_at(3), rule=ANALYTICS) is None


def test_an_act_with_a_time_of_its_own_has_not_that_of_its_message() -> None:
    ledger = LedgerWithDrafts().ledger
    for kind in ("grant", "refuse"):
        draft = ledger.draft(replace(signal(kind), stated_at=day(8)), 1, context_at(1, recorded=9), rule=ANALYTICS)
        assert draft is not None
        assert (draft.occurred_at, draft.at) == (day(8), day(8))
