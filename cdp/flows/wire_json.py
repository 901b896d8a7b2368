"""JSON values as they come from strangers: read with limits on depth and numbers. Pure."""

import re
from enum import StrEnum
from typing import Any, Final

import msgspec

DEPTH_MAX: Final = 32
_INTEGER_MAX: Final = 2**63 - 1
_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")

_decode: Final = msgspec.json.Decoder().decode


class Reason(StrEnum):
    """Why a message is invalid; the value is what accounting shows."""

    MESSAGE_TOO_LARGE = "message_too_large"
    MALFORMED_JSON = "malformed_json"
    TEXT_NOT_UNICODE = "text_not_unicode"
    NESTED_TOO_DEEP = "nested_too_deep"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    NOT_AN_OBJECT = "not_an_object"
    WRITE_KEY_DISAGREES = "write_key_disagrees"
    TYPE_MISSING = "type_missing"
    TYPE_UNKNOWN = "type_unknown"
    MESSAGE_ID_NOT_TEXT = "message_id_not_text"
    ID_NOT_TEXT = "id_not_text"
    ID_HOLDS_NUL = "id_holds_nul"
    ID_MISSING = "id_missing"
    PREVIOUS_ID_MISSING = "previous_id_missing"
    GROUP_ID_MISSING = "group_id_missing"
    EVENT_MISSING = "event_missing"
    FIELD_NOT_AN_OBJECT = "field_not_an_object"
    TIMESTAMP_MALFORMED = "timestamp_malformed"
    UNPROCESSABLE = "unprocessable"


class Unreadable(ValueError):
    """A JSON text that is not taken; `reason` says why."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def read_value(text: bytes) -> Any:
    """The value of a JSON text of at most `DEPTH_MAX` levels, its integers within 64 bits, its floats finite.

    Of equal names in an object the last wins. Raises Unreadable.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise Unreadable(Reason.NESTED_TOO_DEEP) from None
    except UnicodeDecodeError:
        raise Unreadable(Reason.TEXT_NOT_UNICODE) from None
    except msgspec.ValidationError:
        raise Unreadable(Reason.NUMBER_OUT_OF_RANGE) from None
    except msgspec.DecodeError:
        raise Unreadable(Reason.MALFORMED_JSON) from None
    if text.count(b"{") + text.count(b"[") > DEPTH_MAX and _is_deeper(value, DEPTH_MAX):
        raise Unreadable(Reason.NESTED_TOO_DEEP)
    if _LONG_NUMBER.search(text) is not None and not _has_sane_integers(value):
        raise Unreadable(Reason.NUMBER_OUT_OF_RANGE)
    return value


def _is_deeper(value: object, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    if depth == 0:
        return True
    return any(_is_deeper(each, depth - 1) for each in (value.values() if isinstance(value, dict) else value))


def _has_sane_integers(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_has_sane_integers, value.values()))
    if isinstance(value, list):
        return all(map(_has_sane_integers, value))
    return not isinstance(value, int) or abs(value) <= _INTEGER_MAX
