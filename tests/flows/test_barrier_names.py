"""The barrier against an erased person who is named under another type than before."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.kit.db import Database
from tests.flows.desks import ADA, Office, open_office
from tests.policies import permit_all


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Office:
    office = open_office(database, permit_all(), tmp_path)
    office.town.send(ADA)
    office.erase(("user_id", "ada"))
    return office


@pytest.mark.parametrize(
    "message",
    [
        {"type": "alias", "userId": "dora", "previousId": "ada"},
        {"type": "page", "userId": "ada@example.com"},
        {"type": "page", "anonymousId": " ADA@example.com"},
    ],
    ids=["customer number as previous id", "address as customer number", "address as anonymous id"],
)
def test_it_refuses_the_message_and_learns_nothing(office: Office, message: Mapping[str, Any]) -> None:
    assert office.town.send(message) == [Outcome(State.SUPPRESSED, "person")]
    assert office.town.people() == {}


def test_others_with_such_ids_are_taken(office: Office) -> None:
    taken = office.town.send(
        {"type": "alias", "userId": "dora", "previousId": "device"}, {"type": "page", "userId": "dora@example.com"}
    )
    assert [each.state for each in taken] == [State.STORED, State.STORED]
