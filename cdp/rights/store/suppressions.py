"""SQL of suppressions: who must not be processed again, and whose suppression is pending."""

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

from cdp.kit.db import Transaction

EVERYTHING: Final = ""


def suppressed(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> set[bytes]:
    """Those of the pseudonyms (suppression domain) that no message may name at `now`, for any purpose.

    One statement, whatever their number; none when there are none.
    """
    orders = suppressed_purposes(tx, pseudonyms, now)
    return {pseudonym for pseudonym, purposes in orders.items() if EVERYTHING in purposes}


def suppressed_purposes(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> dict[bytes, frozenset[str]]:
    """Per pseudonym (suppression domain) with a standing order, the purposes it forbids; `EVERYTHING` forbids all."""
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
    return {row[0]: frozenset(row[1]) for row in rows}


def has_suppressions(tx: Transaction) -> bool:
    """Whether anybody is suppressed at all: where nobody is, nobody needs to be asked about."""
    return bool(tx.execute("SELECT EXISTS (SELECT FROM rights.suppression)")[0][0])


def add_pending_suppressions(tx: Transaction, request_id: int, pseudonyms: Collection[bytes], *, now: datetime) -> None:
    """Suppress pseudonyms for as long as this request runs."""
    _suppress(tx, request_id, pseudonyms, now=now, until=None)


def suppress(tx: Transaction, pseudonyms: Collection[bytes], now: datetime, *, until: datetime | None) -> None:
    """Suppress pseudonyms for good, or until an instant; an order that stands is never shortened."""
    _suppress(tx, 0, pseudonyms, now=now, until=until)


def suppress_purposes(tx: Transaction, orders: Iterable[tuple[bytes, str]], now: datetime) -> int:
    """Keep a no as (pseudonym, purpose) where its identifier is not known; how many were new."""
    given = list(orders)
    rows = tx.execute(
        """
        WITH kept AS (
            INSERT INTO rights.suppression (pseudonym, purpose, request_id, since)
            SELECT *, 0, %(now)s FROM unnest(%(pseudonyms)s::bytea[], %(purposes)s::text[])
            ON CONFLICT DO NOTHING
            RETURNING 1
        )
        SELECT count(*) FROM kept
        """,
        {"pseudonyms": [one[0] for one in given], "purposes": [one[1] for one in given], "now": now},
    )
    return int(rows[0][0])


def _suppress(
    tx: Transaction, request_id: int, pseudonyms: Collection[bytes], *, now: datetime, until: datetime | None
) -> None:
    tx.execute(
        """
        INSERT INTO rights.suppression AS held (pseudonym, purpose, request_id, since, until)
        SELECT pseudonym, '', %(request)s, %(now)s, %(until)s::timestamptz
        FROM unnest(%(pseudonyms)s::bytea[]) AS given (pseudonym)
        GROUP BY pseudonym
        ON CONFLICT (pseudonym, purpose, request_id) DO UPDATE
        SET until = nullif(greatest(coalesce(held.until, 'infinity'), coalesce(excluded.until, 'infinity')), 'infinity'),
            lifted_at = NULL
        """,
        {"request": request_id, "pseudonyms": list(pseudonyms), "now": now, "until": until},
    )


def end_pending_suppressions(tx: Transaction, request_id: int) -> None:
    """Take back the suppressions of a request that came to nothing."""
    tx.execute("DELETE FROM rights.suppression WHERE request_id = %(request)s", {"request": request_id})
