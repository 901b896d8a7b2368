"""SQL of the generation: the lock of the single writer, the version of the mapping, and the next sequence number."""

from datetime import datetime
from typing import NamedTuple

from cdp.kit.clock import fixed_instant, set_clock
from cdp.kit.db import Transaction


class Generation(NamedTuple):
    """The version of the mapping and the next number of the recorded sequence."""

    version: int
    next_sequence: int


class Lock(NamedTuple):
    """The generation as the holder of the exclusive lock sees it, and the instant of what the transaction does.

    `now` is the database's clock, but always after `acted_at`, the instant of the last transaction that changed anything:
    acts are in the order of their transactions, even if the database's clock was set back between them.
    """

    version: int
    next_sequence: int
    now: datetime
    acted_at: datetime

    @property
    def generation(self) -> Generation:
        """The generation under the lock."""
        return Generation(self.version, self.next_sequence)


class Advanced(NamedTuple):
    """The version after a transaction, and whether the database advanced it because of what the transaction changed."""

    version: int
    is_moved: bool


def lock_exclusive(tx: Transaction) -> Lock:
    """Become the only writer of identity and consent until the transaction ends.

    Repeated in one transaction, it gives the same instant. What the mapping was before is kept with that instant. A test
    clock counts instead of the database's, and several transactions may then have one instant. A row is locked instead of a
    number, because every login of the database can take an advisory lock and stop ingest.
    """
    (row,) = tx.execute(
        """
        WITH locked AS MATERIALIZED (
            SELECT version, next_sequence, acted_at FROM identity.generation FOR UPDATE
        ), reading AS MATERIALIZED (  -- after the wait for the lock
            SELECT locked.*, identity.database_instant() AS clock
            FROM locked
        ), acting AS MATERIALIZED (
            SELECT reading.*, coalesce(
                nullif(current_setting('cdp.instant', true), '')::timestamptz,
                CASE WHEN %(fixed)s::timestamptz IS NOT NULL THEN greatest(%(fixed)s::timestamptz, acted_at) END,
                greatest(clock, acted_at + interval '1 microsecond')
            ) AS instant
            FROM reading
        )
        SELECT version, next_sequence, instant, acted_at, clock, set_config('cdp.instant', instant::text, true) FROM acting
        """,
        {"fixed": fixed_instant(tx.clock)},
    )
    set_clock(tx.clock, row[4])
    return Lock(*row[:4])


def read_clock(tx: Transaction) -> None:
    """Set the clock of the service by the database's."""
    ((reading,),) = tx.execute("SELECT identity.database_instant()")
    set_clock(tx.clock, reading)


def ended_verdicts(tx: Transaction) -> int:
    """A number that grows with each transaction that ended a permission or erased a profile."""
    ((count,),) = tx.execute("SELECT verdicts_ended FROM identity.generation")
    return int(count)


def generation(tx: Transaction) -> Generation:
    """The generation as this transaction sees it."""
    (row,) = tx.execute("SELECT version, next_sequence FROM identity.generation")
    return Generation(*row)


def advance(tx: Transaction, *, next_sequence: int | None = None, changed: bool = False) -> Advanced:
    """Advance the recorded sequence to `next_sequence`, and the version if something `changed` that has no trigger.

    Triggers watch mappings, verdicts and suppressions (`cdp.schema.version`).
    """
    (row,) = tx.execute(
        """
        UPDATE identity.generation
        SET version = version + %(changed)s::int,
            next_sequence = greatest(next_sequence, %(next)s::bigint),
            acted_at = greatest(acted_at, nullif(current_setting('cdp.instant', true), '')::timestamptz)
        RETURNING version, identity.is_advanced() AS is_moved
        """,
        {"changed": int(changed), "next": next_sequence or 0},
    )
    return Advanced(*row)
