"""A service with its own PostgreSQL and an ingest door, as a process that can be killed: `ingest_service HOME`.

Prints the door's URL and serves until it is told to stop or killed. The write key is `wk`; every event is permitted.
"""

import signal
import sys
import threading
from pathlib import Path

from cdp.access import store
from cdp.access.model import SourceKind
from cdp.flows.house import open_house
from cdp.flows.ingest import Ingest
from cdp.kit.clock import SystemClock
from cdp.kit.db import Database
from cdp.kit.embedded import EmbeddedPostgres
from cdp.schema.migrate import migrate
from cdp.web.sources import directory_of
from tests.ingest_house import add_source
from tests.ingest_server import open_door
from tests.policies import permit_all


def main(home: Path) -> None:
    """Serve until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    clock = SystemClock()
    with EmbeddedPostgres(home) as server:
        migrate(server.url)
        database = Database(server.url)
        house = open_house(database, permit_all(), clock, keys=home / "keys")
        with database.transaction(read_only=True) as tx:
            is_new = store.source_named(tx, "source of wk") is None
        if is_new:
            add_source(database, "wk", SourceKind.SERVER, clock.now())
        with open_door(Ingest(database, house.vault, house.policy, clock), directory_of(database)) as running:
            print(running.url, flush=True)
            stop.wait()
        database.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
