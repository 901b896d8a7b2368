"""The barrier against an erased person who is named under another type than before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.kit.db import Database
from tests.support.messages import alias, page
from tests.support.people import ADA
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(ADA)
    rights.erase(("user_id", "ada"))
    return rights


@pytest.mark.parametrize(
    "message",
    [
        alias(userId="dora", previousId="ada"),
        page(userId="ada@example.com"),
        page(anonymousId=" ADA@example.com"),
    ],
    ids=["customer number as previous id", "address as customer number", "address as anonymous id"],
)
def test_it_refuses_the_message_and_learns_nothing(rights: RequestPipeline, message: Mapping[str, Any]) -> None:
    assert rights.pipeline.send(message) == [Outcome(State.SUPPRESSED, "person")]
    assert rights.pipeline.people() == {}


def test_others_with_such_ids_are_taken(rights: RequestPipeline) -> None:
    taken = rights.pipeline.send(alias(userId="dora", previousId="device"), page(userId="dora@example.com"))
    assert [each.state for each in taken] == [State.STORED, State.STORED]
