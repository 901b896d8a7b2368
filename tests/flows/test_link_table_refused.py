"""A link table whose rows are all refused, while others write."""

import threading
from pathlib import Path

import pytest

from cdp.flows.identity.link_table.identifiers import GenerationLog
from cdp.flows.identity.link_table.table import import_links
from cdp.identity.store.generation import Generation
from cdp.kit.db import Database
from tests.support.messages import track
from tests.support.people import SHOP
from tests.support.pipeline import open_pipeline
from tests.support.policies import shipped
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres


def test_a_generation_log_without_a_path_ends_the_search() -> None:
    """A part whose rows are all refused changes nothing, so it leaves the generation where it was."""
    before, after = Generation(7, 100), Generation(7, 101)
    log = GenerationLog()
    log.note(before, before)
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(log.connects(before, after)), daemon=True)
    asking.start()
    asking.join(PATIENCE_SECONDS)
    assert answers == [False]


def test_a_refused_table_does_not_block_writers(database: Database, tmp_path: Path) -> None:
    """Another writer stores a message between any two of its parts."""
    pipeline = open_pipeline(database, shipped(), tmp_path)
    rows = [("email", f"p{at}@example.com", "anonymous_id", f"a{at}") for at in range(60)]
    reported: list[str] = []

    def someone_writes(what: str, _done: int, _total: int) -> None:
        reported.append(what)
        pipeline.send(track(userId=f"u{len(reported)}"))

    importing = threading.Thread(
        target=lambda: import_links(pipeline.context, SHOP, rows, part_rows=10, progress=someone_writes), daemon=True
    )
    importing.start()
    importing.join(PATIENCE_SECONDS)
    assert not importing.is_alive()
    assert reported.count("linking") == 6
    assert pipeline.one("SELECT count(*) FROM identity.edge") == 0
