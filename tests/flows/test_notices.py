"""Recipients are to be notified of rectifications, erasures and restrictions (GDPR Art. 19)."""

from pathlib import Path
from typing import Any

import pytest

from cdp.flows.rights import requests
from cdp.flows.rights.requests import RequestDetails
from cdp.flows.rights.restrict import release
from cdp.kit.db import Database
from cdp.rights.model import Request
from tests.support.people import ADA, ADA_EMAIL
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """Ada, of whom one recipient got something, and another did not yet."""
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    rights.pipeline.send(ADA)
    with rights.context.database.transaction() as tx:
        for destination, attempts in (("newsletter", 1), ("never_sent", 0)):
            tx.execute(
                "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, "
                "due_at, attempts) SELECT %(to)s, 'membership', profile_id, 'theirs', '{}', %(now)s, %(now)s, %(attempts)s "
                "FROM identity.profile",
                {"to": destination, "attempts": attempts, "now": rights.pipeline.clock.now()},
            )
    return rights


def fulfilled(rights: RequestPipeline, kind: str, **values: Any) -> Request:
    now = rights.pipeline.clock.now()
    request = requests.open_request(
        rights.context,
        kind=kind,
        regime="gdpr",
        identifiers=[ADA_EMAIL],
        now=now,
        details=RequestDetails(values=values),
    )
    requests.verify(rights.context, request.request_id, now)
    return requests.run(rights.context, request.request_id, now).request


def notices(rights: RequestPipeline) -> list[tuple[Any, ...]]:
    """Destination, kind, pseudonym, whether it leads to the profile, and body of each notice."""
    with rights.context.database.transaction(read_only=True) as tx:
        return list(
            tx.execute(
                "SELECT destination, kind, recipient_pseudonym, profile_id IS NOT NULL, body FROM destinations.outbox "
                "WHERE kind <> 'membership' ORDER BY delivery_id"
            )
        )


def receipt(rights: RequestPipeline, request: Request) -> dict[str, Any]:
    rights.sequence()
    body: dict[str, Any] = requests.receipt(rights.context, request.request_id)["body"]
    return body


def test_a_rectification_notifies_whoever_received_the_person(rights: RequestPipeline) -> None:
    request = fulfilled(rights, "rectification", city="Lyon")
    body = {"request": request.outward_id, "traits": ["city"]}
    assert notices(rights) == [("newsletter", "rectification", b"theirs", True, body)]
    stated = receipt(rights, request)
    assert (stated["recipients"], stated["recipients_notified"]) == (["newsletter"], 0)


def test_a_restriction_and_its_end_notify_whoever_received_the_person(rights: RequestPipeline) -> None:
    request = fulfilled(rights, "restriction")
    release(rights.context, [ADA_EMAIL], is_informed=True, now=rights.pipeline.clock.now())
    assert notices(rights) == [
        ("newsletter", "restriction", b"theirs", True, {"request": request.outward_id}),
        ("newsletter", "restriction_end", b"theirs", True, {}),
    ]
    stated = receipt(rights, request)
    assert (stated["recipients"], stated["recipients_notified"]) == (["newsletter"], 0)
    ended = rights.pipeline.one("SELECT body FROM audit.fact WHERE kind = 'restriction.ended'")
    assert ended["recipients"] == ["newsletter"]


def test_an_erasure_afterwards_sends_one_notice_and_leaves_none_that_leads_to_the_person(
    rights: RequestPipeline,
) -> None:
    fulfilled(rights, "rectification", city="Lyon")
    request = rights.erase(ADA_EMAIL)
    kinds = [(destination, kind, leads) for destination, kind, _, leads, _ in notices(rights)]
    assert kinds == [("newsletter", "erasure", False)]
    assert receipt(rights, request)["recipients"] == ["newsletter"]


def test_an_export_shows_the_notices(rights: RequestPipeline) -> None:
    fulfilled(rights, "rectification", city="Lyon")
    shown = rights.export(ADA_EMAIL)["data"]["destinations.outbox"]
    assert [row["kind"] for row in shown].count("rectification") == 1
