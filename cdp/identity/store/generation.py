"""SQL of the generation: the lock of the single writer, the version of the mapping, and the next sequence number."""

from typing import NamedTuple

from cdp.kit.db import Transaction


class Generation(NamedTuple):
    """The version of the mapping and the next number of the recorded sequence."""

    version: int
    next_sequence: int


class Advanced(NamedTuple):
    """The version after a transaction, and whether the database advanced it because of what the transaction changed."""

    version: int
    is_moved: bool


def lock_exclusive(tx: Transaction) -> Generation:
    """Become the only writer of identity and consent until the transaction ends; returns the generation.

    What the mapping was before is kept with the instant of the lock, by the clock of the service. A row is locked instead of a number, because every login of the database can take an advisory lock and stop ingest.
    """
    now = tx.now()
    (row,) = tx.execute(
        """
        SELECT version, next_sequence, set_config('cdp.instant', %(now)s, true)
        FROM identity.generation
        FOR UPDATE
        """,
        {"now": "" if now is None else now.isoformat()},
    )
    return Generation(row[0], row[1])


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
            next_sequence = greatest(next_sequence, %(next)s::bigint)
        RETURNING version,
                  coalesce(current_setting('cdp.advanced_by', true), '') = pg_current_xact_id()::text AS is_moved
        """,
        {"changed": int(changed), "next": next_sequence or 0},
    )
    return Advanced(*row)
