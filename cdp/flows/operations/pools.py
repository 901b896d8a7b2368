"""Use case of a process that serves several uses: a pool of connections for each, so that none takes those of another."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cdp.access.model import Role
from cdp.flows.operations.part_logins import open_logins
from cdp.kit.config import PoolSizes
from cdp.kit.db import APPLICATION, Database
from cdp.kit.db_pool import ConnectionBound
from cdp.kit.errors import Fault
from cdp.operations.readiness import ReadinessCheck, ReadinessFinding, failed
from cdp.operations.store.connections import offered_connections
from cdp.schema.database_roles import DatabaseRole

PART_OF: Final[Mapping[Role, DatabaseRole]] = {
    Role.AUDITOR: DatabaseRole.AUDITOR,
    Role.MARKETER: DatabaseRole.MARKETING,
    Role.PRIVACY: DatabaseRole.PRIVACY,
}
"""By role of a token, the part over which its requests run. Those of admins need the rights of the owner."""

_HEALTH_LOCK_SECONDS: Final = 1.0
_HEALTH_WAIT_SECONDS: Final = 1.5


@dataclass(frozen=True, slots=True)
class Pools:
    """The databases of a service by use; each is a pool of its own, named `cdp-USE` in pg_stat_activity.

    `parts` are those of requests by role, which share the connections of `api`; a role without a part uses that. `health` is for
    `/readyz` and `/metrics`, and waits for no lock.
    """

    api: Database
    ingest: Database
    worker: Database
    health: Database
    parts: Mapping[Role, Database] = field(default_factory=dict)


def every_use_of(database: Database) -> Pools:
    """One pool for all uses, with one login."""
    return Pools(api=database, ingest=database, worker=database, health=database)


def judge_pools(pools: Pools) -> ReadinessFinding:
    """The finding about the pools for requests: degraded while callers wait for a connection."""
    full = [database for database in (pools.api, pools.ingest) if database.callers > database.pool_size]
    if not full:
        return ReadinessFinding(ReadinessCheck.CONNECTIONS)
    listed = "; ".join(f"{database.callers} share the {database.pool_size} of {database.name}" for database in full)
    return failed(
        ReadinessCheck.CONNECTIONS,
        f"Requests wait for a connection to the database ({listed}). pg_stat_activity shows what these wait for; if it is only much "
        "work, raise CDP_POOL_API or CDP_POOL_INGEST.",
        "database_busy",
    )


@contextmanager
def open_pools(worker: Database, sizes: PoolSizes) -> Iterator[Pools]:
    """The pools of a service beside that of its worker, with the same clock; parts have logins of their own.

    Raises the fault `connections_exceed_server`.
    """
    require_connections(worker, asdict(sizes))
    logins = open_logins(worker)
    with ExitStack() as opened:

        def pool(use: str, size: int, *, part: DatabaseRole | None = None, **options: Any) -> Database:
            url = worker.url if part is None else logins.urls.get(part, worker.url)
            database = Database(url, pool_size=size, application_name=f"{APPLICATION}-{use}", owner=worker, **options)
            database.clock = worker.clock
            return opened.enter_context(closing(database))

        requests = ConnectionBound(sizes.api)
        yield Pools(
            api=pool("api", sizes.api, bound=requests),
            ingest=pool("ingest", sizes.ingest, part=DatabaseRole.INGEST),
            worker=worker,
            health=pool("health", sizes.health, lock_seconds=_HEALTH_LOCK_SECONDS, wait_seconds=_HEALTH_WAIT_SECONDS),
            parts={role: pool(part.value, sizes.api, part=part, bound=requests) for role, part in PART_OF.items()},
        )


def require_connections(database: Database, sizes: dict[str, int]) -> None:
    """Require that the server offers as many connections as pools of these sizes may open.

    Raises the fault `connections_exceed_server`. It is a bound for one process: other processes on the same server count too.
    """
    with database.transaction(read_only=True) as tx:
        offered = offered_connections(tx)
    needed = sum(sizes.values())
    if needed > offered.connections:
        listed = ", ".join(f"CDP_POOL_{use.upper()}={size}" for use, size in sizes.items())
        raise Fault(
            "connections_exceed_server",
            "The server offers fewer connections than the service may open",
            f"This process may open {needed} connections ({listed}), and {offered.limit} allows {offered.connections}. Raise that "
            "limit, or lower these settings; leave some for commands and for further processes.",
            status=500,
        )
