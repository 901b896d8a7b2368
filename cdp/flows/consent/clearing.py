"""Steps of clearing withdrawals: stored data loses the purpose that was withdrawn."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.behavior.store.ages import clear_age_bits
from cdp.behavior.store.events import clear_bits
from cdp.behavior.store.traits import clear_trait_bits
from cdp.consent.store import projection as projection_store
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.verdicts import Withdrawal
from cdp.flows.consent.verdicts import asks_for_age, delete_derived_data, refresh_verdicts, update_derived_data
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy

_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


_WITHDRAWALS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class ClearedWithdrawals:
    """The counts of one step: withdrawals cleared, events and stated traits deleted, events that lost a purpose."""

    withdrawals: int
    events_deleted: int
    events_cleared: int
    traits_deleted: int


def clear_withdrawn_of(
    tx: Transaction, policy: Policy, *, profile_ids: Collection[int], now: datetime
) -> ClearedWithdrawals:
    """Clear all withdrawals of these profiles; the caller holds the exclusive lock, and ends older readers if needed."""
    return clear(tx, policy, due=verdict_store.withdrawals(tx, _WITHDRAWALS_MAX, profile_ids), now=now)


def clear(tx: Transaction, policy: Policy, *, due: Sequence[Withdrawal], now: datetime) -> ClearedWithdrawals:
    """Clear the data of these withdrawals; the caller holds the exclusive lock."""
    if not due:
        return ClearedWithdrawals(0, 0, 0, 0)
    anchors = consent_subject_store.anchors_of(tx, {withdrawal.profile_id for withdrawal in due})
    masks = projection_store.bits_of(tx)
    deleted = cleared = traits = ages = 0
    for (purpose, before), profile_ids in _grouped(due).items():
        anchor_ids = [anchor for profile_id in profile_ids for anchor in anchors.get(profile_id, ())]
        events = clear_bits(tx, anchor_ids, masks[purpose], before=before)
        deleted, cleared = deleted + events.events_deleted, cleared + events.events_cleared
        traits += clear_trait_bits(tx, anchor_ids, masks[purpose], before=before)
        ages += clear_age_bits(tx, anchor_ids, masks[purpose], before=before)
    begun_again = {(withdrawal.profile_id, withdrawal.purpose) for withdrawal in due if withdrawal.since is not None}
    update_derived_data(tx, policy, begun_again, now=now)
    delete_derived_data(tx, policy, {(withdrawal.profile_id, withdrawal.purpose) for withdrawal in due} - begun_again)
    verdict_store.delete_withdrawals(tx, [withdrawal.withdrawal_id for withdrawal in due])
    remaining = {withdrawal.profile_id for withdrawal in due} & anchors.keys()
    if (
        (traits or ages)
        and asks_for_age(policy)
        and refresh_verdicts(tx, policy, profile_ids=remaining, now=now).has_changes
    ):
        generation_store.advance(tx, changed=True)
    _log(tx, due, now)
    return ClearedWithdrawals(len(due), deleted, cleared, traits)


def _grouped(due: Iterable[Withdrawal]) -> dict[tuple[str, datetime], set[int]]:
    """Profiles by purpose and by the instant before which data is cleared: any, or the start of a new permission."""
    groups: dict[tuple[str, datetime], set[int]] = {}
    for withdrawal in due:
        groups.setdefault((withdrawal.purpose, withdrawal.since or _EVER), set()).add(withdrawal.profile_id)
    return groups


def _log(tx: Transaction, due: Iterable[Withdrawal], now: datetime) -> None:
    counts: dict[str, int] = {}
    for withdrawal in due:
        counts[withdrawal.purpose] = counts.get(withdrawal.purpose, 0) + 1
    fact_store.append_many(
        tx,
        [
            {"kind": "consent.cleared", "actor": "worker", "purpose": purpose, "count": count}
            for purpose, count in sorted(counts.items())
        ],
        now,
    )
