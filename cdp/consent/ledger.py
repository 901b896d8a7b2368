"""The ledger as one transaction sees it: what is known of some identifiers, and what signals add to it.

A signal that says again what stands already is not recorded again. A repeated no is remembered by its
last instant, so that a grant which happened between the two but arrives late cannot lift it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cdp.consent.model import Act, Record, RecordId
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose


@dataclass(frozen=True, slots=True)
class SignalContext:
    """The circumstances of a message's signals: where and when they were said, under which policy."""

    jurisdiction: str
    source_id: int
    occurred_at: datetime
    recorded_at: datetime
    policy_fingerprint: bytes


class Ledger:
    """Records by identifier and purpose; `added` and `repeated` is what the store has yet to write."""

    def __init__(self, records: Iterable[Record], next_id: Callable[[], int]) -> None:
        self._records: dict[tuple[int, str], dict[RecordId, Record]] = {}
        self._purposes: dict[int, set[str]] = {}
        self._next_id = next_id
        self._added: dict[RecordId, Record] = {}
        self._repeated: dict[RecordId, Record] = {}
        for each in records:
            self._put(each)

    def of(self, identifier_id: int) -> list[Record]:
        """Every record of this identifier, those just kept included."""
        purposes = self._purposes.get(identifier_id, ())
        return [each for purpose in purposes for each in self._records[identifier_id, purpose].values()]

    @property
    def added(self) -> list[Record]:
        """The records that are new."""
        return list(self._added.values())

    @property
    def repeated(self) -> list[Record]:
        """The noes that were said again, new ones among them, with the last instant at which."""
        return list(self._repeated.values())

    def draft(self, act: ProposedAct, identifier_id: int, said: SignalContext, *, rule: Purpose) -> Record | None:
        """The record that a signal about one identifier would make, None when it stands already.

        A no that was said before comes back as the same record, said again. Nothing is kept yet.
        """
        known = self._records.get((identifier_id, act.purpose), {}).values()
        at = min(said.occurred_at, said.recorded_at)
        before = _latest_at(known, at)
        same = before if before is not None and _is_same_statement(before, act, said) else None
        if act.act is Act.GRANT:
            is_live = same is not None and (same.valid_until is None or at < same.valid_until)
            return None if is_live else self._record(act, identifier_id, said, rule=rule)
        if any(at <= each.last_at and _is_same_statement(each, act, said) for each in known):
            return None
        return self._record(act, identifier_id, said, rule=rule) if same is None else replace(same, repeated_at=at)

    def keep(self, record: Record) -> None:
        """Take a draft in."""
        known = self._records.get((record.identifier_id, record.purpose), {})
        if record.record_id in self._added or record.record_id not in known:
            self._added[record.record_id] = record
        if record.repeated_at is not None:
            self._repeated[record.record_id] = record
        self._put(record)

    def _put(self, record: Record) -> None:
        self._purposes.setdefault(record.identifier_id, set()).add(record.purpose)
        self._records.setdefault((record.identifier_id, record.purpose), {})[record.record_id] = record

    def _record(self, act: ProposedAct, identifier_id: int, said: SignalContext, *, rule: Purpose) -> Record:
        return Record(
            record_id=RecordId(self._next_id()),
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


def valid_until(rule: Purpose, act: Act, at: datetime) -> datetime | None:
    """When an act of this instant ends: a grant after the purpose's validity, a no never."""
    if act is not Act.GRANT or rule.validity_days is None:
        return None
    return at + timedelta(days=rule.validity_days)


def _latest_at(known: Iterable[Record], at: datetime) -> Record | None:
    """The last of these to have been said by `at`; at one instant the no."""
    said = [
        (each.last_at if each.last_at <= at else each.at, each.act.is_refusal, each) for each in known if each.at <= at
    ]
    return max(said, key=lambda entry: entry[:2])[2] if said else None


def _is_same_statement(record: Record, act: ProposedAct, said: SignalContext) -> bool:
    return (record.act, record.authority, record.signal, record.jurisdiction) == (
        act.act,
        act.authority,
        act.signal,
        said.jurisdiction,
    )
