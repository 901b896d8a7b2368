"""SQL of the outbox: pending deliveries, written in the transaction that causes them."""

from collections.abc import Collection
from datetime import datetime

from cdp.destinations.model import NotifiedRecipients
from cdp.kit.db import Transaction


def notify_erasure(tx: Transaction, profile_ids: Collection[int], request: str, *, now: datetime) -> NotifiedRecipients:
    """Notify every recipient that may have received one of these profiles of the erasure (GDPR Art. 19).

    The notification contains the pseudonym of the recipient and the id of the request, but no internal id.
    """
    rows = tx.execute(
        """
        WITH reached AS (  -- an attempted delivery may have arrived, whatever the response was
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
    return NotifiedRecipients(tuple(sorted({destination for (destination,) in rows})))
