"""SQL that counts deliveries that wait for their recipient; nothing is changed."""

from collections.abc import Mapping, Sequence

from cdp.kit.db import Transaction


def deliveries_waiting(tx: Transaction, profile_ids: Sequence[int], destinations: Sequence[str]) -> Mapping[str, int]:
    """By destination, how many deliveries about these profiles have not been acknowledged."""
    rows = tx.execute(
        """
        SELECT destination, count(*) FROM destinations.outbox
        WHERE acknowledged_at IS NULL AND destination = ANY(%(destinations)s::text[])
          AND profile_id = ANY(%(profiles)s::bigint[])
        GROUP BY destination
        """,
        {"destinations": list(destinations), "profiles": list(profile_ids)},
    )
    return dict(rows)


def all_waiting(tx: Transaction, destination: str) -> int:
    """How many deliveries wait for a destination, notices about requests included."""
    rows = tx.execute(
        "SELECT count(*) FROM destinations.outbox WHERE acknowledged_at IS NULL AND destination = %(destination)s",
        {"destination": destination},
    )
    return int(rows[0][0])
