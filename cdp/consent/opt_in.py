"""Opt-ins after an opt-out of sale or sharing: two recorded acts, and what they are worth against a browser's signal. Pure.

The person requests the opt-in by one act and confirms it by a second one, both of the same identifier and within the
window of the policy (California, section 7028). One call is never enough, whatever it states.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from cdp.consent.model import Act, Authority, Record
from cdp.policy.model import ConsentModel, Purpose

GPC: Final = "gpc"
UNIVERSAL: Final = frozenset({"sale_or_sharing", "signals.gpp", "signals.usp"})
"""The rules of signals that opt out of sale wherever they come from: GPC, and opt-outs of GPP and US Privacy strings that were
understood."""


class OptIns:
    """The completed opt-ins among the acts about one purpose; `months` is the time in which the person may not be asked."""

    def __init__(self, records: Iterable[Record], rule: Purpose, *, months: int) -> None:
        self._rule = rule
        self._months = months
        self._grants = [
            record for record in records if record.act is Act.GRANT and not (record.is_shared or record.is_undated)
        ]
        self._confirmed = [record for record in self._grants if record.is_two_step]

    def requests_of(self, confirmation: Record) -> list[Record]:
        """The earlier acts that a confirmation can complete: of the same identifier, within the window."""
        if not confirmation.is_two_step:
            return []
        earliest = confirmation.at - timedelta(hours=self._rule.opt_in_window_hours)
        return [
            record
            for record in self._grants
            if record.identifier_id == confirmation.identifier_id and earliest <= record.at < confirmation.at
        ]

    def is_completed(self, confirmation: Record, *, after: datetime, rank: int = 0) -> bool:
        """Whether both steps followed an opt-out, with at least this authority, and the person might be asked for them.

        Within the months after an opt-out, only the person may begin.
        """
        return bool(self._completing(confirmation, after=after, rank=rank))

    def over_signal(self, signals: Iterable[Record], at: datetime) -> Record | None:
        """The opt-in that stands at an instant against the signals of one site; None if the signals count.

        It must be authenticated, and requested after the first of these signals and before the instant.
        """
        if not self._rule.opt_in_overrides_gpc or not self._confirmed:
            return None
        first = min((signal.at for signal in signals), default=at)
        standing = (
            record
            for record in self._confirmed
            if record.authority is Authority.AUTHENTICATED
            and (record.until is None or at < record.until)
            and any(
                request.at < at for request in self._completing(record, after=first, rank=Authority.AUTHENTICATED.rank)
            )
        )
        return max(standing, key=lambda record: (record.at, record.record_id), default=None)

    def _completing(self, confirmation: Record, *, after: datetime, rank: int) -> list[Record]:
        return [
            request
            for request in self.requests_of(confirmation)
            if after < request.at and request.authority.rank >= rank and self._might_ask(request, confirmation, after)
        ]

    def _might_ask(self, request: Record, confirmation: Record, last_opt_out_at: datetime) -> bool:
        is_own_initiative = request.is_subject_initiated or confirmation.is_subject_initiated
        return is_own_initiative or not self._months or request.at >= months_after(last_opt_out_at, self._months)


def is_opt_out_of_sale(record: Record, rule: Purpose) -> bool:
    """Whether a refusal is an opt-out of sale or sharing, which only a two-step opt-in overrides.

    A universal signal always is. Another refusal is one unless its jurisdiction requires an opt-in, where it refuses a
    consent that was never given.
    """
    if not (rule.sale_or_sharing and record.act.is_refusal):
        return False
    return (
        record.signal == GPC
        or record.rule in UNIVERSAL
        or rule.model.get(record.jurisdiction) is not ConsentModel.OPT_IN
    )


def may_ask_from(records: Iterable[Record], rule: Purpose, months: int) -> datetime | None:
    """The instant before which the person may not be asked to opt in to a sale again; None if there is no opt-out.

    It is `months` calendar months after the latest opt-out, or the first of the following month if that day does not
    exist.
    """
    opt_outs = [record.last_at for record in records if record.purpose == rule.key and is_opt_out_of_sale(record, rule)]
    return months_after(max(opt_outs), months) if opt_outs else None


def last_opt_out_at(records: Iterable[Record], rule: Purpose) -> datetime | None:
    """The instant after which an opt-in must be requested; None without an opt-out of sale.

    Where an opt-in stands against repeated signals of a site, their first one is decisive.
    """
    opt_outs = [record for record in records if is_opt_out_of_sale(record, rule)]
    instants = [record.last_at for record in opt_outs if record.signal != GPC]
    for signals in signals_by_site(opt_outs).values():
        first, last = min(signal.at for signal in signals), max(signal.last_at for signal in signals)
        instants.append(first if rule.opt_in_overrides_gpc else last)
    return max(instants, default=None)


def signals_by_site(records: Iterable[Record]) -> dict[int | None, list[Record]]:
    """The GPC signals among these acts by the source that sent them."""
    sites: dict[int | None, list[Record]] = {}
    for record in records:
        if record.act.is_refusal and record.signal == GPC:
            sites.setdefault(record.source_id, []).append(record)
    return sites


def opt_in_over_gpc(records: Iterable[Record], rule: Purpose, *, months: int, now: datetime) -> Record | None:
    """The opt-in that stands now against a GPC signal that was repeated after it; None if no signal is overridden."""
    own = [record for record in records if record.purpose == rule.key]
    opt_ins = OptIns(own, rule, months=months)
    for signals in signals_by_site(own).values():
        last = min(max(signal.last_at for signal in signals), now)
        standing = opt_ins.over_signal(signals, last)
        if standing is not None and (standing.until is None or now < standing.until):
            return standing
    return None


def months_after(instant: datetime, months: int) -> datetime:
    """The same day some calendar months later, or the first of the month after it if that day does not exist."""
    years, month = divmod(instant.month - 1 + months, 12)
    try:
        return instant.replace(year=instant.year + years, month=month + 1)
    except ValueError:
        return instant.replace(year=instant.year + years, month=month + 2, day=1)
