"""SQL of the look-ups of single people that a token made within an hour."""

from datetime import datetime, timedelta
from typing import Final

from cdp.access.model import TokenId
from cdp.kit.db import Transaction

WINDOW: Final = timedelta(hours=1)


def count_lookup(tx: Transaction, token_id: TokenId, now: datetime) -> tuple[int, datetime]:
    """Count one more look-up; the number in the current window, this one included, and when the window ends."""
    ((lookups, began_at),) = tx.execute(
        """
        INSERT INTO access.lookup AS l (token_id, began_at, lookups)
        VALUES (%(token)s, %(now)s, 1)
        ON CONFLICT (token_id) DO UPDATE
        SET began_at = CASE WHEN l.began_at > %(now)s::timestamptz - %(window)s THEN l.began_at ELSE excluded.began_at END,
            lookups = CASE WHEN l.began_at > %(now)s::timestamptz - %(window)s THEN l.lookups + 1 ELSE 1 END
        RETURNING lookups, began_at
        """,
        {"token": token_id, "now": now, "window": WINDOW},
    )
    return lookups, began_at + WINDOW
