"""Subject requests on top of a pipeline: receive, verify, fulfill, and read which rows are left."""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

from psycopg import sql

from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, log_name, sequence
from cdp.flows.context import Context
from cdp.flows.rights import requests
from cdp.flows.rights.review import review
from cdp.kit.db import Database
from cdp.kit.state import StateFolder
from cdp.policy.model import Policy
from cdp.rights.model import Request, Status
from cdp.rights.plan import personal_columns
from cdp.rights.replay_file import ReplayFile
from cdp.schema.all import tables
from tests.support.people import NOON, SHOP, WEB
from tests.support.pipeline import Pipeline, open_pipeline


@dataclass(slots=True)
class RequestPipeline:
    """A pipeline whose sources are registered, with the use cases of subject requests."""

    pipeline: Pipeline
    context: Context
    home: Path

    def ask(self, kind: str, *identifiers: tuple[str, str], regime: str = "gdpr") -> Request:
        """Open and verify a request."""
        request = requests.open_request(
            self.context, kind=kind, regime=regime, identifiers=identifiers, now=self.pipeline.clock.now()
        )
        return requests.verify(self.context, request.request_id, self.pipeline.clock.now())

    def erase(self, *identifiers: tuple[str, str]) -> Request:
        """Open, verify and run an erasure; whatever waits for a review is attributed to other people."""
        request = self.ask("erasure", *identifiers)
        review(self.context, request.request_id, excludes_rest=True, now=self.pipeline.clock.now())
        return requests.run(self.context, request.request_id, self.pipeline.clock.now()).request

    def export(self, *identifiers: tuple[str, str]) -> dict[str, Any]:
        """Open an access request; the JSON of its archive."""
        request = self.ask("access", *identifiers)
        return self.opened(request)

    def opened(self, request: Request) -> dict[str, Any]:
        """The JSON of the archive of a request; a draft until the request is answered."""
        is_draft = requests.show(self.context, request.request_id).request.status is not Status.FULFILLED
        archive = requests.export(self.context, request.request_id, self.pipeline.clock.now(), is_draft=is_draft)
        with zipfile.ZipFile(BytesIO(archive.content)) as file:
            found: dict[str, Any] = json.loads(file.read("data.json"))
        return found

    def sequence(self) -> None:
        """Sequence and sign the entries of the audit log."""
        with self.context.database.transaction() as tx:
            signer = self.context.vault.root_keys.signer()
            log = Log(signer, Mirror(StateFolder(self.home / "log")), log_name(signer.public_key))
            sequence(tx, log, self.pipeline.clock.now())

    def later(self, **span: float) -> None:
        """Advance the clock."""
        self.pipeline.clock.instant += timedelta(**span)

    def counts(self, *, without: Sequence[str] = ()) -> dict[str, int]:
        """Rows of every table with personal columns, except those of requests, which outlive the person."""
        found = {}
        named = {column.rpartition(".")[0] for column in personal_columns()}
        with self.context.database.transaction(read_only=True) as tx:
            for table in tables():
                if table.schema != "rights" and table.fullname in named and table.fullname not in without:
                    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.fullname.split(".")))
                    found[table.fullname] = int(tx.execute(query)[0][0])
        return found


def open_request_pipeline(database: Database, policy: Policy, home: Path) -> RequestPipeline:
    """Open an empty store under a policy, with its two sources registered."""
    pipeline = open_pipeline(database, policy, home, NOON)
    with database.transaction() as tx:
        for source in (WEB, SHOP):
            tx.execute(
                "INSERT INTO sources.source (source_id, name, kind, write_key_hash, scopes, jurisdiction, "
                "request_bytes_max, created_at) VALUES (%(id)s, %(name)s, %(kind)s, %(hash)s, '{ingest}', "
                "%(jurisdiction)s, 512000, %(now)s) ON CONFLICT DO NOTHING",
                {
                    "id": int(source.source_id),
                    "name": source.name,
                    "kind": source.kind.value,
                    "hash": source.name.encode(),
                    "jurisdiction": source.jurisdiction,
                    "now": NOON,
                },
            )
    return RequestPipeline(pipeline, pipeline.context, home)


def restarted(context: Context) -> Context:
    """The context as a restarted process would open it, with nothing of the replay file in memory."""
    return replace(context, replay=ReplayFile(context.state))
