"""The body of a webhook as a JSON value: JSON, or a form whose names have brackets. Pure."""

import math
from typing import Any, Final
from urllib.parse import parse_qsl

from cdp.wire.limits import DEPTH_MAX, InvalidReason, Unreadable, read_value, read_with_texts
from cdp.wire.salvage import Unbalanced, readable, split_list

FIELDS_MAX: Final = 2_000
FORM: Final = b"application/x-www-form-urlencoded"
_INTEGER_MAX: Final = 2**63 - 1
_BOM: Final = b"\xef\xbb\xbf"


def read_document(body: bytes, content_type: bytes) -> Any:
    """The value of a body. Raises `Unreadable`.

    A number that JSON or the store does not have becomes its text, as in messages. Of an object or a list in which something
    cannot be read, the rest is: what is unreadable is null. A form is read as such only where it is declared and is not JSON.
    """
    body = body.removeprefix(_BOM)
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == FORM and body.lstrip()[:1] not in (b"{", b"["):
        return _form(body)
    try:
        return read_value(body)
    except Unreadable as unreadable:
        found = _salvaged(body)
        if not found:
            raise unreadable
        return found


def _salvaged(body: bytes) -> Any:
    """What can be read of JSON that is malformed or exceeds a limit; None or an empty value when that is nothing."""
    try:
        return read_with_texts(body)
    except Unreadable:
        pass
    if body.lstrip()[:1] != b"[":
        return _readable_part(readable(body), DEPTH_MAX)
    try:
        found = [_salvaged_element(part) for part in split_list(body)]
    except Unbalanced:
        return None
    return found if any(found) else None


def _salvaged_element(part: bytes) -> Any:
    """An element of a list; null for one that cannot be read, and for a list in a list."""
    return None if part[:1] == b"[" else _salvaged(part)


def _readable_part(value: Any, levels: int) -> Any:
    """A value without what the store does not have: numbers become texts; what is too deep, or not Unicode, null."""
    match value:
        case dict() | list() if levels == 0:
            return None
        case dict():
            return {_unicode(name) or "": _readable_part(inner, levels - 1) for name, inner in value.items()}
        case list():
            return [_readable_part(inner, levels - 1) for inner in value]
        case str():
            return _unicode(value)
        case int() if abs(value) > _INTEGER_MAX:
            return str(value)
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def _unicode(text: str) -> str | None:
    return None if any("\ud800" <= symbol <= "\udfff" for symbol in text) else text


def _form(body: bytes) -> dict[str, Any]:
    """`data[merges][FNAME]=Ada` as {"data": {"merges": {"FNAME": "Ada"}}}; of equal names, the last wins."""
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELDS_MAX,
            strict_parsing=True,
        )
    except ValueError:
        raise Unreadable(InvalidReason.MALFORMED_JSON) from None
    form: dict[str, Any] = {}
    for name, value in pairs:
        _put(form, name, value)
    return form


def _put(form: dict[str, Any], name: str, value: str) -> None:
    first, *inner = name.split("[")
    steps = [first, *(step.removesuffix("]") for step in inner)]
    if len(steps) > DEPTH_MAX:
        raise Unreadable(InvalidReason.NESTED_TOO_DEEP)
    place = form
    for step in steps[:-1]:
        found = place.get(step)
        if not isinstance(found, dict):
            found = place[step] = {}
        place = found
    place[steps[-1]] = value
