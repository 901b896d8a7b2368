"""Opening everything that a process needs: the database, its schema, the vault, the policy, the desk and the log.

A service opens with `move_in` and is the only one in its CDP_HOME. A command opens with `visit`: it talks to the
database of a running service, or starts the embedded one for as long as the command lasts.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cdp.access import store_policy
from cdp.audit import sequencer
from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, log_name
from cdp.flows.desk import Desk, desk_of
from cdp.flows.house import House, open_house
from cdp.flows.policy import apply_policy
from cdp.kit.config import Config
from cdp.kit.db import Database
from cdp.kit.embedded import EmbeddedPostgres
from cdp.kit.errors import Fault
from cdp.policy.load import build_policy, load_policy
from cdp.policy.model import Policy
from cdp.schema.migrate import migrate, needs_migration

KEYS: Final = "keys"
AUDIT_COPY: Final = "audit"
_ATTACH_SECONDS: Final = 30.0
_ATTACH_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the doors hand to the journeys. `is_shared` when another process serves the same embedded database."""

    home: Path
    house: House
    desk: Desk
    log: Log
    is_shared: bool = False

    @property
    def database(self) -> Database:
        return self.house.database


@contextmanager
def move_in(config: Config) -> Iterator[Rooms]:
    """Open as the one service of this home, with the policy of the folder in force.

    Faults: `home_in_use`, those of the vault, of the policy and of the migrations.
    """
    policy = load_policy(config.policies)
    with _served(config) as (url, _):
        migrate(url)
        with _connected(url) as database:
            with database.transaction() as tx:
                store_policy.override_instant(tx, config.fixed_now)
            rooms = rooms_of(config, database, policy_in_force(database) or policy)
            applied = apply_policy(rooms.house, policy)
            yield replace(rooms, house=applied.house, desk=replace(rooms.desk, policy=policy))


@contextmanager
def visit(config: Config) -> Iterator[Rooms]:
    """Open for one command, under the policy in force; before the first one, under that of the folder.

    What the command adds to the log is signed before this ends, unless a running service does it.
    """
    with _reached(config) as (url, is_shared):
        if needs_migration(url):
            if is_shared:
                raise Fault(
                    "schema_behind",
                    "The database's schema is not current",
                    "Stop the running service, then run `cdp migrate` or start the new service.",
                    status=500,
                )
            migrate(url)
        with _connected(url) as database:
            rooms = rooms_of(config, database, policy_in_force(database) or load_policy(config.policies), is_shared)
            try:
                yield rooms
            finally:
                if not is_shared:
                    sequence_all(rooms)


@contextmanager
def reached(config: Config) -> Iterator[str]:
    """The URL of the database alone, whatever it holds."""
    with _reached(config) as (url, _):
        yield url


def rooms_of(config: Config, database: Database, policy: Policy, is_shared: bool = False) -> Rooms:
    """The rooms over a database with a current schema; puts the policy in force."""
    clock = config.clock()
    house = open_house(
        database, policy, clock, keys=config.home / KEYS, master_key=config.master_key, kms_url=config.kms_url
    )
    signer = house.vault.signer()
    log = Log(signer, Mirror(config.home / AUDIT_COPY), log_name(signer.public_key))
    return Rooms(config.home, house, desk_of(house, config.home), log, is_shared)


class Current:
    """The rooms as they are now: another process may apply a policy, and a running service follows it."""

    def __init__(self, rooms: Rooms) -> None:
        self.rooms = rooms
        self._followers: list[Callable[[Rooms], None]] = []

    def tell(self, follower: Callable[[Rooms], None]) -> None:
        """Call `follower` with the new rooms whenever another policy came into force."""
        self._followers.append(follower)

    def follow_policy(self) -> bool:
        """Work under the policy in force; True when it was another one until now."""
        policy = policy_in_force(self.rooms.database)
        if policy is None or policy.fingerprint == self.rooms.house.policy.fingerprint:
            return False
        house = replace(self.rooms.house, policy=policy)
        changed = replace(self.rooms, house=house, desk=replace(self.rooms.desk, policy=policy))
        for follower in self._followers:
            follower(changed)
        # Last, so that a follower that fails is told again the next time.
        self.rooms = changed
        return True


def policy_in_force(database: Database) -> Policy | None:
    """The policy that was applied last, None before the first.

    Raises the fault `policy_outdated` when this version of the program cannot read it any more.
    """
    with database.transaction(read_only=True) as tx:
        latest = store_policy.latest_policy(tx)
    if latest is None:
        return None
    try:
        return build_policy(latest.content)
    except Fault as fault:
        raise Fault(
            "policy_outdated",
            "The policy in force was made for another version",
            f"This version of cdp cannot read it:\n{fault.detail}\nApply the folder with the version that wrote it first, "
            "in the form that both can read.",
            status=500,
        ) from fault


def sequence_all(rooms: Rooms) -> int:
    """Place every leaf that waits and sign the head; how many were placed."""
    placed = 0
    while True:
        with rooms.database.transaction() as tx:
            done = sequencer.sequence(tx, rooms.log, rooms.house.clock.now())
        placed += done.placed
        if not done.is_more_waiting:
            return placed


@contextmanager
def _connected(url: str) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _served(config: Config) -> Iterator[tuple[str, bool]]:
    if config.database_url is not None:
        yield config.database_url, False
        return
    with EmbeddedPostgres(config.home) as server:
        yield server.url, False


@contextmanager
def _reached(config: Config) -> Iterator[tuple[str, bool]]:
    """The database's URL, and whether a service runs it; a service that is just starting is waited for."""
    if config.database_url is not None:
        yield config.database_url, False
        return
    server = EmbeddedPostgres(config.home)
    deadline = time.monotonic() + _ATTACH_SECONDS
    while True:
        url = server.attach()
        if url is not None:
            yield url, True
            return
        try:
            url = server.start()
            break
        except Fault as fault:
            if fault.code != "home_in_use" or time.monotonic() > deadline:
                raise
            time.sleep(_ATTACH_PAUSE_SECONDS)
    try:
        yield url, False
    finally:
        server.stop()
