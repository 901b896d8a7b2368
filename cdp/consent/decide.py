"""The verdict: a pure function of a set of records. The rules: docs/explanation/consent.md, "How a verdict is decided".

The result does not depend on the order or repetition of records, so merging, replaying and restoring cannot change it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cdp.consent.model import (
    ALWAYS,
    EVERY_PURPOSE,
    Act,
    Authority,
    Reason,
    Record,
    RecordId,
    Verdict,
    VerdictFacts,
)
from cdp.consent.opt_in import OptIns, is_opt_out_of_sale, signals_by_site
from cdp.policy.model import ConsentModel, Purpose, UnknownAge

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

Requirement = tuple[int, bool, int | None]
"""What a grant must satisfy to override a refusal: rank of authority, two-step opt-in, and identifier (None: any)."""


def decide(records: Iterable[Record], rule: Purpose, facts: VerdictFacts, *, now: datetime) -> Verdict:
    """Whether a profile with these records may be processed for the purpose `rule` at `now`.

    `records` are those of all identifiers of the profile, of this purpose or of all of them.
    """
    distinct = frozenset(records)
    of_restrictions = [record for record in distinct if record.act.is_of_restriction]
    if of_restrictions:
        concerned = [record for record in of_restrictions if record.purpose in (EVERY_PURPOSE, rule.key)]
        restrictions = restrictions_in_force(concerned, now)
        if restrictions:
            return Verdict(False, Reason.RESTRICTED, by=_ids(restrictions))
        distinct = distinct.difference(of_restrictions)
    if facts.is_restricted:
        return Verdict(False, Reason.RESTRICTED)
    if facts.is_quarantined:
        return Verdict(False, Reason.QUARANTINED)
    if rule.needs_unique_identifier:
        return _by_legal_basis(rule, facts)
    model = rule.consent_model(facts.jurisdictions.union(record.jurisdiction for record in distinct))
    relevant = [record for record in distinct if record.purpose == rule.key]
    if not relevant:
        return _by_age(_without_records(rule, model), rule, facts)
    opt_ins = OptIns(relevant, rule, months=facts.ask_again_after_months)
    verdict = _by_records(relevant, rule, model, opt_ins=opt_ins, now=now)
    return _by_age(verdict, rule, facts)


def restrictions_in_force(records: Iterable[Record], now: datetime) -> list[Record]:
    """The restrictions of processing that no later release of the same identifier, about as much, has ended.

    At one instant the restriction prevails. A restriction takes effect no later than now, a release no earlier than it
    states.
    """
    latest: dict[tuple[int, str], tuple[datetime, bool, Record]] = {}
    for record in records:
        is_restriction = record.act is Act.RESTRICT
        if is_restriction or (record.act is Act.RELEASE and record.at <= now):
            state = (min(record.at, now), is_restriction)
            concerns = (record.identifier_id, record.purpose)
            known = latest.get(concerns)
            if known is None or known[:2] < state:
                latest[concerns] = (*state, record)
    return [record for _, is_restriction, record in latest.values() if is_restriction]


def covers(rule: Purpose, event: str, category: str, *, is_server: bool) -> bool:
    """Whether the purpose covers an event of this name and data category from this kind of source.

    A purpose based on contract or a legal obligation covers only what it lists, and only from a server source.
    """
    return rule.covers(event) and rule.allows(category) and (is_server or not rule.needs_unique_identifier)


def is_permitted(verdict: Verdict, occurred_at: datetime, received_at: datetime) -> bool:
    """Whether the verdict permits at every instant from `occurred_at` to `received_at`."""
    return (
        verdict.allowed
        and verdict.since is not None
        and verdict.since <= occurred_at
        and (verdict.until is None or received_at < verdict.until)
    )


def _by_legal_basis(rule: Purpose, facts: VerdictFacts) -> Verdict:
    """Contract, legal obligation and similar bases: no act can grant or refuse them."""
    if not facts.has_unique_identifier:
        return Verdict(False, Reason.NO_UNIQUE_IDENTIFIER)
    return _by_age(Verdict(True, Reason.LEGAL_BASIS, ALWAYS), rule, facts)


def _without_records(rule: Purpose, model: ConsentModel) -> Verdict:
    if model is ConsentModel.OPT_IN:
        return Verdict(False, Reason.NO_GRANT)
    reason = Reason.NOT_REFUSED if rule.model else Reason.LEGAL_BASIS
    return Verdict(True, reason, ALWAYS)


def _by_age(verdict: Verdict, rule: Purpose, facts: VerdictFacts) -> Verdict:
    if not verdict.allowed or rule.minimum_age is None:
        return verdict
    if facts.claimed_age is not None and facts.claimed_age < rule.minimum_age:
        return Verdict(False, Reason.TOO_YOUNG)
    if facts.age is None:
        return verdict if rule.unknown_age is UnknownAge.ALLOW else Verdict(False, Reason.AGE_UNKNOWN)
    return verdict if facts.age >= rule.minimum_age else Verdict(False, Reason.TOO_YOUNG)


@dataclass(slots=True)
class _ConsentState:
    """The state at one instant while the acts are applied in chronological order."""

    refused_at: dict[Requirement, datetime] = field(default_factory=dict)
    overridden_until: dict[Requirement, datetime] = field(default_factory=dict)
    granted_until: datetime | None = None

    def add_grant(self, grant: Record, opt_ins: OptIns) -> None:
        until = grant.until or _FOREVER
        self.granted_until = max(self.granted_until or until, until)
        for requirement, refused_at in self.refused_at.items():
            if _satisfies(grant, requirement, refused_at, opt_ins=opt_ins):
                self.overridden_until[requirement] = max(self.overridden_until[requirement], until)

    def add_refusal(self, requirement: Requirement, at: datetime) -> None:
        self.refused_at[requirement] = at
        self.overridden_until[requirement] = _NEVER

    def ends_at(self, model: ConsentModel) -> datetime:
        """The instant from which the current state, without further acts, does not permit.

        An expired grant acts like a withdrawal, even where the absence of records would permit.
        """
        needs_grant = model is ConsentModel.OPT_IN or self.granted_until is not None
        granted = (self.granted_until or _NEVER) if needs_grant else _FOREVER
        return min(granted, *self.overridden_until.values()) if self.overridden_until else granted


def _by_records(
    records: list[Record], rule: Purpose, model: ConsentModel, *, opt_ins: OptIns, now: datetime
) -> Verdict:
    state = _ConsentState()
    since, ends_at = (None, _NEVER) if model is ConsentModel.OPT_IN else (ALWAYS, _FOREVER)
    overridden = _overridden_signals(records, opt_ins, now) if rule.opt_in_overrides_gpc else frozenset()
    over_at = _NEVER
    for at, acts in _timeline(records, now, overridden):
        if ends_at < at:
            since, over_at = None, max(over_at, ends_at)
        for record in acts:
            if record.act is Act.GRANT:
                state.add_grant(record, opt_ins)
            else:
                state.add_refusal(_requirement_of(record, rule), at)
                over_at = at
        ends_at = state.ends_at(model)
        since = None if ends_at <= at else _since(since or at, acts, over_at)
    if since is None or ends_at <= now:
        return _refusal(records, rule, state, now=now)
    allowing = _allowing(records, state, now, opt_ins=opt_ins)
    reason = Reason.GRANTED if allowing else Reason.NOT_REFUSED if rule.model else Reason.LEGAL_BASIS
    return Verdict(True, reason, since, None if ends_at == _FOREVER else ends_at, allowing)


def _since(since: datetime, acts: list[Record], over_at: datetime) -> datetime:
    """The start of a permission, which these grants begin at the first message that waited for them.

    But never before, or at the instant of, the last refusal or end of a permission.
    """
    waited = min((record.permits_from for record in acts if record.permits_from is not None), default=since)
    if since <= waited:
        return since
    return waited if over_at < waited else min(since, over_at + timedelta.resolution)


def _overridden_signals(records: list[Record], opt_ins: OptIns, now: datetime) -> frozenset[tuple[RecordId, datetime]]:
    """The signals of browsers, with the instants, against which a later opt-in of the person stands by policy."""
    return frozenset(
        (signal.record_id, at)
        for signals in signals_by_site(records).values()
        for signal in signals
        for at in {min(signal.at, now), min(signal.last_at, now)}
        if opt_ins.over_signal(signals, at) is not None
    )


def _timeline(
    records: list[Record], now: datetime, overridden: frozenset[tuple[RecordId, datetime]]
) -> list[tuple[datetime, list[Record]]]:
    """The acts by the instant at which they take effect; grants first, so that at one instant a refusal prevails.

    A refusal takes effect at its first and its last instant, never later than now. A grant of a shared identifier has no
    effect.
    """
    acts: dict[datetime, list[Record]] = {}
    for record in records:
        if record.act is Act.GRANT:
            if not record.is_shared and record.at <= now:
                acts.setdefault(record.at, []).append(record)
        else:
            for at in {min(record.at, now), min(record.last_at, now)}:
                if (record.record_id, at) not in overridden:
                    acts.setdefault(at, []).append(record)
    return [(at, sorted(acts[at], key=lambda record: record.act.is_refusal)) for at in sorted(acts)]


def _requirement_of(refusal: Record, rule: Purpose) -> Requirement:
    """An objection to direct marketing is overridden only by an authenticated grant of the same identifier."""
    needs_two_steps = is_opt_out_of_sale(refusal, rule)
    if refusal.act is Act.OBJECT and rule.direct_marketing:
        return Authority.AUTHENTICATED.rank, needs_two_steps, refusal.identifier_id
    return refusal.authority.rank, needs_two_steps, None


def _satisfies(grant: Record, requirement: Requirement, refused_at: datetime, *, opt_ins: OptIns) -> bool:
    rank, needs_two_steps, identifier_id = requirement
    return (
        grant.authority.rank >= rank
        and not grant.is_undated
        and identifier_id in (None, grant.identifier_id)
        and (not needs_two_steps or opt_ins.is_completed(grant, after=refused_at, rank=rank))
    )


def _allowing(records: list[Record], state: _ConsentState, now: datetime, *, opt_ins: OptIns) -> tuple[RecordId, ...]:
    """The current grants on which the permission is based: they override a refusal, or are later than every refusal."""
    last_refusal = max(state.refused_at.values(), default=_NEVER)
    return _ids(
        record
        for record in records
        if _is_current(record, now)
        and (
            (last_refusal < record.at and not (record.is_undated and state.refused_at))
            or any(
                at < record.at and _satisfies(record, required, at, opt_ins=opt_ins)
                for required, at in state.refused_at.items()
            )
        )
    )


def _is_current(record: Record, now: datetime) -> bool:
    """Whether this is a grant that is in effect at `now`."""
    has_ended = record.until is not None and record.until <= now
    return record.act is Act.GRANT and not record.is_shared and record.at <= now and not has_ended


def _refusal(records: list[Record], rule: Purpose, state: _ConsentState, *, now: datetime) -> Verdict:
    """Why the state does not permit: the latest refusals in effect, or else expired grants, or else no grant."""
    in_effect = {
        requirement: at for requirement, at in state.refused_at.items() if state.overridden_until[requirement] <= now
    }
    refusals = [
        record
        for record in records
        if record.act.is_refusal
        and (at := in_effect.get(_requirement_of(record, rule))) is not None
        and min(record.last_at, now) == at
    ]
    if refusals:
        return Verdict(False, reason_of(refusals, rule), by=_ids(refusals))
    if state.granted_until is None:
        return Verdict(False, Reason.NO_GRANT)
    expired = (
        record
        for record in records
        if record.act is Act.GRANT and not record.is_shared and record.until == state.granted_until
    )
    return Verdict(False, Reason.EXPIRED, by=_ids(expired))


def reason_of(refusals: list[Record], rule: Purpose) -> Reason:
    acts = {record.act for record in refusals}
    if Act.OBJECT in acts:
        return Reason.OBJECTED
    if any(is_opt_out_of_sale(record, rule) for record in refusals):
        return Reason.OPTED_OUT
    return Reason.WITHDRAWN if Act.WITHDRAW in acts else Reason.REFUSED


def _ids(records: Iterable[Record]) -> tuple[RecordId, ...]:
    return tuple(sorted(record.record_id for record in records))
