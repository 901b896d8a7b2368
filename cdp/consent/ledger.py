"""The ledger as one transaction sees it: the known records of some identifiers, and what signals add to them.

A signal that repeats what is in effect is not recorded again. For a repeated refusal, the last instant is stored, so
that a grant made between the two instants but received late cannot override it.
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.consent.signals.model import ProposedAct
from cdp.policy.model import Purpose

Statement = tuple[Act, Authority, str | None, str, bool, str | None]
"""What must be equal in two acts about a purpose for the later one to repeat the other: act, authority, signal, jurisdiction,
whether it is undated, and the version of the notice."""


@dataclass(frozen=True, slots=True)
class SignalContext:
    """The context of the signals of a message: jurisdiction, source, instants and policy."""

    jurisdiction: str
    source_id: int
    occurred_at: datetime
    recorded_at: datetime
    policy_fingerprint: bytes


class Ledger:
    """Records by identifier and purpose; `added` and `repeated` are still to be stored."""

    def __init__(self, records: Iterable[Record], next_id: Callable[[], int]) -> None:
        self._records: dict[tuple[int, str], dict[RecordId, Record]] = {}
        self._purposes: dict[int, set[str]] = {}
        self._next_id = next_id
        self._added: dict[RecordId, Record] = {}
        self._repeated: dict[RecordId, Record] = {}
        for record in records:
            self._put(record)

    def of(self, identifier_id: int) -> list[Record]:
        """Every record of this identifier, including those added."""
        purposes = self._purposes.get(identifier_id, ())
        return [record for purpose in purposes for record in self._records[identifier_id, purpose].values()]

    def subjects_among(self, *identifiers: AbstractSet[int]) -> set[int]:
        """Those of these identifiers that have a record; takes as long as the smaller of the two sets needs."""
        return {identifier for some in identifiers for identifier in self._purposes.keys() & some}

    @property
    def added(self) -> list[Record]:
        """The records that are new."""
        return list(self._added.values())

    @property
    def repeated(self) -> list[Record]:
        """The refusals that were repeated, including new ones, with the last instant."""
        return list(self._repeated.values())

    def draft(
        self,
        act: ProposedAct,
        identifier_id: int,
        context: SignalContext,
        *,
        rule: Purpose,
        is_contradicted: bool = False,
    ) -> Record | None:
        """The record that a signal about one identifier would create; None if it is already in effect.

        A repeated refusal is returned as the existing record with `repeated_at`: also one beside which other signals refuse,
        as long as nothing was granted since. With `is_contradicted`, another signal of the same message refuses what this
        one grants: a grant that was recorded before is then not recorded again with every message, for none of them can
        have an effect. Nothing is added to the ledger.
        """
        known = self._records.get((identifier_id, act.purpose), {}).values()
        if act.given_by is not None or act.stated_at is not None:
            context = replace(context, occurred_at=stated_at(act, context.occurred_at))
        at = min(context.occurred_at, context.recorded_at)
        if act.act is Act.GRANT:
            stated = _of_statement(known, act, context) if is_contradicted else known
            latest = _latest_at(stated, at)
            is_current = (
                latest is not None
                and _is_same_statement(latest, act, context)
                and (latest.until is None or at < latest.until)
            )
            drafted = self._record(act, identifier_id, context, rule=rule)
            is_repeated = is_current and (act.ends_at is None or latest is None or latest.until == drafted.valid_until)
            return None if is_repeated else drafted
        if any(at <= record.last_at for record in _of_statement(known, act, context)):
            return None
        same = _latest_at(_of_statement(known, act, context), at)
        if same is not None and any(record.act is Act.GRANT and same.last_at < record.at <= at for record in known):
            same = None
        return self._record(act, identifier_id, context, rule=rule) if same is None else replace(same, repeated_at=at)

    def add(self, record: Record) -> None:
        """Add a draft to the ledger."""
        known = self._records.get((record.identifier_id, record.purpose), {})
        if record.record_id in self._added or record.record_id not in known:
            self._added[record.record_id] = record
        if record.repeated_at is not None:
            self._repeated[record.record_id] = record
        self._put(record)

    def _put(self, record: Record) -> None:
        self._purposes.setdefault(record.identifier_id, set()).add(record.purpose)
        self._records.setdefault((record.identifier_id, record.purpose), {})[record.record_id] = record

    def _record(self, act: ProposedAct, identifier_id: int, context: SignalContext, *, rule: Purpose) -> Record:
        return Record(
            record_id=RecordId(self._next_id()),
            identifier_id=identifier_id,
            purpose=act.purpose,
            act=act.act,
            authority=act.authority,
            jurisdiction=context.jurisdiction,
            occurred_at=context.occurred_at,
            recorded_at=context.recorded_at,
            policy_fingerprint=context.policy_fingerprint,
            valid_until=_ends_at(act, valid_until(rule, act.act, min(context.occurred_at, context.recorded_at))),
            source_id=context.source_id,
            signal=act.signal,
            signal_hash=act.signal_hash,
            rule=act.rule,
            notice_version=act.notice_version,
            is_undated=act.is_undated and act.act is Act.GRANT,
        )


def valid_until(rule: Purpose, act: Act, at: datetime) -> datetime | None:
    """When an act of this instant expires: a grant after the validity of the purpose, a refusal never."""
    if act is not Act.GRANT or rule.validity_days is None:
        return None
    return at + timedelta(days=rule.validity_days)


def _ends_at(act: ProposedAct, by_rule: datetime | None) -> datetime | None:
    """The earlier of the end that a grant states and the end under the rule."""
    if act.ends_at is None or act.act is not Act.GRANT:
        return by_rule
    return act.ends_at if by_rule is None else min(act.ends_at, by_rule)


def shortened(record: Record, validity_days: int | None, now: datetime) -> Record:
    """The record under a validity that is put in force now: an older grant ends at once, and none is prolonged."""
    if record.act is not Act.GRANT or validity_days is None:
        return record
    ends_at = max(record.at + timedelta(days=validity_days), now)
    return record if record.until is not None and record.until <= ends_at else replace(record, shortened_to=ends_at)


def _latest_at(known: Iterable[Record], at: datetime) -> Record | None:
    """The latest of these records up to `at`; a refusal if there are several at one instant."""
    earlier = [record for record in known if record.at <= at]
    return max(earlier, key=lambda record: _order_at(record, at), default=None)


def _order_at(record: Record, at: datetime) -> tuple[datetime, bool]:
    """The last instant of the record up to `at`, and whether it is a refusal."""
    return record.last_at if record.last_at <= at else record.at, record.act.is_refusal


def _of_statement(known: Iterable[Record], act: ProposedAct, context: SignalContext) -> list[Record]:
    """Those of these records that state the same by the same signal."""
    return [record for record in known if _is_same_statement(record, act, context)]


def _is_same_statement(record: Record, act: ProposedAct, context: SignalContext) -> bool:
    return statement_of(record) == statement_by(act, context.jurisdiction)


def statement_of(record: Record) -> Statement:
    """What a record states."""
    return (
        record.act, record.authority, record.signal, record.jurisdiction, record.is_undated, record.notice_version,
    )  # fmt: skip


def statement_by(act: ProposedAct, jurisdiction: str) -> Statement:
    """What a signal states that comes from a source of this jurisdiction."""
    return act.act, act.authority, act.signal, jurisdiction, act.is_undated, act.notice_version


def stated_at(act: ProposedAct, occurred_at: datetime) -> datetime:
    """When an act of a message of this instant was stated, as far as the signal says."""
    if act.stated_at is not None:
        return act.stated_at
    return occurred_at if act.given_by is None else min(act.given_by, occurred_at)
