"""Steps of clearing withdrawals: stored data loses the purpose that was withdrawn."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cdp.audit.store import facts as fact_store
from cdp.behavior.store.events import clear_bits
from cdp.behavior.store.traits import clear_trait_bits
from cdp.consent.store import projection as projection_store
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.verdicts import Withdrawal
from cdp.flows.consent.verdicts import asks_for_age, refresh_verdicts, update_derived_data
from cdp.identity.store import consent_subjects as consent_subject_store
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.vault.vault import Vault

_EVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


_OF_FEW: Final = 10_000


@dataclass(frozen=True, slots=True)
class ClearedWithdrawals:
    """What one step did: withdrawals settled, events and stated traits deleted, events that lost a purpose."""

    withdrawals: int
    events_deleted: int
    events_cleared: int
    traits_deleted: int


def clear_withdrawn_of(
    tx: Transaction, vault: Vault, policy: Policy, *, profile_ids: Collection[int], now: datetime
) -> ClearedWithdrawals:
    """The same at once for these profiles; the caller holds the exclusive lock, and has ended older readers if it is meant."""
    return _clear(tx, vault, policy, due=verdict_store.withdrawals(tx, _OF_FEW, profile_ids), now=now)


def _clear(
    tx: Transaction, vault: Vault, policy: Policy, *, due: Sequence[Withdrawal], now: datetime
) -> ClearedWithdrawals:
    if not due:
        return ClearedWithdrawals(0, 0, 0, 0)
    anchors = consent_subject_store.anchors_of(tx, {each.profile_id for each in due})
    masks = projection_store.bits_of(tx)
    deleted = cleared = traits = 0
    for (purpose, before), each in _grouped(due).items():
        mine = [anchor for profile_id in each for anchor in anchors.get(profile_id, ())]
        events = clear_bits(tx, mine, masks[purpose], before=before)
        deleted, cleared = deleted + events.events_deleted, cleared + events.events_cleared
        traits += clear_trait_bits(tx, mine, masks[purpose], before=before)
    update_derived_data(tx, policy, {(each.profile_id, each.purpose) for each in due}, now=now)
    verdict_store.delete_withdrawals(tx, [each.withdrawal_id for each in due])
    living = {each.profile_id for each in due} & anchors.keys()
    # An age may be among the traits that went, and verdicts rest on it.
    if traits and asks_for_age(policy) and refresh_verdicts(tx, vault, policy, profile_ids=living, now=now).has_changes:
        generation_store.advance(tx, changed=True)
    _log(tx, due, now)
    return ClearedWithdrawals(len(due), deleted, cleared, traits)


def _grouped(due: Iterable[Withdrawal]) -> dict[tuple[str, datetime], set[int]]:
    """Profiles by purpose and by the instant before which nothing may be left: ever, or until permitted again."""
    groups: dict[tuple[str, datetime], set[int]] = {}
    for each in due:
        groups.setdefault((each.purpose, each.since or _EVER), set()).add(each.profile_id)
    return groups


def _log(tx: Transaction, due: Iterable[Withdrawal], now: datetime) -> None:
    counts: dict[str, int] = {}
    for each in due:
        counts[each.purpose] = counts.get(each.purpose, 0) + 1
    fact_store.append_many(
        tx,
        [
            {"kind": "consent.cleared", "actor": "worker", "purpose": purpose, "count": count}
            for purpose, count in sorted(counts.items())
        ],
        now,
    )
