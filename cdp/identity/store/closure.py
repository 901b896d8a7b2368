"""SQL of the closure: everything in the mapping that depends on some identifiers, as it was recorded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.identity.model import ResolutionStep
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that the resolution of some identifiers can depend on.

    `steps` are the recorded steps in order; `types` and `shared` are about their members; `profiles` maps the
    sequence number of each step that created a stored profile to the id of that profile.
    """

    steps: tuple[ResolutionStep, ...]
    types: dict[int, str]
    shared: frozenset[int]
    profiles: Mapping[int, int]


_CLOSURE: Final = """
WITH RECURSIVE
-- whether an identifier links the anchors and edges that name it
identifier AS NOT MATERIALIZED (
    SELECT identifier_id,
           NOT (is_shared OR identifier_id = ANY(%(learned)s::bigint[]) OR type = ANY(%(non_linking)s::text[])) AS links
    FROM identity.identifier
),
-- the members of each step: of an anchor, or the two sides of an edge under the negative of its sequence; where the
-- members of one step are wanted, they are read from the tables, because no index finds a negated sequence
member AS NOT MATERIALIZED (
    SELECT anchor_id AS step, identifier_id FROM identity.anchor_member
    UNION ALL
    SELECT -sequence, identifier_id FROM identity.edge
    UNION ALL
    SELECT -sequence, other_identifier_id FROM identity.edge
),
-- from identifier to identifier: through those that link, and within a step of which no member links
reach (identifier_id, links) AS (
    SELECT requested.id, TRUE
    FROM unnest(%(ids)s::bigint[]) AS requested (id)
    UNION
    SELECT other.identifier_id, other.links
    FROM reach
    JOIN member AS here USING (identifier_id)
    JOIN LATERAL (
        SELECT identifier_id, i.links OR %(through_shared)s AS links, bool_or(i.links) OVER () AS any_links
        FROM (
            SELECT identifier_id FROM identity.anchor_member WHERE anchor_id = here.step
            UNION ALL
            SELECT identifier_id FROM identity.edge WHERE sequence = -here.step
            UNION ALL
            SELECT other_identifier_id FROM identity.edge WHERE sequence = -here.step
        ) AS there
        JOIN identifier AS i USING (identifier_id)
    ) AS other ON (reach.links AND other.links) OR NOT other.any_links
)
-- the steps of what was reached; of an identifier that does not link, only those of which no member links
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
        JOIN identifier AS i USING (identifier_id)
        WHERE i.links)
"""


def closure(
    tx: Transaction,
    identifier_ids: Collection[int],
    *,
    learned: Collection[int] = (),
    non_linking: Collection[str] = (),
    through_shared: bool = False,
) -> Closure:
    """The recorded steps whose outcome can depend on the outcome of steps with these identifiers.

    Steps are connected through identifiers that link. Steps made only of identifiers that do not link
    (shared, `learned` to be shared, or of a `non_linking` type) are connected too, because they belong to their
    strongest member. With `through_shared`, every identifier connects: an undo needs that, because it may
    turn a shared identifier back into one that links.
    """
    rows = tx.execute(
        _CLOSURE,
        {
            "ids": list(identifier_ids),
            "learned": list(learned),
            "non_linking": list(non_linking),
            "through_shared": through_shared,
        },
    )
    return recorded(tx, [step for (step,) in rows])


def recorded(tx: Transaction, steps: Collection[int] | None = None) -> Closure:
    """The recorded steps of these anchors and edges, or all of them, with the types and profiles that they refer to.

    An edge of a link table is named by the negative of its sequence, which is also the anchor id of its step.
    """
    rows = tx.execute(
        """
        SELECT r.sequence, r.anchor_id, r.received_at, m.identifier_id, i.type, i.is_shared, p.profile_id, m.position
        FROM identity.resolution AS r
        JOIN identity.anchor USING (anchor_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        LEFT JOIN identity.profile AS p ON p.origin_sequence = r.sequence
        WHERE %(all)s OR r.anchor_id = ANY(%(anchors)s::bigint[])
        UNION ALL
        SELECT e.sequence, -e.sequence, e.received_at, i.identifier_id, i.type, i.is_shared, p.profile_id,
               (i.identifier_id = e.other_identifier_id)::int
        FROM identity.edge AS e
        JOIN identity.identifier AS i ON i.identifier_id IN (e.identifier_id, e.other_identifier_id)
        LEFT JOIN identity.profile AS p ON p.origin_sequence = e.sequence
        WHERE %(all)s OR e.sequence = ANY(%(edges)s::bigint[])
        ORDER BY sequence, position
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
    for sequence, anchor_id, received_at, identifier_id, type_, is_shared, profile_id, _ in rows:
        members.setdefault(sequence, []).append(identifier_id)
        heads[sequence] = (anchor_id, received_at)
        types[identifier_id] = type_
        if is_shared:
            shared.add(identifier_id)
        if profile_id is not None:
            profiles[sequence] = profile_id
    found = tuple(
        ResolutionStep(sequence, anchor_id, tuple(members[sequence]), received_at)
        for sequence, (anchor_id, received_at) in heads.items()
    )
    return Closure(found, types, frozenset(shared), profiles)
