"""The web application on a free loopback port, with calls for tests."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from cdp.access.model import Role
from cdp.flows.context import Context
from cdp.flows.operations import sources
from cdp.flows.operations import tokens as tokens_flow
from cdp.flows.operations.part_logins import open_logins
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.pools import PART_OF, Pools
from cdp.flows.operations.startup import PolicyWatcher, open_configured, sequence_all
from cdp.kit.config import Config
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.database_roles import DatabaseRole
from cdp.sources.model import SourceKind
from cdp.web.app import Surroundings, create_app
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.hosts import TrustedHosts
from tests.support.databases import temporary_database
from tests.support.folders import FOLDERS, PREFIX
from tests.support.messages import batch, identify, order
from tests.support.policies import shipped
from tests.support.server_thread import serve_in_thread
from tests.support.waits import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class RunningService:
    """A running service. `write_key` is a server source's with both scopes, `browser_key` that of a browser."""

    url: str
    client: httpx.Client
    context: Context
    tokens: Mapping[str, str]
    write_key: str
    browser_key: str

    def call(self, role: str | None, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Send one request with the token of a role; without a role, no token."""
        headers = {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}
        if body is not None:
            more["json"] = body
        return self.client.request(method, path, headers={**headers, **more.pop("headers", {})}, **more)

    def post(self, role: str | None, path: str, body: Any, status: int = 200) -> Any:
        """The JSON of the response to a body; fails unless its status is `status`."""
        answer = self.call(role, "POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def get(self, role: str | None, path: str, expected: int = 200, **query: Any) -> Any:
        """The JSON of the response to a query; fails unless its status is `expected`."""
        answer = self.call(role, "GET", path, params=query)
        assert answer.status_code == expected, answer.text
        return answer.json()

    def send(self, *messages: Mapping[str, Any], key: str | None = None) -> None:
        """Send one batch to the ingest endpoint."""
        answer = self.client.post("/v1/batch", auth=(key or self.write_key, ""), json=batch(*messages))
        assert (answer.status_code, answer.json()) == (200, {"success": True})

    def grant(self, value: str, *purposes: str) -> None:
        """Record consent of an e-mail address, as an authenticated act of the person."""
        for purpose in purposes:
            act = {"purpose": purpose, "act": "grant", "authority": "authenticated", "jurisdiction": "eu"}
            self.post("privacy", "/api/v1/consents", {"identifier": {"type": "email", "value": value}, **act}, 201)

    def add_person(self, email: str, name: str, **traits: Any) -> None:
        """Add a person who consents to three purposes, is identified by a user id and orders once."""
        self.grant(email, "analytics", "personalization", "email_marketing")
        self.send(identify(userId=name, traits={"email": email, **traits}))
        self.send(order(userId=name, properties={"revenue": 30}))

    def sign(self) -> None:
        """Sequence and sign the audit log, as the worker does several times a second."""
        sequence_all(self.context)


def config_of(home: Path) -> Config:
    """Settings of a service with this home."""
    return Config(home=home, policies=home, host="127.0.0.1", port=0, log_level="error", fixed_now=None)


@contextmanager
def serve_application(
    database: Database,
    home: Path,
    policy: Policy,
    *,
    wrong_secrets: WrongSecrets | None = None,
    surroundings: Surroundings | None = None,
    hosts: TrustedHosts | None = None,
    lock_seconds: float = 30.0,
    **options: Any,
) -> Iterator[RunningService]:
    """Serve the web application until the block ends, each request through its part. The options are those of `uvicorn.Config`."""
    context = open_configured(config_of(home), database, policy)
    apply_policy(context, policy)
    tokens = {role.value: tokens_flow.create_token(context, role.value, role).secret for role in Role}
    keys = [
        sources.create_source(
            context, kind.value, kind=kind, jurisdiction="eu", scopes=scopes, request_bytes_max=500 * 1024
        ).write_key
        for kind, scopes in ((SourceKind.SERVER, sources.SCOPES), (SourceKind.BROWSER, [sources.INGEST]))
    ]
    process = surroundings or Surroundings()
    with (
        pools_of_parts(database, lock_seconds=lock_seconds) as pools,
        running(
            create_app(
                PolicyWatcher(context),
                surroundings=replace(process, pools=process.pools or pools),
                wrong_secrets=wrong_secrets,
                hosts=hosts,
            ),
            **options,
        ) as url,
        httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client,
    ):
        yield RunningService(url, client, context, tokens, *keys)


@contextmanager
def pools_of_parts(database: Database, *, lock_seconds: float) -> Iterator[Pools]:
    """This database for all uses but those of parts, which log in with roles of their own until the block ends."""
    urls = open_logins(database).urls
    with ExitStack() as opened:
        parts = {}
        for part in DatabaseRole:
            parts[part] = opened.enter_context(closing(Database(urls[part], owner=database, lock_seconds=lock_seconds)))
            parts[part].clock = database.clock
        yield Pools(
            api=database,
            ingest=parts[DatabaseRole.INGEST],
            worker=database,
            health=database,
            parts={role: parts[part] for role, part in PART_OF.items()},
        )


@contextmanager
def served(server: EmbeddedPostgres, template: str, **options: Any) -> Iterator[RunningService]:
    """A service with a database of its own. The options are those of `uvicorn.Config`."""
    with temporary_database(server, template) as url, tempfile.TemporaryDirectory(prefix=PREFIX, dir=FOLDERS) as home:
        database = Database(url)
        try:
            with serve_application(database, Path(home), shipped(), **options) as service:
                yield service
        finally:
            database.close()


@contextmanager
def running(app: Any, **options: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port; yields its URL. The options are those of `uvicorn.Config`."""
    with serve_in_thread(app, log_config=None, server_header=False, **options) as (url, _server):
        yield url
