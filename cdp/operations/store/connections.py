"""SQL of the connections that the server offers to the role of cdp."""

from typing import NamedTuple

from cdp.kit.db import Transaction


class OfferedConnections(NamedTuple):
    """How many connections this role may have in this database at the same time, and the limit that says so."""

    connections: int
    limit: str


def offered_connections(tx: Transaction) -> OfferedConnections:
    """The smallest of the limits of the server, of the role and of the database."""
    rows = tx.execute(
        """
        WITH role AS (
            SELECT rolsuper, rolconnlimit, CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'pg_use_reserved_connections')
                THEN pg_has_role(current_user, 'pg_use_reserved_connections', 'USAGE') ELSE false END AS is_reserved
            FROM pg_roles WHERE rolname = current_user
        ), server AS (
            SELECT current_setting('max_connections')::int
                - CASE WHEN rolsuper THEN 0 ELSE current_setting('superuser_reserved_connections')::int END
                - CASE WHEN rolsuper OR is_reserved THEN 0 ELSE coalesce(current_setting('reserved_connections', true)::int, 0) END
                AS count
            FROM role
        )
        SELECT count, 'max_connections of the server, less what it reserves for others' FROM server
        UNION ALL SELECT rolconnlimit, 'the CONNECTION LIMIT of the role' FROM role WHERE rolconnlimit >= 0
        UNION ALL SELECT datconnlimit, 'the CONNECTION LIMIT of the database' FROM pg_database
            WHERE datname = current_database() AND datconnlimit >= 0
        """
    )
    return min(OfferedConnections(*row) for row in rows)
