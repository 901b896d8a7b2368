"""What the store permits is what the page says, for random (history, purpose) pairs: two million of them with `make test-long`.

Many histories are written at once, and decided at once: from the ledger, by the statements that put verdicts in force. What lies
in the projections and what a segment reads is compared with the pure decision, and with a slow reading of the rules.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from cdp.consent.decide import decide
from cdp.consent.model import EVERY_PURPOSE, Act, Reason, Record, Verdict
from cdp.consent.store.verdicts import has_stored_row, permitted_of, refused_of
from cdp.flows.consent.verdicts import refresh_verdicts
from cdp.kit.db import Database, Transaction
from cdp.policy.model import Policy, Purpose
from cdp.postgres.server import EmbeddedPostgres
from cdp.query.language import ast
from cdp.query.language.catalogue import Catalogue
from cdp.query.language.check import parse_and_check
from cdp.query.postgres.compile import compile_segment
from cdp.segments.store.definitions import interned_ids_of
from tests.generative.test_consent import slowly
from tests.spec.consent.acts import day
from tests.support.budget import IS_LONG
from tests.support.databases import temporary_database, undone
from tests.support.pipeline import open_pipeline
from tests.support.verdict_histories import Histories, History, policy_of_pairs, prepare, write_acts, write_people

pytestmark = pytest.mark.postgres

PAIRS_MAX = 2_000_000 if IS_LONG else 6_000
AT_ONCE = 2_500 if IS_LONG else 300
BATCHES_OF_A_DATABASE = 12
"""What is undone stays in the files of the database."""
Pair = tuple[int, str]


class Answer(NamedTuple):
    """A verdict as far as it is stored."""

    allowed: bool
    reason: str
    since: datetime | None
    until: datetime | None


def answer_of(verdict: Verdict) -> Answer:
    """What the store keeps of a verdict: the reason of a refusal that rests on records, and the span of a permission."""
    if verdict.allowed:
        return Answer(True, "", verdict.since, verdict.until)
    return Answer(False, verdict.reason.value if has_stored_row(verdict) else "", None, None)


def is_restricted(records: Sequence[Record], purpose: str, now: datetime) -> bool:
    """Read slowly: of each identifier, the last act about a purpose counts, and at one instant the restriction."""
    of_it = [one for one in records if one.act in (Act.RESTRICT, Act.RELEASE)]
    for about in (EVERY_PURPOSE, purpose):
        for identifier_id in {one.identifier_id for one in of_it if one.purpose == about}:
            own = [one for one in of_it if (one.identifier_id, one.purpose) == (identifier_id, about)]
            effective = [
                (min(one.at, now), one.act is Act.RESTRICT) for one in own if one.act is Act.RESTRICT or one.at <= now
            ]
            if effective and max(effective)[1]:
                return True
    return False


def is_allowed(history: History, records: Sequence[Record], rule: Purpose, *, now: datetime) -> bool:
    """The verdict by the words of the page."""
    if is_restricted(records, rule.key, now) or history.is_quarantined:
        return False
    if rule.needs_unique_identifier:
        return history.facts.has_unique_identifier
    stated = [one for one in records if not one.act.is_of_restriction]
    facts = replace(history.facts, jurisdictions=history.facts.jurisdictions.union(one.jurisdiction for one in stated))
    return slowly([one for one in stated if one.purpose == rule.key], rule, facts, now)


@dataclass(slots=True)
class Store:
    """A database under the policy, and a condition that is true for everybody."""

    database: Database
    policy: Policy
    everybody: ast.Condition

    def decide(
        self, tx: Transaction, histories: Sequence[History], *, is_second: bool, now: datetime
    ) -> dict[Pair, Answer]:
        """Write the acts of one part, put the verdicts in force, and read what the store permits."""
        write_acts(tx, [record for one in histories for record in (one.second if is_second else one.first)])
        ids = [history.profile_id for history in histories]
        refresh_verdicts(tx, self.policy, profile_ids=ids, now=now)
        refused = refused_of(tx, ids)
        found = {
            (id_, purpose): Answer(False, refused.get(id_, {}).get(purpose, ""), None, None)
            for id_ in ids
            for purpose in self.policy.purposes
        }
        for profile_id, purposes in permitted_of(tx, ids).items():
            for purpose, row in purposes.items():
                assert purpose not in refused.get(profile_id, {}), "permitted and refused at once"
                found[profile_id, purpose] = Answer(True, "", row.since, row.until)
        return found

    def read(self, tx: Transaction, now: datetime) -> set[Pair]:
        """Whom segments see, by purpose."""
        catalogue = Catalogue(self.policy)
        seen = set()
        for purpose in self.policy.purposes:
            interned = interned_ids_of(tx, self.everybody, catalogue)
            compiled = compile_segment(self.everybody, catalogue, interned, purpose=purpose, now=now)
            seen |= {(profile_id, purpose) for (profile_id,) in tx.all(compiled.members)}
        return seen


def violations(
    store: Store,
    histories: Sequence[History],
    stored: Mapping[Pair, Answer],
    seen: set[Pair],
    *,
    is_second: bool,
    now: datetime,
) -> Iterator[tuple[History, str, str]]:
    """The pairs about which the store, a segment, the pure decision and the page do not agree."""
    for history in histories:
        records = (*history.first, *history.second) if is_second else history.first
        for purpose, rule in store.policy.purposes.items():
            answer = stored[history.profile_id, purpose]
            if answer != answer_of(decide(records, rule, history.facts, now=now)):
                yield history, purpose, "the store and the decision"
            if answer.allowed != is_allowed(history, records, rule, now=now):
                yield history, purpose, "the store and the page"
            if answer.allowed != ((history.profile_id, purpose) in seen):
                yield history, purpose, "the store and a segment"


def to_clear(tx: Transaction) -> set[Pair]:
    return set(tx.execute("SELECT profile_id, purpose FROM consent.withdrawal"))


def ended(before: Mapping[Pair, Answer], after: Mapping[Pair, Answer]) -> set[Pair]:
    """The pairs whose earlier data is to be cleared: a permission ended, or began later, other than by a restriction."""
    kept = {Reason.RESTRICTED, Reason.QUARANTINED}
    return {
        pair
        for pair, then in before.items()
        if then.since is not None
        and after[pair].reason not in kept
        and ((since := after[pair].since) is None or since > then.since)
    }


def check_batch(store: Store, histories: Sequence[History], random: Random) -> None:
    """Decide these histories after their first and after all their acts; nothing is stored."""
    first_now, second_now = day(random.randint(3, 9) + 0.5), day(random.randint(14, 20) + 0.5)
    with undone(store.database) as tx:
        write_people(tx, histories)
        before = store.decide(tx, histories, is_second=False, now=first_now)
        found = list(violations(store, histories, before, store.read(tx, first_now), is_second=False, now=first_now))
        after = store.decide(tx, histories, is_second=True, now=second_now)
        found += violations(store, histories, after, store.read(tx, second_now), is_second=True, now=second_now)
        assert found[:1] == []
        assert to_clear(tx) == ended(before, after)
        later = second_now + timedelta(days=2)  # no worker came since
        permitted = {pair for pair, one in after.items() if one.allowed and (one.until is None or later < one.until)}
        assert store.read(tx, later) == permitted


def open_store(url: str, folder: Path) -> Store:
    policy = policy_of_pairs()
    database = Database(url)
    open_pipeline(database, policy, folder, day(-10))
    with database.transaction() as tx:
        prepare(tx, day(0))
    condition = parse_and_check('sample 100% by "x"', Catalogue(policy), "opt_in")
    assert not isinstance(condition, tuple)
    return Store(database, policy, condition)


def test_no_pair_is_decided_otherwise_by_the_store(
    server: EmbeddedPostgres, template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("CDP_PAIRS_SEED", "1"))
    random, pairs, databases = Random(seed), 0, count()
    histories = Histories(random, tuple(policy_of_pairs().purposes))
    while pairs < PAIRS_MAX:
        with temporary_database(server, template) as url:
            store = open_store(url, tmp_path / str(next(databases)))
            for _ in range(BATCHES_OF_A_DATABASE):
                check_batch(store, histories.draw(AT_ONCE), random)
                pairs += AT_ONCE * len(store.policy.purposes)
                if pairs >= PAIRS_MAX:
                    break
            store.database.close()
    with capsys.disabled():
        sys.stdout.write(f"\n{pairs} pairs of a history and a purpose were decided, each at two instants\n")
