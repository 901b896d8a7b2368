"""The ledger of one transaction: what is recorded, what is only repeated, and what says nothing new."""

from datetime import datetime
from itertools import count

from cdp.consent.ledger import Ledger, SignalContext, valid_until
from cdp.consent.model import Act, Authority, Record
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose
from tests.spec.consent.acts import ANALYTICS, day, purpose


def signal(kind: str, authority: Authority = Authority.DEVICE, name: str = "segment") -> ProposedAct:
    return ProposedAct("analytics", Act(kind), authority, None, name, b"", f"signals.{name}")


def said(at: float, *, recorded: float | None = None, where: str = "eu") -> SignalContext:
    return SignalContext(where, 4, day(at), day(at if recorded is None else recorded), b"\x07")


class Room:
    """A ledger that keeps whatever it drafts."""

    def __init__(self, *known: Record) -> None:
        numbers = count(1)
        self.ledger = Ledger(known, lambda: next(numbers))

    def hear(
        self, kind: str, at: float, rule: Purpose = ANALYTICS, *, name: str = "segment", where: str = "eu"
    ) -> Record | None:
        draft = self.ledger.draft(signal(kind, name=name), 1, said(at, where=where), rule=rule)
        if draft is not None:
            self.ledger.add(draft)
        return draft

    def instants(self) -> list[tuple[str, datetime, datetime | None]]:
        return sorted((each.act.value, each.at, each.repeated_at) for each in self.ledger.of(1))


def test_a_draft_is_kept_only_when_told() -> None:
    room = Room()
    assert room.ledger.draft(signal("grant"), 1, said(1), rule=ANALYTICS) is not None
    assert room.ledger.of(1) == room.ledger.added == []


def test_a_record_carries_the_circumstances() -> None:
    record = Room().hear("grant", 1, purpose(validity_days=30), where="us-ca")
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


def test_a_grant_that_stands_is_not_recorded_again() -> None:
    room = Room()
    room.hear("grant", 1)
    assert room.hear("grant", 2) is None
    assert len(room.ledger.added) == 1


def test_a_grant_that_ended_is_recorded_again() -> None:
    room, limited = Room(), purpose(validity_days=10)
    room.hear("grant", 1, limited)
    assert room.hear("grant", 10, limited) is None
    assert room.hear("grant", 11, limited) is not None


def test_a_change_of_mind_is_recorded_each_time() -> None:
    room = Room()
    for at, kind in enumerate(["grant", "refuse", "grant", "refuse"]):
        assert room.hear(kind, at) is not None
    assert len(room.ledger.added) == 4


def test_another_signal_or_jurisdiction_is_something_new() -> None:
    room = Room()
    room.hear("refuse", 1)
    assert room.hear("refuse", 2, name="gpc") is not None
    assert room.hear("refuse", 3, where="us-ca") is not None


def test_a_no_said_again_is_remembered_by_its_last_instant() -> None:
    known = Room().hear("refuse", 1)
    assert known is not None
    room = Room(known)
    room.hear("refuse", 5)
    room.hear("refuse", 3)
    assert room.instants() == [("refuse", day(1), day(5))]
    assert room.ledger.added == []
    assert [each.repeated_at for each in room.ledger.repeated] == [day(5)]


def test_an_earlier_no_that_comes_late_adds_nothing() -> None:
    room = Room()
    room.hear("refuse", 5)
    assert room.hear("refuse", 3) is None


def test_a_late_grant_is_recorded_and_the_repeated_no_stays_later() -> None:
    room = Room()
    room.hear("refuse", 1)
    room.hear("refuse", 9)
    room.hear("grant", 5)
    assert room.instants() == [("grant", day(5), None), ("refuse", day(1), day(9))]


def test_a_new_no_that_is_repeated_at_once_is_added_and_repeated() -> None:
    room = Room()
    room.hear("refuse", 1)
    room.hear("refuse", 2)
    assert len(room.ledger.added) == 1
    assert [each.repeated_at for each in room.ledger.repeated] == [day(2)]
