"""Sort a message by the tracking plan: what is stored in plain, what is sealed, what is dropped. Pure.

Only numbers, booleans, instants and terms of a vocabulary are ever plain. Identifiers are not kept here; they are
stored by `cdp.identity` under keys of their own.
"""

from collections.abc import Iterable, Mapping
from json import dumps
from typing import Any, Final

import msgspec

from cdp.behavior.entries import sort_entries, terms_in, values_at, without_terms
from cdp.behavior.model import (
    EVENT_NAMES,
    TAKEN_BACK,
    Classified,
    Mistyped,
    PlainField,
    StatedPlain,
    TakenBack,
    Term,
    Terms,
)
from cdp.behavior.money import seal_unreadable
from cdp.behavior.rules import ContextRules, EventRules, PlanRules, PropertyRule, cut_query, term_type

_CLIENT_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt")
_URLS: Final = frozenset({"url", "referrer"})
_QUERY: Final = "search"
"""The name under which browsers report the query string of a page."""

_encode = msgspec.json.Encoder().encode


class _Sorter:
    """Collects the plain and the sealed values of one message."""

    __slots__ = ("mistyped", "plain", "unknown")

    def __init__(self) -> None:
        self.plain: dict[str, PlainField] = {}
        self.unknown = 0
        self.mistyped: tuple[Mistyped, ...] = ()

    def sort(
        self,
        values: Mapping[str, Any],
        rules: Mapping[str, PropertyRule],
        seals_unknown: bool,
        *,
        plain: dict[str, PlainField],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Put planned plain values into `plain`; returns the planned sealed values and the unknown ones."""
        sealed: dict[str, Any] = {}
        unplanned: dict[str, Any] = {}
        find = rules.get
        for name, value in values.items():
            rule = find(name)
            if rule is None:
                self.unknown += 1
                if seals_unknown:
                    unplanned[name] = value
            elif value is None or rule.is_dropped:
                continue
            elif rule.convert is None:
                if rule.fields:
                    self._keep_list(name, value, rule, seals_unknown=seals_unknown, plain=plain, sealed=sealed)
                else:
                    sealed[name] = cut_query(value) if rule.without_query else value
            else:
                self._keep(name, name, value, rule=rule, plain=plain, sealed=sealed)
        return sealed, unplanned

    def sort_context(
        self, values: Mapping[str, Any], rules: ContextRules, seals_unknown: bool, *, path: str
    ) -> dict[str, Any]:
        """The sealed part of a context, in its own shape; plain values go to `plain` under their dotted path."""
        sealed: dict[str, Any] = {}
        for name, value in values.items():
            if value is None:
                continue
            rule = rules.get(name) if name else None
            if type(rule) is dict:
                if isinstance(value, dict):
                    nested = self.sort_context(value, rule, seals_unknown, path=f"{path}{name}.")
                    if nested:
                        sealed[name] = nested
                    continue
                rule = rule.get("")
            elif rule is None:
                rule = _inherited(rules.get(""))
            if type(rule) is PropertyRule:
                if rule.convert is not None:
                    self._keep(path + name, name, value, rule=rule, plain=self.plain, sealed=sealed)
                elif not rule.is_dropped:
                    sealed[name] = cut_query(value) if rule.without_query else value
                continue
            self.unknown += 1
            if seals_unknown:
                sealed[name] = value
        return sealed

    def _keep_list(
        self,
        name: str,
        value: Any,
        rule: PropertyRule,
        *,
        seals_unknown: bool,
        plain: dict[str, PlainField],
        sealed: dict[str, Any],
    ) -> None:
        """Put the plain fields of a list into `plain` and the others into `sealed`; what is not a list is sealed."""
        if not isinstance(value, list):
            self.mistyped += rule.mistyped
            sealed[name] = value
            return
        found = sort_entries(value, rule, seals_unknown=seals_unknown)
        plain[name] = found.plain
        self.unknown += found.unknown
        self.mistyped += found.mistyped
        if found.sealed:
            sealed[name] = found.sealed

    def _keep(
        self,
        key: str,
        name: str,
        value: Any,
        *,
        rule: PropertyRule,
        plain: dict[str, PlainField],
        sealed: dict[str, Any],
    ) -> None:
        """Put one value into `plain` under `key` if it is of its planned type, else into `sealed` under `name`."""
        if rule.convert is not None:
            converted = rule.convert(value)
            if converted is not None:
                plain[key] = converted
                return
            self.mistyped += rule.mistyped
        sealed[name] = cut_query(value) if rule.without_query else value


def classify(kind: str, body: Mapping[str, Any], rules: PlanRules) -> Classified:
    """Sort one message; `body` is the decoded object, whose values may have any type."""
    name = body.get("event") if kind == "track" else kind
    event = rules.events.get(name, rules.unknown_event) if isinstance(name, str) else rules.unknown_event
    if event.name is None and rules.drops_events:
        return Classified(None, event.retention_class, event.category, {}, {}, is_dropped=True)
    sorter = _Sorter()
    sealed: dict[str, Any] = {"message_id": body.get("messageId")}
    for key in _CLIENT_TIMES:
        if body.get(key) is not None:
            sealed[key] = body[key]
    if event.name is None:
        sealed["type"] = kind
        sealed["event"] = name
    context = body.get("context")
    if isinstance(context, dict) and context:
        kept = sorter.sort_context(context, rules.context, rules.seals_context, path="context.")
        if "page" in kept:
            kept["page"] = _without_query(kept["page"], rules.context.get("page"))
        if kept:
            sealed["context"] = kept
    _sort_properties(kind, body, event, rules=rules, sorter=sorter, sealed=sealed)
    plain_traits: dict[str, StatedPlain] = {}
    sealed_traits: dict[str, Any] = {}
    traits = _stated(kind, body, context)
    if traits:
        converted: dict[str, Any] = {}
        sealed_traits, unplanned = sorter.sort(traits, rules.traits, rules.seals_traits, plain=converted)
        plain_traits = {**converted, **_taken_back(traits, rules.traits)}
        if unplanned:
            sealed["traits"] = unplanned
    missing: tuple[Mistyped, ...] = ()
    for entry in event.required:
        if not values_at(sorter.plain, entry[0], event.fields) and entry not in sorter.mistyped:
            missing += (entry,)
    return Classified(
        event.name,
        event.retention_class,
        event.category,
        sorter.plain,
        sealed,
        plain_traits,
        sealed_traits,
        sorter.unknown,
        sorter.mistyped,
        missing,
    )


def reference_texts(body: Mapping[str, Any], classified: Classified, rules: PlanRules) -> dict[str, str]:
    """The properties of which a keyed digest is kept, because other events refer to this one by them, as texts."""
    names = rules.events[classified.name].references if classified.name is not None else ()
    properties = body.get("properties") if names else None
    if not isinstance(properties, dict):
        return {}
    stated = ((name, properties.get(name)) for name in names)
    texts = {name: str(value).strip() for name, value in stated if type(value) in {str, int}}
    return {name: text for name, text in texts.items() if text}


def takes_all(body: Mapping[str, Any], classified: Classified, rules: PlanRules) -> bool:
    """Whether an event that takes back amounts states none, so that it takes back everything."""
    amounts = rules.events[classified.name].takes_back if classified.name is not None else ()
    properties = body.get("properties")
    return bool(amounts) and (not isinstance(properties, dict) or all(properties.get(name) is None for name in amounts))


def terms_of(classified: Iterable[Classified]) -> set[Term]:
    """Everything that must be interned before these are stored: event names and vocabulary strings."""
    terms: set[Term] = set()
    for message in classified:
        if message.name is not None:
            terms.add(Term(EVENT_NAMES, message.name))
        for value in message.plain.values():
            if type(value) is Term:
                terms.add(value)
            elif type(value) is list:
                terms.update(terms_in(value))
        for stated in message.plain_traits.values():
            if type(stated) is Term:
                terms.add(stated)
    return terms


def seal_refused_terms(classified: Classified, terms: Terms, rules: PlanRules) -> Classified:
    """The same message, with terms refused by a full vocabulary moved from plain to sealed, and amounts in such a currency."""
    if not terms.refused:
        return classified
    refused = _refused(classified.plain, terms.refused)
    refused_traits = _refused(classified.plain_traits, terms.refused)
    moved = _seal_in_lists(classified, terms.refused)
    if not refused and not refused_traits and moved is classified:
        return classified
    sealed = moved.sealed
    if refused:
        texts = {name: term.text for name, term in refused.items()}
        sealed = sealed | {"properties": _sealed_properties(moved) | texts}
    settled = moved._replace(
        plain={name: value for name, value in moved.plain.items() if name not in refused},
        sealed=sealed,
        plain_traits={name: value for name, value in moved.plain_traits.items() if name not in refused_traits},
        sealed_traits={**moved.sealed_traits, **{name: term.text for name, term in refused_traits.items()}},
        mistyped=(
            *moved.mistyped,
            *(Mistyped(name, term_type(term.vocabulary)) for name, term in refused.items()),
            *(Mistyped(f"traits.{name}", term_type(term.vocabulary)) for name, term in refused_traits.items()),
        ),
    )
    return _without_unreadable_money(settled, rules)


def _without_unreadable_money(classified: Classified, rules: PlanRules) -> Classified:
    if classified.name is None:
        return classified
    money = rules.events[classified.name].money
    plain, sealed, mistyped = seal_unreadable(classified.plain, _sealed_properties(classified), money)
    if not mistyped:
        return classified
    return classified._replace(
        plain=plain, sealed=classified.sealed | {"properties": sealed}, mistyped=(*classified.mistyped, *mistyped)
    )


def _seal_in_lists(classified: Classified, refused: frozenset[Term]) -> Classified:
    """The same message, with these terms sealed where entries of lists have them; itself if none has."""
    for name, entries in classified.plain.items():
        if type(entries) is not list or refused.isdisjoint(terms_in(entries)):
            continue
        properties = _sealed_properties(classified)
        plain, sealed, moved = without_terms(entries, properties.get(name, ()), refused)
        mistyped = [Mistyped(f"{name}.{field}", term_type(term.vocabulary)) for field, term in moved.items()]
        classified = classified._replace(
            plain=classified.plain | {name: plain},
            sealed=classified.sealed | {"properties": properties | {name: sealed}},
            mistyped=(*classified.mistyped, *(entry for entry in mistyped if entry not in classified.mistyped)),
        )
    return classified


def _sealed_properties(classified: Classified) -> dict[str, Any]:
    properties = classified.sealed.get("properties")
    return properties if isinstance(properties, dict) else {}


def payload(classified: Classified) -> bytes:
    """The bytes to seal for the event: UTF-8 JSON of everything that is kept but not plain."""
    return json_bytes(classified.sealed)


def json_bytes(value: Any) -> bytes:
    """UTF-8 JSON of any decoded JSON value, numbers beyond 64 bits and lone surrogates included."""
    try:
        return _encode(value)
    except (OverflowError, UnicodeEncodeError, ValueError, TypeError):
        return dumps(value, ensure_ascii=True, separators=(",", ":")).encode()


def _stated(kind: str, body: Mapping[str, Any], context: Any) -> Mapping[str, Any]:
    """Traits that the message states about the person; those of a group call belong to the group."""
    context_traits = context.get("traits") if isinstance(context, dict) else None
    own = body.get("traits") if kind == "identify" else None
    if isinstance(own, dict):
        return {**context_traits, **own} if isinstance(context_traits, dict) else own
    return context_traits if isinstance(context_traits, dict) else {}


def _taken_back(traits: Mapping[str, Any], rules: Mapping[str, PropertyRule]) -> dict[str, TakenBack]:
    """The planned traits that a message states to be null."""
    if None not in traits.values():  # as usual
        return {}
    return {
        name: TAKEN_BACK
        for name, value in traits.items()
        if value is None and (rule := rules.get(name)) is not None and not rule.is_dropped
    }


def _inherited(rule: "PropertyRule | ContextRules | None") -> PropertyRule | None:
    """The rule that a field without one inherits from the part of the context that contains it: never plain."""
    if not isinstance(rule, PropertyRule) or rule.is_dropped:
        return rule if isinstance(rule, PropertyRule) else None
    return PropertyRule(without_query=rule.without_query)


def _sort_properties(
    kind: str,
    body: Mapping[str, Any],
    event: EventRules,
    *,
    rules: PlanRules,
    sorter: _Sorter,
    sealed: dict[str, Any],
) -> None:
    """Sort the properties of a track, page or screen call, and the group's traits of a group call.

    The name and category of a page are outside its properties and are sorted with them.
    """
    properties = body.get("traits" if kind == "group" else "properties")
    if kind in {"page", "screen"} and (properties is None or isinstance(properties, dict)):
        page = {key: body[key] for key in ("name", "category") if body.get(key) is not None}
        properties = page | (properties or {})
    if kind == "group" and body.get("groupId") is not None:
        sealed["groupId"] = body["groupId"]
    if not properties:
        return
    if not isinstance(properties, dict):
        sorter.unknown += 1
        if rules.seals_properties:
            sealed["properties"] = properties
        return
    kept, unplanned = sorter.sort(properties, event.properties, rules.seals_properties, plain=sorter.plain)
    kept |= unplanned
    if kept and event.money.own:
        sorter.plain, kept, mistyped = seal_unreadable(sorter.plain, kept, event.money)
        sorter.mistyped += mistyped
    if kind == "page":
        kept = _without_query(kept, event.properties)
    if kept:
        sealed["properties"] = kept


def _without_query(page: Any, planned: object) -> Any:
    """A browser's description of its page without the query string, unless the plan has a rule for it."""
    if not isinstance(page, dict):
        return page
    named = planned if isinstance(planned, Mapping) else {}
    return {
        name: cut_query(value) if name in _URLS else value
        for name, value in page.items()
        if name != _QUERY or name in named
    }


def _refused(values: Mapping[str, StatedPlain | PlainField], refused: frozenset[Term]) -> dict[str, Term]:
    return {name: value for name, value in values.items() if isinstance(value, Term) and value in refused}
