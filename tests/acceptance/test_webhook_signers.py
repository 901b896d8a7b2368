"""What the platforms' own libraries sign is accepted, unmodified, over HTTP; and their examples are mapped and stored."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import standardwebhooks

from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.sources.hook import SignatureScheme
from tests.support.chromium import NODE
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.policies import ROOT, permit_all
from tests.support.waits import PATIENCE_SECONDS
from tests.support.webhook_payloads import (
    NOW,
    ORDER,
    REFUNDS,
    SESSION,
    TEALIUM,
    Payload,
    charge,
    email_consent,
    mail_event,
    mailchimp,
    person,
    shopify,
    stripe,
    woocommerce,
)
from tests.support.webhooks import SECRETS, Webhook, open_webhook

pytestmark = pytest.mark.postgres

SDK = Path(__file__).resolve().parents[1] / "sdk"
BODY = '{"id": "evt_1", "user": "ada", "note": "ä €"}'
MAPPING = "event: Product Viewed\nidentifiers: {user_id: user}\n"
SCHEME_OF = {
    "standardwebhooks": SignatureScheme.STANDARD,
    "svix": SignatureScheme.STANDARD,
    "stripe": SignatureScheme.STRIPE,
    "github": SignatureScheme.GITHUB,
    "shopify": SignatureScheme.SHOPIFY,
}


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    with open_ingest_endpoint(database, permit_all(), tmp_path, {}, clock=TestClock(NOW)) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def signed_by_node() -> dict[str, dict[str, str]]:
    """The headers of the body by library, for the instant `NOW`."""
    secrets = {scheme.value: secret for scheme, secret in SECRETS.items()}
    given = {"secrets": secrets, "body": BODY, "id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", "at": NOW.isoformat()}
    done = subprocess.run(
        ["node", str(SDK / "sign_webhooks.cjs")],
        input=json.dumps(given),
        env={**os.environ, "NODE_PATH": str(NODE)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


def check(endpoint: IngestEndpoint, scheme: SignatureScheme, headers: Mapping[str, str]) -> None:
    """The headers are accepted for the body they sign and for no other, in any case, within the window."""
    hook = open_webhook(endpoint, MAPPING, scheme)
    assert hook.send(BODY.encode() + b" ", dict(headers)).status_code == 401
    assert hook.send(BODY.encode(), dict(headers)).status_code == 200
    assert hook.send(BODY.encode(), {name.upper(): value for name, value in headers.items()}).status_code == 200
    assert endpoint.accounted() == {"stored": 1, "duplicate": 1}


@pytest.mark.node
@pytest.mark.parametrize("library", SCHEME_OF)
def test_what_a_library_for_node_signs(
    endpoint: IngestEndpoint, signed_by_node: dict[str, dict[str, str]], library: str
) -> None:
    check(endpoint, SCHEME_OF[library], signed_by_node[library])


def test_what_the_library_for_python_signs(endpoint: IngestEndpoint) -> None:
    signer = standardwebhooks.Webhook(SECRETS[SignatureScheme.STANDARD])
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": signer.sign("msg_1", NOW, BODY),
    }
    check(endpoint, SignatureScheme.STANDARD, headers)


def test_a_signature_with_an_old_secret_beside_it(endpoint: IngestEndpoint) -> None:
    other = standardwebhooks.Webhook("whsec_" + "c2VjcmV0" * 4)
    right = standardwebhooks.Webhook(SECRETS[SignatureScheme.STANDARD])
    signatures = [signer.sign("msg_1", NOW, BODY) for signer in (other, right)]
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(NOW.timestamp())),
        "webhook-signature": " ".join(["v1a,c2lnbmF0dXJl", *signatures]),
    }
    check(endpoint, SignatureScheme.STANDARD, headers)


EXAMPLES: list[tuple[list[Payload], dict[str, int]]] = [
    (
        [
            shopify("orders/create", ORDER),
            shopify("orders/create", {**ORDER, "note": "sent again by another subscription"}),
            shopify("orders/updated", ORDER),
            shopify("orders/updated", {**ORDER, "refunds": REFUNDS}),
            email_consent("subscribed"),
        ],
        {"stored": 3, "duplicate": 1, "invalid not_selected": 2},
    ),
    ([woocommerce(), woocommerce(status="refunded"), woocommerce(status="pending")], {"stored": 2, "invalid not_selected": 1}),
    ([stripe(SESSION), stripe(charge("evt_r1", 1000, 0)), stripe(charge("evt_r2", 2790, 1000))], {"stored": 3}),
    ([mail_event("email.opened"), mail_event("email.sent")], {"stored": 2, "invalid not_selected": 1}),
    ([TEALIUM, TEALIUM], {"stored": 2, "duplicate": 2, "invalid not_selected": 2}),
    ([mailchimp(type="unsubscribe", fired_at="2026-11-02 10:00:00", data__email="ada@example.com")], {"stored": 1}),
    ([person("subscribed"), person("unsubscribed")], {"stored": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("payloads", "accounted"), EXAMPLES, ids=[payloads[0].example for payloads, _ in EXAMPLES])
def test_what_becomes_of_the_examples(
    endpoint: IngestEndpoint, payloads: list[Payload], accounted: dict[str, int]
) -> None:
    first = payloads[0]
    mapping = (ROOT / "examples" / "webhooks" / f"{first.example}.yaml").read_text()
    hook = open_webhook(endpoint, mapping, first.scheme)
    for number, payload in enumerate(payloads):
        assert deliver(hook, payload, f"delivery-{number:04}") == 200
    assert endpoint.accounted() == accounted


def deliver(hook: Webhook, payload: Payload, delivery: str) -> int:
    return hook.send(payload.body, {**hook.headers(payload.body, delivery=delivery), **payload.headers}).status_code


@pytest.mark.parametrize(
    ("payloads", "revenue"),
    [
        (
            [stripe(SESSION), stripe(charge("evt_r1", 1000, 0)), stripe(charge("evt_r2", 2790, 1000))],
            {"Order Completed": 23.0, "Order Refunded": 27.9},
        ),
        (
            [shopify("orders/create", ORDER), shopify("orders/updated", {**ORDER, "refunds": REFUNDS})],
            {"Order Completed": 45.0, "Order Refunded": 15.5},
        ),
        ([woocommerce(), woocommerce(status="refunded")], {"Order Completed": 24.5, "Order Refunded": 24.5}),
    ],
    ids=["stripe", "shopify", "woocommerce"],
)
def test_a_refund_is_of_the_order_that_was_bought(
    endpoint: IngestEndpoint, payloads: list[Payload], revenue: dict[str, float]
) -> None:
    first = payloads[0]
    hook = open_webhook(endpoint, (ROOT / "examples" / "webhooks" / f"{first.example}.yaml").read_text(), first.scheme)
    for payload in payloads:
        assert deliver(hook, payload, "") == 200
    with endpoint.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT t.term, sum((e.plain ->> 'revenue')::numeric)::float FROM behavior.event AS e "
            "JOIN behavior.term AS t ON t.term_id = e.name_id GROUP BY t.term"
        )
        [(orders,)] = tx.execute("SELECT count(DISTINCT plain -> '#order_id') FROM behavior.event")
    assert (dict(rows), orders) == (revenue, 1)
