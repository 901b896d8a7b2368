"""SQL of the closure: everything in the mapping that depends on some identifiers, as it was recorded."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from cdp.identity.model import SHARED_FOR_GOOD, Evidence, ResolutionStep
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class Closure:
    """Everything that the resolution of some identifiers can depend on.

    `steps` are the recorded steps in order; `types`, `shared`, `authority` and `proved` are about their members;
    `profiles` maps the sequence number of each step that created a stored profile to the id of that profile. All steps
    that say something about a `reached` identifier are there: a replay tells whose it is, and whether it is shared. The
    other members are only named, by steps that say nothing about them: what is stored about these stays.
    """

    steps: tuple[ResolutionStep, ...]
    reached: frozenset[int]
    types: dict[int, str]
    shared: frozenset[int]
    profiles: Mapping[int, int]
    authority: Mapping[int, int]
    proved: Mapping[int, datetime]


@dataclass(frozen=True, slots=True)
class LinkingTypes:
    """What types mean for a closure: those that never link, those bound by authority, and those that servers can take.

    An identifier of a `guarded` type connects only steps of the authority that it has, because the others say nothing about
    it; with `through_shared`, what was taken by a higher authority may turn out not to be, so that only types of the person
    level can be guarded. Identifiers of `takeable` types may turn out to be taken by servers: an import that names one may
    then be about its other identifiers.
    """

    non_linking: Collection[str] = ()
    guarded: Collection[str] = ()
    takeable: Collection[str] = ()


class Decided(NamedTuple):
    """An identifier that words of an authority below `level` do not link, and have not since the step `since` (-1: ever).

    Where such a word belongs to the owner of the identifier, it may have been what linked it. Anywhere else, it was refused
    before and is refused still: its step does not depend on the identifier.
    """

    identifier_id: int
    level: int
    since: int


class TooWide(Exception):
    """More identifiers are connected than the caller wants; `reached` are some of them."""

    def __init__(self, reached: frozenset[int]) -> None:
        super().__init__(len(reached))
        self.reached = reached


# Steps are found identifier by identifier, and the statement is planned each time: a plan that joins whole tables, or one
# that was kept from when they were small, reads all of them in each round, and there are as many rounds as a chain is long.
# A step is an anchor, or an edge under the negative of its sequence.
_CLOSURE: Final = """
WITH RECURSIVE
-- whether an identifier links the anchors and edges that name it, the authority below which none of them does, and that
-- below which a replay may find that none of them does
identifier AS NOT MATERIALIZED (
    SELECT identifier_id,
           NOT (is_shared OR identifier_id = ANY(%(learned)s::bigint[]) OR type = ANY(%(non_linking)s::text[])) AS links,
           %(through_shared)s AND NOT (is_shared AND EXISTS (
               SELECT FROM identity.evidence AS e
               WHERE e.identifier_id = identifier.identifier_id AND e.kind = 'shared' AND e.rule = ANY(%(apart)s::text[])
           )) AS connects,
           CASE WHEN type = ANY(%(guarded)s::text[]) AND proved_at IS NULL THEN authority ELSE 0 END AS guard,
           CASE WHEN type = ANY(%(takeable)s::text[]) THEN %(server)s ELSE 0 END AS surely,
           identifier_id = ANY(%(owned_only)s::bigint[]) AS owned_only
    FROM identity.identifier
),
-- anchors that say nothing about an identifier since it was decided that words below a level do not link it: those that its
-- owner has may have been what linked it, the others were refused before and are refused still
void AS MATERIALIZED (
    SELECT decided.identifier_id, m.anchor_id
    FROM unnest(%(decided)s::bigint[], %(levels)s::int[], %(since)s::bigint[]) AS decided (identifier_id, level, since)
    JOIN identity.anchor_member AS m USING (identifier_id)
    JOIN identity.canonical AS c USING (anchor_id)
    WHERE coalesce((SELECT max(authority) FROM identity.anchor_source AS a WHERE a.anchor_id = m.anchor_id), 0) < decided.level
      AND NOT EXISTS (SELECT FROM identity.resolution AS r WHERE r.anchor_id = m.anchor_id AND r.sequence <= decided.since)
      AND NOT EXISTS (SELECT FROM identity.link AS l
                      WHERE l.identifier_id = decided.identifier_id AND l.profile_id = c.profile_id)
),
-- from identifier to identifier: through those that link, and within a step of which no member links; a step of a lower
-- authority says nothing about a guarded identifier, but for an import of which no member links: it is about one of them
reach (identifier_id, links, guard, owned_only) AS (
    SELECT requested.id, NOT %(through_shared)s OR coalesce(i.connects, TRUE), coalesce(i.guard, 0),
           coalesce(i.owned_only, FALSE)
    FROM unnest(%(ids)s::bigint[]) AS requested (id)
    LEFT JOIN identifier AS i ON i.identifier_id = requested.id
    UNION
    SELECT other.identifier_id, other.links, other.guard, other.owned_only
    FROM reach
    CROSS JOIN LATERAL (
        SELECT anchor_id, coalesce(
            (SELECT max(authority) FROM identity.anchor_source AS a WHERE a.anchor_id = m.anchor_id), 0)
        FROM identity.anchor_member AS m WHERE m.identifier_id = reach.identifier_id AND NOT reach.owned_only
        UNION ALL
        SELECT anchor_id, coalesce(
            (SELECT max(authority) FROM identity.anchor_source AS a WHERE a.anchor_id = c.anchor_id), 0)
        FROM identity.link AS l JOIN identity.canonical AS c USING (profile_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        WHERE reach.owned_only AND l.identifier_id = reach.identifier_id AND m.identifier_id = reach.identifier_id
        UNION ALL
        SELECT -sequence, authority FROM identity.edge WHERE identifier_id = reach.identifier_id
        UNION ALL
        SELECT -sequence, authority FROM identity.edge WHERE other_identifier_id = reach.identifier_id
    ) AS here (step, authority)
    JOIN LATERAL (
        SELECT identifier_id, i.links OR i.connects AS links, i.guard, i.owned_only,
               bool_or(i.links AND here.authority >= greatest(i.guard, i.surely)) OVER () AS any_links
        FROM (
            SELECT identifier_id FROM identity.anchor_member WHERE anchor_id = here.step
            UNION ALL
            SELECT identifier_id FROM identity.edge WHERE sequence = -here.step
            UNION ALL
            SELECT other_identifier_id FROM identity.edge WHERE sequence = -here.step
        ) AS there
        JOIN identifier AS i USING (identifier_id)
        WHERE (i.identifier_id, here.step) NOT IN (SELECT * FROM void)
          AND (NOT i.owned_only OR here.step < 0 OR EXISTS (
              SELECT FROM identity.canonical AS c JOIN identity.link AS l USING (profile_id)
              WHERE c.anchor_id = here.step AND l.identifier_id = i.identifier_id))
    ) AS other ON (reach.links AND other.links AND here.authority >= greatest(reach.guard, other.guard))
        OR (NOT other.any_links AND here.authority >= least(other.guard, %(import)s))
    WHERE here.authority >= least(reach.guard, %(import)s)
      AND (reach.identifier_id, here.step) NOT IN (SELECT * FROM void)
),
found AS MATERIALIZED (SELECT * FROM reach LIMIT %(limit)s)
-- what was reached, and its steps; of an identifier that does not link, only those of which no member links
SELECT DISTINCT NULL::bigint AS step, identifier_id FROM found
UNION ALL
SELECT DISTINCT here.step, NULL::bigint
FROM found AS reach
CROSS JOIN LATERAL (
    SELECT anchor_id, coalesce(
        (SELECT max(authority) FROM identity.anchor_source AS a WHERE a.anchor_id = m.anchor_id), 0)
    FROM identity.anchor_member AS m WHERE m.identifier_id = reach.identifier_id AND NOT reach.owned_only
    UNION ALL
    SELECT anchor_id, coalesce(
        (SELECT max(authority) FROM identity.anchor_source AS a WHERE a.anchor_id = c.anchor_id), 0)
    FROM identity.link AS l JOIN identity.canonical AS c USING (profile_id)
    JOIN identity.anchor_member AS m USING (anchor_id)
    WHERE reach.owned_only AND l.identifier_id = reach.identifier_id AND m.identifier_id = reach.identifier_id
    UNION ALL
    SELECT -sequence, authority FROM identity.edge WHERE identifier_id = reach.identifier_id
    UNION ALL
    SELECT -sequence, authority FROM identity.edge WHERE other_identifier_id = reach.identifier_id
) AS here (step, authority)
WHERE here.authority >= least(reach.guard, %(import)s)
  AND (reach.identifier_id, here.step) NOT IN (SELECT * FROM void)
  AND ((reach.links AND here.authority >= reach.guard)
   OR NOT EXISTS (
        SELECT FROM (
            SELECT identifier_id FROM identity.anchor_member WHERE anchor_id = here.step
            UNION ALL
            SELECT identifier_id FROM identity.edge WHERE sequence = -here.step
            UNION ALL
            SELECT other_identifier_id FROM identity.edge WHERE sequence = -here.step
        ) AS there
        JOIN identifier AS i USING (identifier_id)
        WHERE i.links AND here.authority >= greatest(i.guard, i.surely)
          AND (i.identifier_id, here.step) NOT IN (SELECT * FROM void)
          AND (NOT i.owned_only OR here.step < 0 OR EXISTS (
              SELECT FROM identity.canonical AS c JOIN identity.link AS l USING (profile_id)
              WHERE c.anchor_id = here.step AND l.identifier_id = i.identifier_id))))
"""


def closure(
    tx: Transaction,
    identifier_ids: Collection[int],
    types: LinkingTypes,
    *,
    learned: Collection[int] = (),
    through_shared: bool = False,
    reached_max: int | None = None,
    decided: Collection[Decided] = (),
    owned_only: Collection[int] = (),
) -> Closure:
    """The recorded steps whose outcome can depend on the outcome of steps with these identifiers.

    Steps are connected through identifiers that link. Steps made only of identifiers that do not link
    (shared, `learned` to be shared, or of a type that never links) are connected too, because they belong to their
    strongest member. With `through_shared`, every identifier connects that is not shared for good: an undo needs that,
    because it may turn a shared identifier back into one that links.

    Steps that cannot depend on an identifier are left aside: thousands of other people's words about one device or address,
    which say nothing about it. See `Decided`; of those in `owned_only`, about which it is only asked who tied them to their
    owner, or whether they are shared, all anchors count that the owner has, and no others: these were refused, and stay so.

    Raises `TooWide` if more identifiers than `reached_max` are connected; then it has not looked for all of them.
    """
    rows = tx.execute(
        _CLOSURE,
        {
            "ids": list(identifier_ids),
            "learned": list(learned),
            "non_linking": list(types.non_linking),
            "guarded": list(types.guarded),
            "takeable": list(types.takeable),
            "through_shared": through_shared,
            "import": int(Evidence.IMPORT),
            "server": int(Evidence.SERVER),
            "apart": list(SHARED_FOR_GOOD),
            "limit": None if reached_max is None else reached_max + 1,
            "owned_only": list(owned_only),
            "decided": [one.identifier_id for one in decided],
            "levels": [one.level for one in decided],
            "since": [one.since for one in decided],
        },
    )
    steps, reached = [], set()
    for step, identifier_id in rows:
        if step is None:
            reached.add(identifier_id)
        else:
            steps.append(step)
    if reached_max is not None and len(reached) > reached_max:
        raise TooWide(frozenset(reached))
    return replace(recorded(tx, steps), reached=frozenset(reached))


def recorded(tx: Transaction, steps: Collection[int] | None = None) -> Closure:
    """The recorded steps of these anchors and edges, or all of them, with the types and profiles that they refer to.

    An edge of a link table is named by the negative of its sequence, which is also the anchor id of its step. Every
    member counts as reached, which holds for all steps.
    """
    rows = tx.execute(
        """
        SELECT r.sequence, r.anchor_id, r.received_at, r.occurred_at,
               (SELECT max(a.authority) FROM identity.anchor_source AS a WHERE a.anchor_id = r.anchor_id) AS word,
               m.identifier_id, i.type, i.is_shared, i.authority, i.proved_at, p.profile_id, m.position
        FROM identity.resolution AS r
        JOIN identity.anchor USING (anchor_id)
        JOIN identity.anchor_member AS m USING (anchor_id)
        JOIN identity.identifier AS i USING (identifier_id)
        LEFT JOIN identity.profile AS p ON p.origin_sequence = r.sequence
        WHERE %(all)s OR r.anchor_id = ANY(%(anchors)s::bigint[])
        UNION ALL
        SELECT e.sequence, -e.sequence, e.received_at, NULL, e.authority,
               i.identifier_id, i.type, i.is_shared, i.authority, i.proved_at, p.profile_id,
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
    heads: dict[int, tuple[int, datetime, datetime | None, int]] = {}
    types: dict[int, str] = {}
    shared: set[int] = set()
    authority: dict[int, int] = {}
    proved: dict[int, datetime] = {}
    profiles: dict[int, int] = {}
    for sequence, *head, identifier_id, type_, is_shared, level, proved_at, profile_id, _ in rows:
        members.setdefault(sequence, []).append(identifier_id)
        heads[sequence] = (head[0], head[1], head[2], head[3] or 0)
        types[identifier_id] = type_
        authority[identifier_id] = level
        if is_shared:
            shared.add(identifier_id)
        if proved_at is not None:
            proved[identifier_id] = proved_at
        if profile_id is not None:
            profiles[sequence] = profile_id
    found = tuple(
        ResolutionStep(sequence, anchor_id, tuple(members[sequence]), received_at, word, occurred_at)
        for sequence, (anchor_id, received_at, occurred_at, word) in heads.items()
    )
    return Closure(found, frozenset(types), types, frozenset(shared), profiles, authority, proved)
