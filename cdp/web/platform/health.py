"""Liveness, readiness, the GPC support resource, and the page at the root."""

from datetime import date
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from cdp.consent.signals.gpc import support_document
from cdp.flows.operations.startup import PolicyWatcher
from cdp.operations.readiness import CheckState, OverallState, ReadinessCheck, judge
from cdp.web.platform.readiness import Readiness

router = APIRouter(tags=["health"])

_GPC_SINCE: Final = date(2026, 11, 22)
_RETRY_AFTER_SECONDS: Final = "2"

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


class ReadinessShown(BaseModel):
    """Whether the service is able to do its work, check by check: `ok`, `degraded`, `failing` or `unknown`.

    `policy` is the fingerprint of the policy in force; `pending_policy` that of the folder, if the service found another one
    there at its start and did not put it in force.
    """

    status: OverallState
    checks: dict[ReadinessCheck, CheckState]
    policy: str
    pending_policy: str | None


class GpcSupport(BaseModel):
    """The resource of the Global Privacy Control specification."""

    gpc: bool
    lastUpdate: str  # noqa: N815 - the name that the specification gives


@router.get("/healthz", operation_id="health")
async def health() -> Health:
    """The process is alive; nothing else is checked. It needs no thread and no connection."""
    return Health(status="ok")


@router.get(
    "/readyz",
    responses={503: {"description": "Not ready", "model": ReadinessShown}},
    operation_id="readiness",
)
async def ready(request: Request, response: Response) -> ReadinessShown:
    """Whether acknowledged writes can be stored: 200, also while degraded, otherwise 503 with Retry-After.

    `cdp doctor` runs the same checks and says what is wrong and what to do.
    """
    readiness: Readiness = request.app.state.readiness
    findings = await readiness.findings()
    state = judge(findings)
    if state is OverallState.NOT_READY:
        response.status_code = 503
        response.headers["Retry-After"] = _RETRY_AFTER_SECONDS
    response.headers["Cache-Control"] = "no-store"
    watcher: PolicyWatcher = request.app.state.policy_watcher
    return ReadinessShown(
        status=state,
        checks={finding.check: finding.state for finding in findings},
        policy=watcher.context.policy.fingerprint,
        pending_policy=watcher.context.pending_policy,
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
