"""Unmodified clients of Google Analytics 4 send to a running server, and what they send is stored as it was meant."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from ga4mp import GtagMP

from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from tests.support.chromium import NODE, chromium, serving_site
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.policies import permit_all
from tests.support.waits import until

pytestmark = pytest.mark.postgres


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    keys = {"wk_server": SourceKind.SERVER, "wk_browser": SourceKind.BROWSER}
    with open_ingest_endpoint(database, permit_all(), tmp_path, keys) as endpoint:
        yield endpoint


def client(endpoint: IngestEndpoint) -> GtagMP:
    """ga4mp with the address of the server: it has no setting for it."""
    made = GtagMP(api_secret="wk_server", measurement_id="G-1", client_id="12.34")
    made._base_domain = f"{endpoint.url}/mp/collect"
    return made


def events(endpoint: IngestEndpoint) -> dict[str, tuple[dict[str, Any], datetime]]:
    """The plain properties and the instant of each event, by name."""
    with endpoint.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT t.term, e.plain, e.occurred_at FROM behavior.event AS e JOIN behavior.term AS t ON t.term_id = e.name_id"
        )
    return {name: (plain, at) for name, plain, at in rows}


def order(client: GtagMP) -> Any:
    event = client.create_new_event("purchase")
    for name, value in {"transaction_id": "A-1", "value": 19.5, "currency": "EUR"}.items():
        event.set_event_param(name, value)
    item = event.create_new_item(item_id="MUG-204", item_name="Mug")
    item.set_parameter("price", 9.75)
    item.set_parameter("quantity", 2)
    event.add_item_to_event(item)
    return event


def test_ga4mp_sends_orders_user_properties_and_the_past(endpoint: IngestEndpoint) -> None:
    sender = client(endpoint)
    sender.store.set_user_property("plan", "gold")
    past = datetime.now().replace(microsecond=0) - timedelta(days=1)
    sender.send([order(sender)], date=past)
    assert endpoint.accounted() == {"stored": 2}
    plain, at = events(endpoint)["Order Completed"]
    assert plain["revenue"] == 19.5
    assert at == past.astimezone(UTC)


def test_ga4mp_sends_what_was_postponed(endpoint: IngestEndpoint) -> None:
    sender = client(endpoint)
    login = sender.create_new_event("login")
    login.set_event_param("method", "password")
    sender.send([login, order(sender)], postpone=True)
    sender.postponed_send()
    assert endpoint.accounted() == {"stored": 2}
    assert set(events(endpoint)) == {"Signed In", "Order Completed"}


def test_minimal_analytics_sends_hits_from_a_page(endpoint: IngestEndpoint) -> None:
    script = (NODE / "@minimal-analytics/ga4/dist/index.js").read_text() if NODE.exists() else ""
    with chromium() as browser, serving_site({"/": ""}, "") as site:
        tab = browser.open(site.url + "/")
        tab.run(
            f"window.minimalAnalytics = {{trackingId: 'G-1', analyticsEndpoint: '{endpoint.url}/ga/wk_browser/g/collect'}};"
            f"const module = {{exports: {{}}}}, exports = module.exports; {script};"
            "module.exports.track('G-1', {type: 'page_view'});"
            "module.exports.track('G-1', {type: 'add_to_cart', event: {'epn.value': 9.5, 'ep.sku': 'MUG-204'}});"
        )
        until(lambda: endpoint.accounted().get("stored") == 2, "both hits")
    assert set(events(endpoint)) == {"page", "Product Added"}


def test_answers_as_google_does_and_counts_a_repeated_hit_once(endpoint: IngestEndpoint) -> None:
    sent = f"{endpoint.url}/g/collect?writeKey=wk_browser&v=2&tid=G-1&cid=12.34&_p=77&_s=1&en=page_view"
    assert [httpx.get(sent).status_code, httpx.post(sent).status_code] == [204, 204]
    assert endpoint.accounted() == {"stored": 1, "duplicate": 1}
    refused = {
        "/mp/collect?api_secret=wk_wrong": 401,
        "/mp/collect": 401,
        "/mp/collect?api_secret=wk_server&writeKey=wk_browser": 400,
        "/ga/wk_wrong/g/collect": 401,
        "/mp/collect?" + "&".join(f"a{number}=1" for number in range(501)): 400,
    }
    for path, status in refused.items():
        answer = httpx.post(endpoint.url + path, json={"client_id": "1", "events": []})
        assert (answer.status_code, set(answer.json()) >= {"code", "message"}) == (status, True), path
    assert httpx.get(f"{endpoint.url}/mp/collect").status_code == 405
