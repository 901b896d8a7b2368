"""Which lists are sent to the server as packed arrays (`cdp.kit.pg_binary.arrays`), and as which type.

A list whose elements are all of one type is packed here; anything else is left to the driver. Integers are sent as
bigint[], which SQL casts where it names a narrower type.
"""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from cdp.kit.pg_binary import arrays

_NONE_TYPE: Final = type(None)
_PACK: Final[Mapping[type, Callable[[Any], arrays.Packed]]] = {
    int: arrays.bigints,
    str: arrays.texts,
    bytes: arrays.blobs,
    bool: arrays.booleans,
    float: arrays.doubles,
    datetime: arrays.instants,
    date: arrays.days,
    UUID: lambda values: arrays.uuids([value.bytes for value in values]),
}
_NULLABLE: Final = frozenset({int, str, bytes, datetime})


def packed(params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a statement, with every list of one type packed."""
    return {name: _packed(value) if type(value) is list and value else value for name, value in params.items()}


def _packed(values: list[Any]) -> Any:
    kinds = set(map(type, values))
    has_null = _NONE_TYPE in kinds
    kinds.discard(_NONE_TYPE)
    if len(kinds) != 1:
        return values
    kind = kinds.pop()
    pack = _PACK.get(kind)
    if pack is None or (has_null and kind not in _NULLABLE):
        return values
    if kind is datetime and any(value is not None and value.tzinfo is None for value in values):
        return values
    return pack(values)
