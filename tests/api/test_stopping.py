"""A service that has to end answers what it cannot complete with 503, like every other failure."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from cdp.flows.operations import sources
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.startup import PolicyWatcher, open_configured
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from cdp.web.app import create_app
from tests.support.policies import shipped
from tests.support.server_thread import serve_in_thread
from tests.support.service import config_of
from tests.support.waits import PATIENCE_SECONDS, until_blocked


def test_a_request_that_is_cancelled_is_answered_with_503(database: Database, home: Path) -> None:
    """A message waits for a lock until the server's patience ends; uvicorn answered 500 as text, without `nosniff`."""
    context = open_configured(config_of(home), database, shipped())
    apply_policy(context, shipped())
    key = sources.create_source(context, "shop", kind=SourceKind.SERVER, jurisdiction="eu").write_key
    answered = threading.Event()

    def post(url: str) -> httpx.Response:
        try:
            return httpx.post(f"{url}/v1/page", auth=(key, ""), json={"userId": "ada"}, timeout=PATIENCE_SECONDS)
        finally:
            answered.set()

    app = create_app(PolicyWatcher(context))
    with (
        ThreadPoolExecutor(1) as pool,
        serve_in_thread(app, log_config=None, timeout_graceful_shutdown=1) as (url, server),
    ):
        with database.transaction() as tx:
            tx.execute("LOCK TABLE identity.identifier, identity.generation IN ACCESS EXCLUSIVE MODE")
            sent = pool.submit(post, url)
            until_blocked(database)
            server.should_exit = True
            assert answered.wait(PATIENCE_SECONDS)
        answer = sent.result()
    assert (answer.status_code, answer.json()["code"]) == (503, "service_stopping")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["retry-after"] == "5"
