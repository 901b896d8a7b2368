"""Steps that read the receipt of an audit entry about a request, and log that it was read."""

from typing import Any

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.reads import Reading, log_read
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.rights.model import Request


def receipt_of_entry(tx: Transaction, context: Context, entry_id: int) -> dict[str, Any]:
    """The receipt file of an entry. Raises the fault `receipt_not_ready` until the log has sequenced it."""
    found = fact_store.receipt_file(tx, entry_id, context.vault.root_keys.signer().public_key)
    if found is None:
        raise Fault(
            "receipt_not_ready",
            "The receipt is not signed yet",
            "The log is signed every one or two seconds; try again.",
            status=409,
            retry_after_seconds=1,
        )
    return found


def log_receipt(tx: Transaction, context: Context, request: Request, *, actor: str, token: int | None) -> None:
    """Log that the receipt of a request was read. It names nobody: only the request."""
    reading = Reading(actor, token, "receipt", named={"request": request.outward_id})
    log_read(tx, context, reading, count=1, now=context.clock.now())
