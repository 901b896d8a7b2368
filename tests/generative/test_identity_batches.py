"""Batches, retries and shared identifiers: the stored mapping equals the sequential model for every grouping."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp.flows.identifiers import evidence_of
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.identity.model import Evidence, ResolutionStep
from cdp.identity.rules import Rules
from cdp.identity.run import replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import mapping as mapping_store
from cdp.identity.store import replacing as replacing_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.sources.model import IMPORT_SOURCE, Source, SourceKind
from tests.support.budget import IS_LONG, examples
from tests.support.messages import track
from tests.support.people import NOON, SHOP, WEB, new_source
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import changed, permit_all, segment_unify

pytestmark = pytest.mark.postgres

IMPORTED = new_source(4, IMPORT_SOURCE, SourceKind.SERVER)
PLACES = {"userId": "u", "anonymousId": "a", "email": "e", "device": "d", "household": "h"}


@st.composite
def message(draw: st.DrawFn) -> dict[str, Any]:
    """A message with a few identifiers from a small set, so that they collide."""
    body: dict[str, Any] = track()
    traits: dict[str, str] = {}
    if draw(st.booleans()):
        body["userId"] = f"u{draw(st.integers(1, 4))}"
    is_named_by_address = "userId" not in body and draw(st.integers(0, 9)) < 3
    if not is_named_by_address and (draw(st.integers(0, 9)) < 7 or "userId" not in body):
        body["anonymousId"] = f"a{draw(st.integers(1, 5))}"
    if is_named_by_address or draw(st.integers(0, 9)) < 4:
        traits["email"] = f"p{draw(st.integers(1, 5))}@example.com"
    if draw(st.integers(0, 9)) < 2:
        traits["household_id"] = f"h{draw(st.integers(1, 2))}"
    context: dict[str, Any] = {}
    if traits:
        context["traits"] = traits
    if draw(st.integers(0, 9)) < 3:
        context["device"] = {"id": f"d{draw(st.integers(1, 3))}", "type": "ios"}
    if context:
        body["context"] = context
    return body


@st.composite
def history(draw: st.DrawFn) -> tuple[list["Sent"], list[int]]:
    """Messages, and where the batches end; some messages are repeated later, in the same batch or another."""
    source = st.sampled_from(draw(st.sampled_from([[SHOP], [WEB], [WEB, SHOP], [WEB, SHOP, IMPORTED]])))
    messages = [(body, draw(source)) for body in draw(st.lists(message(), min_size=1, max_size=14))]
    for at, (body, _) in enumerate(messages):
        body["messageId"] = f"m-{at:03d}"
    sent = list(messages)
    for repeated in draw(st.lists(st.sampled_from(messages), max_size=3)):
        sent.insert(draw(st.integers(sent.index(repeated) + 1, len(sent))), repeated)
    cuts = sorted(draw(st.sets(st.integers(1, len(sent)), max_size=5)))
    return sent, cuts


Sent = tuple[dict[str, Any], Source]


def model_of(policy: Policy, messages: Sequence[Sent]) -> set[frozenset[tuple[str, str]]]:
    """The sequential model, message by message, over names instead of stored ids."""
    plan = compile_ingest_plan(policy)
    numbers: dict[tuple[str, str], int] = {}
    steps: list[ResolutionStep] = []
    rules = Rules(policy.identifiers)
    anchors: dict[tuple[frozenset[int], bool], int] = {}
    stated: dict[int, Evidence] = {}
    seen: set[tuple[str, int]] = set()
    for body, source in messages:
        if (body["messageId"], source.source_id) in seen:
            continue
        seen.add((body["messageId"], source.source_id))
        members = tuple(
            numbers.setdefault((identifier.type, identifier.value), len(numbers) + 1)
            for identifier in plan.reader.promote(body).identifiers
        )
        is_claim = source.kind is SourceKind.BROWSER and any(
            identifier.type in rules.guarded for identifier in plan.reader.promote(body).identifiers
        )
        anchor = anchors.setdefault((frozenset(members), is_claim), len(anchors) + 1)
        stated[anchor] = max(evidence_of(source), stated.get(anchor, Evidence.BROWSER))
        steps.append(ResolutionStep(len(steps) + 1, anchor, members, NOON))
    steps = [step._replace(authority=stated[step.anchor_id]) for step in steps]
    names = {number: name for name, number in numbers.items()}
    run = replay(rules, {number: name[0] for name, number in numbers.items()}, steps)
    return {
        frozenset(names[member] for member in group.members) for group in run.world.groups.values() if group.members
    }


POLICIES = {
    "shared": permit_all(),
    "first_owner": segment_unify(),
    "tight": changed(
        permit_all(),
        "identifiers.yaml",
        types={
            "email": {
                **permit_all().documents["identifiers.yaml"]["types"]["email"],  # type: ignore[index,call-overload,dict-item]
                "limit": {"count": 1},
            }
        },
        bounds={"identifiers_per_profile": 6, "merges_per_profile": 2},
    ),
    "few_anchors": changed(permit_all(), "identifiers.yaml", bounds={"anchors_per_profile": 3}),
}


@pytest.mark.parametrize("name", POLICIES)
@settings(
    max_examples=examples(25),
    deadline=None,
    derandomize=not IS_LONG,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=history())
def test_the_stored_map_equals_the_sequential_model(
    name: str, drawn: tuple[list[Sent], list[int]], database: Database, tmp_path: Path
) -> None:
    policy = POLICIES[name]
    messages, cuts = drawn
    empty(database)
    pipeline = open_pipeline(database, policy, tmp_path)
    for start, end in zip([0, *cuts], [*cuts, len(messages)], strict=True):
        if messages[start:end]:
            pipeline.ingest.process([pipeline.message(body, source=source) for body, source in messages[start:end]])
    if name != "few_anchors":  # there, messages are refused for a quarantine that later knowledge may lift
        assert pipeline.partition() == model_of(policy, messages)
    check_map(pipeline)


def empty(database: Database, *, keep: Sequence[str] = ()) -> None:
    """Delete every person; the schema, the policy and the tables of `keep` stay."""
    with database.transaction() as tx:
        tables = [
            row[0]
            for row in tx.execute(
                "SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname IN ('identity', 'behavior', 'consent', 'segments', 'sources', 'access', 'accounting', 'operations') "
                "AND tablename <> ALL(%(kept)s)",
                {"kept": ["generation", "purpose", "applied_policy", "term", "landmark", *keep]},
            )
        ]
        tx.execute("TRUNCATE " + ", ".join(tables) + " CASCADE")
        tx.execute("DELETE FROM vault.subject_key")


def check_map(pipeline: Pipeline) -> None:
    """Nothing is incomplete, and a replay of the recorded sequence, with the pairs kept apart, gives the stored mapping."""
    check_broken(pipeline)
    with pipeline.context.database.transaction(read_only=True) as tx:
        recorded = closure_store.recorded(tx)
        owners = mapping_store.owners(tx)
        never = separation_store.never_pairs(tx, list(recorded.types))
        apart = replacing_store.set_apart(tx, list(recorded.types))
        canonical: dict[int, int] = dict(tx.execute("SELECT anchor_id, profile_id FROM identity.canonical"))
    rules = Rules(pipeline.context.policy.identifiers)
    run = replay(rules, recorded.types, recorded.steps, shared=apart, never=never, proved=recorded.proved)
    world = run.world
    assert world.shared == recorded.shared
    named = {key: level for key, level in recorded.authority.items() if recorded.types[key] in rules.person_level}
    assert {key: world.authority.get(key, 0) for key in named} == named
    assert {identifier: recorded.profiles[origin] for identifier, origin in world.owner.items()} == owners
    placed = {
        anchor: recorded.profiles[world.current(origin)]
        for anchor, origin in world.accepted_placement.items()
        if anchor > 0
    }
    assert placed == canonical


def check_broken(pipeline: Pipeline) -> None:
    """Nothing is incomplete: every anchor, link and verdict belongs to a living profile."""
    for query in BROKEN:
        assert pipeline.one(query) == 0, query


BROKEN = (
    """SELECT count(*) FROM identity.canonical c LEFT JOIN identity.profile p USING (profile_id)
       WHERE p.profile_id IS NULL OR p.merged_into IS NOT NULL""",
    """SELECT count(*) FROM identity.link l LEFT JOIN identity.profile p USING (profile_id)
       WHERE p.profile_id IS NULL OR p.merged_into IS NOT NULL""",
    """SELECT count(*) FROM identity.anchor a LEFT JOIN identity.canonical c USING (anchor_id)
       WHERE c.anchor_id IS NULL""",
    """SELECT count(*) FROM consent.permitted p LEFT JOIN identity.profile f USING (profile_id)
       WHERE f.profile_id IS NULL OR f.merged_into IS NOT NULL""",
    """SELECT count(*) FROM identity.profile p JOIN identity.profile q ON q.profile_id = p.merged_into
       WHERE q.merged_into IS NOT NULL""",
    """SELECT count(*) FROM behavior.event e LEFT JOIN identity.canonical c USING (anchor_id)
       WHERE c.anchor_id IS NULL""",
    """SELECT count(*) FROM identity.identifier i
       WHERE NOT EXISTS (SELECT FROM vault.subject_key k WHERE k.subject_id = i.identifier_id)""",
)
"""Counts of rows that must not exist."""


def test_many_shared_identifiers_are_processed_in_smaller_batches_with_the_same_result(
    database: Database, tmp_path: Path
) -> None:
    """Most messages put another person on a known browser, as anyone with a public write key could."""
    policy = POLICIES["shared"]
    pipeline = open_pipeline(database, policy, tmp_path)
    random = Random(1)
    messages = [
        track(messageId=f"m-{at:04d}", userId=f"u{random.randrange(60)}", anonymousId=f"a{random.randrange(60)}")
        for at in range(240)
    ]
    before = database.statements
    pipeline.send(*messages)
    assert database.statements - before < 400
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") > 16
    assert pipeline.partition() == model_of(policy, [(body, SHOP) for body in messages])
    check_map(pipeline)
