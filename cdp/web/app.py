"""The application: ingest, API, console, privacy notice and public log as one ASGI application.

Ingest paths bypass the framework; everything else passes RequestLimits. `create_app` opens no port and starts no worker.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

from cdp import __version__
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import PolicyWatcher
from cdp.web.api import access, audit, consents, identity, kept, profiles, public_log, requests, segments, standing
from cdp.web.center import notice
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.hosts import TrustedHosts
from cdp.web.connections.table import ConnectionTable
from cdp.web.console.page import refuse
from cdp.web.console.routes import add_pages
from cdp.web.ingest.batcher import Batcher, Limits
from cdp.web.ingest.router import IngestEndpoint, IngestRouter
from cdp.web.ingest.write_keys import directory_of
from cdp.web.platform import errors, health, metrics
from cdp.web.platform.authentication import Authentication
from cdp.web.platform.connection_metrics import ConnectionCollector
from cdp.web.platform.errors import Problem
from cdp.web.platform.health import Heartbeat
from cdp.web.platform.metrics import ProcessMetrics, StoreCollector, TimedBatchProcessor
from cdp.web.platform.request_limits import RequestLimits

TITLE: Final = "cdp"
DESCRIPTION: Final = (
    "A customer data platform with consent, retention and erasure in its data model. Messages are received at the paths "
    "of the Segment spec (`/v1/batch` and the others; not described here). All other routes require a bearer token with a "
    "role. Identifiers are sent in bodies, never in URLs. Every error response is a problem document."
)


def create_app(
    watcher: PolicyWatcher,
    *,
    is_working: Callable[[], bool] = lambda: True,
    failures: Callable[[], Mapping[str, int]] = dict,
    limits: Limits | None = None,
    connections: ConnectionTable | None = None,
    wrong_secrets: WrongSecrets | None = None,
    hosts: TrustedHosts | None = None,
) -> ASGIApp:
    """The application over an open context.

    `is_working` returns whether the worker is alive, `failures` the failed runs by task; `connections` are those of the
    server that runs it, `wrong_secrets` how many wrong keys and tokens an address may send, `hosts` the names by which
    browsers reach it.
    """
    process_metrics, wrong_secrets = ProcessMetrics(), wrong_secrets or WrongSecrets()
    context = watcher.context
    batcher = Batcher(TimedBatchProcessor(_ingest(context), process_metrics), limits or Limits())
    watcher.subscribe(
        lambda changed: setattr(batcher, "ingest", TimedBatchProcessor(_ingest(changed), process_metrics))
    )
    endpoint = IngestEndpoint(
        batcher, directory_of(context.database), context.clock, wrong_secrets=wrong_secrets, hosts=hosts
    )
    process_metrics.registry.register(
        StoreCollector(watcher, batcher, process_metrics, answers=lambda: endpoint.answers, failures=failures)
    )

    process_metrics.registry.register(ConnectionCollector(connections, wrong_secrets))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with endpoint:
            yield

    app = describe(lifespan)
    app.state.policy_watcher = watcher
    app.state.process_metrics = process_metrics
    app.state.heartbeat = Heartbeat(is_working)
    app.state.hosts = hosts or TrustedHosts()
    app.state.authentication = authentication = Authentication(lambda: watcher.context, wrong_secrets)
    return IngestRouter(endpoint, RequestLimits(app, authentication, process_metrics.note_request))


def describe(lifespan: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """The framework application: every documented route, without a context."""
    app = FastAPI(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        openapi_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    errors.install(app, refuse)
    for router in (
        health.router,
        profiles.router,
        identity.router,
        consents.router,
        segments.router,
        requests.router,
        standing.router,
        kept.router,
        access.router,
        audit.router,
        public_log.router,
        metrics.router,
        notice.router,
    ):
        app.include_router(router)
    add_pages(app)
    app.openapi = lambda: openapi_of(app)  # type: ignore[method-assign]
    app.add_api_route("/openapi.json", _description_of(app), include_in_schema=False)
    return app


def _description_of(app: FastAPI) -> Callable[[], Awaitable[Response]]:
    """A route for the OpenAPI document, which is written once, in a thread: anybody may ask for it at any rate."""
    writing = asyncio.Lock()
    written: list[bytes] = []

    def write() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False, separators=(",", ":")).encode()

    async def description() -> Response:
        async with writing:
            if not written:
                written.append(await asyncio.to_thread(write))
        return Response(written[0], media_type="application/json")

    return description


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problem documents as the only error responses."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        _, definitions = models_json_schema([(Problem, "serialization")], ref_template="#/components/schemas/{model}")
        schemas |= definitions["$defs"]
        for operations in document["paths"].values():
            for operation in operations.values():
                operation["summary"] = operation["description"].partition(".")[0].partition(":")[0]
        app.openapi_schema = document
    return app.openapi_schema


def _ingest(context: Context) -> Ingest:
    return Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
