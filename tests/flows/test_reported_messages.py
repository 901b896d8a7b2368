"""Small batches that people who send messages reported, sent byte for byte, with what must come of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from cdp.flows.consent import acts
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.consent.lookup import look_up
from cdp.flows.identity.lookup import look_up as look_up_profile
from cdp.flows.rights import requests
from cdp.flows.rights.review import review
from cdp.flows.segments.definitions import define
from cdp.flows.segments.reading import preview
from cdp.identity.model import Identifier
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.model import Status
from cdp.segments.model import Draft, SegmentKey
from cdp.sources.model import SourceKind
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.policies import ROOT, permit_all, shipped

pytestmark = pytest.mark.postgres

CASES: Final = ROOT / "tests" / "data" / "cases"
NOVEMBER: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)
OCTOBER: Final = datetime(2026, 10, 1, tzinfo=UTC)
KEYS: Final = {"wk_server": SourceKind.SERVER, "wk_browser": SourceKind.BROWSER}

Opened = Callable[[Policy], AbstractContextManager[IngestEndpoint]]


@pytest.fixture
def opened(database: Database, tmp_path: Path) -> Opened:
    @contextmanager
    def opened(policy: Policy) -> Iterator[IngestEndpoint]:
        with open_ingest_endpoint(database, policy, tmp_path, KEYS, clock=TestClock(NOVEMBER)) as endpoint:
            yield endpoint

    return opened


def send(endpoint: IngestEndpoint, case: str, name: str, key: str = "wk_server") -> int:
    """The status of the answer to a file, sent as it is."""
    return httpx.post(
        f"{endpoint.url}/v1/batch", content=(CASES / case / name).read_bytes(), auth=(key, "")
    ).status_code


def grant(endpoint: IngestEndpoint, identifier: tuple[str, str], purpose: str) -> None:
    stated = ConsentStatement(
        identifier, purpose, "grant", authority="authenticated", jurisdiction="eu", occurred_at=OCTOBER
    )
    acts.record(endpoint.context, stated)


def verdicts(endpoint: IngestEndpoint, identifier: tuple[str, str]) -> dict[str, bool]:
    found = look_up(endpoint.context, identifier, NOVEMBER, actor="operator")
    return {key: verdict.allowed for key, verdict in found.verdicts.items()}


def profile(endpoint: IngestEndpoint, identifier: tuple[str, str]) -> Any:
    return look_up_profile(endpoint.context, Identifier(*identifier), actor="operator")


def test_an_article_of_an_order_can_be_asked_for(opened: Opened) -> None:
    with opened(permit_all()) as endpoint:
        context = endpoint.context

        def buyers(where: str) -> int:
            return preview(context, f'did("Order Completed" where {where})', "analytics", actor="marketer").preview.size

        assert send(endpoint, "an-article-in-an-order", "batch.json") == 200
        bought = 'any products where sku = "MUG-1"'
        define(context, Draft(SegmentKey("mugs"), "Mugs", "analytics", "marketer"), f'did("Order Completed" where {bought})',
               is_new=True, actor="marketer")  # fmt: skip
        found = {person: profile(endpoint, ("user_id", person)).segments for person in ("v1", "v2")}
        assert found == {"v1": ("mugs",), "v2": ()}
        assert (
            buyers(bought),
            buyers('any products where sku = "HAT-2"'),
            buyers("any products where price > 50"),
        ) == (1, 2, 1)
        with pytest.raises(Fault) as refused:
            buyers('products.sku = "MUG-1"')
        assert bought in refused.value.detail
        assert "keep: plain" not in refused.value.detail


def test_null_takes_a_trait_back(opened: Opened) -> None:
    with opened(permit_all()) as endpoint:
        assert send(endpoint, "null-takes-a-trait-back", "batch.json") == 200
        assert profile(endpoint, ("user_id", "n1")).traits == {}
        with endpoint.context.database.transaction(read_only=True) as tx:
            assert {traits for (traits,) in tx.execute("SELECT traits::text FROM consent.permitted")} == {"{}"}


def test_allowed_ids_as_an_object_grant_what_they_name(opened: Opened) -> None:
    with opened(shipped()) as endpoint:
        assert send(endpoint, "allowed-ids-as-an-object", "batch.json") == 200
        found = look_up(endpoint.context, ("user_id", "rs2"), NOVEMBER, actor="operator")
    assert {(record["purpose"], record["act"]) for record in found.records} == {
        ("analytics", "grant"), ("email_marketing", "grant")
    }  # fmt: skip


def test_what_a_mail_service_reports_ends_the_permission(opened: Opened) -> None:
    with opened(shipped()) as endpoint:
        grant(endpoint, ("email", "pia@x.example"), "email_marketing")
        assert verdicts(endpoint, ("email", "pia@x.example"))["email_marketing"]
        assert send(endpoint, "unsubscribed-at-the-mail-service", "batch.json") == 200
        assert not verdicts(endpoint, ("email", "pia@x.example"))["email_marketing"]


@pytest.mark.parametrize(("name", "person"), [("nan.json", "nb1"), ("twenty-digits.json", "nb2")])
def test_a_refusal_beside_a_broken_field_is_heard(opened: Opened, name: str, person: str) -> None:
    with opened(shipped()) as endpoint:
        grant(endpoint, ("user_id", person), "analytics")
        assert send(endpoint, "a-no-in-a-message-with-a-broken-field", name) == 200
        assert not verdicts(endpoint, ("user_id", person))["analytics"]


def test_somebody_elses_address_typed_in_a_browser_takes_nothing(opened: Opened) -> None:
    vic, case = ("email", "vic@x.example"), "somebody-elses-address-typed-in-a-browser"
    with opened(shipped()) as endpoint:
        assert send(endpoint, case, "owner.json") == 200
        grant(endpoint, vic, "email_marketing")
        assert send(endpoint, case, "browser.json", "wk_browser") == 200
        assert {(held.type, held.value) for held in profile(endpoint, ("user_id", "vic")).identifiers} >= {vic}
        assert verdicts(endpoint, vic)["email_marketing"]
        context, shop = endpoint.context, int(endpoint.sources["wk_server"].source_id)
        asked = requests.open_request(context, kind="erasure", regime="gdpr", identifiers=[vic], now=NOVEMBER)
        requests.verify(context, asked.request_id, NOVEMBER)
        with pytest.raises(Fault, match="waits for a review"):
            requests.run(context, asked.request_id, NOVEMBER)
        review(context, asked.request_id, excludes_rest=True, now=NOVEMBER)
        assert requests.run(context, asked.request_id, NOVEMBER).request.status is Status.FULFILLED
        with context.database.transaction(read_only=True) as tx:
            assert tx.execute(
                "SELECT count(*)::int FROM behavior.event WHERE source_id = %(shop)s", {"shop": shop}
            ) == [(0,)]
