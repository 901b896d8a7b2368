"""Computed traits of 18,532 real orders, against figures published for the same data.

Online Retail (Chen, Sain and Guo 2012) at 2011-12-10: recency, frequency and monetary value of 4,338 customers.
"""

import csv
import gzip
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import fmean

import pytest

from cdp.behavior.model import Bucket, EventId, Landmark, Occurred
from cdp.behavior.traits import CompiledTrait, agree, compile_traits, fold, recompute, value
from tests.support.behavior import ORDER, policy_with, trait
from tests.support.policies import ROOT

ORDERS = ROOT / "examples" / "online_retail" / "orders.csv.gz"
NOW = datetime(2011, 12, 10, tzinfo=UTC)
POLICY = policy_with(
    {
        "frequency": trait(kind="count", event=ORDER),
        "monetary": trait(kind="sum", event=ORDER, property="revenue"),
        "last_at": trait(kind="last", event=ORDER),
        "fading": trait(kind="sum", event=ORDER, property="revenue", half_life_days=90),
    }
)
PLAN = compile_traits(POLICY, {purpose: 1 << at for at, purpose in enumerate(POLICY.purposes)})
MASK = PLAN.by_key["monetary"].mask
LANDMARKS = {"fading": Landmark(1, datetime(2011, 1, 1, tzinfo=UTC))}


def read_orders() -> list[Occurred]:
    with gzip.open(ORDERS, "rt", encoding="utf-8") as file:
        return [
            Occurred(
                int(row["customer_id"]),
                EventId(number.to_bytes(16, "big")),
                datetime.fromisoformat(row["ts"]).replace(tzinfo=UTC),
                MASK,
                ORDER,
                {"revenue": float(row["amount"])},
            )
            for number, row in enumerate(csv.DictReader(file), 1)
        ]


@pytest.fixture(scope="module")
def orders() -> list[Occurred]:
    return read_orders()


@pytest.fixture(scope="module")
def buckets(orders: list[Occurred]) -> Mapping[int, list[Bucket]]:
    """Buckets by customer, folded in batches of a thousand as they would arrive."""
    found: dict[int, list[Bucket]] = defaultdict(list)
    for start in range(0, len(orders), 1000):
        for bucket in fold(orders[start : start + 1000], PLAN, LANDMARKS):
            found[bucket.anchor_id].append(bucket)
    return found


def values(buckets: Mapping[int, list[Bucket]], key: str) -> dict[int, float]:
    chosen: CompiledTrait = PLAN.by_key[key]
    generations = {1: LANDMARKS[key]} if chosen.half_life_days else {}
    found = {customer: value(chosen, mine, generations, now=NOW) for customer, mine in buckets.items()}
    return {customer: each for customer, each in found.items() if isinstance(each, int | float)}


def test_frequency(buckets: Mapping[int, list[Bucket]]) -> None:
    frequency = values(buckets, "frequency")
    assert len(frequency) == 4338
    assert sum(frequency.values()) == 18_532
    assert round(fmean(frequency.values()), 3) == 4.272


def test_monetary_value(buckets: Mapping[int, list[Bucket]]) -> None:
    monetary = values(buckets, "monetary")
    assert round(sum(monetary.values()), 2) == 8_911_407.90
    assert round(fmean(monetary.values()), 2) == 2_054.27
    top = max(monetary, key=lambda customer: monetary[customer])
    assert (top, round(monetary[top], 2)) == (14646, 280_206.02)


def test_recency(buckets: Mapping[int, list[Bucket]]) -> None:
    last = values(buckets, "last_at")
    days = [(NOW - datetime.fromtimestamp(micros / 1_000_000, UTC)).days for micros in last.values()]
    assert round(fmean(days), 2) == 92.06


def test_what_fades_equals_the_weights_of_all_orders(
    orders: list[Occurred], buckets: Mapping[int, list[Bucket]]
) -> None:
    by_customer: dict[int, list[Occurred]] = defaultdict(list)
    for order in orders:
        by_customer[order.anchor_id].append(order)
    fading = values(buckets, "fading")
    for customer, mine in by_customer.items():
        assert agree(fading[customer], recompute(PLAN.by_key["fading"], mine, NOW))
