"""Use cases of starting a process: migrate the database, open the vault, put the policy in force.

A service starts with `open_service` and is the only one in its CDP_HOME. A command starts with `open_for_command`: it
uses the database of a running service, or runs the embedded one for the duration of the command.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from cdp.audit import sequencer
from cdp.audit.mirror import Mirror
from cdp.audit.sequencer import Log, log_name
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context, vocabularies_under
from cdp.flows.operations.policy_activation import put_in_force
from cdp.flows.operations.policy_start import start_under
from cdp.flows.rights.replay_loss import log_loss
from cdp.identity.store import generation as generation_store
from cdp.kit.clock import Clock, DatabaseClock, TestClock
from cdp.kit.config import Config
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.kit.state import AUDIT_COPY, KEYS, StateFolder, StateStore
from cdp.kit.state_database import open_state_database
from cdp.operations.store import policies as policy_store
from cdp.operations.store import test_clock as test_clock_store
from cdp.policy.load import build_policy, load_policy
from cdp.policy.model import Policy
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.replay_file import ReplayFile
from cdp.rights.state_place import require_settled
from cdp.rights.store import replay_position as replay_store
from cdp.schema.migrate import migrate, needs_migration
from cdp.vault.vault import open_vault

_ATTACH_SECONDS: Final = 30.0
_ATTACH_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class StateUse:
    """The state store to open with, and for what.

    `renews` for the start of a service, which makes copies of the store detectable; `accepts_loss` to bind the database to this
    store although another one was used last, or its replay file lacks lines.
    """

    store: StateStore
    renews: bool = False
    accepts_loss: bool = False


@contextmanager
def open_service(config: Config) -> Iterator[Context]:
    """Open the only service of this CDP_HOME, with the policy in force, and that of the folder as `start_under` decides.

    In an empty store, the folder is put in force. The database of the context is the pool of the worker.
    Faults: `home_in_use`, those of the vault, of the policy and of the migrations.
    """
    policy = load_policy(config.policies)
    with _service_database(config) as (url, _):
        migrate_schema(url, config.clock().now())
        with (
            _opened_database(url, application_name="cdp-worker", pool_size=config.pools.worker) as database,
            open_state(config.state_url, config.home) as state,
        ):
            with database.transaction() as tx:
                test_clock_store.override_instant(tx, config.fixed_now)
            context = open_configured(
                config, database, policy_in_force(database) or policy, state=StateUse(state, renews=True)
            )
            yield start_under(context, policy, accepted=config.accepted_policy)


@contextmanager
def open_for_command(config: Config, *, accepts_loss: bool = False) -> Iterator[Context]:
    """Open for one command, under the policy in force, or under that of the folder if there is none.

    Entries that the command adds to the log are signed before this ends, unless a service is running, which signs them.
    `accepts_loss` binds the database to the state store of this command, whatever that lacks. Raises the faults of
    `open_current_database`.
    """
    with open_current_database(config) as (database, is_shared), open_state(config.state_url, config.home) as state:
        context = open_configured(
            config,
            database,
            policy_in_force(database) or load_policy(config.policies),
            is_shared=is_shared,
            state=StateUse(state, accepts_loss=accepts_loss),
        )
        try:
            yield context
        finally:
            if not is_shared:
                sequence_all(context)


@contextmanager
def open_current_database(config: Config, *, application_name: str = "cdp-command") -> Iterator[tuple[Database, bool]]:
    """The database, with a current schema, and whether a service of this CDP_HOME is running.

    Raises the fault `schema_behind` if that uses an older schema.
    """
    with _database_url(config) as (url, is_shared):
        if needs_migration(url):
            if is_shared:
                raise Fault(
                    "schema_behind",
                    "The database's schema is not current",
                    "Stop the running service, then run `cdp migrate` or start the new service.",
                    status=500,
                )
            migrate_schema(url, config.clock().now())
        with _opened_database(url, application_name=application_name) as database:
            yield database, is_shared


def migrate_schema(url: str, now: datetime) -> list[str]:
    """Apply the pending migrations, with an entry of the log for each; returns the revisions applied, oldest first.

    Raises the faults of `migrate`.
    """
    revisions = migrate(url)
    if revisions:
        with _opened_database(url, application_name="cdp-migrate") as database, database.transaction() as tx:
            facts = [{"kind": "schema.migrated", "actor": "system", "version": int(revision)} for revision in revisions]
            fact_store.append_many(tx, facts, now)
    return revisions


@contextmanager
def open_unused_database(config: Config) -> Iterator[str]:
    """The URL of the database only, which no service of this CDP_HOME runs. Raises the fault `service_running`."""
    with _database_url(config) as (url, is_shared):
        if is_shared:
            raise Fault(
                "service_running",
                "A service is running",
                "Stop every service and worker of this database first.",
                status=409,
            )
        yield url


@contextmanager
def open_database_url(config: Config) -> Iterator[str]:
    """The URL of the database only, whatever the state of its schema."""
    with _database_url(config) as (url, _):
        yield url


def open_configured(
    config: Config,
    database: Database,
    policy: Policy,
    *,
    is_shared: bool = False,
    state: StateUse | None = None,
) -> Context:
    """The context for these settings and a database with a current schema; puts the policy in force."""
    return open_context(
        database,
        policy,
        config.clock(),
        home=config.home,
        master_key=config.master_key,
        kms_url=config.kms_url,
        is_shared=is_shared,
        state=state,
    )


def open_context(
    database: Database,
    policy: Policy,
    clock: Clock,
    *,
    home: Path,
    master_key: bytes | None = None,
    kms_url: str | None = None,
    is_shared: bool = False,
    state: StateUse | None = None,
) -> Context:
    """Open the vault over the keys of the state store, or a KMS, and put the policy in force; the schema must be current.

    The state store is `home` unless another is given. Raises the vault's faults for a missing or wrong master key, and
    never creates one for a database that is not empty; raises the faults of a state store that is not the database's.
    Whatever `clock` says, the context goes by the clock of the database; only a test clock replaces that.
    """
    clock = clock if isinstance(clock, TestClock) else DatabaseClock(clock)
    database.clock = clock
    use = state or StateUse(StateFolder(home))
    store, replay = use.store, ReplayFile(use.store)
    with database.transaction() as tx:
        # Every process locks identity before the root keys, which prevents a deadlock between a start and a rotation.
        now = generation_store.lock_exclusive(tx).now
        is_refused = False
        if use.renews:
            store.delete_drafts(KEYS, AUDIT_COPY)
        if not use.accepts_loss:
            require_settled(store)
            replay_store.bind_state(tx, replay, renew=use.renews)
        vault, notice = open_vault(
            tx, home / KEYS, master_key, now=now, kms_url=kms_url, wrapped_keys=store.within(KEYS)
        )
        if use.accepts_loss:  # last: the store of another installation has other keys, and is left as it is
            is_refused = bool(log_loss(tx, replay, now).fault)
        put_in_force(tx, policy, now)
        applied = policy_store.latest_policy(tx)
    if is_refused:  # after the log: a process that is killed in between left the store refused, not the log silent
        with database.transaction() as tx:
            generation_store.lock_exclusive(tx)
            replay_store.accept_loss(tx, replay)
    signer = vault.root_keys.signer()
    return Context(
        home=home,
        state=store,
        database=database,
        vault=vault,
        policy=policy,
        clock=clock,
        log=Log(signer, Mirror(store.within(AUDIT_COPY)), log_name(signer.public_key)),
        replay=replay,
        vocabularies=vocabularies_under(policy),
        is_shared=is_shared,
        notice=notice,
        policy_applied_at=None if applied is None else applied.applied_at,
    )


class PolicyWatcher:
    """The current context of a service, for one use of the database; it changes when another process applies a policy."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._subscribers: list[Callable[[Context], None]] = []

    def subscribe(self, subscriber: Callable[[Context], None]) -> None:
        """Call `subscriber` with the new context whenever another policy is put in force."""
        self._subscribers.append(subscriber)

    def follow_policy(self) -> bool:
        """Switch to the policy in force; True if it changed."""
        found = _read_in_force(self.context.database)
        if found is None or found[0].fingerprint == self.context.policy.fingerprint:
            return False
        policy, applied_at = found
        self._switch(self.context.with_policy(policy, applied_at=applied_at))
        return True

    def using(self, database: Database) -> "PolicyWatcher":
        """The context with another pool of connections; it changes with this one."""
        other = PolicyWatcher(replace(self.context, database=database))
        self.subscribe(lambda changed: other._switch(replace(changed, database=database)))
        return other

    def _switch(self, changed: Context) -> None:
        for subscriber in self._subscribers:
            subscriber(changed)
        # Last, so that a subscriber that fails is called again the next time.
        self.context = changed


def policy_in_force(database: Database) -> Policy | None:
    """The policy that was applied last, None before the first.

    Raises the fault `policy_outdated` if this version of the program cannot read it.
    """
    found = _read_in_force(database)
    return None if found is None else found[0]


def _read_in_force(database: Database) -> tuple[Policy, datetime] | None:
    """As `policy_in_force`, with the instant of its application."""
    with database.transaction(read_only=True) as tx:
        latest = policy_store.latest_policy(tx)
    if latest is None:
        return None
    try:
        return build_policy(latest.content), latest.applied_at
    except Fault as fault:
        raise Fault(
            "policy_outdated",
            "The policy in force is of another version",
            f"This version of cdp cannot read it:\n{fault.detail}\nFirst apply the folder with the version that wrote "
            "it, in a format that both versions can read.",
            status=500,
        ) from fault


def sequence_all(context: Context) -> int:
    """Sequence every pending leaf and sign the tree head; the number of leaves sequenced."""
    placed = 0
    while True:
        with context.database.transaction() as tx:
            done = sequencer.sequence(tx, context.log, context.clock.now())
        placed += done.placed
        if not done.is_more_waiting:
            return placed


@contextmanager
def open_state(url: str | None, home: Path) -> Iterator[StateStore]:
    """The state store of a URL, or that in `home`, until the block ends."""
    parts = urlsplit(url or "")
    if url is None or parts.scheme == "file":
        yield StateFolder(home if url is None else Path(unquote(parts.path)))
        return
    store = open_state_database(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _opened_database(url: str, *, application_name: str, pool_size: int = 8) -> Iterator[Database]:
    database = Database(url, application_name=application_name, pool_size=pool_size)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _service_database(config: Config) -> Iterator[tuple[str, bool]]:
    if config.database_url is not None:
        yield config.database_url, False
        return
    with EmbeddedPostgres(config.home) as server:
        yield server.url, False


@contextmanager
def _database_url(config: Config) -> Iterator[tuple[str, bool]]:
    """The URL of the database, and whether a service is running; waits for a service that is starting."""
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
