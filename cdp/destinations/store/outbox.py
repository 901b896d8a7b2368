"""SQL of the outbox: pending deliveries, written in the transaction that causes them."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from cdp.destinations.model import NotifiedRecipients, RecipientNotice
from cdp.kit.db import Transaction


def notify(
    tx: Transaction, profile_ids: Collection[int], kind: RecipientNotice, *, body: Mapping[str, Any], now: datetime
) -> NotifiedRecipients:
    """Write a notice to every recipient that may have received one of these profiles (GDPR Art. 19).

    The notice contains the pseudonym of the recipient and `body`, which names no person. Only that of an erasure does
    not lead to the profile any more.
    """
    rows = tx.execute(
        """
        WITH reached AS (  -- an attempted delivery may have arrived, whatever the response was
            SELECT DISTINCT destination, recipient_pseudonym,
                   CASE WHEN %(kind)s <> 'erasure' THEN profile_id END AS profile_id
            FROM destinations.outbox
            WHERE profile_id = ANY(%(profiles)s::bigint[])
              AND kind <> ALL(%(notices)s::text[])
              AND (attempts > 0 OR acknowledged_at IS NOT NULL)
        )
        INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, due_at)
        SELECT destination, %(kind)s, profile_id, recipient_pseudonym, %(body)s, %(now)s, %(now)s
        FROM reached
        RETURNING destination
        """,
        {
            "profiles": list(profile_ids),
            "kind": kind.value,
            "notices": [notice.value for notice in RecipientNotice],
            "body": Jsonb(dict(body)),
            "now": now,
        },
    )
    return NotifiedRecipients(tuple(sorted({destination for (destination,) in rows})))
