"""The exact JSON form of a segment, both ways, and its published schema.

A node is an object whose `is` names it; its fields follow the nodes of `ast`, absent ones are left out. Literals are
those of JSON (a date is `{"date": "2026-01-31"}`), durations are `{"days": 30}`. All three functions read the same
declarations, the type hints of the nodes, so that none can omit a field.
"""

import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import date
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from cdp.query.language import ast
from cdp.query.language.rejection import Rejection

SCHEMA_ID = "urn:cdp:segment-language:1"
MAX_NODES = 2_000
_MAX_DEPTH = 70
_MAX_LIST = ast.MAX_TERMS

_SCALAR_NAMES: Mapping[type, str] = {str: "a string", int: "an integer", bool: "a boolean"}
_SCALARS = (ast.Number, ast.Text, ast.Flag, ast.Day)
_SPECIAL = (*_SCALARS, ast.Duration)


def _tag(node: type[ast.Node]) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", node.__name__).lower()


NODES: Mapping[str, type[ast.Node]] = {_tag(node): node for node in ast.NODES if not issubclass(node, _SPECIAL)}
"""The nodes that are written as objects with `is`, by that name."""


class _Malformed(Exception):
    """Carries the JSON pointer of a fault to `from_json`."""


def to_json(condition: ast.Condition) -> dict[str, Any]:
    """The JSON form; `from_json` gives the same tree."""
    form = _plain(condition)
    assert isinstance(form, dict)
    return form


def from_json(form: object) -> ast.Condition | Rejection:
    """Read the JSON form; a rejection names the place as a JSON pointer."""
    try:
        found = _read(ast.Condition, form, "", depth=0, count=[0])
    except _Malformed as error:
        return Rejection(0, str(error), "the schema of the JSON form is published with the language reference")
    return cast("ast.Condition", found)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the form."""
    definitions = {name: _schema_of_node(name, node) for name, node in NODES.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "A segment's condition",
        **_schema_of(ast.Condition),
        "$defs": dict(sorted(definitions.items())),
    }


# --- writing --------------------------------------------------------------------------------------


def _plain(value: object) -> Any:
    match value:
        case ast.Day(day):
            return {"date": day.isoformat()}
        case ast.Text(scalar) | ast.Flag(scalar):
            return scalar
        case ast.Number(number):
            return _number(number)
        case ast.Duration(count, unit):
            return {f"{unit.value}s": count}
        case ast.Node():
            stated = {item.name: getattr(value, item.name) for item in fields(value) if item.name != "at"}
            default = {item.name: item.default for item in fields(value)}
            return {"is": _tag(type(value))} | {k: _plain(v) for k, v in stated.items() if v != default[k]}
        case Decimal():
            return _number(value)
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


# --- reading --------------------------------------------------------------------------------------


def _read(hint: Any, form: object, place: str, *, depth: int, count: list[int]) -> object:
    """Read what the hint allows; `count` is the running number of nodes."""
    if depth > _MAX_DEPTH:
        raise _Malformed(f"{place}: nested too deeply")
    if get_origin(hint) is tuple:
        if not isinstance(form, list) or not len(form) <= _MAX_LIST:
            raise _Malformed(f"{place or '/'}: expected a list of at most {_MAX_LIST} items")
        item = get_args(hint)[0]
        return tuple(_read(item, value, f"{place}/{at}", depth=depth + 1, count=count) for at, value in enumerate(form))
    allowed = _alternatives(hint)
    node_types = tuple(kind for kind in allowed if issubclass(kind, ast.Node))
    if not node_types:
        return _read_scalar(allowed[0], form, place)
    found = _read_node(node_types, form, place, depth=depth, count=count)
    if not isinstance(found, node_types):
        names = ", ".join(sorted(_tag(kind) for kind in node_types))
        raise _Malformed(f"{place or '/'}: {_tag(type(found))} is not allowed here; expected one of {names}")
    return found


def _read_node(allowed: tuple[type, ...], form: object, place: str, *, depth: int, count: list[int]) -> ast.Node:
    count[0] += 1
    if count[0] > MAX_NODES:
        raise _Malformed(f"{place or '/'}: more than {MAX_NODES} nodes")
    name = form.get("is") if isinstance(form, dict) else None
    try:
        match form:
            case dict() if isinstance(name, str) and name in NODES:
                return _read_fields(
                    NODES[name], {k: v for k, v in form.items() if k != "is"}, place, depth=depth, count=count
                )
            case {"date": str(text), **rest} if not rest:
                return ast.Day(date.fromisoformat(text))
            case bool():
                return ast.Flag(form)
            case int() | float():
                return ast.Number(_decimal(form, place))
            case str():
                return ast.Text(form)
            case dict() if len(form) == 1 and ast.Duration in allowed:
                return _read_duration(form, place)
            case _:
                raise _Malformed(f"{place or '/'}: expected a node, which is an object with `is`")
    except ValueError as error:
        raise _Malformed(f"{place or '/'}: {error}") from error


def _read_fields(
    node: type[ast.Node], form: Mapping[str, object], place: str, *, depth: int, count: list[int]
) -> ast.Node:
    declared = {item.name: item for item in fields(node) if item.name != "at"}
    hints = get_type_hints(node)
    if unknown := sorted(set(form) - set(declared)):
        raise _Malformed(
            f"{place or '/'}: {_tag(node)} has no field {unknown[0]}; its fields are {', '.join(declared) or 'none'}"
        )
    for name, item in declared.items():
        if name not in form and item.default is MISSING:
            raise _Malformed(f"{place or '/'}: {_tag(node)} requires the field {name}")
    values = {
        name: _read(hints[name], value, f"{place}/{name}", depth=depth + 1, count=count) for name, value in form.items()
    }
    return cast("ast.Node", cast("Any", node)(**values))


def _read_duration(form: Mapping[str, object], place: str) -> ast.Duration:
    ((name, count),) = form.items()
    if name not in {f"{unit.value}s" for unit in ast.Unit} or isinstance(count, bool) or not isinstance(count, int):
        raise _Malformed(f'{place}: write a duration as {{"days": 30}}, in minutes, hours, days or weeks')
    return ast.Duration(count, ast.Unit(name.removesuffix("s")))


def _read_scalar(kind: type, form: object, place: str) -> object:
    if kind is ast.Operator:
        if isinstance(form, str) and form in set(ast.Operator):
            return ast.Operator(form)
        raise _Malformed(f"{place}: an operator must be one of {' '.join(ast.Operator)}")
    if kind is Decimal:
        return _decimal(form, place)
    if isinstance(form, bool) is not (kind is bool) or not isinstance(form, kind):
        raise _Malformed(f"{place}: expected {_SCALAR_NAMES[kind]}")
    return form


def _decimal(form: object, place: str) -> Decimal:
    if isinstance(form, bool) or not isinstance(form, int | float):
        raise _Malformed(f"{place}: expected a number")
    return Decimal(repr(form))


def _alternatives(hint: Any) -> tuple[type, ...]:
    """The classes that a hint allows, without None (absent fields are left out of the form)."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(kind for option in get_args(hint) for kind in _alternatives(option))
    return () if hint is NoneType else (hint,)


# --- the schema -----------------------------------------------------------------------------------

_SCALAR_SCHEMAS: Mapping[type, dict[str, Any]] = {
    ast.Number: {"type": "number"},
    ast.Text: {"type": "string", "minLength": 1, "maxLength": ast.MAX_TEXT},
    ast.Flag: {"type": "boolean"},
    ast.Day: {
        "type": "object",
        "properties": {"date": {"type": "string", "format": "date"}},
        "required": ["date"],
        "additionalProperties": False,
    },
    ast.Duration: {
        "type": "object",
        "properties": {f"{unit.value}s": {"type": "integer", "minimum": 1} for unit in ast.Unit},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    },
    ast.Operator: {"enum": [operator.value for operator in ast.Operator]},
    Decimal: {"type": "number"},
    str: {"type": "string", "minLength": 1, "maxLength": ast.MAX_TEXT},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}


def _schema_of(hint: Any) -> dict[str, Any]:
    if get_origin(hint) is tuple:
        return {"type": "array", "minItems": 1, "maxItems": _MAX_LIST, "items": _schema_of(get_args(hint)[0])}
    options = [
        dict(_SCALAR_SCHEMAS[kind]) if kind in _SCALAR_SCHEMAS else {"$ref": f"#/$defs/{_tag(kind)}"}
        for kind in _alternatives(hint)
    ]
    return options[0] if len(options) == 1 else {"anyOf": options}


def _schema_of_node(name: str, node: type[ast.Node]) -> dict[str, Any]:
    hints = get_type_hints(node)
    declared = [item for item in fields(node) if item.name != "at"]
    return {
        "type": "object",
        "description": " ".join((node.__doc__ or "").split()),
        "properties": {"is": {"const": name}, **{item.name: _schema_of(hints[item.name]) for item in declared}},
        "required": ["is", *(item.name for item in declared if item.default is MISSING)],
        "additionalProperties": False,
    }
