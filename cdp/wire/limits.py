"""JSON values from untrusted senders: read with limits on depth and numbers. Pure."""

import json
import math
from enum import StrEnum
from typing import Any, Final

import msgspec

DEPTH_MAX: Final = 32
_INTEGER_MAX: Final = 2**63 - 1

_DIGITS_MAX: Final = 20

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class InvalidReason(StrEnum):
    """Why a message is invalid; the value is the code shown in accounting."""

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
    BATCH_TOO_LARGE = "batch_too_large"
    UNPROCESSABLE = "unprocessable"
    CONSENT_UNPROCESSABLE = "consent_unprocessable"


class Unreadable(ValueError):
    """A JSON text that is malformed or exceeds a limit, for the given `reason`."""

    def __init__(self, reason: InvalidReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def read_value(text: bytes) -> Any:
    """The value of a JSON text of at most `DEPTH_MAX` levels, its integers within 64 bits, its floats finite.

    Of equal names in an object the last wins. Raises Unreadable.
    """
    try:
        value = _decode(text)
    except RecursionError:
        raise Unreadable(InvalidReason.NESTED_TOO_DEEP) from None
    except UnicodeDecodeError:
        raise Unreadable(InvalidReason.TEXT_NOT_UNICODE) from None
    except msgspec.ValidationError:
        raise Unreadable(InvalidReason.NUMBER_OUT_OF_RANGE) from None
    except msgspec.DecodeError:
        raise Unreadable(InvalidReason.MALFORMED_JSON) from None
    _check(value, DEPTH_MAX)
    return value


def read_with_texts(text: bytes) -> Any:
    """The value of a JSON text in which numbers that cannot be kept are texts: NaN, infinities, and those out of range.

    Python's clients write them, and one of them must not cost the message. Raises Unreadable for anything else that is wrong.
    """
    try:
        value = json.loads(text, parse_constant=str, parse_int=_whole, parse_float=_fraction)
        _encode(value)  # refuses unpaired surrogates, which Python's decoder lets pass
    except RecursionError:
        raise Unreadable(InvalidReason.NESTED_TOO_DEEP) from None
    except UnicodeDecodeError:
        raise Unreadable(InvalidReason.TEXT_NOT_UNICODE) from None
    except ValueError:
        raise Unreadable(InvalidReason.MALFORMED_JSON) from None
    _check(value, DEPTH_MAX)
    return value


def _whole(digits: str) -> int | str:
    if len(digits) > _DIGITS_MAX:
        return digits
    value = int(digits)
    return value if -_INTEGER_MAX <= value <= _INTEGER_MAX else digits


def _fraction(digits: str) -> float | str:
    value = float(digits)
    return value if math.isfinite(value) else digits


def _check(value: Any, levels: int) -> None:
    """Raises Unreadable below the deepest level allowed and for integers beyond 64 bits."""
    kind = type(value)
    if kind is dict:
        inner = value.values()
    elif kind is list:
        inner = value
    elif kind is int and not -_INTEGER_MAX <= value <= _INTEGER_MAX:
        raise Unreadable(InvalidReason.NUMBER_OUT_OF_RANGE)
    else:
        return
    if levels == 0:
        raise Unreadable(InvalidReason.NESTED_TOO_DEEP)
    for element in inner:
        if type(element) is not str:
            _check(element, levels - 1)
