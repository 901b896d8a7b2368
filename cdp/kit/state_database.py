"""A state store in a PostgreSQL database of its own, for services on several machines.

It must not be restored together with the database whose state it keeps, so it is another database, best on another
server. A file is a sequence of pieces that are numbered by their first byte.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

from cdp.kit.db import Database, Transaction
from cdp.kit.errors import UNAVAILABLE, Fault

_PREPARE: Final = """
CREATE TABLE IF NOT EXISTS public.cdp_state (
    name text NOT NULL,
    begins bigint NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (name, begins)
)
"""


class StateDatabase:
    """The files of one state store, or those of a folder of it, in the table `public.cdp_state`."""

    def __init__(self, database: Database, folder: str = "") -> None:
        self._database = database
        self._folder = folder

    @property
    def place(self) -> str:
        parts = urlsplit(self._database.url)
        host = parts.netloc.rpartition("@")[2] or "local"
        return f"postgresql://{host}{parts.path}/{self._folder}".rstrip("/")

    def within(self, folder: str) -> "StateDatabase":
        return StateDatabase(self._database, f"{self._folder}{folder}/")

    def prepare(self) -> bool:
        """Create the table if there is none; False, without any change, if the database holds a store of cdp."""
        with self._transaction() as tx:
            ((is_store, is_prepared),) = tx.execute(
                "SELECT to_regclass('public.schema_version') IS NOT NULL, to_regclass('public.cdp_state') IS NOT NULL"
            )
            if not is_store and not is_prepared:
                tx.execute("SELECT pg_advisory_xact_lock(7142316002)")  # two services that start at once
                tx.execute(_PREPARE)
        return not is_store

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def names(self) -> frozenset[str]:
        with self._transaction() as tx:
            rows = tx.execute(
                "SELECT DISTINCT name FROM public.cdp_state WHERE starts_with(name, %(folder)s)",
                {"folder": self._folder},
            )
        return frozenset(name.removeprefix(self._folder) for (name,) in rows)

    def read(self, name: str, begin: int = 0, end: int | None = None) -> bytes | None:
        with self._transaction() as tx:
            rows = tx.execute(
                """
                SELECT begins, content FROM public.cdp_state
                WHERE name = %(name)s AND (%(end)s::bigint IS NULL OR begins < %(end)s) AND begins >= coalesce(
                    (SELECT max(begins) FROM public.cdp_state WHERE name = %(name)s AND begins <= %(begin)s), 0)
                ORDER BY begins
                """,
                {"name": self._folder + name, "begin": begin, "end": end},
            )
            if not rows and not self._exists(tx, name):
                return None
        first = rows[0][0] if rows else 0
        content = b"".join(bytes(piece) for _, piece in rows)
        return content[max(0, begin - first) : None if end is None else max(0, end - first)]

    def create(self, name: str, content: bytes) -> bool:
        with self._transaction() as tx:
            rows = tx.execute(
                "INSERT INTO public.cdp_state (name, begins, content) VALUES (%(name)s, 0, %(content)s) "
                "ON CONFLICT DO NOTHING RETURNING 1",
                {"name": self._folder + name, "content": content},
            )
        return bool(rows)

    def append(self, name: str, size: int, content: bytes) -> None:
        with self._transaction() as tx:
            place: dict[str, object] = {"name": self._folder + name, "size": size}
            if size and not self._has_bytes(tx, place):
                raise _shorter(name)
            tx.execute("DELETE FROM public.cdp_state WHERE name = %(name)s AND begins >= %(size)s", place)
            tx.execute(
                """
                UPDATE public.cdp_state SET content = substr(content, 1, (%(size)s - begins)::int)
                WHERE name = %(name)s AND begins = (SELECT max(begins) FROM public.cdp_state WHERE name = %(name)s)
                  AND begins + octet_length(content) > %(size)s
                """,
                place,
            )
            tx.execute(
                "INSERT INTO public.cdp_state (name, begins, content) VALUES (%(name)s, %(size)s, %(content)s)",
                {**place, "content": content},
            )

    def replace(self, name: str, content: bytes) -> None:
        with self._transaction() as tx:
            place = {"name": self._folder + name}
            tx.execute("DELETE FROM public.cdp_state WHERE name = %(name)s AND begins > 0", place)
            tx.execute(
                """
                INSERT INTO public.cdp_state (name, begins, content) VALUES (%(name)s, 0, %(content)s)
                ON CONFLICT (name, begins) DO UPDATE SET content = excluded.content
                """,
                {**place, "content": content},
            )

    def destroy(self, name: str) -> None:
        with self._transaction() as tx:
            rows = tx.execute(
                "WITH gone AS (DELETE FROM public.cdp_state WHERE name = %(name)s RETURNING 1) SELECT count(*) FROM gone",
                {"name": self._folder + name},
            )
        if rows[0][0]:
            with self._as_fault(), self._database.outside() as connection:
                connection.execute("VACUUM FULL public.cdp_state")  # a DELETE leaves the bytes in the table

    def require_writable(self, name: str) -> None:
        with self._transaction() as tx:  # a lock is a write that is on disk with the commit
            tx.execute(
                "SELECT 1 FROM public.cdp_state WHERE name = %(name)s FOR KEY SHARE SKIP LOCKED",
                {"name": self._folder + name},
            )

    def delete_drafts(self, *folders: str) -> int:  # noqa: ARG002 - a transaction leaves nothing behind
        return 0

    def _has_bytes(self, tx: Transaction, place: Mapping[str, object]) -> bool:
        ((is_long_enough,),) = tx.execute(
            "SELECT coalesce(max(begins + octet_length(content)), 0) >= %(size)s FROM public.cdp_state WHERE name = %(name)s",
            place,
        )
        return bool(is_long_enough)

    def _exists(self, tx: Transaction, name: str) -> bool:
        found = tx.execute(
            "SELECT EXISTS (SELECT FROM public.cdp_state WHERE name = %(name)s)", {"name": self._folder + name}
        )
        return bool(found[0][0])

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._as_fault(), self._database.transaction() as tx:
            tx.execute("SET LOCAL synchronous_commit = on")
            yield tx

    @contextmanager
    def _as_fault(self) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            raise Fault(
                "state_unavailable",
                "The state outside the database cannot be read or written",
                "The database in CDP_STATE_URL cannot be used. "
                + fault.detail.replace("CDP_DATABASE_URL", "CDP_STATE_URL"),
                status=503,
                retry_after_seconds=fault.retry_after_seconds or 5,
                caller_detail=UNAVAILABLE,
            ) from fault.__cause__


def _shorter(name: str) -> Fault:
    return Fault(
        "state_unavailable",
        "The state outside the database cannot be read or written",
        f"The file {name} became shorter.",
        status=503,
    )


def open_state_database(url: str) -> StateDatabase:
    """Open the state store of a PostgreSQL database, and create its table if there is none.

    Raises the faults `state_in_database`, if the database holds a store of cdp and would be restored with it, and
    `state_unavailable`.
    """
    store = StateDatabase(Database(url, pool_size=2, application_name="cdp-state"))
    if not store.prepare():
        store.close()
        raise Fault(
            "state_in_database",
            "The state must be outside the database",
            "CDP_STATE_URL names a database that holds a store of cdp: a restore would take the erasures back that it must "
            "apply again. Create a separate database, best on another server.",
            status=500,
        )
    return store
