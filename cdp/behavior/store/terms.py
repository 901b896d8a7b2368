"""SQL of terms: the strings that are stored in plain, interned once for all profiles."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import Engine

from cdp.behavior.model import TAKEN_BACK, StatedPlain, Term, Terms
from cdp.behavior.rules import PlanRules
from cdp.kit.db import Transaction

_CACHED_TERMS_MAX: Final = 200_000
_NO_BOUND: Final = 2_147_483_647
_encode = msgspec.json.Encoder().encode


class _TermCache:
    """Ids of the committed terms of one database; `own` are those added by an open transaction."""

    def __init__(self) -> None:
        self.ids: dict[Term, int] = {}
        self.own: WeakKeyDictionary[Transaction, set[Term]] = WeakKeyDictionary()

    def add(self, tx: Transaction, ids: Mapping[Term, int]) -> None:
        """Cache terms that were read, except those added by this transaction, which may still be rolled back."""
        if len(self.ids) + len(ids) > _CACHED_TERMS_MAX:
            self.ids.clear()
        own = self.own.get(tx, set())
        self.ids |= {term: number for term, number in ids.items() if term not in own}


_caches: WeakKeyDictionary[Engine, _TermCache] = WeakKeyDictionary()


def intern_terms(tx: Transaction, terms: Collection[Term], rules: PlanRules) -> Terms:
    """Ids for these terms, adding new ones; a full vocabulary refuses those. At most two statements.

    Event names are bounded by the plan only, open vocabularies by their `terms_max`.
    """
    cache = _caches.setdefault(tx.connection.engine, _TermCache())
    ids = {term: cache.ids[term] for term in terms if term in cache.ids}
    uncached = [term for term in terms if term not in ids]
    if uncached:
        read = find_terms(tx, uncached)
        cache.add(tx, read)
        ids |= read
    missing = sorted(term for term in uncached if term not in ids)
    if missing:
        added = _insert(tx, missing, rules)
        cache.own.setdefault(tx, set()).update(added)
        ids |= added
    return Terms(ids, frozenset(term for term in missing if term not in ids))


def find_terms(tx: Transaction, terms: Collection[Term]) -> dict[Term, int]:
    """Ids of those terms that exist."""
    rows = tx.execute(
        "SELECT t.vocabulary, t.term, t.term_id FROM unnest(%(vocabularies)s::text[], %(terms)s::text[]) "
        "AS wanted(vocabulary, term) JOIN behavior.term t USING (vocabulary, term)",
        {"vocabularies": [term.vocabulary for term in terms], "terms": [term.text for term in terms]},
    )
    return {Term(vocabulary, text): number for vocabulary, text, number in rows}


def texts_of(tx: Transaction, numbers: set[int]) -> dict[int, Term]:
    """Terms by their ids."""
    rows = tx.execute(
        "SELECT term_id, vocabulary, term FROM behavior.term WHERE term_id = ANY(%(ids)s)", {"ids": sorted(numbers)}
    )
    return {number: Term(vocabulary, text) for number, vocabulary, text in rows}


def plain_text(plain: StatedPlain | None, ids: Mapping[Term, int]) -> str | None:
    """The JSON of one plain value as it is stored, a term as its id."""
    if plain is None:
        return None
    if plain is TAKEN_BACK:
        return "null"
    return _encode(ids[plain] if isinstance(plain, Term) else plain).decode()


def _insert(tx: Transaction, terms: Sequence[Term], rules: PlanRules) -> dict[Term, int]:
    """Add terms in the given order, as many of each vocabulary as its bound allows."""
    vocabularies = sorted({term.vocabulary for term in terms})
    rows = tx.execute(
        """
        WITH requested AS (
            SELECT vocabulary, term, row_number() OVER (PARTITION BY vocabulary ORDER BY term) AS place
            FROM unnest(%(vocabularies)s::text[], %(terms)s::text[]) AS r(vocabulary, term)
        ), capacity AS (
            -- How many more terms each vocabulary may hold.
            SELECT b.vocabulary, b.terms_max - (
                SELECT count(*) FROM behavior.term t WHERE t.vocabulary = b.vocabulary AND b.terms_max < %(no_bound)s
            ) AS free
            FROM unnest(%(bounded)s::text[], %(bounds)s::int[]) AS b(vocabulary, terms_max)
        )
        INSERT INTO behavior.term (vocabulary, term)
        SELECT vocabulary, term FROM requested JOIN capacity USING (vocabulary) WHERE place <= free ORDER BY vocabulary, term
        ON CONFLICT (vocabulary, term) DO UPDATE SET term = excluded.term
        RETURNING vocabulary, term, term_id
        """,
        {
            "vocabularies": [term.vocabulary for term in terms],
            "terms": [term.text for term in terms],
            "bounded": vocabularies,
            "bounds": [_bound(vocabulary, rules) for vocabulary in vocabularies],
            "no_bound": _NO_BOUND,
        },
    )
    return {Term(vocabulary, text): number for vocabulary, text, number in rows}


def _bound(vocabulary: str, rules: PlanRules) -> int:
    plan = rules.vocabularies.get(vocabulary)
    return _NO_BOUND if plan is None or plan.pattern is None else plan.terms_max
