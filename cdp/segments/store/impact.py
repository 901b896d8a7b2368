"""SQL that counts the memberships that a change of policy would begin and end; nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import CTE, ColumnElement, Select, exists, func, literal, or_, select, union_all

from cdp.kit.db import Transaction
from cdp.query.postgres.compile import CompiledSegment
from cdp.schema.segments import membership


@dataclass(frozen=True, slots=True)
class Counted:
    """How many profiles, and the ids of some of them."""

    number: int
    examples: tuple[int, ...]


def members_of(tx: Transaction, key: str, examples_max: int) -> Counted:
    """The stored members of a segment."""
    return _counted(tx, {"": select(membership.c.profile_id).where(membership.c.key == key)}, examples_max)[""]


def difference(
    tx: Transaction,
    key: str,
    *,
    before: CompiledSegment | None,
    after: CompiledSegment,
    purposes: Sequence[str],
    permitted: CTE,
    examples_max: int,
) -> tuple[Counted, Counted]:
    """Who would enter and who would leave a segment, if the evaluation `after` took the place of `before`.

    `before` is None for a segment that has no evaluation. `permitted` are the permissions of `after`, `purposes` those that it
    needs. As in a refresh, a membership from before the permission ends, and the person enters a second time.
    """
    found = after.members.cte("found_after")
    if before is None:
        return _counted(tx, {"enter": select(found.c.profile_id)}, examples_max)["enter"], Counted(0, ())
    former = before.members.cte("found_before")
    restarted = (
        select(membership.c.profile_id)
        .join(permitted, permitted.c.profile_id == membership.c.profile_id)
        .where(
            membership.c.key == key,
            permitted.c.purpose.in_(list(purposes)),
            permitted.c.since > membership.c.since,
        )
        .cte("restarted")
    )
    entering = select(found.c.profile_id).where(or_(~_among(former, found), _among(restarted, found)))
    leaving = select(former.c.profile_id).where(or_(~_among(found, former), _among(restarted, former)))
    counted = _counted(tx, {"enter": entering, "leave": leaving}, examples_max)
    return counted["enter"], counted["leave"]


def _among(others: CTE, profiles: CTE) -> ColumnElement[bool]:
    return exists().where(others.c.profile_id == profiles.c.profile_id)


def _counted(tx: Transaction, queries: dict[str, Select[tuple[int]]], examples_max: int) -> dict[str, Counted]:
    """The number of rows of each query and its first ids, in one statement."""
    sets = {name: query.cte(f"counted_{name}") for name, query in queries.items()}
    first = [
        select(literal(name), found.c.profile_id, func.count().over()).order_by(found.c.profile_id).limit(examples_max)
        for name, found in sets.items()
    ]
    rows = tx.all(union_all(*(select(part.subquery()) for part in first)))
    return {
        name: Counted(
            next((total for of, _, total in rows if of == name), 0),
            tuple(sorted(profile_id for of, profile_id, _ in rows if of == name)),
        )
        for name in queries
    }
