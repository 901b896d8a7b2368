"""SQL of the generation: the lock of the one writer of identity, the version of the mapping, and the recorded sequence."""

from typing import NamedTuple

from cdp.kit.db import Transaction


class Generation(NamedTuple):
    """The version of the mapping and the next number of the recorded sequence."""

    version: int
    next_sequence: int


class Advanced(NamedTuple):
    """The version that a transaction leaves behind, and whether the store moved it on for what the transaction changed."""

    version: int
    is_moved: bool


def lock_exclusive(tx: Transaction) -> Generation:
    """Become the only writer of identity and consent until the transaction ends; tells the generation.

    A row is locked, not a number: any login of the database may take an advisory lock, and would stop all ingest.
    """
    return Generation(*tx.execute("SELECT version, next_sequence FROM identity.generation FOR UPDATE")[0])


def generation(tx: Transaction) -> Generation:
    """The generation as this transaction sees it."""
    return Generation(*tx.execute("SELECT version, next_sequence FROM identity.generation")[0])


def advance(tx: Transaction, *, next_sequence: int | None = None, changed: bool = False) -> Advanced:
    """Move the recorded sequence on; and the version where something `changed` that the store does not watch itself.

    The store watches mappings, verdicts and suppressions (`cdp.schema.version`).
    """
    rows = tx.execute(
        """
        UPDATE identity.generation
        SET version = version + %(changed)s::int,
            next_sequence = greatest(next_sequence, %(next)s::bigint)
        RETURNING version,
                  coalesce(current_setting('cdp.advanced_by', true), '') = pg_current_xact_id()::text
        """,
        {"changed": int(changed), "next": next_sequence or 0},
    )
    return Advanced(*rows[0])
