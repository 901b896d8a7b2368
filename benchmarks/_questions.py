"""Segments as marketers write them, and the SQL that an engineer who knows the tables would write for each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from benchmarks._crowd import NOW, ORDER, VIEW


@dataclass(frozen=True, slots=True)
class Question:
    """One segment, handwritten SQL for PostgreSQL, and the same for the copy in DuckDB."""

    name: str
    where: str
    handwritten: str
    in_duck: str


_EVENTS = """
            FROM behavior.event e JOIN identity.canonical c USING (anchor_id)
            JOIN consent.permitted p ON p.profile_id = c.profile_id AND p.purpose = 'email_marketing'
            WHERE e.retention_class = '{class_}' AND e.name_id = :{name} AND e.bits & :mask <> 0
              AND e.occurred_at >= p.since AND p.since <= :now AND e.occurred_at > :{after} AND e.occurred_at <= :now
              AND (p.until IS NULL OR p.until > :now)
"""
_IN_DUCK = """
            FROM event e JOIN canonical c USING (anchor_id) JOIN people p ON p.profile_id = c.profile_id
            WHERE e.name_id = ${name} AND e.bits & $mask <> 0
              AND e.at >= p.since AND p.since <= $now AND e.at > ${after} AND e.at <= $now
              AND (p.until IS NULL OR p.until > $now)
"""
_SOLD: Final = _EVENTS.format(class_="transactions", name="order", after="year_ago")
_SOLD_DUCK: Final = _IN_DUCK.format(name="order", after="year_ago")

QUESTIONS: Final = (
    Question(
        "two traits",
        'trait.country = "DE" and trait.age >= 40',
        """
        SELECT count(*) FROM consent.permitted
        WHERE purpose = 'email_marketing' AND (until IS NULL OR until > :now) AND since <= :now
          AND (traits -> 'country')::int = :germany AND (traits -> 'age')::int >= 40
        """,
        """
        SELECT count(*) FROM people
        WHERE (until IS NULL OR until > $now) AND since <= $now AND country = $germany AND age >= 40
        """,
    ),
    Question(
        "three orders in a year",
        f'count("{ORDER}", within 365 days) >= 3',
        f"SELECT count(*) FROM (SELECT c.profile_id {_SOLD} GROUP BY c.profile_id HAVING count(*) >= 3) AS found",
        f"SELECT count(*) FROM (SELECT c.profile_id {_SOLD_DUCK} GROUP BY c.profile_id HAVING count(*) >= 3) AS found",
    ),
    Question(
        "lapsing high value",
        f'count("{ORDER}", within 365 days) >= 3 and sum("{ORDER}".revenue, within 365 days) > 250 '
        f'and not did("{ORDER}", within 60 days)',
        f"""
        SELECT count(*) FROM (
            SELECT c.profile_id {_SOLD} GROUP BY c.profile_id
            HAVING count(*) >= 3 AND sum((e.plain -> 'revenue')::numeric) > 250 AND max(e.occurred_at) <= :two_months_ago
        ) AS found
        """,
        f"""
        SELECT count(*) FROM (
            SELECT c.profile_id {_SOLD_DUCK} GROUP BY c.profile_id
            HAVING count(*) >= 3 AND sum(e.revenue) > 250 AND max(e.at) <= $two_months_ago
        ) AS found
        """,
    ),
    Question(
        "viewed a category, no order",
        f'count("{VIEW}" where category = "shoes", within 30 days) >= 3 and not did("{ORDER}", within 14 days)',
        f"""
        SELECT count(*) FROM (
            SELECT c.profile_id {_EVENTS.format(class_="browsing", name="view", after="month_ago")}
              AND (e.plain -> 'category')::int = :shoes
            GROUP BY c.profile_id HAVING count(*) >= 3
        ) AS viewed
        WHERE NOT EXISTS (
            SELECT {_EVENTS.format(class_="transactions", name="order", after="fortnight_ago")}
              AND c.profile_id = viewed.profile_id
        )
        """,
        f"""
        SELECT count(*) FROM (
            SELECT c.profile_id {_IN_DUCK.format(name="view", after="month_ago")} AND e.category = $shoes
            GROUP BY c.profile_id HAVING count(*) >= 3
        ) AS viewed
        WHERE profile_id NOT IN (SELECT c.profile_id {_IN_DUCK.format(name="order", after="fortnight_ago")})
        """,
    ),
    Question(
        "recent and few",
        f'did("{ORDER}", within 30 minutes)',
        f"SELECT count(DISTINCT c.profile_id) {_EVENTS.format(class_='transactions', name='order', after='half_an_hour_ago')}",
        f"SELECT count(DISTINCT c.profile_id) {_IN_DUCK.format(name='order', after='half_an_hour_ago')}",
    ),
)

INSTANTS: Final[dict[str, datetime]] = {
    "now": NOW,
    "year_ago": NOW - timedelta(days=365),
    "two_months_ago": NOW - timedelta(days=60),
    "month_ago": NOW - timedelta(days=30),
    "fortnight_ago": NOW - timedelta(days=14),
    "half_an_hour_ago": NOW - timedelta(minutes=30),
}
