"""Liveness, readiness, the GPC support resource, and the page at the root."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from cdp.consent.signals.gpc import support_document
from cdp.flows.context import Context
from cdp.flows.rights.replay import is_behind
from cdp.kit.errors import Fault
from cdp.schema.migrate import is_current
from cdp.web.platform.deps import InContext

router = APIRouter(tags=["health"])

_GPC_SINCE: Final = date(2026, 11, 22)
_log = logging.getLogger(__name__)

INDEX: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cdp</title>
<link rel="stylesheet" href="/cdp.css">
<main>
<h1>cdp is running</h1>
<p>A customer data platform with consent, retention and erasure in its data model.</p>
<dl>
<dt>Send messages</dt>
<dd>Point any Segment or RudderStack SDK at this address. <code>cdp source create web</code> creates a write key.</dd>
<dt>Console</dt>
<dd><a href="/console">/console</a>: messages, segments, people, data requests and the audit log, by role.</dd>
<dt>Privacy notice</dt>
<dd><a href="/privacy">/privacy</a>: purposes, retention periods and rights, generated from the policy in force.</dd>
<dt>API</dt>
<dd><a href="/openapi.json">/openapi.json</a> describes every route under <code>/api/v1</code>.
<code>cdp token create ada --role privacy</code> creates a token, for the console too.</dd>
<dt>Audit log</dt>
<dd><a href="/audit/log/checkpoint">The signed checkpoint</a> and <a href="/audit/log/key">the key</a> that verifies it.</dd>
<dt>Monitoring</dt>
<dd><a href="/readyz">/readyz</a>, and <code>/metrics</code> with an admin token.</dd>
</dl>
<p>Commands: <code>cdp --help</code>.</p>
</main>
</html>
"""
STYLE: Final = """:root{color-scheme:light dark;font:1.05rem/1.6 system-ui,sans-serif}
body{margin:0}main{max-width:44rem;margin:4rem auto;padding:0 1.5rem}
h1{font-size:1.7rem;margin:0}h2{font-size:1.25rem;margin:2.5rem 0 0}.signal-received{border-left:.3rem solid #146c2e;padding-left:.8rem}dt{font-weight:600;margin-top:1rem}dd{margin:0}
code{font-family:ui-monospace,monospace;font-size:.92em;background:#8882;padding:.1em .3em;border-radius:.2em}
"""


class Health(BaseModel):
    """The process is alive."""

    status: str


class Readiness(BaseModel):
    """Whether the service can handle requests, check by check.

    `policy` is the fingerprint of the policy in force; `pending_policy` that of the folder, if the service found another one
    there at its start and did not put it in force.
    """

    status: str
    checks: dict[str, bool]
    policy: str
    pending_policy: str | None


class GpcSupport(BaseModel):
    """The resource of the Global Privacy Control specification."""

    gpc: bool
    lastUpdate: str  # noqa: N815 - the name that the specification gives


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Whether the worker of this process is alive; always true where another process runs the worker."""

    is_alive: Callable[[], bool]


@router.get("/healthz", operation_id="health")
def health() -> Health:
    """The process is alive; nothing else is checked."""
    return Health(status="ok")


@router.get(
    "/readyz",
    responses={503: {"description": "Not ready", "model": Readiness}},
    operation_id="readiness",
)
def ready(context: InContext, request: Request, response: Response) -> Readiness:
    """Database reachable, schema current, nothing left to replay after a restore, worker alive."""
    checks = {"database": context.database.is_ready()}
    checks["schema"] = checks["database"] and _check(lambda: _is_schema_current(context))
    checks["replay"] = checks["schema"] and _check(lambda: not is_behind(context))
    heartbeat: Heartbeat = request.app.state.heartbeat
    checks["worker"] = heartbeat.is_alive()
    is_ready = all(checks.values())
    response.status_code = 200 if is_ready else 503
    response.headers["Cache-Control"] = "no-store"
    return Readiness(
        status="ready" if is_ready else "not_ready",
        checks=checks,
        policy=context.policy.fingerprint,
        pending_policy=context.pending_policy,
    )


@router.get("/.well-known/gpc.json", operation_id="gpc_support")
def gpc_support() -> GpcSupport:
    """Global Privacy Control is honored here."""
    document: dict[str, Any] = support_document(_GPC_SINCE)
    return GpcSupport(**document)


@router.get("/", response_class=Response, include_in_schema=False)
def index() -> Response:
    """The start page, with links to everything else."""
    return Response(INDEX, media_type="text/html", headers={"Cache-Control": "no-cache"})


@router.get("/cdp.css", response_class=Response, include_in_schema=False)
def style() -> Response:
    """The style of the page."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


def _is_schema_current(context: Context) -> bool:
    with context.database.transaction(read_only=True) as tx:
        return is_current(tx.connection)


def _check(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except Fault as fault:
        _log.warning("readiness_check_failed", extra={"code": fault.code})
        return False
