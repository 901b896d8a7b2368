"""What is answered as of an instant is what was answered at it, whatever happened since.

Random histories of messages, acts, merges, unmerges, rebuilds and policies are asked about every person after each step. At the end the
same questions are asked as of each of those instants.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from cdp.flows.consent import acts, lookup
from cdp.flows.consent.as_of import AsOf, AsOfBasis
from cdp.flows.context import Context
from cdp.flows.identity.unmerge import rebuild, remerge, unmerge
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.policy import apply_policy
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from tests.support.messages import consent_context, identify, order, page
from tests.support.people import SHOP, WEB
from tests.support.policies import changed, documents_of, shipped
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

STEPS = 25
USERS = ("u1", "u2", "u3")
DEVICES = ("d1", "d2")
ADDRESSES = ("a@example.com", "b@example.com")
PURPOSES = ("analytics", "personalization", "email_marketing", "advertising")
PEOPLE = [
    *(("user_id", user) for user in USERS),
    *(("anonymous_id", device) for device in DEVICES),
    *(("email", address) for address in ADDRESSES),
]

Answers = dict[tuple[str, str], lookup.Consents]


def policies() -> list[Policy]:
    """The shipped policy, one under which grants end sooner, and one under which profiles are soon quarantined."""
    documents = documents_of(shipped())
    purposes = documents["purposes.yaml"]["purposes"]
    shorter = {key: {**purpose, "validity_days": 3} for key, purpose in purposes.items() if "validity_days" in purpose}
    weaker = {"user_id": {**documents["identifiers.yaml"]["types"]["user_id"], "unique": False}}
    return [
        shipped(),
        changed(shipped(), "purposes.yaml", purposes=shorter),
        changed(shipped(), "identifiers.yaml", bounds={"identifiers_per_profile": 3}),
        changed(shipped(), "identifiers.yaml", types=weaker),
    ]


@dataclass(slots=True)
class History:
    """A store under random steps, and what was answered after each."""

    rights: RequestPipeline
    random: Random
    context: Context
    ingest: Ingest
    answered: list[tuple[datetime, Answers]] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        return self.rights.pipeline.clock.now()

    def step(self) -> None:
        """One random change."""
        changes: list[tuple[int, Callable[[], None]]] = [
            (8, self.message),
            (5, self.act),
            (2, self.separate),
            (1, self.join),
            (1, self.rebuild),
            (1, self.policy),
        ]
        weights, actions = zip(*changes, strict=True)
        (action,) = self.random.choices(actions, weights)
        action()

    def message(self) -> None:
        """A message of a random person on a random device, with consents, an opt-out signal or an age, or without."""
        random = self.random
        fields: dict[str, Any] = {}
        if random.random() < 0.7:
            fields["anonymousId"] = random.choice(DEVICES)
        if random.random() < 0.7 or not fields:
            fields["userId"] = random.choice(USERS)
        context: dict[str, Any] = {}
        if random.random() < 0.6:
            context |= consent_context(**{purpose: random.random() < 0.6 for purpose in random.sample(PURPOSES, 2)})
        traits: dict[str, Any] = {}
        if random.random() < 0.5:
            traits["email"] = random.choice(ADDRESSES)
        if random.random() < 0.4:
            traits |= random.choice(({"age": random.choice((12, 15, 30))}, {"birthday": "2011-03-05"}))
        if traits:
            context["traits"] = traits
        if context:
            fields["context"] = context
        if random.random() < 0.3:
            stated = self.now - timedelta(hours=random.randint(0, 200))
            fields["timestamp"] = stated.isoformat()
        builder = random.choice((page, order, identify))
        source = random.choice((WEB, SHOP))
        body = builder(**fields)
        has_gpc = source is WEB and random.random() < 0.3
        self.ingest.process([self.rights.pipeline.message(body, source=source, has_gpc=has_gpc)])

    def act(self) -> None:
        """An act recorded by staff, now or about an earlier instant."""
        random = self.random
        statement = acts.ConsentStatement(
            random.choice(PEOPLE),
            random.choice(PURPOSES),
            random.choice(("grant", "grant", "refuse", "withdraw")),
            jurisdiction=random.choice(("eu", "us-ca")),
            occurred_at=random.choice((None, self.now - timedelta(hours=random.randint(0, 200)))),
        )
        acts.record(self.context, statement)

    def separate(self) -> None:
        """Unmerge two identifiers that may belong to one profile."""
        one, other = self.random.sample(PEOPLE, 2)
        self.attempt(lambda: unmerge(self.context, Identifier(*one), Identifier(*other), dry_run=False))

    def join(self) -> None:
        """Undo an unmerge that there may have been."""
        one, other = self.random.sample(PEOPLE, 2)
        self.attempt(lambda: remerge(self.context, Identifier(*one), Identifier(*other), dry_run=False))

    def rebuild(self) -> None:
        """Apply the rules in force to everything that was recorded."""
        rebuild(self.context)

    def policy(self) -> None:
        """Put another policy in force."""
        self.context = apply_policy(self.context, self.random.choice(policies())).context
        clock, database = self.rights.pipeline.clock, self.context.database
        self.ingest = Ingest(database, self.context.vault, self.context.policy, clock=clock, replay=self.context.replay)

    def attempt(self, change: Callable[[], object]) -> None:
        """Make a change that the store may refuse because there is nothing to change."""
        try:
            change()
        except Fault as fault:
            if fault.code not in {"unknown_profile", "not_merged", "not_kept_apart"}:
                raise

    def ask(self, *, as_of: datetime | None = None, basis: AsOfBasis = AsOfBasis.RECORDED) -> Answers:
        """What the ledger says about every person, now or as of an instant."""
        asked = None if as_of is None else AsOf(as_of, basis)
        return {
            person: lookup.look_up(self.context, person, self.now, actor="auditor", as_of=asked) for person in PEOPLE
        }


def comparable(answer: lookup.Consents, incomplete: Collection[str]) -> lookup.Consents:
    """An answer without the verdicts that depend on an age that was deleted since."""
    kept = {purpose: verdict for purpose, verdict in answer.verdicts.items() if purpose not in incomplete}
    return replace(answer, verdicts=kept, incomplete=())


@pytest.mark.parametrize("seed", range(6))
def test_as_recorded_is_what_was_answered(database: Database, tmp_path: Path, seed: int) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    history = History(rights, Random(seed), rights.context, rights.pipeline.ingest)
    for _ in range(STEPS):
        history.step()
        history.answered.append((history.now, history.ask()))
        rights.later(hours=history.random.choice((1, 5, 30)))
    assert history.ask(as_of=history.now, basis=AsOfBasis.OCCURRED) == history.ask()
    for asked_at, answers in history.answered:
        again = history.ask(as_of=asked_at)
        for person, answer in answers.items():
            assert comparable(again[person], again[person].incomplete) == comparable(
                answer, again[person].incomplete
            ), f"{person} as of {asked_at}"
            assert not any(again[person].verdicts[purpose].allowed for purpose in again[person].incomplete)
