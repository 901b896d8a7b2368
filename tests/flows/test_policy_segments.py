"""Segments under another policy: the plan counts who enters and leaves, and applying it and the worker do that."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.context import Context
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.policy_effects import Effect, Impact
from cdp.flows.operations.policy_impact import deletes, measure_impact
from cdp.flows.operations.policy_start import start_under
from cdp.flows.operations.startup import policy_in_force
from cdp.flows.segments import definitions
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id
from cdp.policy.load import build_policy
from cdp.policy.model import Policy
from cdp.segments.model import Draft, SegmentKey
from tests.support.policies import changed, documents_of, shipped
from tests.support.policy_changes import ORDER, VIEW, applied, consenting_people
from tests.support.requests import RequestPipeline

pytestmark = pytest.mark.postgres

FOLDER = {
    "ordered": ("analytics", f'count("{ORDER}") >= 2'),
    "silent": ("analytics", f'not did("{VIEW}", within 1 day)'),
    "valued": ("analytics", "computed.orders > 2"),
    "fading": ("analytics", "computed.fading > 0.5"),
}


def with_segments(policy: Policy, **segments: tuple[str, str] | None) -> Policy:
    """The policy with these segments in its folder instead of those that it has; None for those that end."""
    documents = documents_of(policy)
    kept = {key: content for key, content in documents.items() if not key.startswith("segments/")}
    for key, definition in segments.items():
        if definition is not None:
            purpose, where = definition
            kept[f"segments/{key}.yaml"] = {"key": key, "name": key, "purpose": purpose, "where": where}
    return build_policy(kept)


def with_traits(policy: Policy, **traits: dict[str, Any] | None) -> Policy:
    """The policy with these computed traits."""
    return changed(policy, "traits.yaml", traits=traits)


COUNTED = {"purpose": "analytics", "kind": "count", "event": ORDER, "category": "user.behavior.purchase_history"}


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    """The people, under a policy with segments of its folder whose memberships are up to date."""
    rights = consenting_people(database, tmp_path)
    policy = with_traits(shipped(), orders=COUNTED, fading={**COUNTED, "half_life_days": 20})
    rights.context = applied(rights, with_segments(policy, **FOLDER))
    return rights


def segment_impacts(context: Context, policy: Policy) -> dict[tuple[Effect, str], Impact]:
    return {
        (impact.effect, impact.scope): impact
        for impact in measure_impact(context, policy)
        if impact.purpose is not None
    }


def moved(rights: RequestPipeline, since: int) -> dict[tuple[Effect, str], set[str]]:
    """Who entered and left each segment by the changes that were recorded after one."""
    effects = {"entered": Effect.ENTER, "exited": Effect.LEAVE}
    found: dict[tuple[Effect, str], set[str]] = {}
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT change, key, profile_id FROM segments.membership_change WHERE change_id > %(since)s",
            {"since": since},
        )
    for change, key, profile_id in rows:
        found.setdefault((effects[change], key), set()).add(encode_id("prf", profile_id))
    return found


def last_change(rights: RequestPipeline) -> int:
    return int(rights.pipeline.one("SELECT coalesce(max(change_id), 0) FROM segments.membership_change"))


def members(rights: RequestPipeline) -> Counter[str]:
    with rights.context.database.transaction(read_only=True) as tx:
        return Counter(dict(tx.execute("SELECT key, count(*)::int FROM segments.membership GROUP BY key")))


def planned() -> dict[str, Any]:
    """Policies that change segments, permissions, computed traits or time limits."""

    def segments(policy: Policy, **changed_segments: tuple[str, str] | None) -> Policy:
        return with_segments(policy, **{**FOLDER, **changed_segments})

    return {
        "new": lambda policy: segments(policy, buyers=("analytics", f'did("{ORDER}")')),
        "condition": lambda policy: segments(policy, ordered=("analytics", f'count("{ORDER}", within 30 days) >= 2')),
        "purpose": lambda policy: segments(policy, ordered=("personalization", f'count("{ORDER}") >= 2')),
        "reference": lambda policy: segments(
            policy, both=("analytics", 'in segment "ordered" and in segment "silent"')
        ),
        "adults": lambda policy: with_purposes(policy, analytics={"minimum_age": 21, "unknown_age": "refuse"}),
        "opt-out": lambda policy: segments(
            with_purposes(
                policy, personalization={"model": {"eu": "opt_out", "us-ca": "opt_out", "unknown": "opt_out"}}
            ),
            quiet=("personalization", f'not did("{VIEW}", within 1 day)'),
        ),
        "validity": lambda policy: with_purposes(policy, analytics={"validity_days": 30}),
        "new trait": lambda policy: segments(
            with_traits(policy, recent={**COUNTED, "within_days": 30}), often=("analytics", "computed.recent >= 1")
        ),
        "changed trait": lambda policy: with_traits(policy, orders={**COUNTED, "within_days": 60}),
        "half-life": lambda policy: with_traits(policy, fading={**COUNTED, "half_life_days": 1}),
        "retention": lambda policy: shorter_retention(policy, "transactions", 60),
        "another class": lambda policy: in_class(shorter_retention(policy, "engagement", 60), ORDER, "engagement"),
        "stated trait": lambda policy: segments(
            with_purposes(policy, personalization={"minimum_age": 20, "unknown_age": "refuse"}),
            golden=("personalization", 'trait.plan = "gold"'),
        ),
    }


def with_purposes(policy: Policy, **rules: Any) -> Policy:
    whole = documents_of(policy)["purposes.yaml"]["purposes"]
    return changed(policy, "purposes.yaml", purposes={key: {**whole[key], **rule} for key, rule in rules.items()})


def shorter_retention(policy: Policy, key: str, days: int) -> Policy:
    classes = documents_of(policy)["retention.yaml"]["classes"]
    return changed(policy, "retention.yaml", classes={key: {**classes[key], "keep_for_days": days}})


def in_class(policy: Policy, event: str, key: str) -> Policy:
    """The policy with an event in another retention class."""
    events = documents_of(policy)["events.yaml"]["events"]
    return changed(policy, "events.yaml", events={event: {**events[event], "retention_class": key}})


@pytest.mark.parametrize("name", list(planned()))
def test_the_people_who_enter_and_leave_are_those_of_the_run(rights: RequestPipeline, name: str) -> None:
    policy = planned()[name](rights.context.policy)
    assert measure_impact(rights.context, rights.context.policy) == []
    since = last_change(rights)
    found = segment_impacts(rights.context, policy)
    assert last_change(rights) == since, "a plan changes nothing"
    rights.context = applied(rights, policy)
    changes = moved(rights, since)
    assert {place: impact.number for place, impact in found.items()} == {
        place: len(people) for place, people in changes.items()
    }
    assert found, "the policy moves somebody"
    for place, impact in found.items():
        assert set(impact.examples) <= changes[place]
        assert len(impact.examples) == min(3, impact.number)
        assert impact.purpose == definitions.find(rights.context, place[1]).purpose


def test_a_segment_that_the_folder_no_longer_has_ends(rights: RequestPipeline) -> None:
    policy = with_segments(rights.context.policy, **{**FOLDER, "ordered": None})
    before, since = members(rights), last_change(rights)
    assert before["ordered"] > 0
    found = segment_impacts(rights.context, policy)
    assert {place: impact.number for place, impact in found.items()} == {(Effect.DELETE, "ordered"): before["ordered"]}
    assert deletes(list(found.values()))
    rights.context = applied(rights, policy)
    changes = moved(rights, since)
    assert {place: len(people) for place, people in changes.items()} == {(Effect.LEAVE, "ordered"): before["ordered"]}
    assert set(found[Effect.DELETE, "ordered"].examples) <= changes[Effect.LEAVE, "ordered"]
    assert members(rights) == before - Counter({"ordered": before["ordered"]})
    assert "ordered" not in [segment.key for segment in definitions.list_segments(rights.context)]
    with pytest.raises(Fault, match="unknown_segment"):
        definitions.find(rights.context, "ordered")
    recorded = [fact["kind"] for fact in facts(rights) if fact.get("segment") == "ordered"]
    assert recorded[-2:] == ["segment.evaluated", "segment.deleted"]
    rights.context = applied(rights, with_segments(policy, **FOLDER))
    assert definitions.find(rights.context, "ordered").version == 2
    assert members(rights) == before


def facts(rights: RequestPipeline) -> list[dict[str, Any]]:
    with rights.context.database.transaction(read_only=True) as tx:
        return [body for (body,) in tx.execute("SELECT body FROM audit.fact ORDER BY entry_id")]


def test_a_segment_that_others_defined_does_not_end_with_the_folder(rights: RequestPipeline) -> None:
    policy = with_segments(rights.context.policy)
    before = members(rights)
    rights.context = applied(rights, policy)
    assert [segment.key for segment in definitions.list_segments(rights.context)] == ["viewers"]
    assert members(rights) == Counter({"viewers": before["viewers"]})


def test_a_segment_does_not_end_while_another_refers_to_it(rights: RequestPipeline) -> None:
    draft = Draft(SegmentKey("both"), "both", "analytics", "marketer")
    definitions.define(rights.context, draft, 'in segment "ordered"', is_new=True, actor="marketer")
    policy, before = with_segments(rights.context.policy), members(rights)
    with pytest.raises(Fault, match="segment_in_use") as fault:
        measure_impact(rights.context, policy)
    assert "both" in fault.value.detail
    with pytest.raises(Fault, match="segment_in_use"):
        apply_policy(rights.context, policy)
    assert members(rights) == before
    assert policy_in_force(rights.context.database) == rights.context.policy


def test_a_segment_that_the_policy_does_not_permit_has_no_members(rights: RequestPipeline) -> None:
    draft = Draft(SegmentKey("theirs"), "theirs", "analytics", "marketer")
    definitions.define(rights.context, draft, "computed.orders >= 2", is_new=True, actor="marketer")
    context, before, since = rights.context, members(rights), last_change(rights)
    policy = with_segments(with_traits(with_segments(context.policy), orders=None), ordered=FOLDER["ordered"])
    found = segment_impacts(context, policy)
    assert found[Effect.DELETE, "theirs"].number == before["theirs"] > 0
    rights.context = applied(rights, policy)
    assert members(rights)["theirs"] == 0
    assert len(moved(rights, since)[Effect.LEAVE, "theirs"]) == before["theirs"]
    assert definitions.find(rights.context, "theirs").version == 1
    rights.context = applied(rights, context.policy)
    assert members(rights)["theirs"] == before["theirs"], "the definition stayed"


def test_a_start_leaves_what_ends_to_the_operator(rights: RequestPipeline) -> None:
    """A changed condition deletes nothing, and is applied; a segment with members does not end by a restart."""
    condition = with_segments(rights.context.policy, **{**FOLDER, "ordered": ("analytics", f'count("{ORDER}") >= 100')})
    started = start_under(rights.context, condition)
    assert (started.policy.fingerprint, started.pending_policy) == (condition.fingerprint, None)
    ending = with_segments(condition, **{**FOLDER, "ordered": None, "silent": None})
    waiting = start_under(started, ending)
    assert (waiting.policy.fingerprint, waiting.pending_policy) == (condition.fingerprint, ending.fingerprint)
    again = start_under(waiting, condition)
    assert "silent" in [segment.key for segment in definitions.list_segments(again)]


def test_an_evaluation_that_takes_too_long_is_not_known(
    rights: RequestPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = ", ".join([f'"{ORDER}"'] * 8)
    policy = with_segments(rights.context.policy, **{**FOLDER, "slow": ("analytics", f"sequence({steps})")})
    with monkeypatch.context() as patch:
        patch.setattr("cdp.segments.store.evaluation._TIME_MAX", "1ms")
        found = segment_impacts(rights.context, policy)
    assert found[Effect.UNKNOWN, "slow"].what == "segments whose evaluation takes too long"
    assert deletes(list(found.values())), "it is asked about"
