"""An ingest endpoint with its own PostgreSQL, as a process that can be killed: `ingest_service HOME`.

Prints its URL and serves until it is stopped or killed. The write key is `wk`; every event is permitted. The source `shop` has a webhook.
"""

import signal
import sys
import threading
from pathlib import Path

from cdp.flows.hooks.manage import set_hook
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.sources import create_source
from cdp.flows.operations.startup import open_context
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.schema.migrate import migrate
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import SourceKind
from cdp.sources.store import sources as source_store
from cdp.web.ingest.hooks import hooks_of
from cdp.web.ingest.write_keys import directory_of
from tests.support.ingest_endpoint import add_source
from tests.support.ingest_server import serve_ingest
from tests.support.policies import permit_all
from tests.support.webhooks import SECRETS

MAPPING = "event: Order Completed\nidentifiers: {user_id: user}\n"


def main(home: Path) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    clock = SystemClock()
    with EmbeddedPostgres(home) as server:
        migrate(server.url)
        database = Database(server.url)
        context = open_context(database, permit_all(), clock, home=home)
        with database.transaction(read_only=True) as tx:
            is_new = source_store.source_named(tx, "source of wk") is None
        if is_new:
            add_source(database, "wk", SourceKind.SERVER, clock.now())
            create_source(context, "shop", kind=SourceKind.SERVER)
            set_hook(
                context, "shop", SignatureScheme.GITHUB, mapping=MAPPING, secrets=[SECRETS[SignatureScheme.GITHUB]]
            )
        with serve_ingest(
            Ingest(database, context.vault, context.policy, clock=clock, replay=context.replay),
            directory_of(database),
            hooks=hooks_of(lambda: context),
        ) as running:
            print(running.url, flush=True)
            stop.wait()
        database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
