"""Deliveries of webhooks: verified, mapped, stored in one transaction, counted, and answered as platforms need it."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdp.flows.consent.lookup import look_up
from cdp.flows.hooks import manage
from cdp.flows.operations.accounting import recent_messages
from cdp.flows.operations.sources import create_source, disable_source
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import SourceKind
from tests.support.budget import examples
from tests.support.ingest_endpoint import IngestEndpoint, Outage, open_ingest_endpoint
from tests.support.people import NOON
from tests.support.policies import permit_all, shipped
from tests.support.webhooks import NAMED, Webhook, body_of, open_webhook

pytestmark = pytest.mark.postgres

ORDERS = """
mappings:
  - only: {column: "header:X-Shopify-Topic", values: [orders/create, orders/paid]}
    rows: line_items
    group_by: id
    type: track
    event: Order Completed
    message_id: {template: "order-{id}"}
    timestamp: {column: created_at}
    identifiers: {user_id: customer.id, email: email}
    properties: {order_id: id, revenue: {column: total, type: number}, currency: currency}
    products: {sku: line_items.sku, quantity: {column: line_items.quantity, type: integer}}
  - only: {column: "header:X-Shopify-Topic", values: [customers_marketing_consent/update]}
    type: identify
    identifiers: {user_id: id, email: email}
    consents:
      email_marketing:
        column: consent.state
        grant: [subscribed]
        refuse: [unsubscribed]
        ignore: [pending]
        at: {column: consent.at}
"""
EVENTS = """
type: track
event: Product Viewed
identifiers: {user_id: user}
properties: {sku: sku}
"""
CRM = "type: identify\nidentifiers: {email: person.email}\nconsents: {email_marketing: {column: person.mail}}\n"
ORDER = {
    "id": 820982911946154508,
    "email": "ada@example.com",
    "created_at": "2026-06-01T10:00:00+02:00",
    "total": "25.50",
    "currency": "EUR",
    "customer": {"id": 115310627314723954},
    "line_items": [{"sku": "MUG-204", "quantity": 1}, {"sku": "CUP-1", "quantity": 2}],
}


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    with open_ingest_endpoint(database, permit_all(), tmp_path, {}, clock=TestClock(NOON)) as endpoint:
        yield endpoint


def stored(endpoint: IngestEndpoint) -> list[tuple[str, dict[str, Any], datetime]]:
    with endpoint.context.database.transaction(read_only=True) as tx:
        return list(
            tx.execute(
                "SELECT t.term, e.plain, e.occurred_at FROM behavior.event AS e "
                "LEFT JOIN behavior.term AS t ON t.term_id = e.name_id ORDER BY e.occurred_at"
            )
        )


def recent(hook: Webhook) -> list[tuple[str, str, str]]:
    found = recent_messages(hook.endpoint.context, hook.name, actor="operator")
    return [(message.delivery, message.state.value, message.reason) for message in found]


@pytest.mark.parametrize("scheme", SignatureScheme)
def test_a_delivery_of_each_scheme_is_stored_before_it_is_answered_with_200(
    endpoint: IngestEndpoint, scheme: SignatureScheme
) -> None:
    hook = open_webhook(endpoint, EVENTS, scheme)
    answer = hook.deliver({"id": "evt_1", "user": "ada", "sku": "MUG-204"})
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert endpoint.accounted() == {"stored": 1}
    assert [name for name, _, _ in stored(endpoint)] == ["Product Viewed"]


def test_the_rows_of_an_order_are_one_message_with_its_articles(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, ORDERS)
    assert hook.deliver(ORDER, x_shopify_topic="orders/create").status_code == 200
    [(name, plain, at)] = stored(endpoint)
    assert (name, plain["revenue"], at.isoformat()) == ("Order Completed", 25.5, "2026-06-01T08:00:00+00:00")
    assert endpoint.accounted() == {"stored": 1}
    found = look_up(endpoint.context, ("email", "ada@example.com"), NOON, actor="operator")
    assert found.verdicts


def test_an_order_without_articles_is_a_message_all_the_same(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, ORDERS)
    assert hook.deliver({**ORDER, "line_items": []}, x_shopify_topic="orders/create").status_code == 200
    assert endpoint.accounted() == {"stored": 1}


def test_a_list_at_the_top_is_many_messages_each_with_its_own_state(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    rows = [{"user": "ada", "sku": "MUG-204"}, {"user": ""}, {"user": "bob"}, "no row", {"user": "cat", "sku": [1]}]
    assert hook.deliver(rows).status_code == 200
    assert endpoint.accounted() == {"stored": 3, "invalid id_missing": 1, "invalid row_malformed": 1}
    assert sum(endpoint.accounted().values()) == len(rows)


def test_rows_may_lie_in_a_list_of_lists(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, "rows: a.items\n" + EVENTS.replace("user_id: user", "user_id: a.items.user"))
    document = {"a": [{"items": [{"user": "x"}, {"user": "y"}]}, {"items": []}, {"items": [{"user": "z"}]}, {}]}
    assert hook.deliver(document).status_code == 200
    assert endpoint.accounted() == {"stored": 3}


def test_the_mapping_whose_topic_it_is_reads_a_delivery_and_others_are_counted(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, ORDERS)
    assert hook.deliver(ORDER, x_shopify_topic="ORDERS/create").status_code == 200
    assert hook.deliver(ORDER, x_shopify_topic="carts/update").status_code == 200
    assert hook.deliver(ORDER).status_code == 200
    assert endpoint.accounted() == {"stored": 1, "invalid not_selected": 2}


def test_a_column_of_the_body_cannot_pass_for_a_header(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, ORDERS)
    assert hook.deliver({**ORDER, "header:X-Shopify-Topic": "orders/create"}).status_code == 200
    assert endpoint.accounted() == {"invalid not_selected": 1}


@pytest.mark.parametrize("document", [[], {}, None, 5, "text", [[]], [None]])
def test_a_delivery_of_nothing_is_counted(endpoint: IngestEndpoint, document: Any) -> None:
    hook = open_webhook(endpoint, "only: {column: kind, values: [order]}\n" + EVENTS)
    assert hook.deliver(body_of(document) if document is None else document).status_code == 200
    assert sum(endpoint.accounted().values()) == 1


def test_a_repeated_delivery_is_a_duplicate_whatever_it_is_called(endpoint: IngestEndpoint) -> None:
    for scheme in SignatureScheme:
        hook = open_webhook(endpoint, EVENTS, scheme, name=scheme.value)
        document = {"id": "evt_7", "user": "ada", "sku": "MUG-204"}
        for delivery in ("delivery-0001", "delivery-0001", "other-0002"):
            assert hook.deliver(document, delivery=delivery).status_code == 200
    assert endpoint.accounted() == {"stored": 7, "duplicate": 11}, (
        "Standard Webhooks signs the id: it is another delivery"
    )


def test_the_same_body_under_another_topic_is_another_message(endpoint: IngestEndpoint) -> None:
    mapping = "only: {column: 'header:X-Shopify-Topic', values: [a, b]}\n" + EVENTS
    hook = open_webhook(endpoint, mapping)
    for topic in ("a", "A", "b", "c"):
        assert hook.deliver({"user": "ada"}, x_shopify_topic=topic).status_code == 200
    assert endpoint.accounted() == {"stored": 2, "duplicate": 1, "invalid not_selected": 1}


def refusals(hook: Webhook) -> dict[str, httpx.Response]:
    """What must not be told apart."""
    body = body_of({"user": "ada"})
    signed = hook.headers(body)
    other = {**signed, "x-shopify-hmac-sha256": signed["x-shopify-hmac-sha256"].swapcase()}
    create_source(hook.endpoint.context, "without", kind=SourceKind.SERVER)
    disabled = open_webhook(hook.endpoint, EVENTS, name="disabled")
    disable_source(hook.endpoint.context, "disabled")
    return {
        "unknown source": httpx.post(hook.url + "x", content=body, headers=signed),
        "no webhook": httpx.post(f"{hook.endpoint.url}/v1/hook/without", content=body, headers=signed),
        "disabled": httpx.post(disabled.url, content=body, headers=signed),
        "wrong signature": hook.send(body, other),
        "no signature": hook.send(body, {}),
        "other body": hook.send(body + b" ", signed),
    }


def test_every_failure_to_verify_is_the_same_401(endpoint: IngestEndpoint) -> None:
    answers = refusals(open_webhook(endpoint, EVENTS))
    assert {answer.status_code for answer in answers.values()} == {401}
    assert len({(answer.text, tuple(sorted(set(answer.headers) - {"date"}))) for answer in answers.values()}) == 1
    assert answers["no webhook"].json()["code"] == "delivery_not_verified"
    assert endpoint.accounted() == {}


@pytest.mark.parametrize("scheme", [SignatureScheme.STANDARD, SignatureScheme.STRIPE])
def test_a_recorded_delivery_ends_with_the_window(endpoint: IngestEndpoint, scheme: SignatureScheme) -> None:
    hook = open_webhook(endpoint, EVENTS, scheme)
    body = body_of({"id": "evt_1", "user": "ada"})
    signed = hook.headers(body)
    clock = endpoint.context.clock
    assert isinstance(clock, TestClock)
    clock.instant += timedelta(seconds=301)
    assert hook.send(body, signed).status_code == 401
    assert hook.send(body, hook.headers(body)).status_code == 200


def test_wrong_signatures_are_limited_and_right_ones_are_not(endpoint: IngestEndpoint) -> None:
    endpoint.running.endpoint._wrong_secrets._clock = lambda: 0.0  # so that none is allowed again, however slow this is
    hook = open_webhook(endpoint, EVENTS)
    statuses = [hook.send(b"{}", {}).status_code for _ in range(40)]
    assert statuses[:30] == [401] * 30
    assert statuses[30:] == [429] * 10
    assert hook.deliver({"user": "ada"}).status_code == 200


def test_a_secret_is_replaced_without_a_gap(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    new = Webhook(endpoint, hook.name, hook.scheme, "shpss_fedcba9876543210")
    third = Webhook(endpoint, hook.name, hook.scheme, "shpss_ffffffffffffffff")

    def answers() -> list[int]:
        fresh(endpoint)
        return [one.deliver({"user": "ada"}).status_code for one in (hook, new, third)]

    assert answers() == [200, 401, 401]
    assert manage.replace_secret(endpoint.context, "shop", new.secret).secrets == 2
    assert answers() == [200, 200, 401]
    assert manage.replace_secret(endpoint.context, "shop", third.secret).secrets == 2
    assert answers() == [401, 200, 200]
    assert manage.end_previous_secret(endpoint.context, "shop").secrets == 1
    assert answers() == [401, 401, 200]
    manage.delete_hook(endpoint.context, "shop")
    assert answers() == [401, 401, 401]


def test_a_new_secret_works_at_once(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    assert hook.deliver({"user": "ada"}).status_code == 200
    new = Webhook(endpoint, hook.name, hook.scheme, "shpss_fedcba9876543210")
    manage.replace_secret(endpoint.context, "shop", new.secret)
    assert new.deliver({"user": "ada"}).status_code == 200
    assert open_webhook(endpoint, EVENTS, name="another").deliver({"user": "ada"}).status_code == 200


def fresh(endpoint: IngestEndpoint) -> None:
    """Let the endpoint read the webhooks again with the next request, as it does after a second."""
    endpoint.running.endpoint._hooks._hooks._read_at = float("-inf")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed_json"),
        (b"{", "malformed_json"),
        (b"user=ada", "malformed_json"),
        (b"\xff", "malformed_json"),
        (b"[" * 5000 + b"]" * 5000, "nested_too_deep"),
        (b"[" + b"{}," * 2500 + b"{}]", "delivery_too_large"),
    ],
)
def test_a_signed_body_that_cannot_be_read_is_counted_and_400(endpoint: IngestEndpoint, body: bytes, code: str) -> None:
    hook = open_webhook(endpoint, EVENTS)
    answer = hook.deliver(body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert endpoint.accounted() == {f"invalid {code}": 1}
    assert recent(hook) == [("delivery-0001", "invalid", code)]


def test_a_body_may_be_compressed_and_has_the_limit_of_its_source(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS, request_bytes_max=64 * 1024)
    body = body_of({"user": "ada"})
    zipped = hook.send(gzip.compress(body), {**hook.headers(body), "content-encoding": "gzip"})
    assert zipped.status_code == 200
    for large, status in ((64 * 1024, 400), (5 * 1024 * 1024, 400)):
        answer = hook.deliver(b'{"user":"' + b"x" * large + b'"}')
        assert (answer.status_code, answer.json()["code"]) == (status, "request_too_large")
    assert endpoint.accounted() == {"stored": 1}


def test_a_message_of_more_than_32_kilobytes_is_invalid_and_a_long_delivery_is_not(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    assert (
        hook.deliver([{"user": "ada", "note": "x" * 40_000}, {"user": "bob", "sku": "x" * 40_000}]).status_code == 200
    )
    assert endpoint.accounted() == {"stored": 1, "invalid row_too_large": 1}


def test_forms_with_brackets_are_read_where_they_are_declared(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS.replace("user_id: user", "user_id: data.merges.ID"), SignatureScheme.BASIC)
    form = b"type=profile&data[email]=ada%40example.com&data%5Bmerges%5D%5BID%5D=7&data[merges][NAME]="
    assert hook.deliver(form, content_type="application/x-www-form-urlencoded; charset=utf-8").status_code == 200
    assert (
        hook.deliver(b'{"data":{"merges":{"ID":8}}}', content_type="application/x-www-form-urlencoded").status_code
        == 200
    )
    assert hook.deliver(form, content_type="text/plain").status_code == 400
    assert endpoint.accounted() == {"stored": 2, "invalid malformed_json": 1}


def test_platforms_that_ask_whether_the_address_exists_are_answered(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    for url in (hook.url, hook.url + "-unknown"):
        assert httpx.get(url).status_code == 200
        assert httpx.head(url).status_code == 200
        assert httpx.post(url, data={"webhook_id": "12"}).status_code == 200
        assert httpx.put(url).status_code == 405
    assert endpoint.accounted() == {}


def verdict(endpoint: IngestEndpoint, email: str = "ada@example.com") -> bool:
    found = look_up(endpoint.context, ("email", email), endpoint.context.clock.now(), actor="operator")
    return found.verdicts["email_marketing"].allowed


@pytest.fixture
def real(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    """An endpoint under the shipped policy."""
    with open_ingest_endpoint(database, shipped(), tmp_path, {}, clock=TestClock(NOON)) as endpoint:
        yield endpoint


def answer_of(state: str, at: datetime) -> dict[str, Any]:
    return {"id": 7, "email": "ada@example.com", "consent": {"state": state, "at": at.isoformat()}}


def test_consents_speak_for_the_person_as_of_their_own_time(real: IngestEndpoint) -> None:
    hook = open_webhook(real, ORDERS)
    topic = {"x_shopify_topic": "customers_marketing_consent/update"}
    hours = [NOON - timedelta(hours=hour) for hour in (4, 3, 2, 1)]
    assert hook.deliver(answer_of("subscribed", hours[0]), **topic).status_code == 200
    assert verdict(real)
    assert hook.deliver(answer_of("unsubscribed", hours[2]), **topic).status_code == 200
    assert not verdict(real)
    assert hook.deliver(answer_of("subscribed", hours[1]), **topic).status_code == 200
    assert not verdict(real), "a late delivery of an earlier answer"
    assert hook.deliver(answer_of("pending", NOON), **topic).status_code == 200
    assert not verdict(real)
    assert hook.deliver(answer_of("subscribed", hours[3]), **topic).status_code == 200
    assert verdict(real)


def test_a_grant_without_a_time_lifts_no_refusal(real: IngestEndpoint) -> None:
    hook = open_webhook(real, CRM, SignatureScheme.BASIC)
    for said, allowed in (("yes", True), ("no", False), ("Yes", False)):
        hook.deliver({"person": {"email": "ada@example.com", "mail": said}, "n": said})
        assert verdict(real) is allowed


@pytest.mark.parametrize(
    "document",
    [
        b'{"person":{"email":"ada@example.com","mail":"no","age":NaN}}',
        b'{"person":{"email":"ada@example.com","mail":"no"},"x":oops}',
        b'{"person":{"email":"ada@example.com","mail":"no"},"x":98765432109876543210}',
        b'{"person":{"email":"ada@example.com","mail":"no"},"x":"\\ud800"}',
        b'[{"person":7},{"person":{"email":"ada@example.com","mail":"no"}}]',
        b'[{"person":oops},{"person":{"email":"ada@example.com","mail":"no"}}]',
        b'{"person":{"email":"ada@example.com","mail":"no"},"x":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"person":{"email":"ada@example.com","mail":"no"},"at":"never"}',
        b'{"person":{"email":"ada@example.com","mail":"no"},"n":"one"}',
        b'{"person":{"email":"ada@example.com","mail":"no"},"note":"' + b"x" * 40_000 + b'"}',
    ],
)
def test_a_refusal_is_kept_whatever_else_is_wrong(real: IngestEndpoint, document: bytes) -> None:
    mapping = CRM + "timestamp: {column: at}\ntraits: {n: {column: n, type: number}, note: note}\n"
    hook = open_webhook(real, mapping, SignatureScheme.GITHUB)
    granted = body_of({"person": {"email": "ada@example.com", "mail": "yes"}, "at": "2026-01-01T00:00:00Z"})
    assert hook.deliver(granted).status_code == 200
    assert verdict(real)
    assert hook.deliver(document).status_code == 200
    assert not verdict(real)


def test_a_row_that_no_mapping_selects_states_nothing(real: IngestEndpoint) -> None:
    mapping = """
    type: identify
    only: {column: type, values: [unsubscribe]}
    identifiers: {email: data.email}
    consents: {email_marketing: {value: "no"}}
    """
    granting = open_webhook(real, CRM, SignatureScheme.GITHUB, name="crm")
    granting.deliver({"person": {"email": "ada@example.com", "mail": "yes"}})
    hook = open_webhook(real, mapping, SignatureScheme.BASIC)
    assert hook.deliver({"type": "subscribe", "data": {"email": "ada@example.com"}}).status_code == 200
    assert verdict(real)
    assert hook.deliver({"type": "unsubscribe", "data": {"email": "ada@example.com"}}).status_code == 200
    assert not verdict(real)


def test_what_came_of_a_delivery_is_found_by_its_name(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, "only: {column: kind, values: [view]}\n" + EVENTS)
    view = {"kind": "view", "user": "ada"}
    hook.deliver([view, {"kind": "other"}, {"kind": "view"}], delivery="b54557e4-bdd9-4b37-8a5f-bf7d70bcd043")
    hook.deliver(view, delivery="4915112345678")
    hook.deliver(view, delivery="ada@example.com")
    assert recent(hook) == [
        ("withheld", "duplicate", ""),
        ("withheld", "stored", ""),
        ("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "invalid", "id_missing"),
        ("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "stored", ""),
        ("b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", "invalid", "not_selected"),
    ]


def test_a_mapping_that_the_policy_outgrew_refuses_with_503(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    with endpoint.context.database.transaction() as tx:
        tx.execute("UPDATE sources.hook SET mapping = replace(mapping, 'user_id', 'former_type')")
    answer = hook.deliver({"user": "ada"})
    assert (answer.status_code, answer.json()["code"]) == (503, "hook_unusable")
    assert "former_type" not in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert endpoint.accounted() == {}


def test_a_delivery_that_is_not_stored_is_503_and_once_when_it_is_repeated(database: Database, tmp_path: Path) -> None:
    def failing(ingest: Any) -> Outage:
        return Outage(ingest, 1)

    with open_ingest_endpoint(database, permit_all(), tmp_path, {}, between=failing) as endpoint:
        hook = open_webhook(endpoint, EVENTS)
        assert [hook.deliver({"user": "ada"}).status_code for _ in range(3)] == [503, 200, 200]
        assert endpoint.accounted() == {"stored": 1, "duplicate": 1}


WRONG: list[tuple[str, Callable[[IngestEndpoint], Any]]] = [
    (
        "unknown_source",
        lambda e: manage.set_hook(e.context, "?", SignatureScheme.BASIC, mapping=EVENTS, secrets=["a:" + "x" * 16]),
    ),
    (
        "hook_needs_server",
        lambda e: (
            create_source(e.context, "page"),
            manage.set_hook(e.context, "page", SignatureScheme.BASIC, mapping=EVENTS, secrets=["a:" + "x" * 16]),
        ),
    ),
    (
        "secret_missing",
        lambda e: (
            create_source(e.context, "s", kind=SourceKind.SERVER),
            manage.set_hook(e.context, "s", SignatureScheme.BASIC, mapping=EVENTS, secrets=[]),
        ),
    ),
    (
        "unusable_secret",
        lambda e: (
            create_source(e.context, "s", kind=SourceKind.SERVER),
            manage.set_hook(e.context, "s", SignatureScheme.BASIC, mapping=EVENTS, secrets=["x"]),
        ),
    ),
    (
        "too_many_secrets",
        lambda e: (
            create_source(e.context, "s", kind=SourceKind.SERVER),
            manage.set_hook(
                e.context, "s", SignatureScheme.GITHUB, mapping=EVENTS, secrets=["1" * 16, "2" * 16, "3" * 16]
            ),
        ),
    ),
    (
        "invalid_window",
        lambda e: manage.set_hook(e.context, "s", SignatureScheme.BASIC, mapping=EVENTS, secrets=[], window_seconds=5),
    ),
    (
        "invalid_mapping",
        lambda e: manage.set_hook(e.context, "s", SignatureScheme.BASIC, mapping="format: csv\n" + EVENTS, secrets=[]),
    ),
    (
        "mapping_too_large",
        lambda e: manage.set_hook(e.context, "s", SignatureScheme.BASIC, mapping=EVENTS + "#" * 131_072, secrets=[]),
    ),
    (
        "unknown_identifier_type",
        lambda e: manage.set_hook(
            e.context, "s", SignatureScheme.BASIC, mapping="type: identify\nidentifiers: {nobody: x}", secrets=[]
        ),
    ),
    (
        "unknown_purpose",
        lambda e: manage.set_hook(
            e.context, "s", SignatureScheme.BASIC, mapping=CRM.replace("email_marketing", "nothing"), secrets=[]
        ),
    ),
    (
        "unknown_hook",
        lambda e: (create_source(e.context, "s", kind=SourceKind.SERVER), manage.show_hook(e.context, "s")),
    ),
    ("no_previous_secret", lambda e: (open_webhook(e, EVENTS, name="s"), manage.end_previous_secret(e.context, "s"))),
]


@pytest.mark.parametrize(("code", "act"), WRONG, ids=[code for code, _ in WRONG])
def test_a_webhook_that_cannot_be_is_refused(
    real: IngestEndpoint, code: str, act: Callable[[IngestEndpoint], Any]
) -> None:

    with pytest.raises(Fault) as caught:
        act(real)
    assert caught.value.code == code


def test_secrets_are_sealed_and_shown_by_nothing(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS)
    with endpoint.context.database.transaction(read_only=True) as tx:
        [(row,)] = tx.execute("SELECT row_to_json(h)::text || encode(h.sealed, 'escape') FROM sources.hook AS h")
        [(keys,)] = tx.execute("SELECT count(*) FROM vault.subject_key")
        facts = [body for (body,) in tx.execute("SELECT body::text FROM audit.fact")]
    assert keys == 1
    assert hook.secret not in row
    assert not any(hook.secret in fact for fact in facts)
    shown = manage.show_hook(endpoint.context, "shop")
    assert hook.secret not in repr(shown)
    manage.set_hook(endpoint.context, "shop", hook.scheme, mapping=EVENTS + "absent: ['-']\n", secrets=[])
    fresh(endpoint)
    assert hook.deliver({"user": "ada"}).status_code == 200, "the secret stays where none is given"
    manage.delete_hook(endpoint.context, "shop")
    with endpoint.context.database.transaction(read_only=True) as tx:
        assert tx.execute(
            "SELECT count(*) FROM vault.subject_key WHERE subject_id NOT IN (SELECT anchor_id FROM identity.anchor) "
            "AND subject_id NOT IN (SELECT identifier_id FROM identity.identifier)"
        ) == [(0,)]


def test_a_source_that_may_not_ingest_has_no_working_webhook(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS, scopes=("consent",))
    assert hook.deliver({"user": "ada"}).status_code == 401


def test_numbers_in_paths_are_places_in_lists(endpoint: IngestEndpoint) -> None:
    hook = open_webhook(endpoint, EVENTS.replace("user_id: user", "user_id: users.1.id"))
    assert hook.deliver({"users": [{"id": "ada"}, {"id": "bob"}]}).status_code == 200
    assert hook.deliver({"users": [{"id": "ada"}]}).status_code == 200
    assert endpoint.accounted() == {"stored": 1, "invalid id_missing": 1}
    assert json.dumps(recent(hook)).count("delivery-0001") == 2


NAMES = sorted({name for scheme in SignatureScheme for name in NAMED[scheme]})


def test_whatever_the_headers_are_there_is_no_error_of_the_service(endpoint: IngestEndpoint) -> None:
    endpoint.running.endpoint._wrong_secrets._burst = 1_000_000
    hooks = [open_webhook(endpoint, EVENTS, scheme, name=scheme.value) for scheme in SignatureScheme]
    text = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60)

    @given(
        hook=st.sampled_from(hooks),
        headers=st.dictionaries(st.sampled_from([*NAMES, "content-type"]), text, max_size=4),
        body=st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"user":1}']),
        is_signed=st.booleans(),
    )
    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    def holds(hook: Webhook, headers: dict[str, str], body: bytes, is_signed: bool) -> None:
        sent = {name.encode(): value.strip().encode("latin-1") for name, value in headers.items()}
        own = hook.headers(body) if is_signed else {}
        signed = {name.encode(): value.encode() for name, value in own.items()}
        status = httpx.post(hook.url, content=body, headers={**sent, **signed}).status_code
        assert status in ((200, 400, 401) if is_signed else (400, 401))

    holds()
