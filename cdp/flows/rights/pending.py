"""Step that begins the suppression of a person while a request runs."""

from collections.abc import Collection
from datetime import datetime

from cdp.flows.consent.deferred import ERASED, end_deferred
from cdp.flows.context import Context
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.rights.store import suppressions as suppression_store


def suppress_while_running(
    tx: Transaction, context: Context, request_id: int, *, pseudonyms: Collection[bytes], now: datetime
) -> None:
    """Suppress pseudonyms while a request runs; messages that wait for an answer of these devices end.

    They are refused like messages that are still on their way. The caller holds the exclusive lock.
    """
    suppression_store.add_pending_suppressions(tx, request_id, pseudonyms, now=now)
    end_deferred(tx, context.vault, pseudonyms, outcome=ERASED)
    generation_store.advance(tx, changed=True)
