"""Read what is kept although nobody uses it: legal holds, and what remains of severed events. Each read states its reason.

Nothing of it leads back to a person: holds have random ids and keys of their own, severed events are counts.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import msgspec

from cdp.behavior.model import Term
from cdp.behavior.store.events import with_texts
from cdp.behavior.store.severed import severed_events
from cdp.behavior.store.terms import texts_of
from cdp.flows.context import Context
from cdp.flows.reads import Reading, log_read
from cdp.flows.rights.legal_hold import HOLD_COLUMN
from cdp.kit.errors import Fault
from cdp.rights.model import HoldCount, ReadReason
from cdp.rights.store import legal_holds as legal_hold_store
from cdp.vault.vault import Item

ROWS_MAX: Final = 1_000
_TERMS_MAX: Final = 2**31


@dataclass(frozen=True, slots=True)
class OpenedHold:
    """What a law requires to keep of one event; `number` is the random id of the hold."""

    number: int
    retention_class: str
    law: str
    keep_until: date
    columns: dict[str, Any]


@dataclass(frozen=True, slots=True)
class SeveredRow:
    """How many expired events of one name and month had these values; `event` is None if the plan did not name it."""

    event: str | None
    month: date
    values: dict[str, Any]
    events: int


def hold_counts(context: Context) -> list[HoldCount]:
    """How many legal holds there are, by class and law. No hold is opened."""
    with context.database.transaction(read_only=True) as tx:
        return legal_hold_store.hold_counts(tx)


def open_holds(
    context: Context,
    retention_class: str,
    *,
    reason: str,
    now: datetime,
    after: int = 0,
    limit: int = 100,
    actor: str = "operator",
    token: int | None = None,
) -> list[OpenedHold]:
    """Open up to `limit` legal holds of a class with random ids above `after`. The log has the reason and the number.

    Raises the fault `unknown_read_reason`.
    """
    checked = _reason(reason)
    with context.database.transaction() as tx:
        holds = legal_hold_store.holds_of(tx, retention_class, after=after, limit=min(max(limit, 1), ROWS_MAX))
        ids = [hold.hold_id for hold in holds]
        opened = context.vault.open_many(
            context.vault.subject_keys.keys_for(tx, ids),
            HOLD_COLUMN,
            [Item(hold.hold_id, hold.hold_id, hold.sealed) for hold in holds],
        )
        context.vault.subject_keys.evict(ids)
        named = {"reason": checked.value, "retention_class": retention_class}
        log_read(tx, context, Reading(actor, token, "holds", named=named), count=len(holds), now=now)
    return [
        OpenedHold(hold.hold_id, hold.retention_class, hold.law, hold.keep_until, msgspec.json.decode(body))
        for hold, body in zip(holds, opened, strict=True)
        if body is not None
    ]


def read_severed(
    context: Context,
    retention_class: str,
    *,
    reason: str,
    now: datetime,
    limit: int = 100,
    actor: str = "operator",
    token: int | None = None,
) -> list[SeveredRow]:
    """What remains of severed events of a class, the latest months first. The log has the reason and the number.

    Raises the fault `unknown_read_reason`.
    """
    checked = _reason(reason)
    with context.database.transaction() as tx:
        rows = severed_events(tx, retention_class, min(max(limit, 1), ROWS_MAX))
        numbers = {
            value for row in rows for value in row.plain.values() if type(value) is int and 0 < value < _TERMS_MAX
        }
        terms = texts_of(tx, numbers)
        named = {"reason": checked.value, "retention_class": retention_class}
        log_read(tx, context, Reading(actor, token, "severed", named=named), count=len(rows), now=now)
    vocabularies = context.vocabularies
    return [
        SeveredRow(
            row.event,
            row.month,
            {
                name: value.text if isinstance(value, Term) else value
                for name, value in with_texts(
                    row.plain, vocabularies.get(row.event or "", vocabularies[""]), terms
                ).items()
            },
            row.events,
        )
        for row in rows
    ]


def _reason(text: str) -> ReadReason:
    if text not in set(ReadReason):
        raise Fault("unknown_read_reason", "Unknown reason", f"Give one of {', '.join(ReadReason)}.", status=422)
    return ReadReason(text)
