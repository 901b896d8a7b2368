"""Steps that end the wait of deferred messages: their throw-away keys are destroyed, and their states are counted.

The caller holds the exclusive lock. No entry of the log is written: but for its count, a deferred message that nobody opened
is as one that was never sent.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import Final

from cdp.accounting.model import Outcome, State
from cdp.accounting.store import messages as accounting_store
from cdp.consent.model import Act, Reason, Record
from cdp.consent.store import deferred as deferred_store
from cdp.consent.store.deferred import EndedMessages
from cdp.kit.db import Transaction
from cdp.rights.pending_suppression import Suppressed
from cdp.schema.ids import SourceId
from cdp.vault.vault import Vault

REFUSED: Final = Outcome(State.NOT_PERMITTED, Reason.REFUSED.value)
"""Where a deferred message ends whose device refuses."""
UNANSWERED: Final = Outcome(State.NOT_PERMITTED, "not_answered")
"""Where a deferred message ends that nobody answered in its term."""
ERASED: Final = Outcome(State.SUPPRESSED, Suppressed.DEVICE.value)
"""Where a deferred message ends whose device is erased or suppressed."""


def refuse_deferred(tx: Transaction, vault: Vault, pseudonyms: Collection[bytes]) -> None:
    """A refusal of these devices ends what waits for them, but what an earlier grant is to open is opened first.

    `pseudonyms` are those of the suppression domain; for an identifier that is not a device, nothing waits.
    """
    found = deferred_store.subjects_of_devices(tx, pseudonyms)
    end_refused(
        tx,
        vault,
        ended=[subject_id for subject_id, is_granted in found.items() if not is_granted],
        closed=[subject_id for subject_id, is_granted in found.items() if is_granted],
    )


def end_refused(tx: Transaction, vault: Vault, *, ended: Collection[int], closed: Collection[int]) -> None:
    """End what waits for the devices `ended`; of those `closed`, what is not permitted ends when it is opened."""
    if closed:
        deferred_store.mark_refused(tx, closed)
    _end(tx, vault, ended, outcome=REFUSED)


def end_deferred(tx: Transaction, vault: Vault, pseudonyms: Collection[bytes], *, outcome: Outcome) -> None:
    """End everything that waits for these devices, what a grant was to open included."""
    _end(tx, vault, deferred_store.subjects_of_devices(tx, pseudonyms).keys(), outcome=outcome)


def end_unanswered(tx: Transaction, vault: Vault, now: datetime, *, rows_max: int) -> int:
    """End the messages whose term is over, up to a number of them; returns how many."""
    ended = deferred_store.delete_ended(tx, now, rows_max)
    _count(tx, ended, UNANSWERED)
    subjects = {entry.subject_id for entry in ended}
    vault.subject_keys.throw_away(tx, deferred_store.delete_empty_devices(tx, subjects))
    return sum(entry.messages for entry in ended)


def grant_deferred(tx: Transaction, record: Record, pseudonym: bytes, *, now: datetime) -> Record:
    """A grant, as it is recorded if messages wait for its device, which are then to be opened; other acts as they are."""
    if record.act is not Act.GRANT:
        return record
    waiting = deferred_store.devices(tx, [pseudonym], now)
    first_at = min((device.first_at for device in waiting if device.first_at is not None), default=None)
    if waiting:
        deferred_store.mark_granted(tx, [pseudonym], now)
    return reaching_back(record, first_at)


def reaching_back(record: Record, first_at: datetime | None) -> Record:
    """A grant that permits from the first message on that waited for it; other acts as they are."""
    if first_at is None or record.act is not Act.GRANT or record.is_undated or record.at <= first_at:
        return record
    return replace(record, permits_from=first_at)


def _end(tx: Transaction, vault: Vault, subject_ids: Collection[int], *, outcome: Outcome) -> None:
    if subject_ids:
        _count(tx, deferred_store.delete_devices(tx, subject_ids), outcome)
        vault.subject_keys.throw_away(tx, list(subject_ids))


def _count(tx: Transaction, ended: Collection[EndedMessages], outcome: Outcome) -> None:
    counts: Counter[tuple[SourceId, datetime, State, str]] = Counter()
    for entry in ended:
        counts[SourceId(entry.source_id), entry.counted_at, outcome.state, outcome.reason] += entry.messages
    accounting_store.move_deferred(tx, counts)
