"""All SQL of the rights room."""

from collections.abc import Collection
from datetime import datetime

from cdp.kit.db import Transaction


def suppressed(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> set[bytes]:
    """Those of the pseudonyms (suppression domain) that no message may name at `now`, for any purpose.

    One statement, whatever their number; none when there are none.
    """
    if not pseudonyms:
        return set()
    rows = tx.bulk(
        """
        SELECT pseudonym
        FROM rights.suppression
        WHERE pseudonym = ANY(%(pseudonyms)s)
          AND purpose = ''
          AND lifted_at IS NULL
          AND (until IS NULL OR until > %(now)s)
        """,
        {"pseudonyms": list(pseudonyms), "now": now},
    )
    return {row[0] for row in rows}
