"""SQL of suppressions: pseudonyms that must not be processed again, and pending ones of running requests."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from cdp.kit.db import Transaction

EVERYTHING: Final = ""


def suppressed(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> set[bytes]:
    """Those of the pseudonyms (suppression domain) that are suppressed for every purpose at `now`.

    One statement for any number of pseudonyms; none for an empty collection.
    """
    orders = suppressed_purposes(tx, pseudonyms, now)
    return {pseudonym for pseudonym, purposes in orders.items() if EVERYTHING in purposes}


def suppressed_purposes(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> dict[bytes, frozenset[str]]:
    """Per suppressed pseudonym (suppression domain), the purposes it is suppressed for; `EVERYTHING` stands for all."""
    if not pseudonyms:
        return {}
    rows = tx.execute(
        """
        SELECT pseudonym, array_agg(purpose)
        FROM rights.suppression
        WHERE pseudonym = ANY(%(pseudonyms)s::bytea[])
          AND lifted_at IS NULL
          AND (until IS NULL OR until > %(now)s)
        GROUP BY pseudonym
        """,
        {"pseudonyms": list(pseudonyms), "now": now},
    )
    return {pseudonym: frozenset(purposes) for pseudonym, purposes in rows}


def has_suppressions(tx: Transaction) -> bool:
    """Whether any suppression exists; without one, callers need not look up pseudonyms."""
    return bool(tx.execute("SELECT EXISTS (SELECT FROM rights.suppression)")[0][0])


def add_pending_suppressions(tx: Transaction, request_id: int, pseudonyms: Collection[bytes], *, now: datetime) -> None:
    """Suppress pseudonyms for every purpose while this request runs."""
    _suppress(tx, request_id, pseudonyms, now=now, until=None)


def pending_suppressions(tx: Transaction, request_id: int) -> set[bytes]:
    """The pseudonyms that are suppressed while this request runs."""
    rows = tx.execute(
        "SELECT pseudonym FROM rights.suppression WHERE request_id = %(request)s", {"request": request_id}
    )
    return {bytes(pseudonym) for (pseudonym,) in rows}


def suppress(tx: Transaction, pseudonyms: Collection[bytes], now: datetime, *, until: datetime | None) -> None:
    """Suppress pseudonyms for every purpose, permanently or until an instant; never shortens a suppression."""
    _suppress(tx, 0, pseudonyms, now=now, until=until)


def suppress_purposes(tx: Transaction, orders: Iterable[tuple[bytes, str]], now: datetime) -> int:
    """Suppress (pseudonym, purpose) pairs of opt-outs whose identifier is unknown; returns how many were new."""
    pairs = list(orders)
    rows = tx.execute(
        """
        WITH added AS (
            INSERT INTO rights.suppression (pseudonym, purpose, request_id, since)
            SELECT *, 0, %(now)s FROM unnest(%(pseudonyms)s::bytea[], %(purposes)s::text[])
            ON CONFLICT DO NOTHING
            RETURNING 1
        )
        SELECT count(*) FROM added
        """,
        {
            "pseudonyms": [pseudonym for pseudonym, _ in pairs],
            "purposes": [purpose for _, purpose in pairs],
            "now": now,
        },
    )
    return int(rows[0][0])


def _suppress(
    tx: Transaction, request_id: int, pseudonyms: Collection[bytes], *, now: datetime, until: datetime | None
) -> None:
    tx.execute(
        """
        INSERT INTO rights.suppression AS stored (pseudonym, purpose, request_id, since, until)
        SELECT pseudonym, '', %(request)s, %(now)s, %(until)s::timestamptz
        FROM unnest(%(pseudonyms)s::bytea[]) AS listed (pseudonym)
        GROUP BY pseudonym
        ON CONFLICT (pseudonym, purpose, request_id) DO UPDATE
        SET until = nullif(greatest(coalesce(stored.until, 'infinity'), coalesce(excluded.until, 'infinity')), 'infinity'),
            lifted_at = NULL
        """,
        {"request": request_id, "pseudonyms": list(pseudonyms), "now": now, "until": until},
    )


def end_pending_suppressions(tx: Transaction, request_id: int) -> int:
    """Delete the suppressions of a request that ended without being fulfilled; returns how many."""
    rows = tx.execute(
        "DELETE FROM rights.suppression WHERE request_id = %(request)s RETURNING purpose", {"request": request_id}
    )
    return len(rows)
