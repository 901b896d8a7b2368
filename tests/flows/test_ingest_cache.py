"""Two processes: whatever one changes about somebody, the other does not judge by what it read before."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent import acts, recompute
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.identity.link_table.table import import_links
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.key_rotation import rotate_epoch, rotate_pseudonyms
from cdp.flows.operations.policy import apply_policy
from cdp.flows.operations.startup import open_context
from cdp.flows.rights.requests import open_request, run, verify, withdraw
from cdp.identity.model import Identifier
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.kit.pg_binary import arrays
from cdp.rights.store import suppressions as suppression_store
from cdp.sources.model import Source
from cdp.sources.store.sources import add_source
from cdp.vault.pseudonym import SUPPRESSION
from cdp.wire.message import Message
from tests.support.messages import consent_context, identify, track
from tests.support.people import CALIFORNIA, SHOP, WEB
from tests.support.pipeline import Pipeline
from tests.support.policies import changed, permit_all, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

ADA_IDS = {"userId": "ada", "anonymousId": "phone"}
STORED = Outcome(State.STORED)


def choose(ids: dict[str, str], **choices: bool) -> dict[str, Any]:
    return track(**ids, context=consent_context(**choices))


def refused(reason: str) -> Outcome:
    return Outcome(State.NOT_PERMITTED, reason)


@dataclass(slots=True)
class Two:
    """One process that receives messages, and another one with a desk; each with its own connections and its own keys."""

    here: Pipeline
    there: RequestPipeline

    def meet(self, body: dict[str, Any], source: Source = SHOP) -> None:
        """Let the first process receive a message like this until it recognizes who sends it."""
        for _ in range(2):
            assert self.here.send(body, source=source) == [STORED]
        before = self.here.ingest.profile_cache.recognized
        assert self.here.send(body, source=source) == [STORED]
        assert self.here.ingest.profile_cache.recognized == before + 1

    def again(self, body: dict[str, Any], source: Source = SHOP) -> Outcome:
        """What the first process says to it now: the same as a process that has just been started."""
        message, other = (self.here.message(body, source=source) for _ in range(2))
        pipeline = self.there.pipeline
        fresh = Ingest(
            pipeline.context.database,
            pipeline.context.vault,
            self.here.context.policy,
            clock=self.here.clock,
            replay=pipeline.context.replay,
        )
        (outcome,), (expected,) = self.here.ingest.process([message]), fresh.process([other])
        assert outcome == expected
        if outcome == STORED:
            assert self.stored(message) == self.stored(other)
        return outcome

    def purposes(self, body: dict[str, Any], source: Source = SHOP) -> set[str]:
        """For which purposes the first process stores it now."""
        message = self.here.message(body, source=source)
        assert self.here.ingest.process([message]) == [STORED]
        bits, _ = self.stored(message)
        with self.here.context.database.transaction(read_only=True) as tx:
            return {row[0] for row in tx.execute("SELECT purpose, bit FROM consent.purpose") if bits & 1 << row[1]}

    def stored(self, message: Message) -> tuple[int, int]:
        """The purposes and the profile of a stored message."""
        ids = self.here.context.vault.hashes.message_digests(int(message.source.source_id), [message.message_id])
        with self.here.context.database.transaction(read_only=True) as tx:
            (row,) = tx.execute(
                "SELECT e.bits, c.profile_id FROM behavior.event AS e JOIN identity.canonical AS c USING (anchor_id) "
                "WHERE e.event_id = ANY(%(ids)s::uuid[])",
                {"ids": arrays.uuids(ids)},
            )
        return row[0], row[1]


@pytest.fixture
def two(database: Database, tmp_path: Path) -> Two:
    there = open_request_pipeline(database, shipped(), tmp_path)
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=there.pipeline.clock.now())
    return beside(there)


def beside(there: RequestPipeline) -> Two:
    """A second process on the same database, with the same keys, the same clock and other message ids."""
    clock, policy = there.pipeline.clock, there.pipeline.context.policy
    context = open_context(Database(there.pipeline.context.database.url), policy, clock, home=there.home)
    ingest = Ingest(context.database, context.vault, policy, clock=clock, replay=context.replay)
    return Two(Pipeline(context, clock, ingest, there.pipeline.numbers), there)


def desk_withdraws(two: Two) -> None:
    told = ConsentStatement(("user_id", "ada"), "analytics", "withdraw", authority="authenticated", jurisdiction="eu")
    acts.record(two.there.context, told)


def message_refuses(two: Two) -> None:
    two.there.pipeline.send(choose({"userId": "ada"}, analytics=False))


def refused_message_refuses(two: Two) -> None:
    two.there.pipeline.send(choose({"anonymousId": "phone"}, analytics=False), source=WEB)


def erasure_is_verified(two: Two) -> None:
    two.there.ask("erasure", ("user_id", "ada"))


def erasure_is_done(two: Two) -> None:
    two.there.erase(("user_id", "ada"))


def policy_gives_the_purpose_up(two: Two) -> None:
    documents = shipped().documents["purposes.yaml"]
    assert isinstance(documents, dict)
    purposes = documents["purposes"]
    assert isinstance(purposes, dict)
    analytics = purposes["analytics"]
    assert isinstance(analytics, dict)
    narrowed = changed(shipped(), "purposes.yaml", purposes={"analytics": {**analytics, "model": {
        "eu": "opt_in", "us-ca": "opt_in", "unknown": "opt_in"}, "minimum_age": 18, "unknown_age": "refuse"}})  # fmt: skip
    apply_policy(two.there.pipeline.context, narrowed)


def grant_ends(two: Two) -> None:
    two.there.later(days=396)


def grant_ends_and_is_swept(two: Two) -> None:
    two.there.later(days=396)
    assert recompute.end_grants(two.there.context, two.there.pipeline.clock.now()) == 1


CHANGES: dict[str, tuple[Callable[[Two], None], Outcome]] = {
    "a withdrawal at the desk": (desk_withdraws, refused("withdrawn")),
    "a no in a message": (message_refuses, refused("refused")),
    "a no in a message that is refused": (refused_message_refuses, refused("refused")),
    "a verified erasure": (erasure_is_verified, Outcome(State.SUPPRESSED, "person")),
    "an erasure": (erasure_is_done, Outcome(State.SUPPRESSED, "person")),
    "another policy": (policy_gives_the_purpose_up, refused("age_unknown")),
    "the end of a grant": (grant_ends, refused("no_grant")),
    "the end of a grant, swept": (grant_ends_and_is_swept, refused("expired")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_by_another_process_counts_at_once(name: str, two: Two) -> None:
    change, expected = CHANGES[name]
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    change(two)
    assert two.again(track(**ADA_IDS)) == expected


def test_a_request_that_is_taken_back_lets_the_person_in_again(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    now = two.there.pipeline.clock.now()
    request = open_request(two.there.context, kind="erasure", regime="gdpr", identifiers=[("user_id", "ada")], now=now)
    verify(two.there.context, request.request_id, now)
    assert two.again(track(**ADA_IDS)).state is State.SUPPRESSED
    withdraw(two.there.context, request.request_id, now)
    assert two.again(track(**ADA_IDS)) == STORED


def test_somebody_erased_is_in_nobodys_memory(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    request = two.there.ask("erasure", ("user_id", "ada"))
    run(two.there.context, request.request_id, two.there.pipeline.clock.now())
    two.here.send(track(userId="bob"))
    assert len(two.here.ingest.profile_cache) == 0


def test_a_suppression_for_one_purpose_counts_at_once(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    pipeline = two.there.pipeline
    with pipeline.context.database.transaction() as tx:
        hidden = pipeline.context.vault.hashes.pseudonym(SUPPRESSION, "user_id", "ada")
        suppression_store.suppress_purposes(tx, [(hidden, "analytics")], pipeline.clock.now())
    assert two.again(track(**ADA_IDS)) == refused("refused")


def test_a_device_that_turns_out_to_be_shared_is_nobodys(two: Two) -> None:
    """Alone, it counted for its owner; shared, it is a profile of its own, that nobody granted anything."""
    tablet = {"anonymousId": "tablet"}
    assert two.here.send(choose({"userId": "ada", **tablet}, analytics=True)) == [STORED]
    two.meet(track(**tablet))
    two.there.pipeline.send(choose({"userId": "bob", **tablet}, analytics=True))
    assert two.here.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    two.again(track(**tablet))
    assert two.again(track(userId="ada", **tablet)) == STORED


def test_a_no_on_a_shared_device_reaches_everybody_seen_with_it(two: Two) -> None:
    both = {"userId": "ada", "anonymousId": "tablet"}
    two.here.send(choose(both, analytics=True))
    two.here.send(choose({**both, "userId": "bob"}, analytics=True))
    two.meet(track(**both))
    two.there.pipeline.send(choose({"anonymousId": "tablet"}, analytics=False), source=WEB)
    assert two.again(track(**both)) == refused("refused")


@pytest.mark.parametrize("is_table", [False, True], ids=["by a message", "by a link table"])
def test_a_merge_with_somebody_who_refused_counts_at_once(is_table: bool, two: Two) -> None:
    two.here.send(choose(ADA_IDS, analytics=True, personalization=True))
    two.meet(track(**ADA_IDS))
    assert two.purposes(track(**ADA_IDS)) == {"analytics", "personalization"}
    pipeline = two.there.pipeline
    pipeline.send(choose({"anonymousId": "laptop"}, analytics=False, personalization=True), source=WEB)
    if is_table:
        import_links(pipeline.context, SHOP, [("user_id", "ada", "anonymous_id", "laptop")])
    else:
        assert pipeline.send(track(userId="ada", anonymousId="laptop")) == [STORED]
    assert len(two.here.people()) == 1
    assert two.purposes(track(**ADA_IDS)) == {"personalization"}
    two.again(track(**ADA_IDS))


def test_a_stricter_source_changes_the_verdict_without_any_act(two: Two) -> None:
    """California lets in whoever did not opt out; a source in Europe that knows the same person asks first."""
    two.meet(track(**ADA_IDS), source=CALIFORNIA)
    assert "analytics" in two.purposes(track(**ADA_IDS), source=CALIFORNIA)
    assert two.there.pipeline.send(choose({"userId": "ada", "anonymousId": "laptop"}, personalization=True)) == [STORED]
    assert two.purposes(track(**ADA_IDS), source=CALIFORNIA) == {"personalization"}


def test_an_age_stated_elsewhere_counts_at_once(two: Two) -> None:
    two.here.send(choose(ADA_IDS, analytics=True, personalization=True))
    two.meet(track(**ADA_IDS))
    assert two.purposes(track(**ADA_IDS)) == {"analytics", "personalization"}
    two.there.pipeline.send(identify(userId="ada", traits={"age": 12}))
    assert two.purposes(track(**ADA_IDS)) == {"analytics"}


def test_unmerge_and_its_undo_count_at_once(two: Two) -> None:
    context = two.there.pipeline.context
    ada, tablet = Identifier("user_id", "ada"), Identifier("anonymous_id", "tablet")
    two.here.send(choose({"userId": "ada"}, analytics=True))
    two.here.send(track(userId="ada", anonymousId="tablet"))
    two.meet(track(anonymousId="tablet"))
    unmerge(context, ada, tablet, dry_run=True)
    assert two.again(track(anonymousId="tablet")) == STORED
    unmerge(context, ada, tablet, dry_run=False)
    assert two.again(track(anonymousId="tablet")) == refused("no_grant")
    remerge(context, ada, tablet, dry_run=False)
    assert two.again(track(anonymousId="tablet")) == STORED


def test_a_quarantine_and_its_end_count_at_once(database: Database, tmp_path: Path) -> None:
    bounds = {"identifiers_per_profile": 3}
    policy = changed(permit_all(), "identifiers.yaml", bounds=bounds)
    two = beside(open_request_pipeline(database, policy, tmp_path))
    two.meet(track(**ADA_IDS))
    for device in ("tablet", "laptop"):
        two.there.pipeline.send(track(userId="ada", anonymousId=device))
    assert two.again(track(**ADA_IDS)) == refused("quarantined")
    wide = apply_policy(two.there.pipeline.context, permit_all()).context
    rebuild(wide)
    assert two.again(track(**ADA_IDS)) == STORED


def test_rotated_keys_still_find_the_same_person(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    rotate_pseudonyms(two.there.pipeline.context)
    rotate_epoch(two.there.pipeline.context)
    assert two.again(track(**ADA_IDS)) == STORED
    assert two.here.one("SELECT count(*) FROM identity.identifier") == 2
    assert two.here.one("SELECT count(DISTINCT anchor_id) FROM behavior.event") == 1


def test_what_this_process_changes_itself_counts_at_once(two: Two) -> None:
    """In the same batch, too; and others whom it met stay known."""
    assert two.here.send(choose(ADA_IDS, analytics=True), choose({"userId": "bob"}, analytics=True)) == [STORED] * 2
    two.meet(track(**ADA_IDS))
    two.meet(track(userId="bob"))
    messages = []
    for body in (track(**ADA_IDS), choose({"userId": "ada"}, analytics=False), track(**ADA_IDS)):
        messages.append(two.here.message(body))
        two.there.later(seconds=1)
    outcomes = two.here.ingest.process(messages)
    assert outcomes == [STORED, refused("refused"), refused("refused")]
    assert two.again(track(**ADA_IDS)) == refused("refused")
    before = two.here.ingest.profile_cache.recognized
    assert two.here.send(track(userId="bob")) == [STORED]
    assert two.here.ingest.profile_cache.recognized == before + 1


def test_time_is_held_against_each_message_not_against_the_memory(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    two.meet(track(**ADA_IDS))
    yesterday = two.here.clock.now() - timedelta(days=1)
    assert two.again(track(**ADA_IDS, timestamp=yesterday.isoformat())) == refused("no_grant")


def test_a_familiar_message_asks_the_store_almost_nothing(two: Two) -> None:
    assert two.here.send(choose(ADA_IDS, analytics=True)) == [STORED]
    database = two.here.context.database
    costs = []
    for _ in range(4):
        before = database.statements
        two.here.send(track(**ADA_IDS))
        costs.append(database.statements - before)
    assert costs[-1] <= 10


def grants(two: Two, **choices: bool) -> Outcome:
    """The phone states its choices, as it does with every page."""
    (outcome,) = two.here.send(choose(ADA_IDS, **choices), source=WEB)
    two.there.later(seconds=1)
    return outcome


def ledger(two: Two) -> list[tuple[str, str]]:
    with two.here.context.database.transaction(read_only=True) as tx:
        return tx.execute("SELECT purpose, act FROM consent.record ORDER BY recorded_at, purpose")


def test_a_repeated_grant_is_recognized_and_recorded_once(two: Two) -> None:
    database, cache = two.here.context.database, two.here.ingest.profile_cache
    costs = []
    for at in range(5):
        before = database.statements
        assert grants(two, analytics=True, personalization=True) == STORED
        costs.append(database.statements - before)
        assert cache.recognized == at
    assert ledger(two) == [("analytics", "grant"), ("personalization", "grant")]
    assert costs[-1] <= 11


def test_a_refusal_without_effect_elsewhere_still_lets_the_next_grant_count(two: Two) -> None:
    """Her account withdrew, so that neither the refusal of the phone nor its next grant changes a verdict."""
    grants(two, analytics=True, personalization=True)
    tell(two, ("user_id", "ada"), "withdraw", "authenticated")
    for _ in range(3):
        grants(two, analytics=True, personalization=True)
    before = two.here.ingest.profile_cache.recognized, len(ledger(two))
    tell(two, ("anonymous_id", "phone"), "refuse", "device")
    grants(two, analytics=True, personalization=True)
    assert two.here.ingest.profile_cache.recognized == before[0]
    assert ledger(two)[before[1] :] == [("personalization", "refuse"), ("personalization", "grant")]


def tell(two: Two, identifier: tuple[str, str], word: str, authority: str) -> None:
    told = ConsentStatement(identifier, "personalization", word, authority=authority, jurisdiction="eu")
    acts.record(two.there.context, told)
    two.there.later(seconds=1)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_a_repeated_grant_beside_a_refusal_in_its_batch_is_read_again(is_first: bool, two: Two) -> None:
    """The order in which they happened decides, not the memory."""
    for _ in range(3):
        grants(two, analytics=True)
    messages = []
    for choice in (not is_first, is_first):
        messages.append(two.here.message(choose(ADA_IDS, analytics=choice), source=WEB))
        two.there.later(seconds=1)
    two.here.ingest.process(messages)
    assert Counter(ledger(two)) == {("analytics", "grant"): 1 + is_first, ("analytics", "refuse"): 2}
    assert two.again(track(**ADA_IDS)) == (STORED if is_first else refused("refused"))


def test_a_refusal_that_every_page_repeats_is_never_taken_from_memory(two: Two) -> None:
    for _ in range(4):
        grants(two, analytics=True, personalization=False)
    with two.here.context.database.transaction(read_only=True) as tx:
        (repeated,) = tx.execute("SELECT count(*) FROM consent.repetition")[0]
    assert repeated == 3 * 2
    assert two.here.ingest.profile_cache.recognized == 0
