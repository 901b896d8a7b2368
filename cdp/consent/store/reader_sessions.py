"""SQL of the database sessions of readers: logins that may read a projection, by whatever role.

PostgreSQL lets a login lift most limits for its own session, so the service watches the sessions and ends those beyond its limits.
It needs the roles `pg_read_all_stats` and `pg_signal_backend`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from cdp.kit.db import Transaction

_SLACK: Final = timedelta(seconds=5)
"""How far in the future a time may be."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What a reader's session may do before it is ended; `sessions_per_login` is the number of sessions of one login."""

    transaction_seconds: float
    idle_in_transaction_seconds: float
    session_seconds: float
    sessions_per_login: int


def may_end_sessions(tx: Transaction) -> bool:
    """Whether this role may see and end the sessions of others."""
    ((may,),) = tx.execute(
        "SELECT pg_has_role('pg_read_all_stats', 'USAGE') AND pg_has_role('pg_signal_backend', 'USAGE')"
    )
    return bool(may)


def end_sessions(tx: Transaction, limits: SessionLimits, *, all_of_them: bool) -> list[str]:
    """End the sessions of readers beyond the limits, or `all_of_them`; returns the reason for each.

    Reasons: `verdict_ended` (all of them), `lock` (another session waits for a lock that it holds), `transaction`,
    `idle_in_transaction`, `session` (too long) and `sessions` (too many of one login). A time in the future is as good as one
    that is over: the clock was set back.
    """
    rows = tx.execute(
        """
        WITH login AS MATERIALIZED (
            SELECT u.usesysid, consent.tables_of_reader(u.usesysid) AS tables
            FROM (SELECT DISTINCT usesysid FROM pg_stat_activity WHERE backend_type = 'client backend') AS u
        ), watched AS (
            SELECT a.*, clock_timestamp() AS present,
                   row_number() OVER (PARTITION BY a.usesysid ORDER BY a.backend_start, a.pid) AS number
            FROM pg_stat_activity AS a
            JOIN login USING (usesysid)
            WHERE a.backend_type = 'client backend' AND login.tables IS NOT NULL
        ), blocking AS (  -- holds a lock for which somebody else waits
            SELECT DISTINCT unnest(pg_blocking_pids(a.pid)) AS pid
            FROM pg_stat_activity AS a
            WHERE a.wait_event_type = 'Lock' AND a.pid NOT IN (SELECT pid FROM watched)
        ), judged AS (
            SELECT pid, CASE
                WHEN %(all)s THEN 'verdict_ended'
                WHEN pid IN (SELECT pid FROM blocking) THEN 'lock'
                WHEN state LIKE 'idle in transaction%%'
                 AND (present - state_change > %(idle)s OR state_change - present > %(slack)s) THEN 'idle_in_transaction'
                WHEN present - xact_start > %(transaction)s OR xact_start - present > %(slack)s THEN 'transaction'
                WHEN present - backend_start > %(session)s OR backend_start - present > %(slack)s THEN 'session'
                WHEN number > %(sessions)s THEN 'sessions'
            END AS reason
            FROM watched
        )
        SELECT reason, pg_terminate_backend(pid) FROM judged WHERE reason IS NOT NULL
        """,
        {
            "all": all_of_them,
            "transaction": timedelta(seconds=limits.transaction_seconds),
            "idle": timedelta(seconds=limits.idle_in_transaction_seconds),
            "session": timedelta(seconds=limits.session_seconds),
            "slack": _SLACK,
            "sessions": limits.sessions_per_login,
        },
    )
    return [reason for reason, was_ended in rows if was_ended]
