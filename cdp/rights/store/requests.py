"""SQL of subject requests and of the identifiers they name."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from cdp.kit.db import Row, Transaction
from cdp.policy.jurisdictions import Right
from cdp.rights.model import Denial, Request, RequestId, Status
from cdp.schema.rights import request, request_identifier

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


def add_request(tx: Transaction, new: Request) -> None:
    """Store a request as it came in."""
    tx.execute_core(insert(request).values(_values(new)))


def change_request(tx: Transaction, changed: Request) -> None:
    """Store where a request stands now."""
    values = _values(changed)
    tx.execute_core(update(request).where(request.c.request_id == values.pop("request_id")).values(values))


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
    tx.execute_core(delete(request_identifier).where(request_identifier.c.request_id == request_id))


def named_and_closed(tx: Transaction, before: datetime, limit: int) -> list[int]:
    """Requests that ended before an instant and still hold what they named."""
    rows = tx.execute(
        """
        SELECT DISTINCT r.request_id
        FROM rights.request AS r JOIN rights.request_identifier USING (request_id)
        WHERE r.closed_at < %(before)s
        LIMIT %(limit)s
        """,
        {"before": before, "limit": limit},
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
