"""The application: ingest, API, console, privacy notice and public log as one ASGI application.

Ingest paths bypass the framework; everything else passes RequestLimits. `create_app` opens no port and starts no worker.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

from cdp import __version__
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.check_series import Series
from cdp.flows.operations.pools import Pools, every_use_of, judge_pools
from cdp.flows.operations.readiness import FILE_CHECKS, STORE_CHECKS, check_files, check_store, parts_of
from cdp.flows.operations.startup import PolicyWatcher
from cdp.operations.readiness import ReadinessFinding, TaskStatus, judge_tasks
from cdp.web.api import (
    access,
    audit,
    consents,
    hooks,
    identity,
    kept,
    profiles,
    public_log,
    requests,
    segments,
    standing,
)
from cdp.web.browser import routes as browser
from cdp.web.center import notice, withdrawal
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.hosts import TrustedHosts
from cdp.web.connections.table import ConnectionTable
from cdp.web.console.page import refuse
from cdp.web.console.routes import add_pages
from cdp.web.ingest.batcher import Batcher, Limits
from cdp.web.ingest.hooks import hooks_of
from cdp.web.ingest.router import IngestEndpoint, IngestRouter
from cdp.web.ingest.write_keys import directory_of
from cdp.web.platform import errors, health, metrics
from cdp.web.platform.authentication import Authentication
from cdp.web.platform.cancelled import CancelledRequests
from cdp.web.platform.connection_metrics import ConnectionCollector
from cdp.web.platform.errors import Problem
from cdp.web.platform.metrics import ProcessMetrics, StoreCollector, TimedBatchProcessor
from cdp.web.platform.readiness import Readiness
from cdp.web.platform.readiness_metrics import ReadinessCollector
from cdp.web.platform.request_limits import RequestLimits

TITLE: Final = "cdp"
_SPARE_THREADS: Final = 20
DESCRIPTION: Final = (
    "A customer data platform with consent, retention and erasure in its data model. Messages are received at the paths "
    "of the Segment spec (`/v1/batch` and the others; not described here). All other routes require a bearer token with a "
    "role. Identifiers are sent in bodies, never in URLs. Every error response is a problem document."
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the application knows of its process: the tasks of its worker, the pools of its uses of the database (one for all
    where there are none), and folders that it writes to beside the state store.
    """

    tasks: Callable[[], Sequence[TaskStatus]] = tuple
    failures: Callable[[], Mapping[str, int]] = dict
    pools: Pools | None = None
    folders: tuple[Path, ...] = ()


def create_app(
    watcher: PolicyWatcher,
    *,
    surroundings: Surroundings | None = None,
    limits: Limits | None = None,
    connections: ConnectionTable | None = None,
    wrong_secrets: WrongSecrets | None = None,
    hosts: TrustedHosts | None = None,
) -> ASGIApp:
    """The application over an open context.

    `connections` are those of the server that runs it, `wrong_secrets` how many wrong keys and tokens an address may send,
    `hosts` the names by which browsers reach it.
    """
    process_metrics, wrong_secrets = ProcessMetrics(), wrong_secrets or WrongSecrets()
    process = surroundings or Surroundings()
    pools = process.pools or every_use_of(watcher.context.database)
    api, health_watcher = watcher.using(pools.api), watcher.using(pools.health)
    batcher = _batcher(watcher.using(pools.ingest), process_metrics, limits or Limits())
    ingest_watcher = watcher.using(pools.ingest)
    endpoint = IngestEndpoint(
        batcher,
        directory_of(pools.ingest),
        watcher.context.clock,
        wrong_secrets=wrong_secrets,
        hosts=hosts,
        hooks=hooks_of(lambda: ingest_watcher.context),
    )
    readiness = _readiness(watcher.context, pools, process)
    for collector in (
        StoreCollector(
            health_watcher,
            batcher,
            process_metrics,
            answers=lambda: endpoint.answers,
            failures=process.failures,
        ),
        ConnectionCollector(connections, wrong_secrets),
        ReadinessCollector(readiness, pools),
    ):
        process_metrics.registry.register(collector)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        # A caller that waits for a connection holds a thread: there are more threads than may wait, so that the others get 503 at once.
        anyio.to_thread.current_default_thread_limiter().total_tokens = pools.api.callers_max + _SPARE_THREADS
        async with endpoint:
            yield

    app = describe(lifespan)
    app.state.policy_watcher = api
    app.state.part_watchers = {role: watcher.using(database) for role, database in pools.parts.items()}
    app.state.process_metrics = process_metrics
    app.state.readiness = readiness
    app.state.hosts = hosts or TrustedHosts()
    app.state.authentication = authentication = Authentication(
        lambda path: (health_watcher if path.startswith("/metrics") else api).context, wrong_secrets
    )
    others = RequestLimits(app, authentication, process_metrics.note_request)
    return CancelledRequests(IngestRouter(endpoint, others))


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
        hooks.router,
        audit.router,
        public_log.router,
        metrics.router,
        notice.router,
        withdrawal.router,
        browser.router,
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


def _batcher(watcher: PolicyWatcher, process_metrics: ProcessMetrics, limits: Limits) -> Batcher:
    """A batcher over a context that changes with the policy."""

    def processor(context: Context) -> TimedBatchProcessor:
        ingest = Ingest(context.database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        return TimedBatchProcessor(ingest, process_metrics)

    batcher = Batcher(processor(watcher.context), limits)
    watcher.subscribe(lambda changed: setattr(batcher, "ingest", processor(changed)))
    return batcher


def _readiness(context: Context, pools: Pools, process: Surroundings) -> Readiness:
    parts = parts_of(context, pools.health, process.folders)

    def own() -> list[ReadinessFinding]:
        return [judge_tasks(process.tasks()), judge_pools(pools)]

    series = [Series(STORE_CHECKS, lambda: check_store(parts)), Series(FILE_CHECKS, lambda: check_files(parts))]
    return Readiness(series, own)
