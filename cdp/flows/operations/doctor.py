"""Use case of `cdp doctor`: the checks of readiness over the settings of a service, whether one runs or not."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Final

from cdp.audit.store.lag import backlog
from cdp.flows.operations.check_series import Series
from cdp.flows.operations.part_logins import judge_logins
from cdp.flows.operations.pools import require_connections
from cdp.flows.operations.readiness import FILE_CHECKS, STORE_CHECKS, Parts, check_files, check_store, finding_of
from cdp.flows.operations.startup import open_database_url, open_state
from cdp.identity.store import generation as generation_store
from cdp.kit.clock import Clock, DatabaseClock, TestClock
from cdp.kit.config import Config
from cdp.kit.db import Database, Transaction
from cdp.kit.errors import Fault
from cdp.kit.state import KEYS, StateFolder, StateStore
from cdp.operations.readiness import CheckState, ReadinessCheck, ReadinessFinding, failed
from cdp.postgres.place import find_place
from cdp.vault.root_keys import active_check_values
from cdp.vault.vault import require_keys

_SECONDS_MAX: Final = 20.0
_LOCK_SECONDS: Final = 3.0
_UNSIGNED_SECONDS_MAX: Final = 60
_SERVER_CHECKS: Final = (ReadinessCheck.CONNECTIONS, ReadinessCheck.WORKER, ReadinessCheck.LOGINS)


def diagnose(config: Config) -> list[ReadinessFinding]:
    """A finding for each check, within about twenty seconds whatever hangs. Creates and migrates nothing.

    The embedded database is started for the duration if no service runs. Tasks of a worker in another process are judged by
    what waits to be signed.
    """
    with ExitStack() as opened:
        try:
            state = opened.enter_context(open_state(config.state_url, config.home))
        except Fault as fault:
            return [failed(ReadinessCheck.REPLAY, fault.detail, fault.code)]
        try:
            database = _opened(config, opened)
        except Fault as fault:
            lacking = [check for check in (*STORE_CHECKS, *_SERVER_CHECKS) if check is not ReadinessCheck.DATABASE]
            return [
                failed(ReadinessCheck.DATABASE, fault.detail, fault.code),
                *(ReadinessFinding(check, CheckState.UNKNOWN) for check in lacking),
            ]
        return _findings(config, database, state)


def _opened(config: Config, opened: ExitStack) -> Database:
    if config.database_url is None and find_place(config.home) is None:
        raise Fault(
            "database_lost",
            "The embedded database is missing",
            f"{config.home} has no embedded database. Set CDP_HOME to the home of the service, or CDP_DATABASE_URL; `cdp serve` creates "
            "a database in a new home.",
            status=500,
        )
    url = opened.enter_context(open_database_url(config))
    database = Database(url, pool_size=4, application_name="cdp-command", lock_seconds=_LOCK_SECONDS)
    return opened.enter_context(closing(database))


def _findings(config: Config, database: Database, state: StateStore) -> list[ReadinessFinding]:
    place = find_place(config.home) if config.database_url is None else None
    folders = [state.folder] if isinstance(state, StateFolder) else []
    parts = Parts(
        database=database,
        state=state,
        folders=(*folders, *(() if place is None else (place.base,))),
        require_keys=lambda tx: _require_keys(tx, config, state),
    )
    all_series = (
        Series(STORE_CHECKS, lambda: check_store(parts)),
        Series(FILE_CHECKS, lambda: check_files(parts)),
        Series(_SERVER_CHECKS, lambda: _check_server(database, config)),
    )
    findings: list[ReadinessFinding] = []
    for series in all_series:
        if series.checks == _SERVER_CHECKS and findings[0].state is not CheckState.OK:
            findings.extend(ReadinessFinding(check, CheckState.UNKNOWN) for check in series.checks)
            continue
        ended = threading.Event()
        series.start(ended.set)
        ended.wait(_SECONDS_MAX)
        findings.extend(series.findings(_SECONDS_MAX))
    return findings


def _require_keys(tx: Transaction, config: Config, state: StateStore) -> None:
    """Require that every key in use can be opened, as a start of the service would. Faults: those of the vault."""
    folder = config.home / KEYS
    if config.kms_url is None and config.master_key is None and not folder.is_dir():
        raise Fault(
            "master_key_missing",
            "The master key is missing",
            f"There is no folder {folder}, and CDP_MASTER_KEY is not set. Restore the folder from its backup.",
            status=500,
        )
    require_keys(
        folder,
        config.master_key,
        kms_url=config.kms_url,
        wrapped_keys=state.within(KEYS),
        check_values=active_check_values(tx),
    )


def _check_server(database: Database, config: Config) -> Iterator[ReadinessFinding]:
    yield finding_of(ReadinessCheck.CONNECTIONS, lambda: require_connections(database, asdict(config.pools)))
    clock = config.clock()
    database.clock = clock if isinstance(clock, TestClock) else DatabaseClock(clock)
    yield finding_of(ReadinessCheck.WORKER, lambda: _judge_backlog(database, database.clock or clock))
    yield finding_of(ReadinessCheck.LOGINS, lambda: judge_logins(database))


def _judge_backlog(database: Database, clock: Clock) -> ReadinessFinding | None:
    """The finding about a worker that may run elsewhere: by the age of what it has not signed."""
    with database.transaction(read_only=True) as tx:
        generation_store.read_clock(tx)
        since = backlog(tx).since
    seconds = 0.0 if since is None else (clock.now() - since).total_seconds()
    if seconds < _UNSIGNED_SECONDS_MAX:
        return None
    return failed(
        ReadinessCheck.WORKER,
        f"An entry of the audit log has waited {seconds:,.0f} seconds to be signed: no worker runs on this database, or its task "
        "audit-log fails. Start `cdp serve` or `cdp worker`; in its log, task_failed has the reason.",
        "task_stalled",
    )
