"""SQL of the outbox: deliveries wait here for their recipients, written in the transaction that causes them."""

from collections.abc import Collection
from datetime import datetime

from cdp.destinations.model import NotifiedRecipients
from cdp.kit.db import Transaction


def notify_erasure(tx: Transaction, profile_ids: Collection[int], request: str, *, now: datetime) -> NotifiedRecipients:
    """Tell every recipient that was ever handed one of these profiles that the person is erased (GDPR Art. 19).

    The notice carries the recipient's own pseudonym and the request's outward id, and no profile of ours.
    """
    rows = tx.execute(
        """
        WITH reached AS (  -- a delivery that was attempted may have arrived, whatever was answered
            SELECT DISTINCT destination, recipient_pseudonym
            FROM destinations.outbox
            WHERE profile_id = ANY(%(profiles)s::bigint[])
              AND kind <> 'erasure'
              AND (attempts > 0 OR acknowledged_at IS NOT NULL)
        )
        INSERT INTO destinations.outbox (destination, kind, recipient_pseudonym, body, created_at, due_at)
        SELECT destination, 'erasure', recipient_pseudonym, jsonb_build_object('request', %(request)s::text),
               %(now)s, %(now)s
        FROM reached
        RETURNING destination
        """,
        {"profiles": list(profile_ids), "request": request, "now": now},
    )
    return NotifiedRecipients(tuple(sorted({row[0] for row in rows})))
