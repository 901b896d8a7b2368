"""Use cases of auditors: reading entries of the log, reports computed from verified facts, and public log data."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cdp.audit.checkpoint import VerifierKey
from cdp.audit.fact import KINDS
from cdp.audit.store import facts as fact_store
from cdp.audit.store.facts import LogEntry
from cdp.audit.store.lag import backlog, counts_by_kind
from cdp.audit.store.tree import newest_tree, served_tile, signed_head
from cdp.audit.tile import parse_tile_path
from cdp.flows.audit.request_check import differing_requests
from cdp.flows.context import Context
from cdp.flows.reads import Reading, log_read
from cdp.kit.canonical import instant_text
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.operations.store import policies as policy_store
from cdp.rights.model import ENDED, Request, Status
from cdp.rights.store import requests as request_store
from cdp.segments.disclose import size_outside

_REQUESTS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class RequestFigures:
    """Requests received in a period: by kind, by status, and by whether they met the deadline."""

    received: Mapping[str, int]
    by_status: Mapping[str, int]
    in_time: int
    late: int
    open_overdue: int
    median_days: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """A report about a period.

    `altered` are entries whose fact no longer matches its leaf; `differing` are requests whose stored state differs from
    the facts. Both must be empty.
    """

    since: datetime | None
    until: datetime | None
    entries: Mapping[str, int]
    facts_checked: int
    altered: tuple[int, ...]
    requests: RequestFigures
    differing: tuple[str, ...]
    policies: tuple[Mapping[str, str], ...]
    tree_size: int
    waiting: int
    checkpoint: str | None
    vkey: str | None


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """Which entries of the log are wanted: of these kinds or of all, of a period, below an entry id, at most `limit`."""

    kinds: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    limit: int = 100


def read_entries(
    context: Context,
    now: datetime,
    query: EntryQuery,
    *,
    actor: str,
    token: int | None = None,
) -> list[LogEntry]:
    """Entries of the log, newest first. The read itself is logged. Raises the fault `unknown_entry_kind`.

    Changes of memberships below the policy's minimum are shown as "fewer than" it; the facts themselves are exact.
    """
    if unknown := sorted(set(query.kinds) - KINDS.keys()):
        raise Fault(
            "unknown_entry_kind",
            "Unknown kind of entry",
            f"Unknown kinds: {len(unknown)}. The kinds are {', '.join(sorted(KINDS))}.",
            status=422,
        )
    with context.database.transaction() as tx:
        found = fact_store.entries(
            tx, kinds=query.kinds, since=query.since, until=query.until, before=query.before, limit=query.limit
        )
        period = _period(query.since, query.until)
        question = {"kinds": sorted(query.kinds), **period, "before": query.before, "limit": query.limit}
        log_read(tx, context, Reading(actor, token, "entries", question=question), count=len(found), now=now)
    minimum = context.policy.jurisdictions.minimum_disclosure_size
    return [_without_small_sizes(entry, minimum) for entry in found]


def _without_small_sizes(entry: LogEntry, minimum: int) -> LogEntry:
    if entry.kind != "segment.evaluated":
        return entry
    sizes = {name: size_outside(entry.body[name], minimum) for name in ("entered", "left")}
    return replace(entry, body={**entry.body, **sizes})


def report(
    context: Context,
    now: datetime,
    *,
    since: datetime | None,
    until: datetime | None,
    actor: str,
    token: int | None = None,
) -> Report:
    """Figures of a period from verified facts, with the head of the log that proves them. The read is logged."""
    with context.database.transaction() as tx:
        check = fact_store.check_facts(tx, since=since, until=until)
        head, tree, waiting = signed_head(tx), newest_tree(tx), backlog(tx)
        answer = Report(
            since=since,
            until=until,
            entries=counts_by_kind(tx, since=since, until=until),
            facts_checked=check.checked,
            altered=check.altered,
            requests=_figures(tx, since, until, now=now),
            differing=differing_requests(tx, context.policy.retention.requests, now),
            policies=_policies(tx),
            tree_size=0 if head is None else head.size,
            waiting=waiting.leaves,
            checkpoint=None if head is None else head.note,
            vkey=None if tree is None else VerifierKey(tree.origin, context.vault.root_keys.signer().public_key).text(),
        )
        reading = Reading(actor, token, "report", question=_period(since, until))
        log_read(tx, context, reading, count=check.checked, now=now)
    return answer


def _period(since: datetime | None, until: datetime | None) -> dict[str, str | None]:
    return {
        "since": None if since is None else instant_text(since),
        "until": None if until is None else instant_text(until),
    }


def public_checkpoint(database: Database) -> str:
    """The newest signed checkpoint, which is public. Raises the fault `unknown_tile` before the first."""
    with database.transaction(read_only=True) as tx:
        head = signed_head(tx)
    if head is None:
        raise _not_there()
    return head.note


def public_key(context: Context) -> str:
    """The key that verifies checkpoints, as a `vkey`. Raises the fault `unknown_tile` before the first."""
    with context.database.transaction(read_only=True) as tx:
        tree = newest_tree(tx)
    if tree is None:
        raise _not_there()
    return VerifierKey(tree.origin, context.vault.root_keys.signer().public_key).text()


def public_tile(database: Database, path: str) -> bytes:
    """A tile of hashes or a bundle of entries, by its path after `tile/`. Raises the fault `unknown_tile` (404)."""
    wanted = parse_tile_path(path)
    if wanted is None:
        raise _not_there()
    with database.transaction(read_only=True) as tx:
        found = served_tile(tx, wanted)
    if found is None:
        raise _not_there()
    return found


def _not_there() -> Fault:
    return Fault("unknown_tile", "Unknown tile", "The log is shorter, or the path is invalid.", status=404)


def _figures(tx: Transaction, since: datetime | None, until: datetime | None, *, now: datetime) -> RequestFigures:
    found = [
        request
        for request in request_store.requests(tx, None, _REQUESTS_MAX)
        if (since is None or request.received_at >= since) and (until is None or request.received_at < until)
    ]
    answered = [request for request in found if request.status in (Status.FULFILLED, Status.DENIED)]
    days = sorted(_days(request) for request in answered)
    return RequestFigures(
        received=Counter(request.kind.value for request in found),
        by_status=Counter(request.status.value for request in found),
        in_time=sum(request.is_in_time for request in answered),
        late=sum(not request.is_in_time for request in answered),
        open_overdue=sum(request.status not in ENDED and request.due_at < now for request in found),
        median_days=_median(days),
    )


def _days(request: Request) -> float:
    assert request.closed_at is not None
    return (request.closed_at - request.received_at).total_seconds() / 86_400


def _median(ordered: Sequence[float]) -> float | None:
    if not ordered:
        return None
    middle = len(ordered) // 2
    value = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return round(value, 2)


def _policies(tx: Transaction) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"policy": applied.fingerprint.hex(), "applied_at": instant_text(applied.applied_at)}
        for applied in policy_store.policies(tx)
    )
