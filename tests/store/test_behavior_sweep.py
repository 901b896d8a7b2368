"""The sweep's SQL: partitions, severing, chunks, and the check of computed traits."""

import threading
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest

from cdp.behavior.model import EVENT_NAMES, Term
from cdp.behavior.retention import Month, month_of
from cdp.behavior.store import batch as behavior_store
from cdp.behavior.store import computed as computed_store
from cdp.behavior.store import consistency as consistency_store
from cdp.behavior.store import sweep as behavior_sweep_store
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.behavior import ORDER, VIEW, BehaviorPipeline, day, policy_with
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres

ANNA = 11
MAIL = "email_marketing"


@pytest.fixture
def behavior(database: Database) -> BehaviorPipeline:
    behavior = BehaviorPipeline(database, policy_with())
    with database.transaction() as tx:
        for anchor_id in range(1, 8):
            behavior.put_anchor(tx, anchor_id, ANNA if anchor_id < 3 else anchor_id)
        behavior.permit(tx, ANNA, MAIL, day(-900))
    return behavior


def months(behavior: BehaviorPipeline) -> list[tuple[str, Month]]:
    with behavior.database.transaction() as tx:
        return [(each.retention_class, each.month) for each in behavior_sweep_store.partitions(tx)]


def test_partitions_are_made_once_and_listed(behavior: BehaviorPipeline) -> None:
    wanted = {("transactions", Month(2025, 12)), ("transactions", Month(2026, 1)), ("browsing", Month(2026, 1))}
    behavior_store.ensure_partitions(behavior.database, wanted)
    behavior_store.ensure_partitions(behavior.database, wanted)
    other = Database(behavior.database.url)
    behavior_store.ensure_partitions(other, wanted)
    other.close()
    assert set(months(behavior)) == wanted


def test_partitions_made_by_many_at_once_exist_once(behavior: BehaviorPipeline) -> None:
    databases = [Database(behavior.database.url) for _ in range(4)]
    wanted = {("engagement", Month(2026, month)) for month in range(1, 7)}
    threads = [threading.Thread(target=behavior_store.ensure_partitions, args=(each, wanted)) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in databases:
        each.close()
    assert set(months(behavior)) == wanted


def test_making_a_partition_waits_for_no_writer(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL))])
    with behavior.database.transaction() as tx:
        behavior.append(tx, [behavior.order(1, day(4), behavior.bits(MAIL))])
        done = threading.Thread(
            target=behavior_store.ensure_partitions,
            args=(behavior.database, {("transactions", Month(2025, 5))}),
            daemon=True,
        )
        done.start()
        done.join(PATIENCE_SECONDS)
        assert not done.is_alive()


def test_sealed_bytes_leave_no_statistics(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL), order_id=f"A-{number}") for number in range(50)])
    with behavior.database.transaction() as tx:
        tx.execute("ANALYZE behavior.event")
        columns = {row[0] for row in tx.execute("SELECT attname::text FROM pg_stats WHERE tablename LIKE 'event\\_%%'")}
    assert "occurred_at" in columns
    assert "sealed" not in columns


@pytest.mark.parametrize("key", ["browsing; DROP TABLE x", "Browsing", "", "browsing_2026_01", "b" * 54])
def test_a_class_that_cannot_name_a_table_is_refused(behavior: BehaviorPipeline, key: str) -> None:
    with pytest.raises(Fault, match="invalid_retention_class"):
        behavior_store.ensure_partitions(behavior.database, {(key, Month(2026, 1))})


def test_long_class_names_stay_apart(behavior: BehaviorPipeline) -> None:
    wanted = {("c" * 52 + last, Month(2026, 1)) for last in "ab"}
    behavior_store.ensure_partitions(behavior.database, wanted)
    assert set(months(behavior)) == wanted


def test_dropping_a_month_leaves_the_others(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store(
        [behavior.order(1, day(-40), bits), behavior.order(1, day(3), bits), behavior.view(1, day(-40), bits, "Hats")]
    )
    with behavior.database.transaction() as tx:
        oldest = next(each for each in behavior_sweep_store.partitions(tx) if each.retention_class == "transactions")
        assert (oldest.month, behavior_sweep_store.count_events(tx, oldest)) == (month_of(day(-40)), 1)
        behavior_sweep_store.drop_partition(tx, oldest)
        left = tx.execute("SELECT retention_class, occurred_at FROM behavior.event ORDER BY occurred_at")
    assert left == [("browsing", day(-40)), ("transactions", day(3))]


def test_taking_events_deletes_what_it_returns(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(3), behavior.bits(MAIL), order_id=str(number)) for number in range(5)])
    taken: list[int] = []
    with behavior.database.transaction() as tx:
        (partition,) = behavior_sweep_store.partitions(tx)
        while rows := behavior_sweep_store.delete_and_return_events(tx, partition, 2):
            assert len(rows) <= 2
            taken += [UUID(row["event_id"]).int for row in rows]
        assert behavior_sweep_store.count_events(tx, partition) == 0
    assert sorted(taken) == [1, 2, 3, 4, 5]


def test_severing_leaves_no_person_and_nothing_that_few_share(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store(
        [
            *(behavior.order(anchor, day(3 + anchor / 10), bits, revenue=19.9, currency="EUR") for anchor in (1, 2, 3)),
            *(behavior.order(anchor, day(4), bits, revenue=20.4, currency="EUR") for anchor in (4, 5)),
            *(behavior.order(anchor, day(5), bits, revenue=7777.77, currency="CHF") for anchor in (6, 7, 1)),
            behavior.view(1, day(5), bits, "Hats"),
        ]
    )
    with behavior.database.transaction() as tx:
        properties = {Term(EVENT_NAMES, ORDER): {"revenue": True, "currency": False}, Term(EVENT_NAMES, VIEW): {}}
        kept = behavior_sweep_store.kept_of(tx, properties)
        partition = next(each for each in behavior_sweep_store.partitions(tx) if each.retention_class == "transactions")
        assert behavior_sweep_store.sever_events(tx, partition, kept, share_min=3) == 8
        euro = tx.execute("SELECT term_id FROM behavior.term WHERE term = 'EUR'")[0][0]
        francs = tx.execute("SELECT term_id FROM behavior.term WHERE term = 'CHF'")[0][0]
        rows = tx.execute(
            "SELECT retention_class, month, plain, events FROM behavior.severed ORDER BY events, plain->>'revenue'"
        )
        assert behavior_sweep_store.sever_events(tx, partition, kept, share_min=8) == 0
    january = date(2026, 1, 1)
    assert rows == [
        ("transactions", january, {"revenue": 7800, "currency": francs}, 3),
        ("transactions", january, {"revenue": 20, "currency": euro}, 5),
    ]


def test_values_of_a_former_type_are_left_out(behavior: BehaviorPipeline) -> None:
    """A property that was a boolean when an event was stored may be a number by now."""
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(anchor, day(3), bits, revenue=20) for anchor in range(1, 6)])
    with behavior.database.transaction() as tx:
        tx.execute("UPDATE behavior.event SET plain = '{\"revenue\": true}' WHERE anchor_id <= 3")
        kept = behavior_sweep_store.kept_of(tx, {Term(EVENT_NAMES, ORDER): {"revenue": True}})
        (partition,) = behavior_sweep_store.partitions(tx)
        assert behavior_sweep_store.sever_events(tx, partition, kept, share_min=2) == 5
        assert tx.execute("SELECT plain, events FROM behavior.severed ORDER BY events") == [
            ({"revenue": 20}, 2),
            ({}, 3),
        ]


def test_values_that_few_share_are_counted_without_them(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(anchor, day(3), bits, revenue=anchor * 1000) for anchor in range(1, 6)])
    with behavior.database.transaction() as tx:
        kept = behavior_sweep_store.kept_of(tx, {Term(EVENT_NAMES, ORDER): {"revenue": True}})
        (partition,) = behavior_sweep_store.partitions(tx)
        assert behavior_sweep_store.sever_events(tx, partition, kept, share_min=3) == 5
        assert tx.execute("SELECT plain, events FROM behavior.severed") == [({}, 5)]


def test_buckets_that_no_window_counts_are_deleted_in_chunks(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(at), bits, revenue=1) for at in (1, 2, 3, 29)])
    with behavior.database.transaction() as tx:
        tx.execute("UPDATE behavior.bucket SET trait = 'no_more' WHERE trait = 'big_orders' OR trait = 'orders_fading'")
        due = behavior_sweep_store.count_uncounted_buckets(tx, behavior.plan, behavior.now)
        assert (
            due == 3 + 4
        )  # three days outside the week of `spent_lately`, and four buckets of a trait that is no more
        assert [
            behavior_sweep_store.delete_uncounted_buckets(tx, behavior.plan, behavior.now, rows_max=5) for _ in range(3)
        ] == [
            5,
            2,
            0,
        ]
        assert behavior_sweep_store.count_uncounted_buckets(tx, behavior.plan, behavior.now) == 0


def test_expired_statements_and_message_ids_are_deleted(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.entry("identify", {"traits": {"age": at}}, at, day(at), bits) for at in (1, 2, 3)])
    with behavior.database.transaction() as tx:
        assert behavior_sweep_store.count_expired_traits(tx, day(2)) == 2
        assert sorted(behavior_sweep_store.delete_expired_traits(tx, day(2), 10)) == [1, 2]
        assert behavior_sweep_store.profiles_of_anchors(tx, [1, 2, 3]) == [3, ANNA]
        behavior_store.remember_messages(
            tx, [behavior_store.Remembered(behavior.message_id(), b"x", date(2026, 1, number)) for number in (1, 2, 3)]
        )
        assert behavior_sweep_store.count_expired_messages(tx, date(2026, 1, 3)) == 2
        assert behavior_sweep_store.delete_expired_messages(tx, date(2026, 1, 3), 10) == 2


def test_the_check_finds_a_tampered_bucket_and_nothing_else(behavior: BehaviorPipeline) -> None:
    bits = behavior.bits(MAIL)
    behavior.store([behavior.order(1, day(at), bits, revenue=1.5) for at in (1, 2, 29)])
    behavior.store([behavior.view(2, day(3), bits, "Boots")])
    with behavior.database.transaction() as tx:
        assert ANNA in consistency_store.sampled_profiles(tx, 0, 100)
        assert consistency_store.check_computed(tx, behavior.plan, [ANNA], now=behavior.now) == []
        tx.execute(
            "UPDATE behavior.bucket SET total = total + 0.001 WHERE trait = 'spent' AND day = %(day)s",
            {"day": date(2026, 1, 30)},
        )
        found = consistency_store.check_computed(tx, behavior.plan, [ANNA], now=behavior.now)
    assert [(each.profile_id, each.trait, each.recomputed) for each in found] == [(ANNA, "spent", 4.5)]


def test_a_sample_begins_at_a_random_place(behavior: BehaviorPipeline) -> None:
    with behavior.database.transaction() as tx:
        assert consistency_store.sampled_profiles(tx, 5, 2) == [5, 6]
        assert consistency_store.sampled_profiles(tx, ANNA + 1, 2) == []


def test_expiry_is_seen_before_the_sweep(behavior: BehaviorPipeline) -> None:
    behavior.store([behavior.order(1, day(-1000), behavior.bits(MAIL), revenue=5)])
    with behavior.database.transaction() as tx:
        tx.execute(
            "UPDATE consent.permitted SET since = %(since)s",
            {"since": datetime(2000, 1, 1, tzinfo=behavior.now.tzinfo)},
        )
        behavior.now = day(-1000) + timedelta(days=1094)
        before = computed_store.computed_of(tx, behavior.plan, [ANNA], now=behavior.now)[ANNA]
        behavior.now = day(-1000) + timedelta(days=1095)
        after = computed_store.computed_of(tx, behavior.plan, [ANNA], now=behavior.now)[ANNA]
    assert (before["spent"], after["spent"]) == (5, 0)
