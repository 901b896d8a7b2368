"""SQL of subject requests and of the identifiers they name."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from cdp.kit.db import Row, Transaction
from cdp.policy.jurisdictions import Right
from cdp.rights.model import ENDED, Denial, ErasureMode, Request, RequestId, Status
from cdp.rights.replay_loss import RememberedErasure
from cdp.schema.rights import request, request_identifier, request_value

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
    request.c.scrub_entry_id,
    request.c.is_scrubbed,
    request.c.asked_at,
    request.c.mode,
    request.c.weighed,
)
_NAMED_BY_REQUEST = request_identifier.c.request_id == request.c.request_id


class SealedRequestIdentifier(NamedTuple):
    """An identifier that a request names; the value is sealed under the key of the request."""

    request_id: int
    position: int
    type: str
    sealed: bytes


def add_request(tx: Transaction, new: Request) -> None:
    """Store a new request."""
    tx.execute_core(insert(request).values(_values(new)))


def update_request(tx: Transaction, changed: Request) -> None:
    """Store the current state of a request."""
    values = _values(changed)
    tx.execute_core(update(request).where(request.c.request_id == values.pop("request_id")).values(values))


def closed_erasures(tx: Transaction) -> list[RememberedErasure]:
    """The fulfilled requests for erasure and when they were, the first one first."""
    query = (
        select(request.c.request_id, request.c.closed_at)
        .where(request.c.kind == Right.ERASURE, request.c.status == Status.FULFILLED, request.c.closed_at.is_not(None))
        .order_by(request.c.closed_at)
    )
    return [RememberedErasure(*row) for row in tx.all(query)]


def lock_request(tx: Transaction, request_id: int) -> Request | None:
    """A request, locked until the transaction ends; None for an unknown id."""
    row = tx.one_or_none(select(*_REQUEST).where(request.c.request_id == request_id).with_for_update())
    return None if row is None else _request(row)


def read_request(tx: Transaction, request_id: int) -> Request | None:
    """A request, for reading; None for an unknown id."""
    row = tx.one_or_none(select(*_REQUEST).where(request.c.request_id == request_id))
    return None if row is None else _request(row)


def requests(tx: Transaction, status: Status | None, limit: int) -> list[Request]:
    """Open requests by due date, earliest first, then ended ones; of all statuses when `status` is None."""
    is_ended = request.c.status.in_(sorted(ENDED))
    query = select(*_REQUEST).order_by(is_ended, request.c.due_at, request.c.request_id).limit(limit)
    if status is not None:
        query = query.where(request.c.status == status.value)
    return [_request(row) for row in tx.all(query)]


def fulfilled_erasures(tx: Transaction) -> list[Request]:
    """The fulfilled erasures whose residue on disk is not known to be overwritten, in order of fulfillment."""
    query = select(*_REQUEST).where(
        (request.c.kind == Right.ERASURE.value)
        & (request.c.status == Status.FULFILLED.value)
        & request.c.is_scrubbed.is_(False)
        & request.c.entry_id.is_not(None)
    )
    return [_request(row) for row in tx.all(query.order_by(request.c.closed_at, request.c.request_id))]


def add_identifiers(tx: Transaction, request_id: int, sealed: Sequence[tuple[str, bytes]]) -> None:
    """Store the identifiers that a request names: type and sealed value, in order of position."""
    rows = [
        {"request_id": request_id, "position": position, "type": type_, "sealed": envelope}
        for position, (type_, envelope) in enumerate(sealed)
    ]
    tx.execute_core(insert(request_identifier).values(rows))


def named_identifiers(tx: Transaction, request_ids: Collection[int]) -> list[SealedRequestIdentifier]:
    """The identifiers that requests name, by request and position; none once they were deleted after its end."""
    columns = (
        request_identifier.c.request_id,
        request_identifier.c.position,
        request_identifier.c.type,
        request_identifier.c.sealed,
    )
    query = select(*columns).where(request_identifier.c.request_id.in_(list(request_ids))).order_by(*columns[:2])
    return [SealedRequestIdentifier(*row) for row in tx.all(query)]


def delete_identifiers(tx: Transaction, request_id: int) -> None:
    """Delete the identifiers and the corrected values that a request named."""
    tx.execute_core(delete(request_identifier).where(request_identifier.c.request_id == request_id))
    tx.execute_core(delete(request_value).where(request_value.c.request_id == request_id))


def add_values(tx: Transaction, request_id: int, sealed: Sequence[bytes]) -> None:
    """Store the corrected values of a rectification, in order of position."""
    rows = [
        {"request_id": request_id, "position": position, "sealed": envelope} for position, envelope in enumerate(sealed)
    ]
    if rows:
        tx.execute_core(insert(request_value).values(rows))


def sealed_values(tx: Transaction, request_id: int) -> list[tuple[int, bytes]]:
    """The corrected values of a request with their positions; empty once they were deleted after its end."""
    columns = (request_value.c.position, request_value.c.sealed)
    query = select(*columns).where(request_value.c.request_id == request_id).order_by(columns[0])
    return [(position, bytes(sealed)) for position, sealed in tx.all(query)]


def closed_with_identifiers(tx: Transaction, before: datetime, limit: int) -> list[int]:
    """Up to `limit` requests that ended before an instant and still have the identifiers they named."""
    named = select(request.c.request_id).distinct().join(request_identifier, _NAMED_BY_REQUEST)
    return [request_id for (request_id,) in tx.all(named.where(request.c.closed_at < before).limit(limit))]


def _values(new: Request) -> dict[str, Any]:
    return {
        "request_id": new.request_id,
        "kind": new.kind.value,
        "regime": new.regime,
        "status": new.status.value,
        "received_at": new.received_at,
        "confirm_by": new.confirm_by,
        "due_at": new.due_at,
        "extended_at": new.extended_at,
        "verified_at": new.verified_at,
        "started_at": new.started_at,
        "closed_at": new.closed_at,
        "denial_reason": None if new.denial_reason is None else new.denial_reason.value,
        "waiting": new.waiting,
        "entry_id": new.entry_id,
        "scrub_entry_id": new.scrub_entry_id,
        "is_scrubbed": new.is_scrubbed,
        "asked_at": new.asked_at,
        "mode": None if new.mode is None else new.mode.value,
        "weighed": list(new.weighed),
    }


def _request(row: Row) -> Request:
    stored = dict(zip((column.name for column in _REQUEST), row, strict=True))
    denial = stored["denial_reason"]
    return Request(
        **stored
        | {
            "request_id": RequestId(stored["request_id"]),
            "kind": Right(stored["kind"]),
            "status": Status(stored["status"]),
            "denial_reason": None if denial is None else Denial(denial),
            "mode": None if stored["mode"] is None else ErasureMode(stored["mode"]),
            "weighed": tuple(stored["weighed"]),
        }
    )
