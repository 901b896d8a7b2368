"""Traits that a client library left in a context which the caller uses for several messages. Pure.

The Python SDK of RudderStack writes the traits of an identify call into the `context` that the caller handed over (seen with
rudder-sdk-python 2.1.9). A program that uses one such dictionary for all its calls sends the traits of the person identified
last with the events of everybody else. The library itself puts traits into no other kind of message.
"""

from collections.abc import Mapping
from typing import Any, Final

_LIBRARY: Final = "analytics-python"
_CHANNEL: Final = "server"
"""Which RudderStack's library states, and Segment's of the same name does not."""


def has_left_over_traits(kind: str, body: Mapping[str, Any]) -> bool:
    """Whether the traits in the context of a message may be those of somebody else."""
    if kind == "identify" or body.get("channel") != _CHANNEL:
        return False
    context = body.get("context")
    library = context.get("library") if isinstance(context, Mapping) else None
    is_library = isinstance(library, Mapping) and library.get("name") == _LIBRARY
    return is_library and isinstance(context, Mapping) and bool(context.get("traits"))


def without_left_over_traits(kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The message without such traits: they are used for nothing and not stored with a person to whom they may not belong."""
    if not has_left_over_traits(kind, body):
        return body
    return {**body, "context": {name: value for name, value in body["context"].items() if name != "traits"}}
