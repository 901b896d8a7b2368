"""The ledger as one transaction sees it: what is known of some identifiers, and what signals add to it.

A signal that says again what stands already is not recorded again. A repeated no is remembered by its
last instant, so that a grant which happened between the two but arrives late cannot lift it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cdp.consent.model import Act, Record, RecordId
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose


@dataclass(frozen=True, slots=True)
class Said:
    """The circumstances of a message's signals: where and when they were said, under which policy."""

    jurisdiction: str
    source_id: int
    occurred_at: datetime
    recorded_at: datetime
    policy_fingerprint: bytes


class Ledger:
    """Records by identifier and purpose; `added` and `repeated` is what the store has yet to write."""

    def __init__(self, records: Iterable[Record], next_id: Callable[[], int]) -> None:
        self._records: dict[int, dict[str, list[Record]]] = {}
        self._next_id = next_id
        self._is_new: set[RecordId] = set()
        self._repeated: set[RecordId] = set()
        for each in records:
            self.add_known(each)

    def add_known(self, record: Record) -> None:
        """Take in a record that the store holds."""
        self._records.setdefault(record.identifier_id, {}).setdefault(record.purpose, []).append(record)

    def of(self, identifier_ids: Collection[int]) -> list[Record]:
        """Every record of these identifiers, those just added included."""
        return [
            each
            for identifier_id in identifier_ids
            for records in self._records.get(identifier_id, {}).values()
            for each in records
        ]

    @property
    def added(self) -> list[Record]:
        """The records that are new, as they are to be appended."""
        return [replace(each, repeated_at=None) for each in self._all() if each.record_id in self._is_new]

    @property
    def repeated(self) -> list[Record]:
        """The noes that were said again, with the last instant at which."""
        return [each for each in self._all() if each.record_id in self._repeated]

    def hear(self, act: ProposedAct, identifier_id: int, said: Said, rule: Purpose) -> bool:
        """Take in what a signal says about one identifier; False when it stands already."""
        known = self._records.setdefault(identifier_id, {}).setdefault(act.purpose, [])
        at = min(said.occurred_at, said.recorded_at)
        before = _standing_at(known, at)
        is_same = before is not None and _says_the_same(before, act, said)
        if act.act is Act.GRANT:
            if is_same and before is not None and (before.valid_until is None or at < before.valid_until):
                return False
        elif any(at <= each.last_at and _says_the_same(each, act, said) for each in known):
            return False
        elif is_same and before is not None:
            known[known.index(before)] = replace(before, repeated_at=at)
            self._repeated.add(before.record_id)
            return False
        known.append(self._record(act, identifier_id, said, rule))
        return True

    def _record(self, act: ProposedAct, identifier_id: int, said: Said, rule: Purpose) -> Record:
        record_id = RecordId(self._next_id())
        self._is_new.add(record_id)
        return Record(
            record_id=record_id,
            identifier_id=identifier_id,
            purpose=act.purpose,
            act=act.act,
            authority=act.authority,
            jurisdiction=said.jurisdiction,
            occurred_at=said.occurred_at,
            recorded_at=said.recorded_at,
            policy_fingerprint=said.policy_fingerprint,
            valid_until=valid_until(rule, act.act, min(said.occurred_at, said.recorded_at)),
            source_id=said.source_id,
            signal=act.signal,
            signal_hash=act.signal_hash,
            rule=act.rule,
        )

    def _all(self) -> list[Record]:
        return self.of(self._records)


def valid_until(rule: Purpose, act: Act, at: datetime) -> datetime | None:
    """When an act of this instant ends: a grant after the purpose's validity, a no never."""
    if act is not Act.GRANT or rule.validity_days is None:
        return None
    return at + timedelta(days=rule.validity_days)


def _standing_at(known: list[Record], at: datetime) -> Record | None:
    """The last of these to have been said by `at`; at one instant the no."""
    said = [(each.last_at if each.last_at <= at else each.at, each.act.is_no, each) for each in known if each.at <= at]
    return max(said, key=lambda entry: entry[:2])[2] if said else None


def _says_the_same(record: Record, act: ProposedAct, said: Said) -> bool:
    return (record.act, record.authority, record.signal, record.jurisdiction) == (
        act.act,
        act.authority,
        act.signal,
        said.jurisdiction,
    )
