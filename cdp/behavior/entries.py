"""Lists of objects, such as the products of an order: what of their entries is plain, and what is sealed. Pure.

An event has the plain fields of a list as a list of flat objects among its plain values, and what is sealed of them as a
list of the same length among its sealed ones. Numbers, booleans, instants and terms are all that an entry has in plain.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cdp.behavior.model import Mistyped, Plain, PlainEntries, PlainField, Term
from cdp.behavior.rules import PropertyRule, cut_query


class SortedEntries(NamedTuple):
    """The entries of a list: the plain fields of each, and what is sealed of each, if anything of the list is.

    `unknown` counts the names that the plan does not have, each once; `mistyped` has each name once.
    """

    plain: PlainEntries
    sealed: list[Any]
    unknown: int
    mistyped: tuple[Mistyped, ...]


def sort_entries(entries: Sequence[Any], rule: PropertyRule, *, seals_unknown: bool) -> SortedEntries:
    """Sort a list by the rules of its fields; an entry that is not an object is sealed as it is."""
    find = rule.fields.get
    plain: PlainEntries = []
    sealed: list[Any] = []
    unknown: set[str] = set()
    mistyped: dict[Mistyped, None] = {}
    is_sealed = False
    for entry in entries:
        kept: dict[str, Plain] = {}
        rest: dict[str, Any] = {}
        plain.append(kept)
        if not isinstance(entry, dict):
            sealed.append(entry)
            is_sealed = True
            mistyped |= dict.fromkeys(rule.mistyped)
            continue
        sealed.append(rest)
        for name, value in entry.items():
            field = find(name)
            if field is None:
                unknown.add(name)
                if seals_unknown:
                    rest[name] = value
                continue
            if value is None or field.is_dropped:
                continue
            convert = field.convert
            if convert is not None:
                converted = convert(value)
                if converted is not None:
                    kept[name] = converted
                    continue
                mistyped |= dict.fromkeys(field.mistyped)
            rest[name] = cut_query(value) if field.without_query else value
        is_sealed = is_sealed or bool(rest)
    return SortedEntries(plain, sealed if is_sealed else [], len(unknown), tuple(mistyped))


def values_at(plain: Mapping[str, PlainField], name: str, fields: Mapping[str, tuple[str, str]]) -> Sequence[Plain]:
    """The values that an event has under a name: that of a property, or of a field in each entry that has it.

    `fields` gives the list and the field of those names that mean one.
    """
    if name in fields:
        of_list, field = fields[name]
        entries = plain.get(of_list)
        return [entry[field] for entry in entries if field in entry] if isinstance(entries, list) else ()
    value = plain.get(name)
    return () if value is None or isinstance(value, list) else (value,)


def entries_of(plain: Mapping[str, PlainField], name: str) -> PlainEntries:
    """The entries of a list; none where the value is not one."""
    found = plain.get(name)
    return found if isinstance(found, list) else []


def scalars_of(plain: Mapping[str, Any]) -> Iterator[Any]:
    """Every plain value, those in the entries of lists included."""
    for value in plain.values():
        if type(value) is list:
            for entry in value:
                yield from entry.values()
        else:
            yield value


def terms_in(entries: PlainEntries) -> Iterator[Term]:
    """The terms in the entries of a list."""
    return (value for entry in entries for value in entry.values() if type(value) is Term)


def without_terms(
    entries: PlainEntries, sealed: Sequence[Any], refused: Collection[Term]
) -> tuple[PlainEntries, list[Any], dict[str, Term]]:
    """The plain and the sealed part of a list with these terms moved from one to the other, and one of them by field."""
    moved: dict[str, Term] = {}
    plain: PlainEntries = []
    rest: list[Any] = list(sealed) or [{} for _ in entries]
    for at, entry in enumerate(entries):
        terms = {field: value for field, value in entry.items() if type(value) is Term and value in refused}
        plain.append({field: value for field, value in entry.items() if field not in terms})
        if terms:
            moved |= terms
            rest[at] = {**rest[at], **{field: term.text for field, term in terms.items()}}
    return plain, rest, moved


def joined(plain: Iterable[Mapping[str, Any]], sealed: Sequence[Any]) -> list[Any]:
    """The entries of a list with the plain and the sealed fields of each; one that is not an object as it was sent."""
    return [{**entry, **rest} if isinstance(rest, Mapping) else rest for entry, rest in zip(plain, sealed, strict=True)]
