"""SQL of landmarks: the fixed instants relative to which decaying traits are weighted."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Engine

from cdp.behavior.decay import is_outgrown, landmark_for
from cdp.behavior.model import Landmark
from cdp.behavior.traits import TraitPlan, decaying
from cdp.kit.db import Transaction


class _LandmarkCache:
    """The newest committed landmarks of one database."""

    def __init__(self) -> None:
        self.newest: dict[tuple[str, float], Landmark] = {}
        self.uncommitted: WeakSet[Transaction] = WeakSet()


_caches: WeakKeyDictionary[Engine, _LandmarkCache] = WeakKeyDictionary()


def half_lives_of(plan: TraitPlan) -> dict[str, float]:
    """The half-life in days of every decaying trait."""
    return {trait.key: trait.half_life_days for trait in decaying(plan) if trait.half_life_days is not None}


def current_landmarks(tx: Transaction, plan: TraitPlan, now: datetime) -> Mapping[str, Landmark]:
    """A landmark for every decaying trait, suitable for events up to now; usually without any statement.

    Only committed landmarks are cached: those that this transaction adds may still be rolled back.
    """
    wanted = half_lives_of(plan)
    cache = _caches.setdefault(tx.connection.engine, _LandmarkCache())
    newest = {key: cache.newest[key, half] for key, half in wanted.items() if (key, half) in cache.newest}
    if _due(newest, wanted, now):
        newest = {key: max(generations.items())[1] for key, generations in landmarks_of(tx, wanted).items()}
        due = _due(newest, wanted, now)
        if due:
            newest |= _insert(tx, {key: wanted[key] for key in due}, landmark_for(now))
            cache.uncommitted.add(tx)
        if tx not in cache.uncommitted:
            cache.newest |= {(key, wanted[key]): landmark for key, landmark in newest.items()}
    return newest


def landmarks_of(tx: Transaction, half_lives: Mapping[str, float]) -> dict[str, dict[int, Landmark]]:
    """The landmarks of these traits by generation; those of another half-life are omitted."""
    found: dict[str, dict[int, Landmark]] = defaultdict(dict)
    rows = tx.execute(
        "SELECT trait, generation, landmark_at FROM unnest(%(traits)s::text[], %(half_lives)s::float8[]) "
        "AS wanted(trait, half_life_days) JOIN behavior.landmark USING (trait, half_life_days)",
        {"traits": list(half_lives), "half_lives": list(half_lives.values())},
    )
    for trait, generation, landmark_at in rows:
        found[trait][generation] = Landmark(generation, landmark_at)
    return dict(found)


def _due(newest: Mapping[str, Landmark], wanted: Mapping[str, float], now: datetime) -> list[str]:
    """Traits without a landmark, or with one that is too old for current events."""
    return [key for key, half in wanted.items() if key not in newest or is_outgrown(newest[key].at, now, half)]


def _insert(tx: Transaction, half_lives: Mapping[str, float], at: datetime) -> dict[str, Landmark]:
    """Add the next generation of these traits."""
    rows = tx.execute(
        """
        INSERT INTO behavior.landmark (trait, generation, landmark_at, half_life_days)
        SELECT due.trait, 1 + coalesce(max(known.generation), 0), %(at)s, due.half_life_days
        FROM unnest(%(traits)s::text[], %(half_lives)s::float8[]) AS due(trait, half_life_days)
        LEFT JOIN behavior.landmark known ON known.trait = due.trait
        GROUP BY due.trait, due.half_life_days
        RETURNING trait, generation, landmark_at
        """,
        {"traits": list(half_lives), "half_lives": list(half_lives.values()), "at": at},
    )
    return {trait: Landmark(generation, landmark_at) for trait, generation, landmark_at in rows}
