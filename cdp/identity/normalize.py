"""Extract and normalize the identifiers of a message. Pure.

The types and their normalizers are declared by policy (docs/reference/policies-identifiers.md).
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from cdp.identity.emails import normalize_email
from cdp.identity.ids import normalize_advertising_id, normalize_id
from cdp.identity.model import Identifier, Ignored, Promoted
from cdp.identity.phones import normalize_phone
from cdp.identity.placeholders import blocker
from cdp.policy.identifiers import (
    EXTERNAL_IDS,
    Blocked,
    Identifiers,
    IdentifierType,
    NormalizerKind,
    Promotion,
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EXACT_FLOAT_MAX = 2.0**53
_RANKS = 1_000_000
_UNPLACED = 1_000
"""The rank offset of values outside promoted places: they rank after the promoted places of their type."""


class IdentifierReader:
    """The identifier policy, compiled for reading messages fast. Recently read values stay in memory: `clear_cache`."""

    def __init__(self, policy: Identifiers) -> None:
        self.policy = policy
        self._types = {type_.key: _Type(type_, policy) for type_ in policy.ordered}
        self._tree = _tree(self._types.values())
        self._listed = {key for key, type_ in self._types.items() if _is_listed(type_.type)}

    def promote(self, body: Mapping[str, Any]) -> Promoted:
        """The identifiers of a message, strongest first, each once; `previousId` is read as an anonymous id."""
        candidates: list[_Candidate] = []
        ignored: list[tuple[Ignored, str]] = []
        self._tree.collect(body, body, candidates)
        self._collect_unplaced(body, candidates, ignored)
        candidates.sort(key=itemgetter(0))
        found: dict[Identifier, None] = {}
        for _, type_, raw in candidates:
            outcome = type_.read(raw)
            if isinstance(outcome, Identifier):
                found[outcome] = None
            else:
                ignored.append((outcome, type_.type.key))
        ordered = tuple(found)
        limit = self.policy.bounds.identifiers_per_message
        if len(ordered) > limit:
            ignored.extend((Ignored.TOO_MANY, identifier.type) for identifier in ordered[limit:])
            ordered = ordered[:limit]
        return Promoted(ordered, tuple(ignored))

    @property
    def cached_values(self) -> int:
        """The number of values in the cache."""
        return sum(type_.read_text.cache_info().currsize for type_ in self._types.values())

    def clear_cache(self) -> None:
        """Drop every cached value."""
        for type_ in self._types.values():
            type_.read_text.cache_clear()

    def read(self, type_: str, raw: object) -> Identifier | Ignored:
        """One identifier from user input or a file, normalized by the same rules as those of messages."""
        reader = self._types.get(type_)
        return Ignored.UNKNOWN_TYPE if reader is None else reader.read(raw)

    def _collect_unplaced(
        self, body: Mapping[str, Any], candidates: list["_Candidate"], ignored: list[tuple[Ignored, str]]
    ) -> None:
        """Add the values whose type does not follow from their place: an alias's previous id, and external ids."""
        if body.get("type") == "alias":
            previous, anonymous = body.get("previousId"), self._types.get("anonymous_id")
            if previous is not None and anonymous is not None and str(previous) != str(body.get("userId")):
                candidates.append((anonymous.rank + _UNPLACED, anonymous, previous))
        context = body.get("context")
        listed = context.get("externalIds") if isinstance(context, dict) else None
        if not isinstance(listed, list):
            return
        for at, entry in enumerate(listed, start=1):
            if not isinstance(entry, dict) or entry.get("collection") != "users" or entry.get("encoding") != "none":
                continue
            type_, raw = entry.get("type"), entry.get("id")
            if not isinstance(type_, str) or raw is None:
                continue
            if type_ in self._listed:
                reader = self._types[type_]
                candidates.append((reader.rank + _UNPLACED + at, reader, raw))
            else:
                ignored.append((Ignored.UNKNOWN_TYPE, "other"))


class _Type:
    """One identifier type with its compiled block list, its normalizer and a cache of what it read."""

    def __init__(self, type_: IdentifierType, policy: Identifiers) -> None:
        self.type = type_
        self.rank = type_.priority * _RANKS
        self.length_max = policy.bounds.value_length_max
        self.blocked = _blocked(policy.blocked, type_.blocked)
        self.normalize = _normalizer(type_.normalizer, policy)
        self.read_text = lru_cache(maxsize=20_000)(self._read_text)

    def read(self, raw: object) -> Identifier | Ignored:
        if type(raw) is not str:
            if isinstance(raw, bool):
                return Ignored.BLOCKED
            if isinstance(raw, float) and raw.is_integer():
                if abs(raw) >= _EXACT_FLOAT_MAX:
                    return Ignored.MALFORMED  # its last digits are lost
                raw = int(raw)
            if isinstance(raw, int | float):
                raw = str(raw)
            if not isinstance(raw, str):
                return Ignored.MALFORMED
        return Ignored.TOO_LONG if len(raw) > self.length_max else self.read_text(raw)

    def _read_text(self, raw: str) -> Identifier | Ignored:
        text = raw.strip()
        if self.blocked(text):
            return Ignored.BLOCKED
        if _CONTROL.search(text):
            return Ignored.MALFORMED
        value = self.normalize(text)
        if isinstance(value, Ignored):
            return value
        if value != text and self.blocked(value):
            return Ignored.BLOCKED
        return Identifier(self.type.key, value)


_Candidate = tuple[int, _Type, object]
"""A value found in a message: its rank (the lowest is the strongest), its type, and the raw value."""


class _Node:
    """A part of a message that may contain identifiers: promoted places by name, each with the parts below it.

    Only parts that a message has are visited.
    """

    def __init__(self) -> None:
        self.leaves: list[tuple[int, _Type, Promotion]] = []
        self.below: dict[str, _Node] = {}

    def at(self, name: str) -> "_Node":
        """The part of this name, created if it is missing."""
        return self.below.setdefault(name, _Node())

    def collect(self, part: Mapping[str, Any], body: Mapping[str, Any], candidates: list[_Candidate]) -> None:
        """Add the value of every promoted place of this part, if the conditions of its promotion hold for the body."""
        for name, node in self.below.items():
            value = part.get(name)
            if value is None:
                continue
            for rank, type_, promotion in node.leaves:
                if not promotion.when or _holds(body, promotion):
                    candidates.append((rank, type_, value))
            if node.below and isinstance(value, dict):
                node.collect(value, body, candidates)


def _tree(types: Iterable[_Type]) -> _Node:
    root = _Node()
    for type_ in types:
        for at, promotion in enumerate(type_.type.promote):
            if promotion.place != EXTERNAL_IDS:
                node = root
                for name in promotion.place.split("."):
                    node = node.at(name)
                node.leaves.append((type_.rank + at, type_, promotion))
    return root


def _is_listed(type_: IdentifierType) -> bool:
    return any(promotion.place == EXTERNAL_IDS for promotion in type_.promote)


def _value_at(body: Mapping[str, Any], path: tuple[str, ...]) -> object:
    value: object = body
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def _holds(body: Mapping[str, Any], promotion: Promotion) -> bool:
    for path, expected in promotion.when.items():
        value = _value_at(body, tuple(path.split(".")))
        is_equal = (
            value.casefold() == expected.casefold()
            if isinstance(value, str) and isinstance(expected, str)
            else value is expected
        )
        if not is_equal:
            return False
    return True


def _blocked(*lists: Blocked) -> Callable[[str], bool]:
    return blocker(
        [value for blocked in lists for value in blocked.values],
        [pattern for blocked in lists for pattern in blocked.patterns],
    )


def _normalizer(kind: NormalizerKind, policy: Identifiers) -> Callable[[str], str | Ignored]:
    match kind:
        case NormalizerKind.EMAIL:
            return lambda text: normalize_email(text, policy.email_folding)
        case NormalizerKind.PHONE:
            return lambda text: normalize_phone(text, policy.default_region)
        case NormalizerKind.ID:
            return normalize_id
        case NormalizerKind.ADVERTISING_ID:
            return normalize_advertising_id
