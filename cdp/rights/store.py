"""SQL of the rights room: requests, the identifiers they name, suppressions and the steps of an erasure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import delete, insert, select, update

from cdp.kit.db import Row, Transaction
from cdp.policy.jurisdictions import Right
from cdp.rights.model import Denial, Hold, Request, RequestId, Status, StepCount, Verb
from cdp.schema.rights import request, request_identifier, step

EVERYTHING: Final = ""
"""The purpose of a suppression that means every purpose."""

_REQUEST = (
    request.c.request_id,
    request.c.kind,
    request.c.regime,
    request.c.status,
    request.c.received_at,
    request.c.confirm_by,
    request.c.due_at,
    request.c.extended_at,
    request.c.verified_at,
    request.c.started_at,
    request.c.closed_at,
    request.c.denial_reason,
    request.c.waiting,
    request.c.entry_id,
)


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
    rows = tx.bulk(
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
    return bool(tx.bulk("SELECT EXISTS (SELECT FROM rights.suppression)")[0][0])


def raise_barrier(tx: Transaction, request_id: int, pseudonyms: Collection[bytes], now: datetime) -> None:
    """Suppress pseudonyms for as long as this request runs."""
    _suppress(tx, request_id, pseudonyms, now, None)


def suppress(tx: Transaction, pseudonyms: Collection[bytes], now: datetime, until: datetime | None) -> None:
    """Suppress pseudonyms for good, or until an instant; an order that stands is never shortened."""
    _suppress(tx, 0, pseudonyms, now, until)


def suppress_purposes(tx: Transaction, orders: Iterable[tuple[bytes, str]], now: datetime) -> int:
    """Keep a no as (pseudonym, purpose) where its identifier is not known; how many were new."""
    given = list(orders)
    rows = tx.bulk(
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
    tx: Transaction, request_id: int, pseudonyms: Collection[bytes], now: datetime, until: datetime | None
) -> None:
    tx.bulk(
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


def lower_barrier(tx: Transaction, request_id: int) -> None:
    """Take back the suppressions of a request that came to nothing."""
    tx.bulk("DELETE FROM rights.suppression WHERE request_id = %(request)s", {"request": request_id})


def add_request(tx: Transaction, new: Request) -> None:
    """Store a request as it came in."""
    tx.run(insert(request).values(_values(new)))


def change_request(tx: Transaction, changed: Request) -> None:
    """Store where a request stands now."""
    values = _values(changed)
    tx.run(update(request).where(request.c.request_id == values.pop("request_id")).values(values))


def find_request(tx: Transaction, request_id: int) -> Request | None:
    """A request, locked until the transaction ends; None when there is none of this id."""
    row = tx.one_or_none(select(*_REQUEST).where(request.c.request_id == request_id).with_for_update())
    return None if row is None else _request(row)


def read_request(tx: Transaction, request_id: int) -> Request | None:
    """A request, for reading; None when there is none of this id."""
    row = tx.one_or_none(select(*_REQUEST).where(request.c.request_id == request_id))
    return None if row is None else _request(row)


def requests(tx: Transaction, status: Status | None, limit: int) -> list[Request]:
    """Requests in the order in which they are due."""
    query = select(*_REQUEST).order_by(request.c.due_at, request.c.request_id).limit(limit)
    if status is not None:
        query = query.where(request.c.status == status.value)
    return [_request(row) for row in tx.all(query)]


def add_identifiers(tx: Transaction, request_id: int, sealed: Sequence[tuple[str, bytes]]) -> None:
    """Store what a request names: types, and values sealed under the request's own key at their position."""
    rows = [
        {"request_id": request_id, "position": position, "type": type_, "sealed": envelope}
        for position, (type_, envelope) in enumerate(sealed)
    ]
    tx.connection.execute(insert(request_identifier), rows)


def identifiers_named(tx: Transaction, request_id: int) -> list[tuple[int, str, bytes]]:
    """Position, type and sealed value of what a request names; nothing after its end."""
    columns = (request_identifier.c.position, request_identifier.c.type, request_identifier.c.sealed)
    query = select(*columns).where(request_identifier.c.request_id == request_id).order_by(columns[0])
    return [(row[0], row[1], row[2]) for row in tx.all(query)]


def drop_identifiers(tx: Transaction, request_id: int) -> None:
    """Delete what a request named."""
    tx.run(delete(request_identifier).where(request_identifier.c.request_id == request_id))


def add_steps(tx: Transaction, request_id: int, steps: Sequence[tuple[int, StepCount]]) -> None:
    """Store the plan of an erasure; a plan that is stored already stays as it is."""
    tx.bulk(
        """
        INSERT INTO rights.step (request_id, position, table_name, verb, reason)
        SELECT %(request)s, * FROM unnest(%(positions)s::int2[], %(tables)s::text[], %(verbs)s::text[], %(reasons)s::text[])
        ON CONFLICT DO NOTHING
        """,
        {
            "request": request_id,
            "positions": [position for position, _ in steps],
            "tables": [each.table for _, each in steps],
            "verbs": [each.verb.value for _, each in steps],
            "reasons": [each.reason for _, each in steps],
        },
    )


def steps(tx: Transaction, request_id: int) -> dict[int, StepCount]:
    """The steps of an erasure by position, with the rows touched so far."""
    columns = (step.c.position, step.c.table_name, step.c.verb, step.c.rows_touched, step.c.reason, step.c.done_at)
    rows = tx.all(select(*columns).where(step.c.request_id == request_id).order_by(step.c.position))
    return {row[0]: StepCount(row[1], Verb(row[2]), row[3], row[4], row[5] is not None) for row in rows}


def advance_steps(
    tx: Transaction, request_id: int, touched: Mapping[int, int], done: Collection[int], now: datetime
) -> None:
    """Add rows touched by step, and mark steps as done."""
    tx.bulk(
        """
        UPDATE rights.step AS s
        SET rows_touched = s.rows_touched + moved.rows,
            done_at = CASE WHEN moved.position = ANY(%(done)s::int2[]) THEN %(now)s ELSE s.done_at END
        FROM unnest(%(positions)s::int2[], %(rows)s::bigint[]) AS moved (position, rows)
        WHERE s.request_id = %(request)s AND s.position = moved.position
        """,
        {
            "request": request_id,
            "positions": list(touched),
            "rows": list(touched.values()),
            "done": list(done),
            "now": now,
        },
    )


def named_and_closed(tx: Transaction, before: datetime, limit: int) -> list[int]:
    """Requests that ended before an instant and still hold what they named."""
    rows = tx.bulk(
        """
        SELECT DISTINCT r.request_id
        FROM rights.request AS r JOIN rights.request_identifier USING (request_id)
        WHERE r.closed_at < %(before)s
        LIMIT %(limit)s
        """,
        {"before": before, "limit": limit},
    )
    return [row[0] for row in rows]


def add_holds(tx: Transaction, holds: Sequence[Hold]) -> None:
    """Keep columns under a statutory hold, each row under a key of its own."""
    tx.copy(
        "rights.hold",
        ("hold_id", "retention_class", "law", "keep_until", "sealed"),
        ("int8", "text", "text", "date", "bytea"),
        ((each.hold_id, each.retention_class, each.law, each.keep_until, each.sealed) for each in holds),
    )


def end_holds(tx: Transaction, today: date, limit: int) -> list[int]:
    """Delete holds whose time is over; their ids, for their keys to be shredded."""
    rows = tx.bulk(
        """
        DELETE FROM rights.hold
        WHERE hold_id IN (SELECT hold_id FROM rights.hold WHERE keep_until < %(today)s LIMIT %(limit)s)
        RETURNING hold_id
        """,
        {"today": today, "limit": limit},
    )
    return [row[0] for row in rows]


def _values(one: Request) -> dict[str, Any]:
    return {
        "request_id": one.request_id,
        "kind": one.kind.value,
        "regime": one.regime,
        "status": one.status.value,
        "received_at": one.received_at,
        "confirm_by": one.confirm_by,
        "due_at": one.due_at,
        "extended_at": one.extended_at,
        "verified_at": one.verified_at,
        "started_at": one.started_at,
        "closed_at": one.closed_at,
        "denial_reason": None if one.denial_reason is None else one.denial_reason.value,
        "waiting": one.waiting,
        "entry_id": one.entry_id,
    }


def _request(row: Row) -> Request:
    return Request(
        request_id=RequestId(row[0]),
        kind=Right(row[1]),
        regime=row[2],
        status=Status(row[3]),
        received_at=row[4],
        confirm_by=row[5],
        due_at=row[6],
        extended_at=row[7],
        verified_at=row[8],
        started_at=row[9],
        closed_at=row[10],
        denial_reason=None if row[11] is None else Denial(row[11]),
        waiting=row[12],
        entry_id=row[13],
    )
