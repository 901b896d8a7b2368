"""The products of an order from ingest to the end: exported together, held, counted without, erased."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.operations.retention import sweep
from cdp.flows.rights.legal_hold import HOLD_COLUMN
from cdp.kit.db import Database
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.rights.model import Status
from cdp.vault.vault import Item
from tests.support.messages import order
from tests.support.people import ADA, BOB
from tests.support.policies import changed, documents_of, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PRODUCTS = [
    {"sku": "MUG-1", "price": 60, "quantity": 2, "name": "A mug for Annabella", "engraving": "For Annabella"},
    {"sku": "HAT-2", "price": "forty"},
    "a card for Annabella",
]
ORDER = order(userId="ada", properties={"order_id": "o-77", "revenue": 100, "products": PRODUCTS})


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def exported_order(rights: RequestPipeline) -> dict[str, Any]:
    data = rights.export(("user_id", "ada"))["data"]
    (bought,) = (event for event in data["behavior.event"] if event["name"] == "Order Completed")
    found: dict[str, Any] = bought
    return found


def test_an_archive_shows_each_product_with_all_its_fields(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, ORDER)
    bought = exported_order(rights)
    assert bought["properties"] == {"revenue": 100, "products": PRODUCTS}
    assert bought["message"]["properties"] == {"order_id": "o-77"}


def test_an_archive_shows_instants_of_products_as_instants(database: Database, tmp_path: Path) -> None:
    fields = {"ready_at": {"type": "instant", "keep": "plain"}}
    rights = open_request_pipeline(database, with_fields(fields), tmp_path)
    rights.pipeline.send(order(userId="ada", properties={"products": [{"ready_at": "2026-06-01T10:00:00+02:00"}]}))
    assert exported_order(rights)["properties"] == {"products": [{"ready_at": "2026-06-01T08:00:00.000000Z"}]}


def test_an_archive_withholds_fields_of_products_by_their_own_category(database: Database, tmp_path: Path) -> None:
    fields = {
        "account": {"type": "string", "keep": "sealed", "category": "user.financial"},
        "limit": {"type": "number", "keep": "plain", "category": "user.financial"},
    }
    rights = open_request_pipeline(database, with_fields(fields), tmp_path)
    products = [{"sku": "MUG-1", "account": "DE89", "limit": 500}]
    rights.pipeline.send(order(userId="ada", properties={"products": products}))
    withheld = {"held_but_not_shown": "user.financial"}
    assert exported_order(rights)["properties"] == {
        "products": [{"sku": "MUG-1", "account": withheld, "limit": withheld}]
    }


def test_an_archive_shows_products_that_were_sealed_as_a_whole_before(database: Database, tmp_path: Path) -> None:
    """As they are stored until a version, or a policy, that keeps their fields plain."""
    documents = documents_of(permit_all())
    documents["events.yaml"]["property_sets"]["order"]["products"] = {"type": "any", "keep": "sealed"}
    before = open_request_pipeline(database, build_policy(documents), tmp_path)
    before.pipeline.send(ADA, ORDER)
    now = replace(before, context=replace(before.context, policy=permit_all()))
    bought = exported_order(now)
    assert bought["properties"] == {"revenue": 100}
    assert bought["message"]["properties"] == {"order_id": "o-77", "products": PRODUCTS}


def test_an_erasure_leaves_neither_the_plain_nor_the_sealed_part(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, BOB, ORDER, order(userId="bob", properties={"products": [{"sku": "TIE-3"}]}))
    with rights.context.database.transaction() as tx:
        ((subject,),) = tx.execute(
            "SELECT anchor_id FROM behavior.event WHERE jsonb_array_length(plain -> 'products') = 3"
        )
        keys = rights.context.vault.subject_keys.keys_for(tx, [subject])
    assert keys
    assert rights.erase(("user_id", "ada")).status is Status.FULFILLED
    with rights.context.database.transaction() as tx:
        left = tx.execute("SELECT plain FROM behavior.event WHERE plain ? 'products'")
        assert not rights.context.vault.subject_keys.keys_for(tx, [subject])
    assert [len(plain["products"]) for (plain,) in left] == [1], "Bob's order is untouched"


def test_a_legal_hold_that_names_products_keeps_them_whole(database: Database, tmp_path: Path) -> None:
    hold = {"law": "§ 147 AO", "columns": ["order_id", "products"], "keep_for_days": 2922}
    rights = open_request_pipeline(database, ending(hold=hold), tmp_path)
    rights.pipeline.send(ORDER)
    rights.later(days=130)
    sweep(rights.context, rights.pipeline.clock.now())
    vault = rights.context.vault
    with rights.context.database.transaction() as tx:
        ((hold_id, sealed),) = tx.execute("SELECT hold_id, sealed FROM rights.hold")
        keys = vault.subject_keys.keys_for(tx, [hold_id])
        (opened,) = vault.open_many(keys, HOLD_COLUMN, [Item(hold_id, hold_id, bytes(sealed))])
    held = json.loads(opened or b"null")
    assert (held["order_id"], held["products"]) == ("o-77", PRODUCTS)
    assert "revenue" not in held


def test_severed_counts_have_no_products(database: Database, tmp_path: Path) -> None:
    policy = changed(ending(after="sever"), "jurisdictions.yaml", minimum_disclosure_size=3)
    rights = open_request_pipeline(database, policy, tmp_path)
    properties = {"revenue": 100, "products": [{"sku": "MUG-1", "price": 60}]}
    rights.pipeline.send(*(order(userId=f"user-{number}", properties=properties) for number in range(3)))
    rights.later(days=130)
    sweep(rights.context, rights.pipeline.clock.now())
    with rights.context.database.transaction() as tx:
        assert tx.execute("SELECT plain, events FROM behavior.severed") == [({"revenue": 100}, 3)]


def with_fields(fields: dict[str, Any]) -> Policy:
    """Everybody is permitted everything, and the products of an order have these fields in addition."""
    categories = {"user.financial": "Accounts"}
    documents = documents_of(changed(permit_all(), "purposes.yaml", categories=categories))
    documents["events.yaml"]["property_sets"]["order"]["products"]["fields"] = fields
    return build_policy(documents)


def ending(**transactions: Any) -> Policy:
    """Orders live for 60 days."""
    documents: Any = documents_of(permit_all())
    orders = documents["retention.yaml"]["classes"]["transactions"]
    orders |= {"keep_for_days": 60, "hold": None, **transactions}
    if orders["hold"] is None:
        del orders["hold"]
    return build_policy(documents)
