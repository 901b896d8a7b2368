"""Lists among the plain values of events: stored, read back, refused where they have a text, and read by computed traits."""

import json
from typing import Any

import psycopg
import pytest

from cdp.behavior.model import Plain, Term
from cdp.behavior.rules import vocabularies_of
from cdp.behavior.store import computed as computed_store
from cdp.behavior.store import consistency as consistency_store
from cdp.behavior.store import events as event_store
from cdp.behavior.store.batch import intern_terms
from cdp.kit.db import Database
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import parse_and_check
from cdp.query.postgres.compile import InternedIds, compile_segment
from cdp.query.postgres.due import next_instants
from tests.support.behavior import TRAITS, BehaviorPipeline, day, policy_with, trait

pytestmark = pytest.mark.postgres

ANNA, MAIL = 11, "email_marketing"
MUGS = {"sku": "MUG-1", "price": 60, "quantity": 2}
HAT = {"sku": "HAT-2", "price": 40, "quantity": 1}


@pytest.fixture
def behavior(database: Database) -> BehaviorPipeline:
    of_list = {
        "mugs": trait(
            kind="sum", event="Order Completed", property="products.quantity", where={"products.sku": ["MUG-1"]}
        )
    }
    behavior = BehaviorPipeline(database, policy_with({**TRAITS, **of_list}))
    with database.transaction() as tx:
        behavior.put_anchor(tx, 1, ANNA)
        behavior.permit(tx, ANNA, MAIL, day(0))
    return behavior


def computed(behavior: BehaviorPipeline) -> dict[str, Plain | None]:
    with behavior.database.transaction() as tx:
        assert consistency_store.check_computed(tx, behavior.plan, [ANNA], now=behavior.now) == []
        return dict(computed_store.computed_of(tx, behavior.plan, [ANNA], now=behavior.now)[ANNA])


def test_entries_are_read_back_with_their_terms(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(3), bits, revenue=5, products=[{**MUGS, "name": "A mug"}, HAT, 3])])
    with behavior.database.transaction() as tx:
        ((stored,),) = tx.execute("SELECT plain::text FROM behavior.event")
        (event,) = event_store.events_of(tx, [1], vocabularies_of(behavior.rules))
    assert "MUG" not in stored
    entries = [{**MUGS, "sku": Term("sku", "MUG-1")}, {**HAT, "sku": Term("sku", "HAT-2")}, {}]
    assert event.plain == {"revenue": 5, "products": entries}
    assert json.loads(event.sealed)["properties"] == {"products": [{"name": "A mug"}, {}, 3]}


@pytest.mark.parametrize(
    "plain",
    [
        {"products": []},
        {"products": [{}]},
        {"products": [{"sku": 7, "price": 1.5, "gift": True}, {}]},
        {"products": [{"sku": None}]},
        {"revenue": 5, "gift": False, "products": [{"sku": 7}], "gifts": [{"sku": 8}]},
    ],
)
def test_lists_of_flat_objects_are_accepted(behavior: BehaviorPipeline, plain: dict[str, Any]) -> None:
    assert _with_plain(behavior, plain)


@pytest.mark.parametrize(
    "plain",
    [
        {"name": "Anna"},
        {"revenue": 5, "products": [{"sku": "MUG-1"}]},
        {"products": [{"sku": 7}, {"sku": 7, "name": "Anna"}]},
        {"products": ["Anna"]},
        {"products": [7]},
        {"products": [{"sku": 7}, 7]},
        {"products": [[7]]},
        {"products": [[{"sku": 7}]]},
        {"products": [{"sizes": [7]}]},
        {"products": [{"of": {"sku": 7}}]},
        {"products": [{"of": {"sku": "Anna"}}]},
        {"products": {"sku": 7}},
        {"products": [None]},
    ],
)
def test_a_text_or_anything_deeper_is_refused_by_the_table(behavior: BehaviorPipeline, plain: dict[str, Any]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        _with_plain(behavior, plain)


def _with_plain(behavior: BehaviorPipeline, plain: dict[str, Any]) -> bool:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL))])
    with behavior.database.transaction() as tx:
        rows = tx.execute(
            "UPDATE behavior.event SET plain = %(plain)s::jsonb RETURNING plain", {"plain": json.dumps(plain)}
        )
    return rows == [(plain,)]


def test_computed_traits_read_every_entry(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    orders: list[dict[str, Any]] = [
        {"products": [MUGS, HAT]},
        {"products": [HAT, {"sku": "MUG-2", "price": 60}]},
        {"products": [{"sku": "MUG-1", "price": 40, "quantity": "many"}]},
        {"products": []},
        {},
    ]
    behavior.store([behavior.order(1, day(3 + at), bits, **properties) for at, properties in enumerate(orders)])
    found = computed(behavior)
    assert (found["articles"], found["mugs"], found["mug_orders"]) == (4, 3, 2)
    with behavior.database.transaction() as tx:
        behavior.recompute(tx, [1])
    again = computed(behavior)
    assert {name: again[name] for name in ("articles", "mugs", "mug_orders")} == {
        "articles": 4,
        "mugs": 3,
        "mug_orders": 2,
    }


def test_what_was_stored_under_the_name_before_it_was_a_list_does_not_count(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL), products=[MUGS])])
    for plain in ('{"products": 3}', '{"revenue": [{"sku": 7}]}', '{"revenue": true}', "{}"):
        with behavior.database.transaction() as tx:
            tx.execute("UPDATE behavior.event SET plain = %(plain)s::jsonb", {"plain": plain})
            behavior.recompute(tx, [1])
        found = computed(behavior)
        assert (found["articles"], found["mug_orders"], found["spent"], found["orders"]) == (0, 0, 0, 1), plain


def test_a_full_vocabulary_seals_terms_in_their_entries(behavior: BehaviorPipeline) -> None:
    rules = behavior.rules
    behavior.rules = type(rules)(
        **{name: getattr(rules, name) for name in rules.__slots__}
        | {"vocabularies": {**rules.vocabularies, "sku": rules.vocabularies["sku"].model_copy(update={"terms_max": 1})}}
    )
    with behavior.database.transaction() as tx:
        intern_terms(tx, [Term("sku", "MUG-1")], behavior.rules)
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL), products=[MUGS, HAT])])
    with behavior.database.transaction() as tx:
        (event,) = event_store.events_of(tx, [1], vocabularies_of(behavior.rules))
    assert event.plain == {"products": [{**MUGS, "sku": Term("sku", "MUG-1")}, {"price": 40, "quantity": 1}]}
    assert json.loads(event.sealed)["properties"] == {"products": [{}, {"sku": "HAT-2"}]}


@pytest.mark.parametrize(
    ("where", "people"),
    [
        ('did("Order Completed" where any products where price > 50)', (1, 0)),
        ('did("Order Completed" where any products where (sku = "MUG-1" and price > 50))', (1, 0)),
        ('did("Order Completed" where not (any products where price < 50))', (1, 0)),
        ('sum("Order Completed".products.quantity) = 0', (0, 1)),
        ('max("Order Completed".products.price) > 50', (1, 0)),
    ],
)
def test_segments_pass_over_what_was_stored_under_the_name_before_it_was_a_list(
    behavior: BehaviorPipeline, where: str, people: tuple[int, int]
) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL), products=[MUGS])])
    catalogue = Catalogue(behavior.policy)
    condition = parse_and_check(where, catalogue, MAIL)
    assert not isinstance(condition, tuple), condition

    def members() -> int:
        with behavior.database.transaction() as tx:
            rows = tx.execute("SELECT vocabulary, term, term_id FROM behavior.term")
            ids = InternedIds(behavior.masks, {(vocabulary, term): number for vocabulary, term, number in rows})
            found = compile_segment(condition, catalogue, ids, purpose=MAIL, now=behavior.now)
            tx.all(next_instants(condition, catalogue, ids, purpose=MAIL, now=behavior.now, until=day(1200)))
            return len(tx.all(found.members))

    as_list = members()
    with behavior.database.transaction() as tx:
        tx.execute("""UPDATE behavior.event SET plain = '{"products": 3}'""")
    assert (as_list, members()) == people
