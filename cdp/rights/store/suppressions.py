"""SQL of suppressions: pseudonyms that must not be processed again, and pending ones of running requests."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.kit.db import Transaction
from cdp.rights.replay_loss import RememberedSuppression

EVERYTHING: Final = ""

_OF_RESTRICTIONS: Final = -1
"""In place of a request: the restriction of an identifier that is unknown. Its end ends no other suppression."""


@dataclass(frozen=True, slots=True)
class SuppressionState:
    """The purposes that a pseudonym is suppressed for, and when a suppression of everything was lifted, if it was.

    Nothing that occurred before `lifted_at` is processed. `restricted` are those of the purposes that only a restriction suppresses,
    `released` are purposes whose restriction ended.
    """

    purposes: frozenset[str]
    lifted_at: datetime | None
    restricted: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()


def suppressed(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> set[bytes]:
    """Those of the pseudonyms (suppression domain) that are suppressed for every purpose at `now`.

    One statement for any number of pseudonyms; none for an empty collection.
    """
    orders = suppressed_purposes(tx, pseudonyms, now)
    return {pseudonym for pseudonym, purposes in orders.items() if EVERYTHING in purposes}


def suppressed_purposes(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> dict[bytes, frozenset[str]]:
    """Per suppressed pseudonym (suppression domain), the purposes it is suppressed for; `EVERYTHING` stands for all."""
    states = suppression_states(tx, pseudonyms, now)
    return {pseudonym: state.purposes for pseudonym, state in states.items() if state.purposes}


def suppression_states(tx: Transaction, pseudonyms: Collection[bytes], now: datetime) -> dict[bytes, SuppressionState]:
    """The state of each pseudonym that is, or was until it was lifted, suppressed; the others are absent."""
    if not pseudonyms:
        return {}
    rows = tx.execute(
        """
        SELECT pseudonym,
               array_agg(purpose) FILTER (WHERE lifted_at IS NULL AND (until IS NULL OR until > %(now)s)),
               max(lifted_at) FILTER (WHERE purpose = '' AND request_id = 0),
               array_agg(purpose) FILTER (WHERE request_id = %(restrictions)s AND lifted_at IS NULL),
               array_agg(purpose) FILTER (WHERE request_id = %(restrictions)s AND lifted_at IS NOT NULL),
               array_agg(purpose) FILTER (WHERE request_id <> %(restrictions)s)
        FROM rights.suppression
        WHERE pseudonym = ANY(%(pseudonyms)s::bytea[])
        GROUP BY pseudonym
        """,
        {"pseudonyms": list(pseudonyms), "now": now, "restrictions": _OF_RESTRICTIONS},
    )
    return {
        pseudonym: SuppressionState(
            frozenset(purposes or ()),
            lifted_at,
            frozenset(restricted or ()).difference(otherwise or ()),
            frozenset(released or ()),
        )
        for pseudonym, purposes, lifted_at, restricted, released, otherwise in rows
        if purposes or lifted_at or released
    }


def suppressions_in_force(tx: Transaction, now: datetime) -> list[RememberedSuppression]:
    """The pseudonyms that are suppressed for every purpose at `now`, without those of running requests."""
    rows = tx.execute(
        """
        SELECT pseudonym, since, until FROM rights.suppression
        WHERE purpose = '' AND request_id = 0 AND lifted_at IS NULL AND (until IS NULL OR until > %(now)s)
        """,
        {"now": now},
    )
    return [RememberedSuppression(bytes(pseudonym), since, until) for pseudonym, since, until in rows]


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
    """Suppress pseudonyms for every purpose, permanently or until an instant; never shortens a suppression.

    A restriction of an unknown identifier ends with it, as that of a known one with its records.
    """
    tx.execute(
        "DELETE FROM rights.suppression WHERE pseudonym = ANY(%(pseudonyms)s::bytea[]) AND request_id = %(restrictions)s",
        {"pseudonyms": list(pseudonyms), "restrictions": _OF_RESTRICTIONS},
    )
    _suppress(tx, 0, pseudonyms, now=now, until=until)


def lift(tx: Transaction, pseudonyms: Collection[bytes], at: datetime) -> int:
    """Lift the suppressions of these pseudonyms for every purpose; returns how many were in force.

    Pending suppressions of running requests stay.
    """
    rows = tx.execute(
        """
        WITH lifted AS (
            UPDATE rights.suppression SET lifted_at = %(at)s
            WHERE pseudonym = ANY(%(pseudonyms)s::bytea[]) AND purpose = '' AND request_id = 0
              AND lifted_at IS NULL AND (until IS NULL OR until > %(at)s)
            RETURNING 1
        )
        SELECT count(*) FROM lifted
        """,
        {"pseudonyms": list(pseudonyms), "at": at},
    )
    return int(rows[0][0])


def restrict(tx: Transaction, orders: Collection[tuple[bytes, str]], now: datetime) -> int:
    """Suppress (pseudonym, purpose) pairs of restrictions whose identifier is unknown; returns how many were new."""
    return _suppress_pairs(tx, orders, now=now, request_id=_OF_RESTRICTIONS)


def restricted(tx: Transaction, pseudonyms: Collection[bytes], *, purpose: str) -> set[bytes]:
    """Those of the pseudonyms for which `restrict` suppressed this purpose."""
    rows = tx.execute(
        "SELECT pseudonym FROM rights.suppression "
        "WHERE pseudonym = ANY(%(pseudonyms)s::bytea[]) AND purpose = %(purpose)s AND request_id = %(restrictions)s "
        "AND lifted_at IS NULL",
        {"pseudonyms": list(pseudonyms), "purpose": purpose, "restrictions": _OF_RESTRICTIONS},
    )
    return {bytes(pseudonym) for (pseudonym,) in rows}


def release(tx: Transaction, orders: Collection[tuple[bytes, str]], at: datetime) -> None:
    """End the restrictions of these (pseudonym, purpose) pairs; other suppressions stay.

    Their rows stay: the restriction may have entered the ledger, where the end follows it with the next message.
    """
    tx.execute(
        """
        UPDATE rights.suppression AS s SET lifted_at = %(at)s
        FROM unnest(%(pseudonyms)s::bytea[], %(purposes)s::text[]) AS ended (pseudonym, purpose)
        WHERE s.pseudonym = ended.pseudonym AND s.purpose = ended.purpose AND s.request_id = %(restrictions)s
          AND s.lifted_at IS NULL
        """,
        {
            "pseudonyms": [pseudonym for pseudonym, _ in orders],
            "purposes": [purpose for _, purpose in orders],
            "at": at,
            "restrictions": _OF_RESTRICTIONS,
        },
    )


def suppress_purposes(tx: Transaction, orders: Iterable[tuple[bytes, str]], now: datetime) -> int:
    """Suppress (pseudonym, purpose) pairs of opt-outs whose identifier is unknown; returns how many were new."""
    return _suppress_pairs(tx, list(orders), now=now, request_id=0)


def _suppress_pairs(tx: Transaction, pairs: Collection[tuple[bytes, str]], *, now: datetime, request_id: int) -> int:
    rows = tx.execute(
        """
        WITH added AS (
            INSERT INTO rights.suppression AS stored (pseudonym, purpose, request_id, since)
            SELECT DISTINCT *, %(request)s::bigint, %(now)s::timestamptz FROM unnest(%(pseudonyms)s::bytea[], %(purposes)s::text[])
            ON CONFLICT (pseudonym, purpose, request_id) DO UPDATE SET lifted_at = NULL WHERE stored.lifted_at IS NOT NULL
            RETURNING 1
        )
        SELECT count(*) FROM added
        """,
        {
            "pseudonyms": [pseudonym for pseudonym, _ in pairs],
            "purposes": [purpose for _, purpose in pairs],
            "request": request_id,
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
