"""The body of a webhook as a JSON value: JSON, or a form whose names have brackets. Pure."""

from typing import Any, Final
from urllib.parse import parse_qsl

from cdp.wire.limits import DEPTH_MAX, InvalidReason, Unreadable, read_value, read_with_texts
from cdp.wire.salvage import readable

FIELDS_MAX: Final = 2_000
FORM: Final = b"application/x-www-form-urlencoded"
_BOM: Final = b"\xef\xbb\xbf"


def read_document(body: bytes, content_type: bytes) -> Any:
    """The value of a body. Raises `Unreadable`.

    A number that JSON or the store does not have becomes its text, as in messages; of an object of which a value cannot be
    read, the others are. A form is read as such only where it is declared and is not JSON.
    """
    body = body.removeprefix(_BOM)
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type == FORM and body.lstrip()[:1] not in (b"{", b"["):
        return _form(body)
    try:
        return read_value(body)
    except Unreadable as unreadable:
        return _with_texts(body, unreadable)


def _with_texts(body: bytes, unreadable: Unreadable) -> Any:
    if unreadable.reason is InvalidReason.NESTED_TOO_DEEP:
        raise unreadable
    try:
        return read_with_texts(body)
    except Unreadable:
        found = readable(body)
    if not found:
        raise unreadable
    return found


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
