"""Step of comparing subject requests as stored in their table with the facts of the log; they must agree."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.kit.canonical import instant_text
from cdp.kit.db import Transaction
from cdp.policy.model import KeepRule
from cdp.rights.model import ENDED, Request, Status
from cdp.rights.store import requests as request_store

_ENDS: Final = {
    "request.fulfilled": Status.FULFILLED,
    "request.denied": Status.DENIED,
    "request.withdrawn": Status.WITHDRAWN,
    "request.expired": Status.EXPIRED,
}
_KINDS: Final = ("request.received", "request.verified", "request.extended", *_ENDS)
_PAGE: Final = 1_000
_REQUESTS_MAX: Final = 100_000


@dataclass(slots=True)
class _LoggedRequest:
    """One request according to the facts; instants as text in the format of the log."""

    kind: str = ""
    regime: str = ""
    received_at: str = ""
    verified_at: str | None = None
    due_at: str | None = None
    end: Status | None = None
    closed_at: str | None = None


def differing_requests(tx: Transaction, rule: KeepRule, now: datetime) -> tuple[str, ...]:
    """The ids of requests whose stored state differs from the log, sorted.

    A request in the log but not in the table differs unless its retention period is over. Facts expire as well: a request
    older than the oldest fact of any request is not compared.
    """
    logged = _logged_requests(tx)
    if not logged:
        return ()
    begins = min(request.received_at for request in logged.values() if request.received_at)
    stored = {request.outward_id: request for request in request_store.requests(tx, None, _REQUESTS_MAX)}
    wrong = {
        id_
        for id_, request in stored.items()
        if instant_text(request.received_at) >= begins and not _agree(request, logged.get(id_, _LoggedRequest()))
    }
    over = instant_text(now - timedelta(days=rule.keep_for_days))
    wrong |= {
        id_
        for id_, request in logged.items()
        if id_ not in stored and not (request.closed_at and request.closed_at <= over)
    }
    return tuple(sorted(wrong))


def _agree(stored: Request, logged: _LoggedRequest) -> bool:
    end = stored.status if stored.status in ENDED else None
    facts = (stored.kind.value, stored.regime, instant_text(stored.received_at), end, _text(stored.closed_at))
    if facts != (logged.kind, logged.regime, logged.received_at, logged.end, logged.closed_at):
        return False
    if _text(stored.verified_at) != logged.verified_at:
        return False
    return logged.due_at in (None, instant_text(stored.due_at))


def _logged_requests(tx: Transaction) -> dict[str, _LoggedRequest]:
    found: dict[str, _LoggedRequest] = {}
    for body in _facts(tx):
        request = found.setdefault(body["request"], _LoggedRequest())
        match body["kind"]:
            case "request.received":
                request.kind, request.regime, request.received_at = body["request_kind"], body["regime"], body["at"]
            case "request.verified":
                request.verified_at = body["at"]
            case "request.extended":
                request.due_at = body["due_at"]
            case kind:
                request.end, request.closed_at = _ENDS[kind], body["at"]
                request.due_at = body.get("due_at", request.due_at)
    return found


def _facts(tx: Transaction) -> Iterator[Mapping[str, Any]]:
    """Every fact of a request, oldest first."""
    pages: list[list[Mapping[str, Any]]] = []
    before: int | None = None
    while True:
        page = fact_store.entries(tx, kinds=_KINDS, before=before, limit=_PAGE)
        pages.append([entry.body for entry in reversed(page)])
        if len(page) < _PAGE:
            return (body for bodies in reversed(pages) for body in bodies)
        before = page[-1].entry_id


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)
