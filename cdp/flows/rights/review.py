"""The review of a request: whether the identifiers that nobody vouched for belong to its person."""

from collections.abc import Sequence
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, read_identifier
from cdp.flows.rights.pending import suppress_while_running
from cdp.flows.rights.person import find_person, suppression_pseudonyms_of
from cdp.flows.rights.request_steps import locked_request
from cdp.identity.store import generation as generation_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import Right
from cdp.rights.model import ENDED
from cdp.rights.receipt import event_fact
from cdp.rights.store import reviews as review_store


def review(
    context: Context,
    request_id: int,
    *,
    include: Sequence[tuple[str, str]] = (),
    exclude: Sequence[tuple[str, str]] = (),
    excludes_rest: bool = False,
    now: datetime,
) -> int:
    """Record which waiting identifiers belong to the person of a verified request; returns how many still wait.

    What an included identifier leads to is part of the request, and may wait in turn. With `excludes_rest`, all others are
    attributed to other people. Of an erasure, what is included is suppressed from then on. Faults: `unknown_request`,
    `request_not_verified`, `not_waiting`, `invalid_identifier`.
    """
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        request = locked_request(tx, request_id)
        if request.verified_at is None or request.status in ENDED:
            raise Fault(
                "request_not_verified",
                "The request is not verified",
                "Only a verified request is reviewed.",
                status=409,
            )
        waiting = find_person(tx, context, request).reach.waiting
        decided = review_store.decisions(tx, request_id)
        reviewable = waiting | decided.keys()
        included = _ids(tx, context, include, reviewable=reviewable)
        decisions = dict.fromkeys(_ids(tx, context, exclude, reviewable=reviewable), False) | dict.fromkeys(
            included, True
        )
        if excludes_rest:
            decisions = dict.fromkeys(waiting - included, False) | decisions
        review_store.decide(tx, request_id, decisions, now=now)
        person = find_person(tx, context, request)
        if request.kind is Right.ERASURE and included:
            suppress_while_running(
                tx, context, request_id, pseudonyms=suppression_pseudonyms_of(tx, context, person), now=now
            )
        tally = {"included": sum(decisions.values()), "excluded": len(decisions) - sum(decisions.values())}
        fact_store.append(tx, event_fact(request, "request.reviewed") | {"by_reason": tally}, now)
    return len(person.reach.waiting)


def _ids(
    tx: Transaction, context: Context, pairs: Sequence[tuple[str, str]], *, reviewable: frozenset[int] | set[int]
) -> set[int]:
    """The ids of these identifiers, each of which waits or was decided about. Raises the fault `not_waiting`."""
    named = [read_identifier(context.policy, type_, value) for type_, value in pairs]
    found = {stored.identifier_id for stored in find_identifiers(tx, context.vault, named).values()}
    if len(found) < len(set(named)) or not found <= reviewable:
        raise Fault(
            "not_waiting",
            "The identifier does not wait for a review",
            "`cdp request show` lists the identifiers that wait.",
            status=409,
        )
    return found
