"""A request reaches every row that names a verified identifier, and is not fulfilled while something waits."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import State
from cdp.flows.rights import requests
from cdp.flows.rights.review import review
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.rights.model import Request, Status
from tests.support.messages import identify, order, track
from tests.support.people import ADA, ADA_EMAIL, BOB, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def run(rights: RequestPipeline, request: Request) -> Request:
    return requests.run(rights.context, request.request_id, rights.pipeline.clock.now()).request


def decide(rights: RequestPipeline, request: Request, **decision: Any) -> int:
    return review(rights.context, request.request_id, now=rights.pipeline.clock.now(), **decision)


def waiting(rights: RequestPipeline, request: Request) -> set[tuple[str, str]]:
    return {(one.type, one.value) for one in requests.show(rights.context, request.request_id).waiting}


def share_the_address(rights: RequestPipeline) -> None:
    """Two customers of one address: it becomes shared, and names nobody."""
    rights.pipeline.send(ADA)
    for number in range(8):
        rights.pipeline.send(identify(userId=f"other{number}", traits={"email": ADA_EMAIL[1]}))
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1


@pytest.mark.parametrize("kind", ["access", "erasure"])
def test_nothing_is_carried_out_while_a_browser_device_waits(rights: RequestPipeline, kind: str) -> None:
    rights.pipeline.send(track(anonymousId="hers"), {**ADA, "anonymousId": "hers"}, source=WEB)
    rights.pipeline.send(ADA)
    request = rights.ask(kind, ADA_EMAIL)
    assert waiting(rights, request) == {("anonymous_id", "hers")}
    with pytest.raises(Fault, match="request_waits"):
        run(rights, request)
    assert requests.show(rights.context, request.request_id).request.status is Status.VERIFIED
    assert decide(rights, request, include=[("anonymous_id", "hers")]) == 0
    assert run(rights, request).status is Status.FULFILLED
    if kind == "erasure":
        assert rights.pipeline.people() == {}
        assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0
        assert rights.pipeline.send(track(anonymousId="hers"))[0].state is State.SUPPRESSED
    else:
        assert len(rights.opened(request)["data"]["behavior.event"]) == 3


@pytest.mark.parametrize(("kind", "state"), [("erasure", State.SUPPRESSED), ("access", State.STORED)])
def test_what_a_review_adds_to_an_erasure_is_refused_from_then_on(
    rights: RequestPipeline, kind: str, state: State
) -> None:
    """Also for a process that knew the device already."""
    rights.pipeline.send(track(anonymousId="hers"), {**ADA, "anonymousId": "hers"}, source=WEB)
    request = rights.ask(kind, ADA_EMAIL)
    for _ in range(2):
        assert rights.pipeline.send(track(anonymousId="hers"), source=WEB)[0].state is State.STORED
    decide(rights, request, include=[("anonymous_id", "hers")])
    assert rights.pipeline.send(track(anonymousId="hers"), source=WEB)[0].state is state


def test_what_belongs_to_somebody_else_stays(rights: RequestPipeline) -> None:
    rights.pipeline.send(track(anonymousId="victim"), {**ADA, "anonymousId": "victim"}, source=WEB)
    request = rights.ask("erasure", ADA_EMAIL)
    decide(rights, request, exclude=[("anonymous_id", "victim")])
    run(rights, request)
    assert rights.pipeline.partition() == {frozenset({("anonymous_id", "victim")})}


def test_a_shared_address_reaches_through_review_every_row_that_names_it(rights: RequestPipeline) -> None:
    share_the_address(rights)
    rights.pipeline.send(BOB, order(userId="ada"))
    before = rights.pipeline.one("SELECT count(*) FROM behavior.event")
    request = rights.ask("erasure", ADA_EMAIL)
    assert ("user_id", "ada") in waiting(rights, request)
    assert len(waiting(rights, request)) == 9
    with pytest.raises(Fault, match="request_waits"):
        run(rights, request)
    assert decide(rights, request, include=[("user_id", "ada")], excludes_rest=True) == 0
    run(rights, request)
    left: Mapping[int, Any] = rights.pipeline.people()
    assert not any("ada" in named.get("user_id", ()) for named in left.values())
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == before - 2
    assert any("bob" in named.get("user_id", ()) for named in left.values())


def test_a_request_of_which_nothing_is_the_persons_is_not_fulfilled(rights: RequestPipeline) -> None:
    share_the_address(rights)
    request = rights.ask("erasure", ADA_EMAIL)
    decide(rights, request, excludes_rest=True)
    with pytest.raises(Fault, match="nothing_reached"):
        run(rights, request)
    requests.deny(rights.context, request.request_id, "others_rights", now=rights.pipeline.clock.now())
    assert rights.pipeline.one("SELECT count(*) FROM rights.review") == 0


def test_only_what_waits_is_decided_and_only_of_a_verified_person(rights: RequestPipeline) -> None:
    rights.pipeline.send({**ADA, "anonymousId": "hers"}, source=WEB)
    rights.pipeline.send(BOB)
    request = rights.ask("erasure", ADA_EMAIL)
    for name in (("user_id", "bob"), ("user_id", "nobody")):
        with pytest.raises(Fault, match="not_waiting"):
            decide(rights, request, include=[name])
    unverified = requests.open_request(
        rights.context, kind="access", regime="gdpr", identifiers=[ADA_EMAIL], now=rights.pipeline.clock.now()
    )
    with pytest.raises(Fault, match="request_not_verified"):
        decide(rights, unverified, excludes_rest=True)


def test_a_decision_can_be_changed_until_the_request_is_carried_out(rights: RequestPipeline) -> None:
    rights.pipeline.send(track(anonymousId="hers"), {**ADA, "anonymousId": "hers"}, source=WEB)
    request = rights.ask("erasure", ADA_EMAIL)
    decide(rights, request, excludes_rest=True)
    decide(rights, request, include=[("anonymous_id", "hers")])
    run(rights, request)
    assert rights.pipeline.people() == {}
