"""Random messages, answers, terms and erasures in random order: what waits and what is stored is what a small model says."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp.consent.store.projection import bits_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.wire.message import Message
from tests.support.budget import examples
from tests.support.deferring import PATIENT, PATIENT_SHOP, Deferring, open_deferring, waiting_in
from tests.support.messages import consent_context, track
from tests.support.policies import shipped
from tests.support.requests import open_request_pipeline

pytestmark = pytest.mark.postgres

PURPOSES: Final = ("analytics", "email_marketing")
TERM: Final = timedelta(hours=24)
NEVER: Final = datetime.min.replace(tzinfo=UTC)

Key = tuple[int, str]
"""A source and a message id."""


@dataclass(slots=True)
class Act:
    at: datetime
    is_grant: bool
    means: str
    permits_from: datetime | None = None


@dataclass(slots=True)
class Waiting:
    device: str
    at: datetime
    names_ada: bool
    is_refused: bool = False


@dataclass(slots=True)
class Stored:
    device: str
    at: datetime
    purposes: frozenset[str]


@dataclass(slots=True)
class Model:
    """Devices that are one person each, unless a stored message ties them to Ada, who may only refuse."""

    acts: dict[tuple[str, str], list[Act]] = field(default_factory=dict)
    refused_by_ada: set[str] = field(default_factory=set)
    of_ada: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    waiting: dict[Key, Waiting] = field(default_factory=dict)
    stored: dict[Key, Stored] = field(default_factory=dict)
    granted: set[tuple[str, int]] = field(default_factory=set)

    def verdict(
        self, device: str, purpose: str, *, names_ada: bool, drafts: Sequence[Act] = ()
    ) -> tuple[str, datetime]:
        """`allowed` with the start of the permission, `refused` or `unanswered`."""
        has_ada = names_ada or device in self.of_ada
        devices = {device} | (self.of_ada if has_ada else set())
        acts = [act for each in devices for act in self.acts.get((each, purpose), ())] + list(drafts)
        since, over = None, NEVER
        for act in sorted(acts, key=lambda act: act.at):
            if not act.is_grant:
                since, over = None, act.at
                continue
            since = since or act.at
            if act.permits_from is not None and act.permits_from < since:
                since = act.permits_from if over < act.permits_from else min(since, over + timedelta.resolution)
        if has_ada and purpose in self.refused_by_ada:
            return "refused", NEVER
        if since is None:
            return ("refused" if acts else "unanswered"), NEVER
        return "allowed", since

    def permitted(self, device: str, at: datetime, *, names_ada: bool) -> frozenset[str] | str:
        """The purposes that permit a message; otherwise whether somebody `refused`, or the message is `unanswered`."""
        found = {purpose: self.verdict(device, purpose, names_ada=names_ada) for purpose in PURPOSES}
        purposes = frozenset(key for key, (state, since) in found.items() if state == "allowed" and since <= at)
        if purposes:
            return purposes
        return "refused" if any(state == "refused" for state, _ in found.values()) else "unanswered"

    def view(self, key: Key, device: str, at: datetime, *, names_ada: bool) -> str:
        if device in self.erased:
            return "suppressed"
        if key in self.stored:
            return "duplicate"
        permitted = self.permitted(device, at, names_ada=names_ada)
        if isinstance(permitted, frozenset):
            self.store(key, device, at, permitted, names_ada=names_ada)
            return "stored"
        if permitted == "refused":
            return "not_permitted"
        if key in self.waiting:
            return "duplicate"
        self.waiting[key] = Waiting(device, at, names_ada)
        return "deferred"

    def store(self, key: Key, device: str, at: datetime, purposes: frozenset[str], *, names_ada: bool) -> None:
        self.stored[key] = Stored(device, at, purposes)
        if names_ada:
            self.of_ada.add(device)

    def answer(self, device: str, at: datetime, choices: dict[str, bool], *, means: str) -> str:
        """An answer by a message, which counts only if it is stored, or by the interface, which always does."""
        if device in self.erased:
            return "suppressed"
        first = min((w.at for w in self.waiting.values() if w.device == device and at < w.at + TERM), default=None)
        drafts: dict[str, Act] = {}
        for purpose, is_grant in choices.items():
            known = self.acts.get((device, purpose), [])
            is_same = bool(known) and (known[-1].is_grant, known[-1].means) == (is_grant, means)
            if not (is_same and is_grant and means == "message"):
                drafts[purpose] = Act(at, is_grant, means, first if is_grant and first and first < at else None)
        verdicts = [
            self.verdict(device, purpose, names_ada=False, drafts=[drafts[purpose]] if purpose in drafts else ())
            for purpose in PURPOSES
        ]
        is_stored = means == "interface" or any(state == "allowed" and since <= at for state, since in verdicts)
        for purpose, act in drafts.items():
            if is_stored or not act.is_grant:
                self.acts.setdefault((device, purpose), []).append(act)
        if is_stored and any(act.is_grant for act in drafts.values()):
            self.granted.update((device, source) for (source, _), w in self.waiting.items() if w.device == device)
        if any(not act.is_grant for act in drafts.values()):
            self.refuse(device)
        return "stored" if is_stored else "not_permitted"

    def refuse(self, device: str) -> None:
        for key, waits in list(self.waiting.items()):
            if waits.device == device:
                if (device, key[0]) in self.granted:
                    waits.is_refused = True
                else:
                    del self.waiting[key]

    def work(self, now: datetime) -> None:
        due = [key for key, w in self.waiting.items() if (w.device, key[0]) in self.granted and now < w.at + TERM]
        for key in sorted(due, key=lambda key: (self.waiting[key].at, key[1])):
            waits = self.waiting[key]
            if key in self.stored:
                del self.waiting[key]
                continue
            permitted = self.permitted(waits.device, waits.at, names_ada=waits.names_ada)
            if isinstance(permitted, frozenset):
                self.store(key, waits.device, waits.at, permitted, names_ada=waits.names_ada)
                del self.waiting[key]
            elif permitted == "refused" or waits.is_refused:
                del self.waiting[key]
        self.granted.clear()
        self.waiting = {key: w for key, w in self.waiting.items() if now < w.at + TERM}

    def erase(self, device: str) -> None:
        self.erased.add(device)
        self.waiting = {key: w for key, w in self.waiting.items() if w.device != device}
        self.stored = {key: s for key, s in self.stored.items() if s.device != device}
        self.acts = {key: acts for key, acts in self.acts.items() if key[0] != device}

    def effective(self) -> dict[Key, frozenset[str]]:
        """The stored messages with the purposes for which they count now."""
        found = {}
        for key, stored in self.stored.items():
            verdicts = {p: self.verdict(stored.device, p, names_ada=False) for p in stored.purposes}
            found[key] = frozenset(
                p for p, (state, since) in verdicts.items() if state == "allowed" and since <= stored.at
            )
        return {key: purposes for key, purposes in found.items() if purposes}


_runs = count(1)


@dataclass(slots=True)
class History:
    """One history in the store and in the model, with names of its own."""

    store: Deferring
    random: Random
    model: Model = field(default_factory=Model)
    run: int = field(default_factory=lambda: next(_runs))
    sent: int = 0
    named_with_ada: set[str] = field(default_factory=set)

    def device(self) -> str:
        return f"device-{self.run}-{self.random.choice('abc')}"

    def act(self) -> None:
        self.store.rights.later(seconds=1)
        kind = self.random.choices(
            ("batch", "work", "later", "interface", "ada", "erase"), weights=(60, 15, 10, 8, 2, 2)
        )[0]
        getattr(self, kind)()

    def batch(self) -> None:
        messages: list[Message] = []
        expected: list[str] = []
        deferred: dict[int, Key] = {}
        for position in range(self.random.choice((1, 1, 2, 4, 7))):
            self.store.rights.later(seconds=1)
            if self.random.random() < 0.65:
                key, message, state = self.view()
                if state == "deferred":
                    deferred[position] = key
            else:
                message, state = self.answer()
            messages.append(message)
            expected.append(state)
        for position, key in deferred.items():
            if key not in self.model.waiting:
                expected[position] = "not_permitted"
        outcomes = self.store.rights.pipeline.ingest.process(messages)
        self.sent += len(messages)
        assert [outcome.state.value for outcome in outcomes] == expected

    def view(self) -> tuple[Key, Message, str]:
        device = self.device()
        names_ada = self.random.random() < 0.2 and device not in self.model.erased
        source = PATIENT_SHOP if names_ada else PATIENT
        key = int(source.source_id), f"{self.run}-{self.random.randrange(12)}-{device[-1]}"
        body: dict[str, Any] = track(anonymousId=device, messageId=key[1])
        if names_ada:
            self.named_with_ada.add(device)
            body["userId"] = f"ada-{self.run}"
        message = self.store.rights.pipeline.message(body, source=source)
        return key, message, self.model.view(key, device, self.store.now, names_ada=names_ada)

    def answer(self) -> tuple[Message, str]:
        device, choices = self.device(), self.choices()
        body = track("Answered", anonymousId=device, context=consent_context(**choices))
        message = self.store.rights.pipeline.message(body, source=PATIENT)
        return message, self.model.answer(device, self.store.now, choices, means="message")

    def choices(self) -> dict[str, bool]:
        some = self.random.sample(PURPOSES, self.random.choice((1, 1, 2)))
        return {purpose: self.random.random() < 0.7 for purpose in some}

    def interface(self) -> None:
        device = self.device()
        purpose, is_grant = self.random.choice(PURPOSES), self.random.random() < 0.7
        act = "grant" if is_grant else "refuse"
        statement = ConsentStatement(("anonymous_id", device), purpose, act, authority="device", jurisdiction="eu")
        if device in self.model.erased:
            with pytest.raises(Fault, match="identifier_suppressed"):
                record(self.store.rights.context, statement)
        else:
            record(self.store.rights.context, statement)
        self.model.answer(device, self.store.now, {purpose: is_grant}, means="interface")

    def ada(self) -> None:
        purpose = self.random.choice(PURPOSES)
        record(
            self.store.rights.context,
            ConsentStatement(("user_id", f"ada-{self.run}"), purpose, "refuse", jurisdiction="eu"),
        )
        self.model.refused_by_ada.add(purpose)

    def later(self) -> None:
        self.store.rights.later(hours=self.random.choice((1, 5, 20, 30)))

    def work(self) -> None:
        self.store.work()
        self.model.work(self.store.now)

    def erase(self) -> None:
        device = self.device()
        if device not in self.named_with_ada and device not in self.model.erased:
            self.store.rights.erase(("anonymous_id", device))
            self.model.erase(device)

    def compare(self) -> None:
        """What waits and what counts in the store and in the model."""
        keys = {*self.model.waiting, *self.model.stored}
        keys |= {(source, f"{self.run}-{number}-{name}") for source in (1, 2) for number in range(12) for name in "abc"}
        hashes = self.store.rights.context.vault.hashes
        ids = {hashes.message_digests(source, [name])[0]: (source, name) for source, name in keys}
        with self.store.rights.context.database.transaction(read_only=True) as tx:
            waiting_in(tx)
            masks = bits_of(tx)
            waiting = {row[0].bytes for row in tx.execute("SELECT event_id FROM consent.deferred_message")}
            rows = tx.execute(
                """
                SELECT e.event_id, e.bits, p.purpose FROM behavior.event AS e
                JOIN identity.canonical AS c USING (anchor_id)
                JOIN consent.permitted AS p ON p.profile_id = c.profile_id AND p.since <= e.occurred_at
                """
            )
        counted: dict[Key, set[str]] = {}
        for event_id, bits, purpose in rows:
            if event_id.bytes in ids and bits & masks[purpose]:
                counted.setdefault(ids[event_id.bytes], set()).add(purpose)
        assert {ids[event_id] for event_id in waiting if event_id in ids} == self.model.waiting.keys()
        assert counted == self.model.effective()


@pytest.fixture
def store(database: Database, tmp_path: Path) -> Deferring:
    return open_deferring(database, open_request_pipeline(database, shipped(), tmp_path))


@settings(
    max_examples=examples(25),
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_the_store_does_what_the_model_says(seed: int, store: Deferring) -> None:
    before = store.states
    history = History(store, Random(seed))
    for _ in range(history.random.choice((10, 30))):
        history.act()
    history.compare()
    history.work()
    history.compare()
    after = store.states
    assert sum(after.values()) - sum(before.values()) == history.sent
    assert after.get("deferred", 0) == store.waiting
