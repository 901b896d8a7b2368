"""Acts are ordered by the database, whatever clocks say: what was refused stays refused until somebody grants it again.

Two services with clocks of their own, which step and drift, and a database whose clock steps as well.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest
from psycopg import errors

from cdp.consent.model import Act, Authority, Record, RecordId
from cdp.consent.store import records as record_store
from cdp.flows.consent import acts, lookup
from cdp.flows.consent.acts import ConsentStatement
from cdp.flows.consent.verdicts import current_verdicts
from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.maintenance import read_clock
from cdp.flows.operations.startup import open_context
from cdp.flows.rights import requests
from cdp.flows.rights.replay import replay
from cdp.identity.model import Identifier
from cdp.identity.store.mapping import owners
from cdp.kit.db import Database
from cdp.operations.store.test_clock import override_instant
from cdp.sources.store.sources import add_source
from tests.support.messages import consent_context, identify, page, read_as
from tests.support.people import NOON, SHOP, WEB
from tests.support.policies import shipped

pytestmark = pytest.mark.postgres

USERS = ("u1", "u2", "u3")
ADDRESSES = ("a@example.com", "b@example.com")
PURPOSES = ("email_marketing", "analytics")
STEPS = 30


@dataclass(slots=True)
class TrueTime:
    """What time it is, which no clock of the test knows."""

    instant: datetime = NOON


@dataclass(slots=True)
class WrongClock:
    """A clock that is off, and runs at a rate of its own."""

    time: TrueTime
    off: timedelta = timedelta(0)
    rate: float = 1.0

    def now(self) -> datetime:
        return NOON + (self.time.instant - NOON) * self.rate + self.off


@dataclass(slots=True)
class Service:
    """One of several services over the same database."""

    context: Context
    clock: WrongClock
    ingest: Ingest


@dataclass(slots=True)
class Services:
    """Two services over one database, each with a clock of its own; `database_clock` is the database's."""

    time: TrueTime
    both: tuple[Service, Service]
    database_clock: WrongClock
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def later(self, **span: float) -> None:
        """Time passes, for the database as well."""
        self.time.instant += timedelta(**span)
        self.set_database_clock()

    def step_database(self, **span: float) -> None:
        """The clock of the database is set forward or back."""
        self.database_clock.off += timedelta(**span)
        self.set_database_clock()

    def set_database_clock(self) -> None:
        with self.both[0].context.database.transaction() as tx:
            override_instant(tx, self.database_clock.now())

    def act(self, service: Service, act: str, identifier: tuple[str, str], purpose: str = "email_marketing") -> None:
        statement = ConsentStatement(identifier, purpose, act, authority="authenticated", jurisdiction="eu")
        acts.record(service.context, statement)

    def message(self, service: Service, body: dict[str, object]) -> None:
        body = {"messageId": f"m-{next(self.numbers)}", **body}
        service.ingest.process([read_as(body, SHOP, service.context.clock.now())])

    def allowed(self, identifier: tuple[str, str], purpose: str = "email_marketing") -> dict[str, bool]:
        """The verdict in force, and what is computed for later instants from what is recorded."""
        context = self.both[0].context
        found = lookup.look_up(context, identifier, context.clock.now(), actor="privacy")
        answers = {"now": found.verdicts[purpose].allowed}
        profile_id = self.profile_of(identifier)
        with context.database.transaction(read_only=True) as tx:
            for seconds in (0, 1, 5, 60, 86_400):
                at = self.database_clock.now() + timedelta(seconds=seconds)
                view = current_verdicts(tx, context.policy, [profile_id], now=at)[profile_id]
                answers[f"in {seconds} s"] = view[purpose].allowed
        return answers

    def profile_of(self, identifier: tuple[str, str]) -> int:
        """The profile that owns an identifier."""
        context = self.both[0].context
        with context.database.transaction(read_only=True) as tx:
            found = find_identifiers(tx, context.vault, [Identifier(*identifier)])
            (profile_id,) = (owners(tx)[stored.identifier_id] for stored in found.values())
            return profile_id


@pytest.fixture
def services(database_url: str, tmp_path: Path) -> Iterator[Services]:
    time = TrueTime()
    with closing(Database(database_url)) as database, database.transaction() as tx:
        override_instant(tx, NOON)
    opened = []
    for _ in range(2):
        database, clock = Database(database_url), WrongClock(time)
        context = open_context(database, shipped(), clock, home=tmp_path)
        ingest = Ingest(database, context.vault, context.policy, clock=context.clock, replay=context.replay)
        opened.append(Service(context, clock, ingest))
    with opened[0].context.database.transaction() as tx:
        for source in (WEB, SHOP):
            add_source(tx, source, source.name.encode(), now=NOON)
    made = Services(time, (opened[0], opened[1]), WrongClock(time))
    made.set_database_clock()
    yield made
    for service in opened:
        service.context.database.close()


ADA = ("user_id", "u1")


def meet(services: Services, user: str = "u1", **traits: str) -> None:
    services.message(services.both[0], identify(userId=user, traits=traits, context=consent_context(analytics=True)))


def test_a_withdrawal_at_a_service_that_is_behind_ends_the_grant_for_good(services: Services) -> None:
    ahead, behind = services.both
    behind.clock.off = -timedelta(seconds=3)
    meet(services)
    services.later(seconds=10)
    services.act(ahead, "grant", ADA)
    services.later(seconds=1)
    services.act(behind, "withdraw", ADA)
    for _ in range(5):
        assert not any(services.allowed(ADA).values())
        services.later(seconds=1)
    services.act(behind, "grant", ADA)
    assert all(services.allowed(ADA).values()), "a later grant counts"


def test_a_clock_set_back_between_a_grant_and_a_withdrawal_makes_no_grant_later(services: Services) -> None:
    """The clock of the only service, and that of the database."""
    service = services.both[0]
    meet(services)
    services.later(seconds=10)
    services.act(service, "grant", ADA)
    service.clock.off -= timedelta(seconds=3)
    services.step_database(seconds=-3)
    services.act(service, "withdraw", ADA)
    assert not any(services.allowed(ADA).values())
    services.later(seconds=5)
    assert not any(services.allowed(ADA).values())


def test_a_withdrawal_in_a_message_counts_from_when_it_is_recorded(services: Services) -> None:
    ahead, behind = services.both
    meet(services)
    services.later(seconds=10)
    services.message(ahead, identify(userId="u1", context=consent_context(analytics=True, email_marketing=True)))
    assert services.allowed(ADA)["now"]
    behind.clock.off = -timedelta(seconds=3)
    services.step_database(seconds=-3)
    services.message(behind, identify(userId="u1", context=consent_context(analytics=True, email_marketing=False)))
    services.later(seconds=5)
    assert not any(services.allowed(ADA).values())


def test_a_merge_brings_no_grant_back_whose_withdrawal_is_older_by_the_clock(services: Services) -> None:
    ahead, behind = services.both
    device = ("anonymous_id", "d1")
    services.message(ahead, page(anonymousId="d1", context=consent_context(analytics=True)))
    meet(services)
    services.later(seconds=10)
    services.act(ahead, "grant", device)
    behind.clock.off = -timedelta(seconds=3)
    services.step_database(seconds=-3)
    services.act(behind, "withdraw", ADA)
    services.message(behind, identify(userId="u1", anonymousId="d1"))
    assert services.profile_of(device) == services.profile_of(ADA)
    assert not any(services.allowed(ADA).values())
    services.later(seconds=10)
    assert not any(services.allowed(ADA).values())


def test_an_objection_by_a_request_at_a_service_that_is_behind_counts(services: Services) -> None:
    ahead, behind = services.both
    meet(services)
    services.later(seconds=10)
    services.act(ahead, "grant", ADA)
    behind.clock.off = -timedelta(minutes=3)
    services.step_database(seconds=-3)
    requests.open_request(
        behind.context, kind="objection", regime="gdpr", identifiers=[ADA], now=behind.context.clock.now()
    )
    services.later(minutes=5)
    assert not any(services.allowed(ADA).values())


def test_a_grant_that_states_the_future_is_no_later_than_when_it_is_recorded(services: Services) -> None:
    service = services.both[0]
    meet(services)
    services.later(seconds=10)
    statement = ConsentStatement(
        ADA, "email_marketing", "grant", authority="authenticated", occurred_at=NOON + timedelta(days=9)
    )
    acts.record(service.context, statement)
    services.act(service, "withdraw", ADA)
    services.later(days=10)
    assert not any(services.allowed(ADA).values())
    with service.context.database.transaction(read_only=True) as tx:
        assert tx.execute("SELECT count(*)::int FROM consent.record WHERE occurred_at > recorded_at") == [(0,)]


def test_an_event_stored_before_a_withdrawal_is_not_in_a_later_grant(services: Services) -> None:
    """The event states an instant by a clock that is ahead: no clock may place it after the grant that follows."""
    ahead, other = services.both
    meet(services)
    services.later(seconds=10)
    services.act(other, "grant", ADA, "analytics")
    ahead.clock.off = timedelta(seconds=30)
    services.message(ahead, page(userId="u1"))
    services.act(other, "withdraw", ADA, "analytics")
    services.later(seconds=1)
    services.act(other, "grant", ADA, "analytics")
    with other.context.database.transaction(read_only=True) as tx:
        ((since,),) = tx.execute("SELECT since FROM consent.permitted WHERE purpose = 'analytics'")
        occurred = [at for (at,) in tx.execute("SELECT occurred_at FROM behavior.event")]
    assert occurred
    assert all(at < since for at in occurred)


def test_a_service_goes_by_the_clock_of_its_database(services: Services) -> None:
    """So that deadlines, tokens, due memberships and retention are those of one clock."""
    ahead, behind = services.both
    ahead.clock.off, behind.clock.off = timedelta(hours=5), -timedelta(days=3)
    services.later(minutes=1)
    services.step_database(hours=-2)
    for service in services.both:
        read_clock(service.context)
        assert service.context.clock.now() == services.database_clock.now()


def test_a_restored_database_takes_no_withdrawal_back_by_a_clock_that_is_behind(services: Services) -> None:
    ahead, behind = services.both
    meet(services)
    services.later(seconds=10)
    services.act(ahead, "grant", ADA)
    services.later(seconds=1)
    services.act(ahead, "withdraw", ADA)
    with behind.context.database.transaction() as tx:  # as a backup taken between the two acts has it
        tx.execute("DELETE FROM consent.record WHERE act = 'withdraw'")
        tx.execute("UPDATE rights.replay SET number = 0, digest = ''")
        tx.execute("UPDATE identity.generation SET acted_at = (SELECT max(recorded_at) FROM consent.record)")
    services.step_database(hours=-1)
    behind.clock.off = -timedelta(hours=3)
    assert replay(behind.context, behind.context.clock.now()).opt_outs == 1
    assert not any(services.allowed(ADA).values())
    services.later(hours=2)
    assert not any(services.allowed(ADA).values())


def test_the_database_refuses_an_act_that_is_dated_before_the_last_one(services: Services) -> None:
    service = services.both[0]
    meet(services)
    services.later(seconds=10)
    services.act(service, "grant", ADA)
    early = Record(
        record_id=RecordId(1),
        identifier_id=1,
        purpose="email_marketing",
        act=Act.WITHDRAW,
        authority=Authority.AUTHENTICATED,
        jurisdiction="eu",
        occurred_at=NOON,
        recorded_at=NOON,
        policy_fingerprint=b"p",
    )
    with pytest.raises(errors.RaiseException, match="before the last"), service.context.database.transaction() as tx:
        record_store.append(tx, [early])
    with service.context.database.transaction() as tx:
        record_store.append(tx, [replace(early, recorded_at=NOON + timedelta(days=1))])
    services.act(service, "withdraw", ADA)
    with service.context.database.transaction(read_only=True) as tx:
        ((last,),) = tx.execute("SELECT max(recorded_at) FROM consent.record WHERE record_id <> 1")
    assert last > NOON + timedelta(days=1), "an act is later than every one before it, whatever the clock says"


@pytest.mark.parametrize("seed", range(6))
def test_random_histories_under_wrong_clocks(services: Services, seed: int) -> None:
    """After each step, nobody is granted anything whose last act, in the order of the answers, is a no."""
    random = Random(seed)
    said: dict[tuple[tuple[str, str], str], str] = {}
    for user in USERS:
        meet(services, user)
        for purpose in PURPOSES:
            services.act(services.both[0], "withdraw", ("user_id", user), purpose)
            said[("user_id", user), purpose] = "withdraw"

    def pass_time() -> None:
        services.later(seconds=random.choice((0.001, 0.5, 2, 30)))

    def step_service() -> None:
        clock = random.choice(services.both).clock
        clock.off += timedelta(seconds=random.choice((-3600, -3, 3, 3600)))
        clock.rate = random.choice((0.5, 1.0, 1.5))

    def step_database() -> None:
        services.step_database(seconds=random.choice((-60, -3, 3, 60)))

    def act() -> None:
        key = random.choice([*said])
        said[key] = random.choice(("grant", "withdraw", "refuse"))
        services.act(random.choice(services.both), said[key], *key)

    def message() -> None:
        user = random.choice(USERS)
        body = identify(userId=user, context=consent_context(email_marketing=False, analytics=False))
        services.message(random.choice(services.both), body)
        said.update({(("user_id", user), purpose): "refuse" for purpose in PURPOSES})

    def objection() -> None:
        user = ("user_id", random.choice(USERS))
        context = random.choice(services.both).context
        requests.open_request(context, kind="objection", regime="gdpr", identifiers=[user], now=context.clock.now())
        said.update({(user, purpose): "object" for purpose in PURPOSES if said.get((user, purpose))})

    steps: list[Callable[[], None]] = [pass_time, pass_time, step_service, step_database, act, act, act, message]
    for _ in range(STEPS):
        random.choice(steps)()
        for (identifier, purpose), last in said.items():
            answers = services.allowed(identifier, purpose)
            if last != "grant":
                assert not any(answers.values()), (identifier, purpose, last, answers)
            else:
                assert answers["in 86400 s"], (identifier, purpose, answers)
