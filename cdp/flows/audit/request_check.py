"""Subject requests twice: as their table has them, and as the facts of the log tell them. Both must be the same."""

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
    """What the facts say of one request; instants as the log writes them."""

    kind: str = ""
    regime: str = ""
    received_at: str = ""
    verified_at: str | None = None
    due_at: str | None = None
    end: Status | None = None
    closed_at: str | None = None


def differing_requests(tx: Transaction, rule: KeepRule, now: datetime) -> tuple[str, ...]:
    """The requests, by outward id, that are not stored as the log tells them.

    One that the log tells of and the table lacks is counted unless its term is over. Facts end by age as well: a request
    older than the oldest fact of any request is left out.
    """
    told = _logged_requests(tx)
    if not told:
        return ()
    begins = min(each.received_at for each in told.values() if each.received_at)
    stored = {each.outward_id: each for each in request_store.requests(tx, None, _REQUESTS_MAX)}
    wrong = {
        id_
        for id_, request in stored.items()
        if instant_text(request.received_at) >= begins and not _agree(request, told.get(id_, _LoggedRequest()))
    }
    over = instant_text(now - timedelta(days=rule.keep_for_days))
    wrong |= {
        id_ for id_, each in told.items() if id_ not in stored and not (each.closed_at and each.closed_at <= over)
    }
    return tuple(sorted(wrong))


def _agree(stored: Request, told: _LoggedRequest) -> bool:
    end = stored.status if stored.status in ENDED else None
    facts = (stored.kind.value, stored.regime, instant_text(stored.received_at), end, _text(stored.closed_at))
    if facts != (told.kind, told.regime, told.received_at, told.end, told.closed_at):
        return False
    if _text(stored.verified_at) != told.verified_at:
        return False
    return told.due_at in (None, instant_text(stored.due_at))


def _logged_requests(tx: Transaction) -> dict[str, _LoggedRequest]:
    found: dict[str, _LoggedRequest] = {}
    for body in _facts(tx):
        one = found.setdefault(body["request"], _LoggedRequest())
        match body["kind"]:
            case "request.received":
                one.kind, one.regime, one.received_at = body["request_kind"], body["regime"], body["at"]
            case "request.verified":
                one.verified_at = body["at"]
            case "request.extended":
                one.due_at = body["due_at"]
            case kind:
                one.end, one.closed_at = _ENDS[kind], body["at"]
                one.due_at = body.get("due_at", one.due_at)
    return found


def _facts(tx: Transaction) -> Iterator[Mapping[str, Any]]:
    """Every fact of a request, oldest first."""
    pages: list[list[Mapping[str, Any]]] = []
    before: int | None = None
    while True:
        page = fact_store.entries(tx, kinds=_KINDS, before=before, limit=_PAGE)
        pages.append([each.body for each in reversed(page)])
        if len(page) < _PAGE:
            return (body for each in reversed(pages) for body in each)
        before = page[-1].entry_id


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant_text(instant)
