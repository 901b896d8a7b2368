"""SQL of the sweep: grants that ceased to be decisive before the retention period of the policy.

A grant ends only if no verdict permits more without it. Of one identifier and purpose these are

- a grant that a later refusal ended;
- a grant that expired, if a later record remains; where every jurisdiction requires an opt-in, also the last one.

Elsewhere an expired grant acts like a withdrawal, so the last one stays. A refusal stays as long as its identifier.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Final, NamedTuple

from cdp.kit.db import Transaction

_ENDED: Final = """
    WITH grants AS NOT MATERIALIZED (  -- with the end that the policies left them
        SELECT record_id, identifier_id, purpose, act, occurred_at, recorded_at, least(valid_until,
               CASE WHEN EXISTS (SELECT FROM consent.validity) THEN consent.shortened_end(
                   purpose, least(occurred_at, recorded_at), recorded_at, NULL
               ) END) AS until
        FROM consent.record WHERE act = 'grant'
    )
    SELECT ended.record_id, ended.identifier_id
    FROM grants AS ended
    WHERE ended.recorded_at <= %(expired_at)s AND (
        EXISTS (  -- a later refusal ended it
            SELECT FROM consent.record AS later
            WHERE later.identifier_id = ended.identifier_id AND later.purpose = ended.purpose AND later.act <> 'grant'
              AND least(later.occurred_at, later.recorded_at) >= least(ended.occurred_at, ended.recorded_at)
              AND later.recorded_at <= %(expired_at)s
        )
        OR ended.until <= %(expired_at)s AND (
            ended.purpose = ANY(%(opt_in_only)s::text[])
            OR EXISTS (  -- it expired, and a later record remains
                SELECT FROM consent.record AS later
                WHERE later.identifier_id = ended.identifier_id AND later.purpose = ended.purpose AND later.act <> 'grant'
                  AND least(later.occurred_at, later.recorded_at) >= least(ended.occurred_at, ended.recorded_at)
            )
            OR EXISTS (
                SELECT FROM grants AS later
                WHERE later.identifier_id = ended.identifier_id AND later.purpose = ended.purpose
                  AND coalesce(later.until, 'infinity') > ended.until
            )
        )
    )
    ORDER BY ended.record_id LIMIT %(rows_max)s
"""


class EndedRecord(NamedTuple):
    """A deleted record, and the identifier whose act it was."""

    record_id: int
    identifier_id: int


def count_ended_records(tx: Transaction, expired_at: datetime, *, opt_in_only: Collection[str]) -> int:
    """How many grants ceased to be decisive at or before an instant; `opt_in_only` purposes require an opt-in everywhere."""
    return len(ended_records(tx, expired_at, None, opt_in_only=opt_in_only))


def ended_records(
    tx: Transaction, expired_at: datetime, rows_max: int | None, *, opt_in_only: Collection[str]
) -> list[EndedRecord]:
    """Those grants, up to `rows_max` of them."""
    rows = tx.execute(_ENDED, {"expired_at": expired_at, "rows_max": rows_max, "opt_in_only": sorted(opt_in_only)})
    return [EndedRecord(*row) for row in rows]


def delete_records(tx: Transaction, record_ids: Collection[int]) -> None:
    """Delete these records with their repetitions."""
    ids = {"records": list(record_ids)}
    tx.execute("DELETE FROM consent.repetition WHERE record_id = ANY(%(records)s::bigint[])", ids)
    tx.execute("DELETE FROM consent.record WHERE record_id = ANY(%(records)s::bigint[])", ids)


def restricted_identifiers(tx: Transaction) -> set[int]:
    """The identifiers with a restriction of processing that was not released since."""
    rows = tx.execute(
        """
        SELECT DISTINCT r.identifier_id FROM consent.record AS r
        WHERE r.act = 'restrict' AND NOT EXISTS (
            SELECT FROM consent.record AS later
            WHERE later.identifier_id = r.identifier_id AND later.purpose = r.purpose AND later.act = 'release'
              AND least(later.occurred_at, later.recorded_at) > least(r.occurred_at, r.recorded_at)
        )
        """
    )
    return {identifier_id for (identifier_id,) in rows}
