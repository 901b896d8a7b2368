"""The verdict: a pure function of a set of records (consent.md, "The verdict is a function of a set").

Nothing here depends on the order or the number of times in which records are given, so merging,
replaying and restoring cannot change what follows from them.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from cdp.consent.model import ALWAYS, Act, Authority, Facts, Reason, Record, RecordId, Verdict
from cdp.policy.model import ConsentModel, Purpose, UnknownAge

GPC: Final = "gpc"

_FOREVER: Final = datetime.max.replace(tzinfo=UTC)
_NEVER: Final = datetime.min.replace(tzinfo=UTC)

Requirement = tuple[int, bool, int | None]
"""What a grant must bring to lift a no: a rank, two steps, and the identifier it must be about (None: any)."""


def decide(records: Iterable[Record], rule: Purpose, facts: Facts, *, now: datetime) -> Verdict:
    """Whether a profile with these records may be processed for the purpose `rule` at `now`.

    `records` are those of all identifiers of the profile, of this purpose or of all of them.
    """
    given = frozenset(records)
    if facts.is_restricted:
        return Verdict(False, Reason.RESTRICTED)
    if facts.is_quarantined:
        return Verdict(False, Reason.QUARANTINED)
    if rule.needs_unique_identifier:
        return _by_legal_basis(rule, facts)
    model = rule.consent_model(facts.jurisdictions.union(each.jurisdiction for each in given))
    mine = [each for each in given if each.purpose == rule.key]
    verdict = _by_records(mine, rule, model, now=now) if mine else _without_records(rule, model)
    return _by_age(verdict, rule, facts)


def covers(rule: Purpose, event: str, category: str, *, is_server: bool) -> bool:
    """Whether the purpose covers an event of this name and data category from this kind of source.

    A purpose on contract or a legal obligation covers only what it lists, and only on a server's word.
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


def is_opt_out_of_sale(record: Record, rule: Purpose) -> bool:
    """Whether a no is an opt-out of sale or sharing, which only a two-step opt-in lifts.

    A universal signal always is; another no is one unless its jurisdiction is known to ask for an opt-in,
    where it refuses consent that was never given.
    """
    if not (rule.sale_or_sharing and record.act.is_refusal):
        return False
    return record.signal == GPC or rule.model.get(record.jurisdiction) is not ConsentModel.OPT_IN


def may_ask_from(records: Iterable[Record], rule: Purpose, months: int) -> datetime | None:
    """The instant before which nobody may ask this person to opt in to a sale again; None: no such wait.

    It lies `months` calendar months after the latest opt-out, on the first of the next month where that
    day does not exist.
    """
    opt_outs = [each.last_at for each in records if each.purpose == rule.key and is_opt_out_of_sale(each, rule)]
    return _months_after(max(opt_outs), months) if opt_outs else None


def _months_after(instant: datetime, months: int) -> datetime:
    years, month = divmod(instant.month - 1 + months, 12)
    try:
        return instant.replace(year=instant.year + years, month=month + 1)
    except ValueError:
        return instant.replace(year=instant.year + years, month=month + 2, day=1)


def _by_legal_basis(rule: Purpose, facts: Facts) -> Verdict:
    """Contract, legal obligation and their like: no act can grant or refuse them."""
    if not facts.has_unique_identifier:
        return Verdict(False, Reason.NO_UNIQUE_IDENTIFIER)
    return _by_age(Verdict(True, Reason.LEGAL_BASIS, ALWAYS), rule, facts)


def _without_records(rule: Purpose, model: ConsentModel) -> Verdict:
    if model is ConsentModel.OPT_IN:
        return Verdict(False, Reason.NO_GRANT)
    reason = Reason.NOT_REFUSED if rule.model else Reason.LEGAL_BASIS
    return Verdict(True, reason, ALWAYS)


def _by_age(verdict: Verdict, rule: Purpose, facts: Facts) -> Verdict:
    if not verdict.allowed or rule.minimum_age is None:
        return verdict
    if facts.age is None:
        return verdict if rule.unknown_age is UnknownAge.ALLOW else Verdict(False, Reason.AGE_UNKNOWN)
    return verdict if facts.age >= rule.minimum_age else Verdict(False, Reason.TOO_YOUNG)


@dataclass(slots=True)
class _ConsentState:
    """What stands at one instant while the acts are gone through in the order in which they happened."""

    refused_at: dict[Requirement, datetime] = field(default_factory=dict)
    lifted_until: dict[Requirement, datetime] = field(default_factory=dict)
    granted_until: datetime | None = None

    def add_grant(self, grant: Record) -> None:
        until = grant.valid_until or _FOREVER
        self.granted_until = max(self.granted_until or until, until)
        for bar in self.refused_at:
            if _satisfies(grant, bar):
                self.lifted_until[bar] = max(self.lifted_until[bar], until)

    def add_refusal(self, bar: Requirement, at: datetime) -> None:
        self.refused_at[bar] = at
        self.lifted_until[bar] = _NEVER

    def ends_at(self, model: ConsentModel) -> datetime:
        """The instant from which the present state, left alone, does not permit.

        An ended grant acts like a withdrawal, also where silence would have permitted.
        """
        needs_grant = model is ConsentModel.OPT_IN or self.granted_until is not None
        granted = (self.granted_until or _NEVER) if needs_grant else _FOREVER
        return min(granted, *self.lifted_until.values()) if self.lifted_until else granted


def _by_records(mine: list[Record], rule: Purpose, model: ConsentModel, *, now: datetime) -> Verdict:
    standing = _ConsentState()
    since, ends_at = (None, _NEVER) if model is ConsentModel.OPT_IN else (ALWAYS, _FOREVER)
    for at, acts in _timeline(mine, now):
        if ends_at < at:
            since = None
        for each in acts:
            if each.act is Act.GRANT:
                standing.add_grant(each)
            else:
                standing.add_refusal(_requirement_of(each, rule), at)
        ends_at = standing.ends_at(model)
        since = None if ends_at <= at else since or at
    if since is None or ends_at <= now:
        return _refusal(mine, rule, standing, now=now)
    allowing = _allowing(mine, standing, now)
    reason = Reason.GRANTED if allowing else Reason.NOT_REFUSED if rule.model else Reason.LEGAL_BASIS
    return Verdict(True, reason, since, None if ends_at == _FOREVER else ends_at, allowing)


def _timeline(mine: list[Record], now: datetime) -> list[tuple[datetime, list[Record]]]:
    """The acts by the instant at which they count, grants before noes, so that at one instant the no wins.

    A no counts at its first and its last instant, and never later than now; a shared identifier's grant
    counts for nobody.
    """
    acts: dict[datetime, list[Record]] = {}
    for each in mine:
        if each.act is Act.GRANT:
            if not each.is_shared and each.at <= now:
                acts.setdefault(each.at, []).append(each)
        else:
            for at in {min(each.at, now), min(each.last_at, now)}:
                acts.setdefault(at, []).append(each)
    return [(at, sorted(acts[at], key=lambda each: each.act.is_refusal)) for at in sorted(acts)]


def _requirement_of(no: Record, rule: Purpose) -> Requirement:
    """An objection to direct marketing yields only to the same subject, authenticated."""
    needs_two_steps = is_opt_out_of_sale(no, rule)
    if no.act is Act.OBJECT and rule.direct_marketing:
        return Authority.AUTHENTICATED.rank, needs_two_steps, no.identifier_id
    return no.authority.rank, needs_two_steps, None


def _satisfies(grant: Record, bar: Requirement) -> bool:
    rank, needs_two_steps, identifier_id = bar
    return (
        grant.authority.rank >= rank
        and (grant.is_two_step or not needs_two_steps)
        and identifier_id in (None, grant.identifier_id)
    )


def _allowing(mine: list[Record], standing: _ConsentState, now: datetime) -> tuple[RecordId, ...]:
    """The live grants on which the permission rests: they lift a no, or are later than every no."""
    last_no = max(standing.refused_at.values(), default=_NEVER)
    return _ids(
        each
        for each in mine
        if _is_live(each, now)
        and (
            last_no < each.at or any(at < each.at and _satisfies(each, bar) for bar, at in standing.refused_at.items())
        )
    )


def _is_live(each: Record, now: datetime) -> bool:
    has_ended = each.valid_until is not None and each.valid_until <= now
    return each.act is Act.GRANT and not each.is_shared and each.at <= now and not has_ended


def _refusal(mine: list[Record], rule: Purpose, standing: _ConsentState, *, now: datetime) -> Verdict:
    """Why the standing does not permit: the latest live noes, else the grants that ended, else none was given."""
    live = {bar: at for bar, at in standing.refused_at.items() if standing.lifted_until[bar] <= now}
    noes = [
        each
        for each in mine
        if each.act.is_refusal
        and (at := live.get(_requirement_of(each, rule))) is not None
        and min(each.last_at, now) == at
    ]
    if noes:
        return Verdict(False, _reason_of(noes, rule), by=_ids(noes))
    if standing.granted_until is None:
        return Verdict(False, Reason.NO_GRANT)
    ended = (
        each
        for each in mine
        if each.act is Act.GRANT and not each.is_shared and each.valid_until == standing.granted_until
    )
    return Verdict(False, Reason.EXPIRED, by=_ids(ended))


def _reason_of(noes: list[Record], rule: Purpose) -> Reason:
    acts = {each.act for each in noes}
    if Act.OBJECT in acts:
        return Reason.OBJECTED
    if any(is_opt_out_of_sale(each, rule) for each in noes):
        return Reason.OPTED_OUT
    return Reason.WITHDRAWN if Act.WITHDRAW in acts else Reason.REFUSED


def _ids(records: Iterable[Record]) -> tuple[RecordId, ...]:
    return tuple(sorted(each.record_id for each in records))
