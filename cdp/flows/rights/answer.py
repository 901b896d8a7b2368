"""Access and portability: the request is answered, and its archive can be downloaded for a time."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.reads import Reading, log_read
from cdp.flows.rights.export import export_archive
from cdp.flows.rights.person import find_person
from cdp.flows.rights.request_steps import accepted, check_reviewed, locked_request, read_request, started
from cdp.flows.rights.results import RequestResult
from cdp.flows.snapshot import at_one_instant
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import Right
from cdp.rights import lifecycle
from cdp.rights.archive import Archive
from cdp.rights.model import Request, Status
from cdp.rights.receipt import fulfillment
from cdp.rights.store import requests as request_store

DOWNLOAD_DAYS: Final = 14
"""How long the archive of an access request can be downloaded after the request is answered."""

_EXPORTS = frozenset({Right.ACCESS, Right.PORTABILITY})


def answer(context: Context, request_id: int) -> RequestResult:
    """Answer a verified access request; its archive can be downloaded for 14 days.

    Running a fulfilled request again changes nothing. Faults: `unknown_request`, `request_not_next`, and those of
    `check_reviewed`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        request = locked_request(tx, request_id)
        if request.status is Status.FULFILLED:
            return RequestResult(request, (), request.waiting)
        request = started(request, now)
        person = find_person(tx, context, request)
        check_reviewed(person)
        request = accepted(lifecycle.fulfill(request, now))
        details: Mapping[str, Any] = {"is_nothing_held": person.is_nothing_held}
        request = replace(request, entry_id=fact_store.append(tx, fulfillment(request, None, details), now))
        request_store.update_request(tx, request)
    return RequestResult(request, (), request.waiting, person.is_nothing_held)


def preview_answer(context: Context, request_id: int) -> RequestResult:
    """A request that changes no data of the person but what it states itself: whether anything is held, what waits.

    Raises the fault `unknown_request`.
    """
    with context.database.transaction(read_only=True) as tx:
        request = read_request(tx, request_id)
        if request.closed_at is not None:
            return RequestResult(request, (), request.waiting)
        person = find_person(tx, context, request)
    return RequestResult(request, (), len(person.reach.waiting), person.is_nothing_held)


def export(
    context: Context,
    request_id: int,
    now: datetime,
    *,
    is_draft: bool = False,
    actor: str = "operator",
    token: int | None = None,
) -> Archive:
    """The archive of an access request: all data of the person and no data of others. Each download is logged.

    It exists once the request is answered. Before that, only a draft for staff can be made, which says so: identifiers may
    still wait for a review. Faults: `unknown_request`, `not_an_export`, `request_not_verified`, `request_not_run`,
    `export_over`.
    """

    def read(tx: Transaction) -> Archive:
        request = locked_request(tx, request_id)
        if request.kind not in _EXPORTS:
            raise Fault(
                "not_an_export",
                "There is nothing to export",
                "Only access and portability requests have an archive.",
                status=409,
            )
        if request.verified_at is None:
            raise Fault(
                "request_not_verified", "The request is not verified", "Verify the requester first.", status=409
            )
        if request.status not in (Status.VERIFIED, Status.IN_PROGRESS, Status.FULFILLED) or _is_download_over(
            request, now
        ):
            raise Fault(
                "export_over",
                "The archive is no longer available",
                "The download period is over: open a new request.",
                status=410,
            )
        if request.status is not Status.FULFILLED and not is_draft:
            raise Fault(
                "request_not_run",
                "The request is not answered",
                "What is handed over is the archive of an answered request: `cdp request run` answers it, once nothing waits for "
                "a review. A draft for your own eyes can be made before.",
                status=409,
            )
        archive = export_archive(tx, context, request, now=now)
        scope = find_person(tx, context, request).export_scope(request_id)
        log_read(
            tx,
            context,
            Reading(actor, token, "export", named={"request": request.outward_id}),
            count=1,
            now=now,
            profiles=scope.profiles,
            identifiers=scope.identifiers,
        )
        return archive

    return at_one_instant(context.database, read)


def _is_download_over(request: Request, now: datetime) -> bool:
    return request.closed_at is not None and now > request.closed_at + timedelta(days=DOWNLOAD_DAYS)
