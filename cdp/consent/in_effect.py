"""Which grants of an identifier are in effect, so that a signal that repeats one is recognized without its records. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import xor
from typing import NamedTuple

from cdp.consent.ledger import Statement, statement_of
from cdp.consent.model import Act, Record


class GrantInEffect(NamedTuple):
    """The latest grant of a purpose, which nothing followed."""

    statement: Statement
    at: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class GrantsInEffect:
    """The grants in effect of one identifier by purpose, and the digest of the records from which they follow.

    As long as the ledger has records with this digest, `repeats` is True only where `Ledger.draft` gives None.
    """

    digest: int = 0
    by_purpose: Mapping[str, GrantInEffect] = field(default_factory=dict)

    def repeats(self, purpose: str, statement: Statement, at: datetime) -> bool:
        """Whether this statement, made at an instant, repeats the grant that is in effect."""
        grant = self.by_purpose.get(purpose)
        return (
            grant is not None
            and grant.statement == statement
            and grant.at <= at
            and (grant.until is None or at < grant.until)
        )


def grants_in_effect(records: Iterable[Record]) -> GrantsInEffect:
    """The grants in effect by the records of one identifier.

    A purpose is left out unless its latest record is a grant that every other one precedes. A refusal before it stays before
    it: a repetition after the grant is a record of its own.
    """
    records = list(records)
    by_purpose: dict[str, list[Record]] = {}
    for record in records:
        by_purpose.setdefault(record.purpose, []).append(record)
    grants = {}
    for purpose, stated in by_purpose.items():
        *earlier, latest = sorted(stated, key=lambda record: record.last_at)
        if latest.act is Act.GRANT and all(record.last_at < latest.at for record in earlier):
            grants[purpose] = GrantInEffect(statement_of(latest), latest.at, latest.until)
    return GrantsInEffect(reduce(xor, (int(record.record_id) for record in records), 0), grants)
