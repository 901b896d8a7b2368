"""Where the values of a JSON text begin and end, without decoding them. Pure.

One message that is not valid JSON (a NaN from Python, an unpaired surrogate, a thousand brackets) must not cost the
whole batch. A batch that cannot be decoded as a whole is therefore split by brackets and quotes alone, and its
messages are decoded one by one; of a message that cannot be decoded, the values are.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_ENTRY: Final = re.compile(rb'\s*"((?:[^"\\]|\\.)*)"\s*:(.*)\Z', re.DOTALL)
_TOKENS_MAX: Final = 400_000
_CLOSES: Final = {b"{": b"}", b"[": b"]"}
_SPLIT: Final = frozenset({"context", "traits", "properties"})
"""Objects of a message that are split in turn when they cannot be decoded."""

_CONSENT: Final = frozenset({"consent", "consentManagement"})
_UNREADABLE: Final = "unreadable"
"""Takes the place of a consent field that cannot be decoded: what cannot be read counts as a refusal."""

_Missing: Final = object()


class Unbalanced(ValueError):
    """The text is not one JSON object or list: brackets or quotes do not match, or there are too many."""


def split_object(text: bytes) -> Mapping[bytes, bytes]:
    """The values of a JSON object by the bytes of their names; the last of equal names wins.

    Raises Unbalanced when the text is not one object.
    """
    entries: dict[bytes, bytes] = {}
    for part in _parts(text, b"{"):
        entry = _ENTRY.match(part)
        if entry is None:
            raise Unbalanced
        entries[entry.group(1)] = entry.group(2).strip()
    return entries


def split_list(text: bytes) -> list[bytes]:
    """The elements of a JSON list. Raises Unbalanced when the text is not one list."""
    return [part.strip() for part in _parts(text, b"[")]


def readable(text: bytes) -> dict[str, Any] | None:
    """What can be read of a message that is not valid JSON or exceeds a limit; None when its values cannot be separated.

    NaN, infinities, long integers and bytes that are not UTF-8 are tolerated; a value that cannot be decoded even so is
    left out.
    """
    value = _decoded(text)
    if value is not _Missing:
        return value if isinstance(value, dict) else None
    try:
        return _entries(text)
    except Unbalanced:
        return None


def _entries(text: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, part in split_object(text).items():
        key, value = _decoded(b'"' + name + b'"'), _decoded(part)
        if value is _Missing and key in _SPLIT:
            try:
                value = _entries(part)
            except Unbalanced:
                value = {member: _UNREADABLE for member in _CONSENT if member.encode() in part}
        elif value is _Missing and key in _CONSENT:
            value = _UNREADABLE
        if isinstance(key, str) and value is not _Missing:
            found[key] = value
    return found


def _decoded(text: bytes) -> Any:
    """The value of a JSON text as Python's own decoder reads it; `_Missing` for what it does not read."""
    try:
        return json.loads(text.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return _Missing


def _parts(text: bytes, opening: bytes) -> Iterator[bytes]:
    """The texts between the commas of the outermost brackets; none for empty brackets."""
    text = text.strip()
    if text[:1] != opening:
        raise Unbalanced
    open_brackets: list[bytes] = []
    start = 1
    for count, token in enumerate(_TOKEN.finditer(text)):
        symbol = token.group()
        if count > _TOKENS_MAX or symbol == b'"':
            raise Unbalanced
        if symbol in _CLOSES:
            open_brackets.append(_CLOSES[symbol])
        elif symbol == b",":
            if len(open_brackets) == 1:
                yield text[start : token.start()]
                start = token.end()
        elif symbol in (b"}", b"]"):
            if not open_brackets or open_brackets.pop() != symbol:
                raise Unbalanced
            if not open_brackets:
                if token.end() != len(text):
                    raise Unbalanced
                last = text[start : token.start()]
                if last.strip() or start > 1:
                    yield last
                return
    raise Unbalanced
