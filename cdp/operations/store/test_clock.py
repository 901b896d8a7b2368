"""SQL of the test clock of the database."""

from datetime import datetime

from cdp.kit.db import Transaction


def override_instant(tx: Transaction, instant: datetime | None) -> None:
    """Set the test clock that the database's own readers see; None restores the real time."""
    if instant is None:
        tx.execute("DELETE FROM operations.instant_override")
        return
    tx.execute(
        """
        INSERT INTO operations.instant_override (single, instant) VALUES (1, %(instant)s)
        ON CONFLICT (single) DO UPDATE SET instant = EXCLUDED.instant
        """,
        {"instant": instant},
    )
