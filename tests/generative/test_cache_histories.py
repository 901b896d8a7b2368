"""Whatever happens between and within batches: who recognizes people ends with the same store as who asks every time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from cdp.accounting.model import Outcome
from cdp.flows.consent import acts as consent
from cdp.flows.consent import recompute
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.consent.withdrawal import clear_withdrawn
from cdp.flows.identifiers import open_identifiers
from cdp.flows.identity.link_table.table import import_links
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations import retention
from cdp.flows.operations.key_rotation import rotate_epoch, rotate_pseudonyms
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.startup import open_context
from cdp.flows.rights.requests import open_request, run, verify, withdraw
from cdp.flows.segments import memberships
from cdp.identity.model import Identifier
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.rights.store import suppressions as suppression_store
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from cdp.vault.pseudonym import SUPPRESSION
from cdp.wire.message import Message
from tests.generative.test_identity_batches import check_broken, empty
from tests.support.budget import IS_LONG, examples
from tests.support.messages import alias, consent_context, identify, read_as, track
from tests.support.people import CALIFORNIA, NOON, SHOP, WEB
from tests.support.policies import changed, permit_all, segment_unify, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

SOURCES = (SHOP, SHOP, WEB, CALIFORNIA)
PURPOSES = ("analytics", "personalization", "advertising")
EVENTS = ("Product Viewed", "Order Completed", "Order Completed", "Products Searched")


def limited(policy: Policy, *, identifiers: int, window_days: int) -> Policy:
    """A policy under which profiles are soon quarantined, and anchors stay unsettled."""
    types = policy.documents["identifiers.yaml"]["types"]  # type: ignore[index,call-overload]
    email: Any = {**types["email"], "limit": {"count": 1, "within_days": window_days}}  # type: ignore[index,call-overload,dict-item]
    bounds = {"identifiers_per_profile": identifiers, "merges_per_profile": 2, "anchors_per_profile": 5}
    return changed(policy, "identifiers.yaml", types={"email": email}, bounds=bounds)


POLICIES = {
    "shipped": shipped(),
    "permit_all": permit_all(),
    "first_owner": segment_unify(),
    "limited": limited(shipped(), identifiers=4, window_days=3),
}

Act = Callable[["World"], None]


@dataclass(slots=True)
class World:
    """One history as it is lived: a door, and a desk in another process that changes things between its batches."""

    rights: RequestPipeline
    ingest: Ingest
    policy: Policy
    can_remember: bool
    outcomes: list[Outcome | str] = field(default_factory=list)
    open_requests: list[int] = field(default_factory=list)

    def send(self, told: list[tuple[dict[str, Any], Source, bool]], *, fails: bool) -> None:
        if not self.can_remember:
            context = self.rights.pipeline.context
            self.ingest = Ingest(
                context.database, context.vault, self.policy, clock=self.rights.pipeline.clock, replay=context.replay
            )
        messages = [self.message(*each) for each in told]
        try:
            self.outcomes += self.ingest.process(messages, also=_fail if fails else None)
        except _Broken:
            self.outcomes.append("broken")

    def message(self, body: dict[str, Any], source: Source, has_gpc: bool) -> Message:
        now = self.rights.pipeline.clock.now()
        fields = dict(body)
        ago = timedelta(hours=fields.pop("ago"))
        return read_as(fields, source, now, occurred_at=now - ago, has_gpc=has_gpc)

    def attempt(self, act: Act) -> None:
        try:
            act(self)
        except Fault as fault:
            self.outcomes.append(fault.code)


class _Broken(Exception):
    pass


def _fail(_tx: object, _outcomes: object) -> None:
    raise _Broken


def identifier(random: Random) -> tuple[str, str]:
    return random.choice(
        [
            ("user_id", f"u{random.randint(1, 3)}"),
            ("anonymous_id", f"a{random.randint(1, 4)}"),
            ("email", f"p{random.randint(1, 3)}@example.com"),
        ]
    )


def body(random: Random, number: int) -> dict[str, Any]:
    given: dict[str, Any] = track(random.choice(EVENTS), messageId=f"m-{number:04d}", ago=0)
    if random.random() < 0.45:
        given["userId"] = f"u{random.randint(1, 3)}"
    if random.random() < 0.7 or "userId" not in given:
        given["anonymousId"] = f"a{random.randint(1, 4)}"
    traits: dict[str, Any] = {}
    if random.random() < 0.2:
        traits["email"] = f"p{random.randint(1, 3)}@example.com"
    context: dict[str, Any] = {"traits": dict(traits)} if traits else {}
    if random.random() < 0.3:
        choices = {each: random.random() < 0.6 for each in random.sample(PURPOSES, random.randint(1, 3))}
        context |= consent_context(**choices)
    if random.random() < 0.05:
        given |= identify(traits={"age": random.choice([12, 15, 16, 40])})
        del given["event"]
    elif random.random() < 0.05:
        given |= alias(previousId=f"a{random.randint(1, 4)}")
        del given["event"]
    if random.random() < 0.15:
        given["ago"] = random.choice([1, 30, 24 * 30])
    if context:
        given["context"] = context
    return given


def change(random: Random) -> Act:
    """Something that happens between two batches, in another process."""
    one, other, days = identifier(random), identifier(random), random.choice([0.01, 1, 4, 200, 396])
    purpose, word = random.choice(PURPOSES), random.choice(["grant", "withdraw", "object", "refuse"])
    authority, choice = random.choice(["authenticated", "operator", "device"]), random.randint(0, 5)

    def now(world: World) -> Any:
        return world.rights.pipeline.clock.now()

    def says(world: World) -> None:
        told = ConsentStatement(one, purpose, word, authority=authority, jurisdiction="eu")
        consent.record(world.rights.context, told)

    def asks_for_erasure(world: World) -> None:
        request = open_request(world.rights.context, kind="erasure", regime="gdpr", identifiers=[one], now=now(world))
        verify(world.rights.context, request.request_id, now(world))
        world.open_requests.append(request.request_id)

    def takes_back(world: World) -> None:
        if world.open_requests:
            withdraw(world.rights.context, world.open_requests.pop(0), now(world))

    def carries_out(world: World) -> None:
        if world.open_requests:
            run(world.rights.context, world.open_requests.pop(0), now(world))

    def suppresses_purpose(world: World) -> None:
        with world.rights.pipeline.context.database.transaction() as tx:
            hidden = world.rights.pipeline.context.vault.hashes.pseudonym(SUPPRESSION, *one)
            suppression_store.suppress_purposes(tx, [(hidden, purpose)], now(world))

    def suppresses(world: World) -> None:
        with world.rights.pipeline.context.database.transaction() as tx:
            hidden = world.rights.pipeline.context.vault.hashes.pseudonym(SUPPRESSION, *one)
            suppression_store.suppress(tx, [hidden], now(world), until=now(world) + timedelta(days=2))

    def parts(world: World) -> None:
        unmerge(world.rights.pipeline.context, Identifier(*one), Identifier(*other), dry_run=choice == 0)

    def joins(world: World) -> None:
        remerge(world.rights.pipeline.context, Identifier(*one), Identifier(*other), dry_run=choice == 0)

    def rebuilds(world: World) -> None:
        rebuild(world.rights.pipeline.context)

    def rotates(world: World) -> None:
        (rotate_pseudonyms if choice < 3 else rotate_epoch)(world.rights.pipeline.context)

    def imports(world: World) -> None:
        import_links(world.rights.pipeline.context, SHOP, [(*one, *other)])

    def waits(world: World) -> None:
        world.rights.later(days=days)

    def works(world: World) -> None:
        recompute.end_grants(world.rights.context, now(world))
        clear_withdrawn(world.rights.context)
        memberships.refresh_stale(world.rights.pipeline.context)

    def sweeps(world: World) -> None:
        retention.sweep(world.rights.context, now(world))

    def applies(world: World) -> None:
        context = world.rights.pipeline.context
        sizes = {"minimum_disclosure_size": 50 + choice}
        apply_policy(context, changed(context.policy, "jurisdictions.yaml", **sizes))

    often = (says, says, carries_out, imports, waits, works, sweeps, applies)
    return random.choice(
        (*often, *often, asks_for_erasure, takes_back, suppresses_purpose, suppresses, parts, joins, rebuilds, rotates)
    )


History = list[tuple[list[Act], list[tuple[dict[str, Any], Source, bool]], bool]]


def history(seed: int) -> History:
    """Batches, with what happens before each; some messages come twice, some batches fail at the last moment."""
    random = Random(seed)
    told: History = []
    number = 0
    sent: list[tuple[dict[str, Any], Source, bool]] = []
    shapes: list[dict[str, Any]] = []
    everything = consent_context(**dict.fromkeys(PURPOSES, True))
    for at in range(random.randint(0, 3)):
        shape = track(EVENTS[0], ago=0, userId=f"u{at + 1}", anonymousId=f"a{at + 1}")
        told.append(([], [({**shape, "messageId": f"m-grant-{at}", "context": everything}, SHOP, False)], False))
        shapes.append(shape)
    for _ in range(random.randint(4, 14)):
        acts = [change(random) for _ in range(random.choice([0, 0, 0, 0, 1, 1, 2]))]
        batch = []
        for _ in range(random.randint(1, 8)):
            number += 1
            if sent and random.random() < 0.08:
                batch.append(random.choice(sent))
                continue
            given = body(random, number)
            if shapes and random.random() < 0.75:
                given = {**random.choice(shapes), "messageId": f"m-{number:04d}"}
            plain = {name: value for name, value in given.items() if name != "context"}
            if plain["type"] == "track":
                shapes.append(plain)
            batch.append((given, random.choice(SOURCES), random.random() < 0.05))
        sent += batch
        told.append((acts, batch, random.random() < 0.08))
    return told


def live(database: Database, folder: Path, policy: Policy, story: History, *, can_remember: bool) -> tuple[World, Any]:
    """The whole store after a history, in names instead of random ids."""
    empty(database)
    with database.transaction() as tx:
        tx.execute(
            "TRUNCATE rights.suppression, rights.request, rights.request_identifier, rights.step, rights.hold CASCADE"
        )
        tx.execute("UPDATE identity.generation SET next_sequence = 1, acted_at = DEFAULT")
    rights = open_request_pipeline(database, policy, folder)
    rights.pipeline.clock.instant = NOON
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=NOON)
    beside = open_context(Database(database.url, pool_size=1), policy, rights.pipeline.clock, home=folder)
    world = World(
        rights,
        Ingest(beside.database, beside.vault, policy, clock=rights.pipeline.clock, replay=beside.replay),
        policy,
        can_remember,
    )
    try:
        for acts, batch, fails in story:
            for act in acts:
                world.attempt(act)
            world.send(batch, fails=fails)
        check_broken(rights.pipeline)
        return world, whole(rights)
    finally:
        beside.database.close()


WHOLE = {
    "people": "SELECT origin_sequence, (SELECT m.origin_sequence FROM identity.profile AS m WHERE m.profile_id = p.merged_into), "
    "is_quarantined FROM identity.profile AS p",
    "identifiers": "SELECT i.identifier_id, i.is_shared, i.last_seen_on, p.origin_sequence, l.linked_at FROM "
    "identity.identifier AS i LEFT JOIN identity.link AS l USING (identifier_id) LEFT JOIN identity.profile AS p USING "
    "(profile_id)",
    "anchors": "SELECT a.anchor_id, a.is_settled, p.origin_sequence, ARRAY(SELECT s.source_id FROM identity.anchor_source AS s "
    "WHERE s.anchor_id = a.anchor_id ORDER BY 1)::text FROM identity.anchor AS a JOIN identity.canonical AS c USING (anchor_id) "
    "JOIN identity.profile AS p USING (profile_id)",
    "steps": "SELECT sequence, anchor_id, source_id, received_at FROM identity.resolution",
    "evidence": "SELECT sequence, kind, rule, identifier_id, other_identifier_id FROM identity.evidence WHERE kind <> 'refusal'",
    "permitted": "SELECT p.origin_sequence, v.purpose, v.since, v.until, v.traits::text FROM consent.permitted AS v "
    "JOIN identity.profile AS p USING (profile_id)",
    "refused": "SELECT p.origin_sequence, v.purpose, v.reason FROM consent.refused AS v JOIN identity.profile AS p USING (profile_id)",
    "records": "SELECT identifier_id, purpose, act, authority, jurisdiction, signal, occurred_at, recorded_at, valid_until "
    "FROM consent.record",
    "repetitions": "SELECT identifier_id, repeated_at FROM consent.repetition",
    "withdrawals": "SELECT p.origin_sequence, w.purpose, w.withdrawn_at FROM consent.withdrawal AS w JOIN identity.profile AS p "
    "USING (profile_id)",
    "events": "SELECT event_id, anchor_id, bits, occurred_at, received_at, source_id, name_id FROM behavior.event",
    "traits": "SELECT anchor_id, name, bits, occurred_at, plain::text FROM behavior.trait",
    "buckets": "SELECT anchor_id, trait, day, generation, events, round(total::numeric, 6) FROM behavior.bucket",
    "suppressions": "SELECT encode(pseudonym, 'hex'), purpose, until FROM rights.suppression",
    "accounting": "SELECT source_id, state, reason, sum(messages) FROM accounting.accounting GROUP BY 1, 2, 3",
    "stale": "SELECT DISTINCT p.origin_sequence, s.event FROM segments.stale AS s JOIN identity.profile AS p USING (profile_id)",
    "keys": "SELECT subject_id FROM vault.subject_key JOIN identity.anchor ON anchor_id = subject_id",
}


def whole(rights: RequestPipeline) -> dict[str, list[tuple[str, ...]]]:
    context = rights.pipeline.context
    with context.database.transaction(read_only=True) as tx:
        ids = [row[0] for row in tx.execute("SELECT identifier_id FROM identity.identifier")]
        names = {key: f"{each.type}:{each.value}" for key, each in open_identifiers(tx, context.vault, ids).items()}
        members: dict[int, list[str]] = {}
        for anchor, member in tx.execute("SELECT anchor_id, identifier_id FROM identity.anchor_member"):
            members.setdefault(anchor, []).append(names[member])
        names |= {anchor: "+".join(sorted(found)) for anchor, found in members.items()}
        return {
            name: sorted(tuple(str(names.get(each, each)) for each in row) for row in tx.execute(query))
            for name, query in WHOLE.items()
        }


def with_signals(story: History, seed: int) -> History:
    """The same history, in which most messages repeat the consent of their device, as pages do; now and then it changes."""
    random = Random(seed)
    choices = {each: dict.fromkeys(PURPOSES, True) for each in ("a1", "a2", "a3", "a4", None)}
    told: History = []
    for acts, batch, fails in story:
        repeated = []
        for sent, source, has_gpc in batch:
            own = choices[sent.get("anonymousId")]
            if random.random() < 0.06:
                own[random.choice(PURPOSES)] = random.random() < 0.5
            if "context" not in sent and random.random() < 0.8:
                sent = {**sent, "context": consent_context(**own)}
            repeated.append((sent, source, has_gpc and random.random() < 0.3))
        told.append((acts, repeated, fails))
    return told


TWICE_LIVED = settings(
    max_examples=examples(2),
    deadline=None,
    derandomize=not IS_LONG,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(database: Database, folder: Path, policy: Policy, story: History) -> int:
    """Live a history twice; how many messages were recognized."""
    asking, expected = live(database, folder, policy, story, can_remember=False)
    knowing, found = live(database, folder, policy, story, can_remember=True)
    assert knowing.outcomes == asking.outcomes
    assert found == expected
    return knowing.ingest.profile_cache.recognized


@pytest.mark.parametrize("name", POLICIES)
@TWICE_LIVED
@example(seed=3)
@example(seed=8)
@given(seed=st.integers(0, 2**32))
def test_memory_changes_nothing(name: str, seed: int, database: Database, tmp_path: Path) -> None:
    check(database, tmp_path, POLICIES[name], history(seed))


@pytest.mark.parametrize("name", POLICIES)
@TWICE_LIVED
@given(seed=st.integers(0, 2**32))
def test_memory_of_repeated_signals_changes_nothing(name: str, seed: int, database: Database, tmp_path: Path) -> None:
    check(database, tmp_path, POLICIES[name], with_signals(history(seed), seed))
