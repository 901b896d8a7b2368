"""SQL of the closure: everything in the map that hangs together with some identifiers, as it was recorded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.identity.model import ResolutionStep
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that resolution of some identifiers can depend on.

    `steps` are the recorded applications in order, `types` and `shared` speak of their members,
    `profiles` maps births to existing profile ids, `never` the pairs kept apart.
    """

    steps: tuple[ResolutionStep, ...]
    types: dict[int, str]
    shared: frozenset[int]
    profiles: Mapping[int, int]
    settled: frozenset[int]


_CLOSURE: Final = """
WITH RECURSIVE
-- the members of anchors, and of table edges under the negative of their sequence
member AS NOT MATERIALIZED (
    SELECT anchor_id AS step, identifier_id FROM identity.anchor_member
    UNION ALL
    SELECT -sequence, identifier_id FROM identity.edge
    UNION ALL
    SELECT -sequence, other_identifier_id FROM identity.edge
),
reach (identifier_id, links) AS (
    SELECT asked.id, TRUE
    FROM unnest(%(ids)s::bigint[]) AS asked (id)
    UNION
    SELECT other.identifier_id, other.links
    FROM reach
    JOIN member AS here USING (identifier_id)
    JOIN LATERAL (
        SELECT there.identifier_id,
               NOT (i.is_shared OR i.identifier_id = ANY(%(learned)s::bigint[])
                    OR i.type = ANY(%(non_linking)s::text[])) OR %(through_shared)s AS links,
               bool_or(NOT (i.is_shared OR i.identifier_id = ANY(%(learned)s::bigint[])
                    OR i.type = ANY(%(non_linking)s::text[]))) OVER () AS any_links
        FROM (
            SELECT identifier_id FROM identity.anchor_member WHERE anchor_id = here.step
            UNION ALL
            SELECT identifier_id FROM identity.edge WHERE sequence = -here.step
            UNION ALL
            SELECT other_identifier_id FROM identity.edge WHERE sequence = -here.step
        ) AS there
        JOIN identity.identifier AS i USING (identifier_id)
    ) AS other ON (reach.links AND other.links) OR NOT other.any_links
)
SELECT DISTINCT here.step
FROM reach
JOIN member AS here USING (identifier_id)
WHERE reach.links
   OR NOT EXISTS (
        SELECT FROM (
            SELECT identifier_id FROM identity.anchor_member WHERE anchor_id = here.step
            UNION ALL
            SELECT identifier_id FROM identity.edge WHERE sequence = -here.step
            UNION ALL
            SELECT other_identifier_id FROM identity.edge WHERE sequence = -here.step
        ) AS there
        JOIN identity.identifier AS i USING (identifier_id)
        WHERE NOT (i.is_shared OR i.identifier_id = ANY(%(learned)s::bigint[])
                   OR i.type = ANY(%(non_linking)s::text[])))
"""


def closure(
    tx: Transaction,
    identifier_ids: Collection[int],
    *,
    learned: Collection[int] = (),
    non_linking: Collection[str] = (),
    through_shared: bool = False,
) -> Closure:
    """The recorded steps whose outcome can hang together with these identifiers'.

    Anchors connect through identifiers that link. Anchors made only of identifiers that do not link
    (shared, `learned` now, or of a `non_linking` type) connect too, because they fall to their
    strongest member. With `through_shared`, everything connects: what an undo needs, since it may
    make a shared identifier whole again.
    """
    steps = [
        row[0]
        for row in tx.execute(
            _CLOSURE,
            {
                "ids": list(identifier_ids),
                "learned": list(learned),
                "non_linking": list(non_linking),
                "through_shared": through_shared,
            },
        )
    ]
    return recorded(tx, steps)


def recorded(tx: Transaction, steps: Collection[int] | None = None) -> Closure:
    """The recorded steps of these anchors and edges, or all there are; with the types and profiles they speak of.

    An edge of a link table is named by the negative of its sequence, and its step has that as its anchor.
    """
    rows = tx.execute(
        """
        SELECT r.sequence, r.anchor_id, r.received_at, m.identifier_id, i.type, i.is_shared, p.profile_id, a.is_settled, m.position
        FROM identity.resolution AS r
        JOIN identity.anchor AS a USING (anchor_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        LEFT JOIN identity.profile AS p ON p.origin_sequence = r.sequence
        WHERE %(all)s OR r.anchor_id = ANY(%(anchors)s::bigint[])
        UNION ALL
        SELECT e.sequence, -e.sequence, e.received_at, i.identifier_id, i.type, i.is_shared, p.profile_id, TRUE,
               (i.identifier_id = e.other_identifier_id)::int
        FROM identity.edge AS e
        JOIN identity.identifier AS i ON i.identifier_id IN (e.identifier_id, e.other_identifier_id)
        LEFT JOIN identity.profile AS p ON p.origin_sequence = e.sequence
        WHERE %(all)s OR e.sequence = ANY(%(edges)s::bigint[])
        ORDER BY 1, 9
        """,
        {
            "anchors": [step for step in steps or () if step > 0],
            "edges": [-step for step in steps or () if step < 0],
            "all": steps is None,
        },
    )
    members: dict[int, list[int]] = {}
    heads: dict[int, tuple[int, datetime]] = {}
    types: dict[int, str] = {}
    shared: set[int] = set()
    profiles: dict[int, int] = {}
    settled: set[int] = set()
    for sequence, anchor_id, at, identifier_id, type_, is_shared, profile_id, is_settled, _ in rows:
        members.setdefault(sequence, []).append(identifier_id)
        heads[sequence] = (anchor_id, at)
        types[identifier_id] = type_
        if is_shared:
            shared.add(identifier_id)
        if profile_id is not None:
            profiles[sequence] = profile_id
        if is_settled:
            settled.add(anchor_id)
    found = tuple(
        ResolutionStep(sequence, heads[sequence][0], tuple(ids), heads[sequence][1])
        for sequence, ids in members.items()
    )
    return Closure(found, types, frozenset(shared), profiles, frozenset(settled))
