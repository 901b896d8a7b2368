"""The application: every door of the house under one address.

Ingest paths go past the framework; everything else passes the gate. `create_app` opens no port and starts no worker.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.types import ASGIApp

from cdp import __version__
from cdp.flows.context import Context
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.startup import PolicyWatcher
from cdp.web.api import access, audit, consents, identity, profiles, public_log, requests, segments
from cdp.web.center import notice
from cdp.web.console.page import refuse
from cdp.web.console.routes import add_pages
from cdp.web.ingest.batcher import Batcher, Limits
from cdp.web.ingest.router import IngestDoor, IngestRouter
from cdp.web.ingest.write_keys import directory_of
from cdp.web.platform import errors, health, metrics
from cdp.web.platform.errors import Problem
from cdp.web.platform.health import Heartbeat
from cdp.web.platform.metrics import Figures, StoreCollector, Timed
from cdp.web.platform.request_limits import Gate

TITLE: Final = "cdp"
DESCRIPTION: Final = (
    "A customer data platform with consent, retention and erasure in its data model. Messages come in at the paths of "
    "the Segment spec (`/v1/batch` and the others; not described here). Everything else takes a bearer token with a "
    "role. Identifiers travel in bodies, never in URLs. Every answer that is no success is a problem document."
)


def create_app(
    watcher: PolicyWatcher,
    *,
    is_working: Callable[[], bool] = lambda: True,
    failures: Callable[[], Mapping[str, int]] = dict,
    limits: Limits | None = None,
) -> ASGIApp:
    """The application over open rooms; `is_working` tells whether the worker turns, `failures` which task failed how often."""
    figures = Figures()
    context = watcher.context
    batcher = Batcher(Timed(_ingest(context), figures), limits or Limits())
    watcher.subscribe(lambda changed: setattr(batcher, "ingest", Timed(_ingest(changed), figures)))
    door = IngestDoor(batcher, directory_of(context.database), context.clock)
    figures.registry.register(
        StoreCollector(watcher, batcher, figures, answers=lambda: door.answers, failures=failures)
    )

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        async with door:
            yield

    app = describe(life)
    app.state.policy_watcher = watcher
    app.state.figures = figures
    app.state.pulse = Heartbeat(is_working)
    return IngestRouter(door, Gate(app, lambda: watcher.context, figures.note_request))


def describe(life: Callable[[FastAPI], Any] | None = None) -> FastAPI:
    """The framework's part: every documented route, without the rooms behind them."""
    app = FastAPI(
        title=TITLE,
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
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
        access.router,
        audit.router,
        public_log.router,
        metrics.router,
        notice.router,
    ):
        app.include_router(router)
    add_pages(app)
    app.openapi = lambda: openapi_of(app)  # type: ignore[method-assign]
    return app


def openapi_of(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, with problem documents as the only shape of what is no success."""
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
