"""SQL of terms: the strings that are stored in plain, interned once for all people."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import Engine

from cdp.behavior.model import Plain, Term, Terms
from cdp.behavior.rules import PlanRules
from cdp.kit.db import Transaction

_CACHED_TERMS_MAX: Final = 200_000
_NO_BOUND: Final = 2_147_483_647
_encode = msgspec.json.Encoder().encode


class _Known:
    """Ids of the committed terms of one database; `own` are those that an open transaction made."""

    def __init__(self) -> None:
        self.ids: dict[Term, int] = {}
        self.own: WeakKeyDictionary[Transaction, set[Term]] = WeakKeyDictionary()

    def remember(self, tx: Transaction, found: Mapping[Term, int]) -> None:
        """Keep what was read, except what this transaction made itself: that may still roll back."""
        if len(self.ids) + len(found) > _CACHED_TERMS_MAX:
            self.ids.clear()
        own = self.own.get(tx, set())
        self.ids |= {term: number for term, number in found.items() if term not in own}


_known: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()


def intern_terms(tx: Transaction, terms: Collection[Term], rules: PlanRules) -> Terms:
    """Ids for these terms, making those that are new; a full vocabulary refuses new ones. At most two statements.

    Event names have no bound but the plan, open vocabularies their `terms_max`.
    """
    known = _known.setdefault(tx.connection.engine, _Known())
    found = {term: known.ids[term] for term in terms if term in known.ids}
    asked = [term for term in terms if term not in found]
    if asked:
        read = find_terms(tx, asked)
        known.remember(tx, read)
        found |= read
    missing = sorted(term for term in asked if term not in found)
    if missing:
        made = _insert(tx, missing, rules)
        known.own.setdefault(tx, set()).update(made)
        found |= made
    return Terms(found, frozenset(term for term in missing if term not in found))


def find_terms(tx: Transaction, asked: Collection[Term]) -> dict[Term, int]:
    """Ids of those terms that exist."""
    rows = tx.execute(
        "SELECT t.vocabulary, t.term, t.term_id FROM unnest(%(vocabularies)s::text[], %(terms)s::text[]) "
        "AS asked(vocabulary, term) JOIN behavior.term t USING (vocabulary, term)",
        {"vocabularies": [term.vocabulary for term in asked], "terms": [term.text for term in asked]},
    )
    return {Term(vocabulary, text): number for vocabulary, text, number in rows}


def texts_of(tx: Transaction, numbers: set[int]) -> dict[int, Term]:
    """Terms by their ids."""
    rows = tx.execute(
        "SELECT term_id, vocabulary, term FROM behavior.term WHERE term_id = ANY(%(ids)s)", {"ids": sorted(numbers)}
    )
    return {number: Term(vocabulary, text) for number, vocabulary, text in rows}


def plain_text(plain: Plain | None, ids: Mapping[Term, int]) -> str | None:
    """The JSON of one plain value as it is stored, a term as its id."""
    if plain is None:
        return None
    return _encode(ids[plain] if isinstance(plain, Term) else plain).decode()


def _insert(tx: Transaction, terms: Sequence[Term], rules: PlanRules) -> dict[Term, int]:
    """Make terms in the order given, as many of each vocabulary as it has room for."""
    concerned = sorted({term.vocabulary for term in terms})
    rows = tx.execute(
        """
        WITH given AS (
            SELECT vocabulary, term, row_number() OVER (PARTITION BY vocabulary ORDER BY term) AS place
            FROM unnest(%(vocabularies)s::text[], %(terms)s::text[]) AS g(vocabulary, term)
        ), room AS (
            SELECT b.vocabulary, b.terms_max - (
                SELECT count(*) FROM behavior.term t WHERE t.vocabulary = b.vocabulary AND b.terms_max < %(no_bound)s
            ) AS free
            FROM unnest(%(concerned)s::text[], %(bounds)s::int[]) AS b(vocabulary, terms_max)
        )
        INSERT INTO behavior.term (vocabulary, term)
        SELECT vocabulary, term FROM given JOIN room USING (vocabulary) WHERE place <= free ORDER BY vocabulary, term
        ON CONFLICT (vocabulary, term) DO UPDATE SET term = excluded.term
        RETURNING vocabulary, term, term_id
        """,
        {
            "vocabularies": [term.vocabulary for term in terms],
            "terms": [term.text for term in terms],
            "concerned": concerned,
            "bounds": [_bound(vocabulary, rules) for vocabulary in concerned],
            "no_bound": _NO_BOUND,
        },
    )
    return {Term(vocabulary, text): number for vocabulary, text, number in rows}


def _bound(vocabulary: str, rules: PlanRules) -> int:
    plan = rules.vocabularies.get(vocabulary)
    return _NO_BOUND if plan is None or plan.pattern is None else plan.terms_max
