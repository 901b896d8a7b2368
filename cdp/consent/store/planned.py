"""SQL of permissions as another policy would leave them, for statements that read them; nothing is stored."""

from collections.abc import Sequence
from datetime import datetime
from json import dumps
from typing import Any, NamedTuple

from sqlalchemy import CTE, Text, cast, column, exists, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, DateTime

from cdp.schema.consent import permitted


class PlannedProjection(NamedTuple):
    """A permission that a policy would change: with its new span and the traits of its projection; no `since` if it ends."""

    profile_id: int
    purpose: str
    since: datetime | None
    until: datetime | None
    traits: dict[str, Any]


def planned_permitted(changed: Sequence[PlannedProjection]) -> CTE:
    """The rows that would be in `consent.permitted`: those stored, with these changes."""
    columns = permitted.c
    changes = (
        func.unnest(
            _array([pair.profile_id for pair in changed], BigInteger()),
            _array([pair.purpose for pair in changed], Text()),
            _array([pair.since for pair in changed], DateTime(timezone=True)),
            _array([pair.until for pair in changed], DateTime(timezone=True)),
            _array([dumps(pair.traits) for pair in changed], Text()),
        )
        .table_valued(
            column("profile_id", BigInteger),
            column("purpose", Text),
            column("since", DateTime(timezone=True)),
            column("until", DateTime(timezone=True)),
            column("traits", Text),
        )
        .render_derived(name="changed")
    )
    is_changed = exists().where(changes.c.profile_id == columns.profile_id, changes.c.purpose == columns.purpose)
    kept = select(
        columns.profile_id,
        columns.purpose,
        columns.since,
        columns.until,
        columns.traits,
        columns.reader_pseudonym,
    ).where(~is_changed)
    put = select(
        changes.c.profile_id,
        changes.c.purpose,
        changes.c.since,
        changes.c.until,
        cast(changes.c.traits, JSONB),
        cast(null(), Text),
    ).where(changes.c.since.is_not(None))
    return union_all(kept, put).cte("planned_permitted")


def _array(values: list[Any], kind: Any) -> Any:
    return cast(literal(values, ARRAY(kind)), ARRAY(kind))
