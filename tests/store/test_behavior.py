"""Storing events, traits and buckets, on PostgreSQL."""

import json
from datetime import date, timedelta

import psycopg
import pytest

from cdp.behavior.model import EventId, Plain, StatedTrait, Term
from cdp.behavior.retention import months_needed
from cdp.behavior.rules import vocabularies_of
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store import computed as computed_store
from cdp.behavior.store import events as event_store
from cdp.behavior.store import traits as trait_store
from cdp.behavior.traits import agree
from cdp.kit.db import Database
from tests.support.behavior import BehaviorPipeline, day, policy_with

pytestmark = pytest.mark.postgres

ANNA, BERT = 11, 12
MAIL, SHOP = "email_marketing", "personalization"


@pytest.fixture
def behavior(database: Database) -> BehaviorPipeline:
    behavior = BehaviorPipeline(database, policy_with())
    with database.transaction() as tx:
        behavior.put_anchor(tx, 1, ANNA)
        behavior.put_anchor(tx, 2, ANNA)
        behavior.put_anchor(tx, 3, BERT)
        behavior.permit(tx, ANNA, MAIL, day(0))
        behavior.permit(tx, BERT, MAIL, day(0))
    return behavior


def computed(behavior: BehaviorPipeline, profile_id: int = ANNA) -> dict[str, Plain | None]:
    with behavior.database.transaction() as tx:
        return dict(computed_store.computed_of(tx, behavior.plan, [profile_id], now=behavior.now)[profile_id])


def test_what_is_stored_is_read_back_with_its_terms(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(3), bits, revenue=12.5, currency="EUR", order_id="A-1", gift=True)])
    with behavior.database.transaction() as tx:
        events = event_store.events_of(tx, [1, 2], vocabularies_of(behavior.rules))
    assert [(each.name, each.plain, each.bits) for each in events] == [
        ("Order Completed", {"revenue": 12.5, "currency": Term("currency", "EUR")}, bits)
    ]
    assert json.loads(events[0].sealed)["properties"] == {"order_id": "A-1", "gift": True}


def test_an_unknown_event_keeps_its_name_only_in_the_seal(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.entry("track", {"event": "Called anna@example.com"}, 1, day(3), behavior.bits(MAIL))])
    with behavior.database.transaction() as tx:
        events = event_store.events_of(tx, [1], vocabularies_of(behavior.rules))
        terms = tx.execute("SELECT count(*) FROM behavior.term WHERE term LIKE '%%anna%%'")
    assert events[0].name is None
    assert json.loads(events[0].sealed)["event"] == "Called anna@example.com"
    assert terms == [(0,)]


def test_text_in_plain_is_refused_by_the_table(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL))])
    with pytest.raises(psycopg.errors.CheckViolation), behavior.database.transaction() as tx:
        tx.execute("""UPDATE behavior.event SET plain = '{"name": "Anna"}'""")


def test_statements_do_not_grow_with_the_batch(behavior: BehaviorPipeline) -> None:
    def statements(size: int) -> int:
        entries = [
            entry
            for number in range(size)
            for entry in (
                behavior.order(number + 1, day(number % 20), behavior.bits(MAIL), revenue=number, currency="EUR"),
                behavior.entry("identify", {"traits": {"age": 30, "email": "a@b.c"}}, number + 1, day(3), 1),
            )
        ]
        needed = months_needed((each.classified.retention_class, each.occurred_at) for each in entries)
        behavior_store.ensure_partitions(behavior.database, needed)
        with behavior.database.transaction() as tx:
            behavior.append(tx, entries)
            return tx.statements

    assert statements(1) <= 7  # terms and landmarks are looked up and made
    assert statements(2) <= 5  # and looked up once more, now that they are committed
    assert statements(1) == statements(40) == 3


def test_computed_traits_span_the_anchors_of_a_profile(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(3), bits, revenue=10, items=3), behavior.view(1, day(4), bits, "Shoes")])
    behavior.store([behavior.order(2, day(28), bits, revenue=5.5, items=4), behavior.view(2, day(5), bits, "Hats")])
    behavior.store([behavior.order(3, day(29), bits, revenue=1000)])
    found = computed(behavior)
    assert (found["orders"], found["spent"], found["spent_lately"]) == (2, 15.5, 5.5)
    assert (found["shoes_viewed"], found["big_orders"]) == (1, 1)
    assert found["last_category"] == Term("product_category", "Hats")
    assert found["last_order_at"] == int(day(28).timestamp() * 1_000_000)
    assert found["spent_fading"] == pytest.approx(10 * 2 ** (-27 / 3) + 5.5 * 2 ** (-2 / 3), rel=1e-9)
    assert found["orders_fading"] == pytest.approx(2 ** (-2 / 0.25) + 2 ** (-27 / 0.25), rel=1e-9)
    assert found["views"] == 0


def test_only_events_with_the_purposes_bit_count(behavior: BehaviorPipeline) -> None:
    behavior.store(
        [
            behavior.order(1, day(3), behavior.bits(SHOP), revenue=10),
            behavior.order(1, day(4), behavior.bits(MAIL), revenue=1),
        ]
    )
    assert computed(behavior)["spent"] == 1


def test_a_withdrawal_ends_what_was_computed_and_granting_again_brings_nothing_back(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(3), bits, revenue=10), behavior.order(2, day(3), bits, revenue=20)])
    with behavior.database.transaction() as tx:
        behavior.refuse(tx, ANNA, MAIL)
        behavior.recompute(tx, [1, 2])
    assert computed(behavior)["spent"] == 0
    with behavior.database.transaction() as tx:
        behavior.permit(tx, ANNA, MAIL, day(3.5))
        behavior.recompute(tx, [1, 2])
    behavior.store([behavior.order(1, day(3.6), bits, revenue=7)])
    found = computed(behavior)
    assert (found["orders"], found["spent"]) == (1, 7)


def test_recomputing_changes_nothing_that_is_right(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(at / 3), bits, revenue=at * 1.1, items=at) for at in range(20)])
    behavior.store(
        [behavior.view(1, day(at / 3), bits, category) for at, category in enumerate(["Hats", "Shoes", "Boots"])]
    )
    before = buckets(behavior)
    with behavior.database.transaction() as tx:
        behavior.recompute(tx, [1, 2, 3])
    after = buckets(behavior)
    assert [row[:4] + row[5:] for row in after] == [row[:4] + row[5:] for row in before]
    assert [row[4] for row in after] == pytest.approx([row[4] for row in before], rel=1e-9)
    assert len(before) > 20


def buckets(behavior: BehaviorPipeline) -> list[tuple[object, ...]]:
    with behavior.database.transaction() as tx:
        return tx.execute(
            "SELECT anchor_id, trait, day, events, total, generation, last_at, last_event_id, last_plain "
            "FROM behavior.bucket ORDER BY 1, 2, 3"
        )


def test_clearing_a_purpose_deletes_what_has_no_other(behavior: BehaviorPipeline) -> None:
    mail, both = behavior.bits(MAIL), behavior.bits(MAIL, SHOP)
    behavior.store(
        [
            behavior.order(1, day(1), mail),
            behavior.order(1, day(2), both),
            behavior.order(1, day(9), mail),
            behavior.order(3, day(1), mail),
        ]
    )
    with behavior.database.transaction() as tx:
        assert event_store.clear_bits(tx, [1, 2], mail, before=day(5)) == (1, 1)
        left = tx.execute("SELECT anchor_id, occurred_at, bits FROM behavior.event ORDER BY anchor_id, occurred_at")
    assert left == [(1, day(2), behavior.bits(SHOP)), (1, day(9), mail), (3, day(1), mail)]


def test_message_ids_are_remembered_once(behavior: BehaviorPipeline) -> None:
    one, two = behavior.message_id(), behavior.message_id()
    with behavior.database.transaction() as tx:
        rows = [behavior_store.Remembered(one, b"1", date(2026, 3, 1))]
        assert behavior_store.remember_messages(tx, rows) == {one}
        assert behavior_store.remember_messages(
            tx, [*rows, behavior_store.Remembered(two, b"2", date(2026, 3, 1))]
        ) == {two}
        assert behavior_store.known_messages(tx, [one, EventId(behavior.message_id())]) == {one: b"1"}


def test_terms_made_in_a_transaction_that_rolled_back_are_not_remembered(behavior: BehaviorPipeline) -> None:
    term = Term("country", "DE")
    made: list[int] = []

    def fail() -> None:
        with behavior.database.transaction() as tx:
            made.extend(behavior_store.intern_terms(tx, {term}, behavior.rules).ids[term] for _ in range(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with behavior.database.transaction() as tx:
        assert tx.execute("SELECT count(*) FROM behavior.term WHERE term = 'DE'") == [(0,)]
        again = behavior_store.intern_terms(tx, {term}, behavior.rules).ids[term]
    with behavior.database.transaction() as tx:
        assert tx.execute("SELECT term FROM behavior.term WHERE term_id = %(id)s", {"id": again}) == [("DE",)]
        behavior_store.intern_terms(tx, {term}, behavior.rules)
        before = tx.statements
        assert behavior_store.intern_terms(tx, {term}, behavior.rules).ids[term] == again not in made
        assert tx.statements == before


def test_a_full_vocabulary_refuses_new_terms_and_seals_them(behavior: BehaviorPipeline) -> None:
    behavior.rules = type(behavior.rules)(
        **{name: getattr(behavior.rules, name) for name in behavior.rules.__slots__}
        | {"vocabularies": {"product_category": narrowed(behavior)}}
    )
    bits = behavior.bits(MAIL)
    behavior.store([behavior.view(1, day(1), bits, "Hats"), behavior.view(1, day(2), bits, "Boots")])
    terms = behavior.store([behavior.view(1, day(3), bits, "Shoes"), behavior.view(1, day(4), bits, "Hats")])
    assert terms.refused == {Term("product_category", "Shoes")}
    with behavior.database.transaction() as tx:
        events = event_store.events_of(tx, [1], vocabularies_of(behavior.rules))
    assert [each.plain.get("category") for each in events] == [
        Term("product_category", "Hats"),
        Term("product_category", "Boots"),
        None,
        Term("product_category", "Hats"),
    ]
    assert json.loads(events[2].sealed)["properties"] == {"category": "Shoes"}


def narrowed(behavior: BehaviorPipeline) -> object:
    return behavior.policy.events.vocabularies["product_category"].model_copy(update={"terms_max": 2})


class TestStatedTraits:
    def state(self, behavior: BehaviorPipeline, at: float, bits: int, anchor_id: int = 1, **traits: object) -> None:
        behavior.store([behavior.entry("identify", {"traits": traits}, anchor_id, day(at), bits)])

    def in_force(self, behavior: BehaviorPipeline, purpose: str = MAIL, profile_id: int = ANNA) -> dict[str, object]:
        with behavior.database.transaction() as tx:
            return trait_store.traits_of(
                tx, [profile_id], {purpose: behavior.masks[purpose]}, expired_at=day(-1000)
            ).get((profile_id, purpose), {})

    def test_the_latest_of_all_anchors_is_in_force(self, behavior: BehaviorPipeline) -> None:
        bits = behavior.bits(MAIL)
        self.state(behavior, 5, bits, 2, age=31, vip=True)
        self.state(behavior, 4, bits, 1, age=30)
        assert self.in_force(behavior) == {"age": 31, "vip": True}

    def test_a_late_message_does_not_overrule_a_newer_one(self, behavior: BehaviorPipeline) -> None:
        bits = behavior.bits(MAIL)
        self.state(behavior, 5, bits, age=31)
        self.state(behavior, 4, bits, age=30)
        assert self.in_force(behavior) == {"age": 31}

    def test_a_statement_for_another_purpose_hides_nothing(self, behavior: BehaviorPipeline) -> None:
        self.state(behavior, 4, behavior.bits(MAIL, SHOP), age=30)
        self.state(behavior, 5, behavior.bits(SHOP), age=31)
        assert self.in_force(behavior) == {"age": 30}

    def test_what_was_stated_before_the_purpose_was_permitted_does_not_count(self, behavior: BehaviorPipeline) -> None:
        self.state(behavior, 4, behavior.bits(MAIL), age=30)
        with behavior.database.transaction() as tx:
            behavior.permit(tx, ANNA, MAIL, day(4.5))
        assert self.in_force(behavior) == {}

    def test_a_rectified_value_wins_for_ever(self, behavior: BehaviorPipeline) -> None:
        bits = behavior.bits(MAIL)
        self.state(behavior, 4, bits, age=30)
        rectified = StatedTrait(1, "age", day(5), day(5), behavior.message_id(), bits, 41, is_rectified=True)
        with behavior.database.transaction() as tx:
            trait_store.merge_traits(tx, [rectified], {})
        self.state(behavior, 6, bits, age=29)
        assert self.in_force(behavior) == {"age": 41}

    def test_a_sealed_statement_hides_an_older_plain_one(self, behavior: BehaviorPipeline) -> None:
        self.state(behavior, 4, behavior.bits(MAIL), age=30)
        self.state(behavior, 5, behavior.bits(MAIL), age="thirty-one")
        assert self.in_force(behavior) == {}

    def test_an_expired_statement_is_not_read(self, behavior: BehaviorPipeline) -> None:
        self.state(behavior, 4, behavior.bits(MAIL), age=30)
        with behavior.database.transaction() as tx:
            found = trait_store.traits_of(tx, [ANNA], {MAIL: behavior.masks[MAIL]}, expired_at=day(4))
        assert found == {(ANNA, MAIL): {}}

    def test_terms_are_exported_as_text_and_seals_closed(self, behavior: BehaviorPipeline) -> None:
        self.state(behavior, 4, behavior.bits(MAIL), country="DE", email="anna@example.com", shoe_size=38)
        vocabularies = {name: rule.vocabulary for name, rule in behavior.rules.traits.items() if rule.vocabulary}
        with behavior.database.transaction() as tx:
            found = {each.name: each for each in trait_store.stated_of(tx, [1], vocabularies)}
        assert found["country"].plain == Term("country", "DE")
        assert found["email"].sealed == b'"anna@example.com"'
        assert set(found) == {"country", "email"}

    def test_clearing_a_purpose_keeps_the_statement_in_force_of_the_others(self, behavior: BehaviorPipeline) -> None:
        mail, both, shop = behavior.bits(MAIL), behavior.bits(MAIL, SHOP), behavior.bits(SHOP)
        self.state(behavior, 3, shop, age=30)
        self.state(behavior, 4, both, age=31)
        self.state(behavior, 4, mail, vip=True)
        with behavior.database.transaction() as tx:
            behavior.permit(tx, ANNA, SHOP, day(0))
            assert trait_store.clear_trait_bits(tx, [1], mail, before=day(5)) == 2
            rows = tx.execute("SELECT name, bits, plain FROM behavior.trait")
        assert rows == [("age", shop, 31)]
        assert self.in_force(behavior, SHOP) == {"age": 31}


def test_moved_landmarks_keep_every_value(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(20), bits, revenue=8), behavior.order(1, day(29.9), bits, revenue=9)])
    behavior.now = day(30) + timedelta(days=500)
    behavior.store([behavior.order(1, day(529), bits, revenue=3), behavior.order(1, day(29.9), bits, revenue=1)])
    before = computed(behavior)
    with behavior.database.transaction() as tx:
        generations = tx.execute(
            "SELECT DISTINCT trait, generation FROM behavior.bucket WHERE generation > 0 ORDER BY 1, 2"
        )
        assert generations == [("orders_fading", 1), ("orders_fading", 2), ("spent_fading", 1)]
        moved = computed_store.move_landmarks(tx, behavior.plan, 100)
        assert moved == 2
        assert computed_store.move_landmarks(tx, behavior.plan, 100) == 0
    after = computed(behavior)
    assert all(agree(after[key], before[key]) for key in before)
    assert before["orders_fading"] == pytest.approx(2.0**-4, rel=1e-9)
