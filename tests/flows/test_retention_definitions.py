"""When the policy changes: computed traits and retention classes follow, from the events there are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdp.behavior.store.computed import computed_of
from cdp.behavior.traits import compile_traits
from cdp.consent.store.projection import bits_of
from cdp.flows.operations.computed_traits import apply_definitions, check_sample
from cdp.flows.operations.retention import sweep
from cdp.kit.db import Database
from cdp.policy.model import Policy
from tests.support import messages
from tests.support.messages import track
from tests.support.policies import changed, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

SPENT = {
    "purpose": "analytics",
    "kind": "sum",
    "event": "Order Completed",
    "property": "revenue",
    "category": "user.behavior.purchase_history",
}


def with_traits(policy: Policy, **traits: Any) -> Policy:
    return changed(policy, "traits.yaml", traits={**dict.fromkeys(policy.traits), **traits})


def with_classes(policy: Policy, **classes: Any) -> Policy:
    known = json.loads(json.dumps(policy.documents["retention.yaml"]))["classes"]
    return changed(
        policy, "retention.yaml", classes={key: {**known.get(key, {}), **each} for key, each in classes.items()}
    )


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, with_traits(permit_all(), spent=SPENT), tmp_path)
    apply_definitions(database, rights.context.policy, rights.pipeline.clock.now())
    return rights


def send_orders(rights: RequestPipeline, *revenues: float) -> None:
    rights.pipeline.send(*(order(revenue) for revenue in revenues))


def order(revenue: float, **fields: Any) -> dict[str, Any]:
    properties = {"revenue": revenue, "items": int(revenue)}
    return messages.order(userId="ada", properties=properties, **fields)


def computed(rights: RequestPipeline, policy: Policy) -> dict[str, Any]:
    with rights.context.database.transaction() as tx:
        profile_id = tx.execute("SELECT DISTINCT profile_id FROM identity.canonical")[0][0]
        plan = compile_traits(policy, bits_of(tx))
        return dict(computed_of(tx, plan, [profile_id], now=rights.pipeline.clock.now())[profile_id])


def test_a_new_trait_counts_what_happened_before_it(rights: RequestPipeline) -> None:
    send_orders(rights, 10, 20, 30)
    policy = with_traits(rights.context.policy, spent=SPENT, pieces={**SPENT, "property": "items"})
    assert computed(rights, policy) == {"spent": 60, "pieces": 0}
    followed = apply_definitions(rights.context.database, policy, rights.pipeline.clock.now(), anchors_max=1)
    assert followed.traits == ("pieces",)
    assert computed(rights, policy) == {"spent": 60, "pieces": 60}
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).traits == ()


def test_a_changed_trait_is_computed_anew(rights: RequestPipeline) -> None:
    send_orders(rights, 10, 20, 30)
    policy = with_traits(rights.context.policy, spent={**SPENT, "where": {"items": [20, 30]}})
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).traits == ("spent",)
    assert computed(rights, policy) == {"spent": 50}


def test_another_half_life_is_weighed_against_a_landmark_of_its_own(rights: RequestPipeline) -> None:
    send_orders(rights, 8)
    now = rights.pipeline.clock.now()
    for half_life in (2, 4):
        policy = with_traits(rights.context.policy, spent={**SPENT, "half_life_days": half_life})
        apply_definitions(rights.context.database, policy, now)
        rights.pipeline.clock.instant = now
        rights.later(days=half_life)
        assert computed(rights, policy)["spent"] == pytest.approx(4, rel=1e-9)


def test_a_trait_that_is_no_more_is_swept(rights: RequestPipeline) -> None:
    send_orders(rights, 8)
    policy = with_traits(rights.context.policy)
    apply_definitions(rights.context.database, policy, rights.pipeline.clock.now())
    sweep(replace(rights.context, policy=policy), rights.pipeline.clock.now())
    assert rights.pipeline.one("SELECT count(*) FROM behavior.bucket") == 0


def test_other_words_compute_nothing(rights: RequestPipeline) -> None:
    send_orders(rights, 8)
    policy = with_traits(rights.context.policy, spent={**SPENT, "text": "What somebody spent"})
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).traits == ()


def test_events_follow_their_class(rights: RequestPipeline) -> None:
    send_orders(rights, 10, 20)
    rights.pipeline.send(track("Nobody planned this", userId="ada"))
    events = json.loads(json.dumps(rights.context.policy.documents["events.yaml"]))["events"]
    events["Order Completed"]["retention_class"] = "engagement"
    policy = changed(rights.context.policy, "events.yaml", events=events)
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).events_reclassified == 2
    assert filed(rights) == {"engagement": 2, "browsing": 1}
    assert computed(rights, policy) == {"spent": 30}
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).events_reclassified == 0


def test_events_of_a_class_that_is_no_more_go_where_their_name_belongs(rights: RequestPipeline) -> None:
    send_orders(rights, 10)
    rights.pipeline.send(track("Nobody planned this", userId="ada"))
    policy = changed(rights.context.policy, "events.yaml", unknown_class="system")
    assert apply_definitions(rights.context.database, policy, rights.pipeline.clock.now()).events_reclassified == 1
    assert filed(rights) == {"transactions": 1, "system": 1}
    assert sweep(replace(rights.context, policy=policy), rights.pipeline.clock.now()).without_rule == ()


def filed(rights: RequestPipeline) -> dict[str, int]:
    with rights.context.database.transaction() as tx:
        return dict(tx.execute("SELECT retention_class, count(*) FROM behavior.event GROUP BY 1"))


def test_message_ids_are_remembered_as_long_as_events_are_kept_now(rights: RequestPipeline) -> None:
    send_orders(rights, 10)
    before = rights.pipeline.one("SELECT keep_until FROM behavior.duplicate")
    kept = rights.context.policy.retention.classes["transactions"].keep_for_days
    policy = with_classes(rights.context.policy, transactions={"keep_for_days": kept + 100})
    apply_definitions(rights.context.database, policy, rights.pipeline.clock.now())
    assert (rights.pipeline.one("SELECT keep_until FROM behavior.duplicate") - before).days == 100


def test_the_sample_finds_and_mends_what_differs(rights: RequestPipeline, caplog: pytest.LogCaptureFixture) -> None:
    send_orders(rights, 10, 20)
    now, policy = rights.pipeline.clock.now(), rights.context.policy
    assert check_sample(rights.context.database, policy, now, from_profile=0) == []
    with rights.context.database.transaction() as tx:
        tx.execute("UPDATE behavior.bucket SET total = 99")
    (found,) = check_sample(rights.context.database, policy, now, from_profile=0)
    assert (found.trait, found.stored, found.recomputed) == ("spent", 99, 30)
    assert [record.message for record in caplog.records] == ["computed_traits_differ"]
    assert check_sample(rights.context.database, policy, now, from_profile=0) == []
    assert computed(rights, policy) == {"spent": 30}
