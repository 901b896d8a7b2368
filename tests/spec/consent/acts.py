"""Small words for consent tests: purposes, acts and instants."""

from datetime import datetime, timedelta
from typing import Any

from cdp.consent.decide import decide
from cdp.consent.model import Act, Authority, Record, RecordId, Verdict, VerdictFacts
from cdp.policy.model import ConsentModel, LegalBasis, Purpose
from tests.support.people import NEW_YEAR

EU = VerdictFacts(jurisdictions=frozenset({"eu"}))
CALIFORNIA = VerdictFacts(jurisdictions=frozenset({"us-ca"}))
NOW = NEW_YEAR + timedelta(days=1000)


def day(number: float) -> datetime:
    return NEW_YEAR + timedelta(days=number)


def purpose(**changed: Any) -> Purpose:
    """A purpose with opt-in in the EU and opt-out in California, unless told otherwise."""
    said: dict[str, Any] = {
        "key": "analytics",
        "name": "Analytics",
        "text": "We count.",
        "legal_basis": LegalBasis.CONSENT,
        "model": {"eu": ConsentModel.OPT_IN, "us-ca": ConsentModel.OPT_OUT},
        "categories": ("user.behavior",),
        "data_use": "analytics",
    }
    said |= changed
    if said["legal_basis"] is not LegalBasis.CONSENT:
        said["model"] = {}
    return Purpose(**said)


ANALYTICS = purpose()
SALE = purpose(sale_or_sharing=True)
MARKETING = purpose(direct_marketing=True)
INTEREST = purpose(legal_basis=LegalBasis.LEGITIMATE_INTERESTS, assessment="LIA-1")
CONTRACT = purpose(legal_basis=LegalBasis.CONTRACT, events=("Order Completed",))


def act(
    kind: str, at: float, *, number: int = 0, by: str = "device", on: int = 1, where: str = "eu", **more: Any
) -> Record:
    """One record; its id follows from what it says, unless a number is given."""
    said = (kind, at, by, on, where, tuple(sorted(more.items(), key=lambda item: item[0])))
    return Record(
        record_id=RecordId(number or hash(said) & 0xFFFF_FFFF or 1),
        identifier_id=on,
        purpose=more.pop("about", "analytics"),
        act=Act(kind),
        authority=Authority(by),
        jurisdiction=where,
        occurred_at=day(at),
        recorded_at=more.pop("recorded_at", day(at)),
        policy_fingerprint=b"",
        **more,
    )


def grant(at: float, **more: Any) -> Record:
    return act("grant", at, **more)


def refuse(at: float, **more: Any) -> Record:
    return act("refuse", at, **more)


def withdraw(at: float, **more: Any) -> Record:
    return act("withdraw", at, **more)


def object_to(at: float, **more: Any) -> Record:
    return act("object", at, **more)


def verdict(*records: Record, rule: Purpose = ANALYTICS, facts: VerdictFacts = EU, now: datetime = NOW) -> Verdict:
    return decide(records, rule, facts, now=now)
