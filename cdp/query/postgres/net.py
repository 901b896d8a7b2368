"""What remains of amounts after refunds and cancellations, in SQL: one common table expression for each such value."""

from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    Integer,
    Numeric,
    Select,
    and_,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from cdp.policy.events import DIGEST, IN_FULL
from cdp.policy.model import EventPlan
from cdp.query.language import ast
from cdp.query.postgres.filters import event, property_of
from cdp.query.postgres.measures import canonical, select_events
from cdp.query.postgres.scope import StatementScope
from cdp.query.postgres.values import Column, Form


def net_frame(node: ast.Net, purpose: str, scope: StatementScope) -> tuple[CTE, Column]:
    """One row per profile with orders, with the sum of what remains of each.

    Events with the same references are one order, of which the rate is that of its first event. Nothing is taken back beyond
    an order, and nothing without a reference.
    """
    taking_back = scope.catalogue.policy.events.taking_back(node.events.name)
    names = sorted({plan.takes_back.by for plan in taking_back if plan.takes_back is not None})
    orders = _orders(node, names, purpose, scope=scope)
    back = [_taking(node, orders, plan, references=names, purpose=purpose, scope=scope) for plan in taking_back]
    taken = _taken(union_all(*back), scope)
    remaining = select(
        orders.c.profile_id,
        func.sum(
            func.greatest(
                orders.c.total - func.coalesce(taken.c.amount, 0), func.least(orders.c.total, 0), type_=Numeric()
            )
            * (1 - func.coalesce(taken.c.is_full, 0)),
            type_=Numeric(),
        ).label("value_1"),
    ).select_from(orders.outerjoin(taken, taken.c.order_id == orders.c.order_id))
    frame = remaining.group_by(orders.c.profile_id).cte(scope.name("net")).prefix_with("MATERIALIZED")
    return frame, Column(frame.c.value_1, Form.NUMBER, default=0)


def _orders(node: ast.Net, names: list[str], purpose: str, *, scope: StatementScope) -> CTE:
    """Each order: its profile, its references, its first instant, and the sum of its amounts."""
    amount = property_of(node.events.name, node.property, scope, currency=node.currency).number
    placed = (
        select_events((node.events,), purpose, scope)
        .add_columns(
            canonical.c.profile_id,
            event.c.occurred_at,
            amount.label("amount"),
            *(_reference(name).label(f"reference_{at}") for at, name in enumerate(names)),
        )
        .subquery("placed")
    )
    references = [placed.c[f"reference_{at}"] for at in range(len(names))]
    statement = (
        select(
            func.row_number().over().label("order_id"),
            placed.c.profile_id,
            *references,
            func.min(placed.c.occurred_at).label("placed_at"),
            func.sum(placed.c.amount, type_=Numeric()).label("total"),
        )
        .where(placed.c.amount.is_not(None))
        .group_by(placed.c.profile_id, *references)
    )
    return statement.cte(scope.name("orders")).prefix_with("MATERIALIZED")


def _taken(back: CompoundSelect[Any], scope: StatementScope) -> CTE:
    """What was taken back of each order; `is_full` is 1 for the whole."""
    found = back.subquery("back")
    amount, is_full = func.sum(found.c.amount, type_=Numeric()), func.max(found.c.is_full, type_=Integer())
    statement = select(found.c.order_id, amount.label("amount"), is_full.label("is_full")).group_by(found.c.order_id)
    return statement.cte(scope.name("taken")).prefix_with("MATERIALIZED")


def _taking(
    node: ast.Net, orders: CTE, plan: EventPlan, *, references: list[str], purpose: str, scope: StatementScope
) -> Select[Any]:
    """The events of one name that take back amounts, each with its order, by whose rate they are converted."""
    stated = plan.takes_back
    assert stated is not None
    referred = orders.c[f"reference_{references.index(stated.by)}"]
    statement = select_events((ast.Events(plan.key),), purpose, scope).join(
        orders, and_(orders.c.profile_id == canonical.c.profile_id, referred == _reference(stated.by))
    )
    if stated.in_full:
        nothing = cast(literal(0), Numeric())
        return statement.add_columns(orders.c.order_id, nothing.label("amount"), literal(1, Integer()).label("is_full"))
    amount = property_of(plan.key, node.property, scope, currency=node.currency, at=orders.c.placed_at).number
    is_marked: ColumnElement[bool] = event.c.plain.op("->", return_type=JSONB())(IN_FULL).is_not(None)
    return statement.add_columns(
        orders.c.order_id, func.abs(amount).label("amount"), cast(is_marked, Integer()).label("is_full")
    )


def _reference(name: str) -> ColumnElement[Any]:
    return event.c.plain.op("->", return_type=JSONB())(f"{DIGEST}{name}")
