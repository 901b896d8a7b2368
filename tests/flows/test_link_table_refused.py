"""A link table none of whose rows may be taken, while others write."""

import threading
from pathlib import Path

import pytest

from cdp.flows.identity.link_table.identifiers import GenerationLog
from cdp.flows.identity.link_table.table import import_links
from cdp.identity.store.generation import Generation
from cdp.kit.db import Database
from tests.support.pipeline import SHOP, open_pipeline
from tests.support.policies import shipped
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres


def test_a_trail_that_leads_nowhere_ends() -> None:
    """A part whose rows are all refused changes nothing, so it leaves the generation where it was."""
    here, elsewhere = Generation(7, 100), Generation(7, 101)
    trail = GenerationLog()
    trail.note(here, here)
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(trail.leads(here, elsewhere)), daemon=True)
    asking.start()
    asking.join(PATIENCE_SECONDS)
    assert answers == [False]


def test_a_refused_table_stops_nobody(database: Database, tmp_path: Path) -> None:
    """Between any two of its parts somebody else writes."""
    pipeline = open_pipeline(database, shipped(), tmp_path)
    rows = [("email", f"p{at}@example.com", "anonymous_id", f"a{at}") for at in range(60)]
    told: list[str] = []

    def someone_writes(what: str, _done: int, _total: int) -> None:
        told.append(what)
        pipeline.send({"type": "track", "event": "Product Viewed", "userId": f"u{len(told)}"})

    importing = threading.Thread(
        target=lambda: import_links(pipeline.context, SHOP, rows, part_rows=10, progress=someone_writes), daemon=True
    )
    importing.start()
    importing.join(PATIENCE_SECONDS)
    assert not importing.is_alive()
    assert told.count("linking") == 6
    assert pipeline.one("SELECT count(*) FROM identity.edge") == 0
