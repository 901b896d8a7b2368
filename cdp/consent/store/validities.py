"""SQL of how long the grants of each purpose are valid by policy, and since when."""

from collections.abc import Mapping
from datetime import datetime

from cdp.kit.db import Transaction

Validities = Mapping[str, int | None]
"""The days for which a grant is valid, by purpose; None is for ever."""


def changed_validities(tx: Transaction, before: Validities, after: Validities) -> dict[str, int | None]:
    """What a policy changes; `before` is the validity of each purpose of the policy in force.

    A purpose that ends keeps its validity, so that its grants are no longer valid when it comes back. A purpose that never was
    has no grants to shorten.
    """
    latest = _latest(tx)
    known = {**before, **latest}
    ended = {purpose: before[purpose] for purpose in before.keys() - after.keys() - latest.keys()}
    return ended | {purpose: days for purpose, days in after.items() if known.get(purpose, days) != days}


def record_validities(tx: Transaction, changed: Validities, *, now: datetime) -> None:
    """Put changed validities in force from `now` on."""
    if changed:
        tx.execute(
            """
            INSERT INTO consent.validity (purpose, applied_at, validity_days)
            SELECT purpose, %(now)s, days FROM unnest(%(purposes)s::text[], %(days)s::int[]) AS v (purpose, days)
            """,
            {"purposes": list(changed), "days": list(changed.values()), "now": now},
        )


def _latest(tx: Transaction) -> dict[str, int | None]:
    rows = tx.execute(
        "SELECT DISTINCT ON (purpose) purpose, validity_days FROM consent.validity ORDER BY purpose, validity_id DESC"
    )
    return dict(rows)
