"""Numbers that JSON or the store does not have cost their field, not the order beside it."""

from pathlib import Path

import httpx
import pytest

from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from tests.support.ingest_endpoint import open_ingest_endpoint
from tests.support.people import NOON
from tests.support.policies import ROOT, permit_all

CASE = ROOT / "tests" / "data" / "cases" / "numbers-that-json-has-and-we-do-not"


def test_no_order_is_lost_for_a_number_beside_it(database: Database, tmp_path: Path) -> None:
    keys = {"wk": SourceKind.SERVER}
    with (
        open_ingest_endpoint(database, permit_all(), tmp_path, keys, clock=TestClock(NOON)) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}) as client,
    ):
        for name in ("nan.json", "twenty-digits.json"):
            assert client.post("/v1/batch", content=(CASE / name).read_bytes()).status_code == 200
        assert endpoint.accounted() == {"stored": 3}
        with database.transaction(read_only=True) as tx:
            revenues = tx.execute("SELECT (plain->>'revenue')::float, plain ? 'discount' FROM behavior.event")
            mistyped = tx.execute("SELECT property FROM accounting.property_notice WHERE kind = 'mistyped'")
        assert revenues == [(20.0, False)] * 3
        assert mistyped == [("discount",)]
        assert endpoint.notices() == {"unknown_property": 1}


@pytest.mark.parametrize("number", ["NaN", "9" * 20])
def test_a_single_message_is_stored_with_it(database: Database, tmp_path: Path, number: str) -> None:
    keys = {"wk": SourceKind.SERVER}
    with (
        open_ingest_endpoint(database, permit_all(), tmp_path, keys, clock=TestClock(NOON)) as endpoint,
        httpx.Client(base_url=endpoint.url, headers={"x-write-key": "wk"}) as client,
    ):
        body = f'{{"userId":"u1","event":"Order Completed","properties":{{"revenue":5,"tax":{number}}}}}'
        assert client.post("/v1/track", content=body).status_code == 200
        assert endpoint.accounted() == {"stored": 1}
