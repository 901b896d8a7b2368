"""SQL of computed traits as another policy would compute them, for statements that read them; nothing is stored."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import CTE, FromClause, Text, cast, column, func, literal, text
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION
from sqlalchemy.types import DateTime, SmallInteger

from cdp.behavior.decay import landmark_for
from cdp.behavior.model import Landmark
from cdp.behavior.store.buckets import RECOMPUTED, definition_params
from cdp.behavior.traits import NO_LANDMARK, TraitPlan, decaying
from cdp.kit.db import Transaction
from cdp.schema.behavior import bucket

_ARRAY_PARAMETER = re.compile(r"%\((\w+)\)s::([a-z0-9]+)\[\]")


class PlannedTraits(NamedTuple):
    """What would be in `behavior.bucket`, and the landmarks of its decaying traits."""

    buckets: FromClause
    landmarks: FromClause


def planned_traits(
    tx: Transaction, plan: TraitPlan, keys: Collection[str], *, permitted: CTE, now: datetime
) -> PlannedTraits:
    """The buckets of these traits of a plan, recomputed from the events of all anchors under the permissions of `permitted`."""
    chosen = [plan.by_key[key] for key in sorted(keys)]
    landmark_at = landmark_for(now)
    landmarks = {key: Landmark(NO_LANDMARK, landmark_at) for key in keys}
    recomputed = RECOMPUTED.format(permitted=permitted.name, of_anchors="")
    statement = _ARRAY_PARAMETER.sub(r"CAST(:\1 AS \2[])", recomputed).replace("::", r"\:\:")
    buckets = (
        text(statement)
        .bindparams(**definition_params(tx, chosen, landmarks))
        .columns(*(column(known.name, known.type) for known in bucket.columns))
        .add_cte(permitted)
    )
    decay = [trait for trait in decaying(plan) if trait.key in keys]
    return PlannedTraits(
        buckets.cte("planned_bucket"),
        func.unnest(
            _array([trait.key for trait in decay], Text()),
            _array([NO_LANDMARK for _ in decay], SmallInteger()),
            _array([landmark_at for _ in decay], DateTime(timezone=True)),
            _array([trait.half_life_days for trait in decay], DOUBLE_PRECISION()),
        )
        .table_valued("trait", "generation", column("landmark_at", DateTime(timezone=True)), "half_life_days")
        .render_derived(name="planned_landmark"),
    )


def _array(values: list[Any], kind: Any) -> Any:
    return cast(literal(values, ARRAY(kind)), ARRAY(kind))
