"""Validation errors of Pydantic as messages about the policy: where, what is wrong, and a remedy."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from cdp.policy.jsonschema import SEGMENT_FILE, schema_at
from cdp.policy.model import FILES
from cdp.policy.problems import Path, PolicyProblem, Position, choose
from cdp.policy.source import PolicyFile
from cdp.policy.unknown_keys import KnownKeys

SECOND_KEY = "`key`"
"""What the loader renames a `key` inside an entry to, whose key is its name."""

_KINDS: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "is_instance_of": "a mapping",
    "date_type": "a date such as 2026-12-25",
    "date_from_datetime_parsing": "a date such as 2026-12-25",
    "date_parsing": "a date such as 2026-12-25",
}

_SINGLE = frozenset({"missing", "extra_forbidden", "value_error"})
"""Errors reported one by one; several others at one place are the alternatives of a union."""


def problems_of(
    fault: ValidationError, sources: Mapping[str, PolicyFile], document: KnownKeys
) -> Iterator[PolicyProblem]:
    """One problem for each invalid place; locations begin with the file, segments under `segments`."""
    by_place: dict[tuple[str, Path], list[ErrorDetails]] = {}
    for error in fault.errors(include_url=False):
        if document.is_misspelled(error["loc"]):
            continue
        file, steps = _file_and_steps(error["loc"])
        error["loc"] = steps
        if steps[-1:] == ("key",) and not file.startswith("segments/"):
            continue  # the copied name: its mapping reports the same error
        if file in sources:
            by_place.setdefault((file, _path_of(steps, sources[file].content)), []).append(error)
        else:
            yield PolicyProblem(Position(file), "the file is missing", "every policy needs it; it may be short")
    for (file, path), errors in by_place.items():
        schema = _schema(file)
        of_alternatives = [error for error in errors if error["type"] not in _SINGLE]
        for error in errors:
            if error["type"] in _SINGLE or len(of_alternatives) == 1:
                yield _problem(error, path, sources[file], schema=schema)
        if len(of_alternatives) > 1:
            yield _alternatives(of_alternatives, path, sources[file])


def declared_beside(path: Path) -> Collection[str]:
    """The keys that may be in the mapping in which a path of a policy ends; paths begin as those of `problems_of`."""
    file, steps = _file_and_steps(path)
    known: Collection[str] = schema_at(_schema(file), steps[:-1]).get("properties", {})
    return known


def _file_and_steps(path: Path) -> tuple[str, Path]:
    depth = 2 if path[0] == "segments" else 1
    return str(path[depth - 1]), path[depth:]


def _schema(file: str) -> str:
    return file if file in FILES else SEGMENT_FILE


def _path_of(steps: Iterable[str | int], content: JsonValue) -> Path:
    """The part of an error's location that exists in the file; Pydantic appends names of its own for unions and keys."""
    path: Path = ()
    for step in steps:
        found: str | int = "key" if step == SECOND_KEY else step
        below = _below(content, found)
        if below is None:
            break
        content = below[0]
        path = (*path, found)
    return path


def _below(content: JsonValue, step: str | int) -> tuple[JsonValue] | None:
    """The value one step below, None if there is none."""
    if isinstance(content, dict):
        return (content[step],) if isinstance(step, str) and step in content else None
    if isinstance(content, list):
        return (content[step],) if isinstance(step, int) and step < len(content) else None
    return None


def _problem(error: ErrorDetails, path: Path, source: PolicyFile, *, schema: str) -> PolicyProblem:
    kind = error["type"]
    name = _shown(path)
    if kind == "extra_forbidden":
        known = schema_at(schema, path[:-1]).get("properties", {})
        if path[-1] == "key":
            return PolicyProblem(
                source.place(path, of_key=True),
                f"`key` must not be written inside {_shown(path[:-1])}",
                "the name of the entry is its key",
            )
        return PolicyProblem(
            source.place(path, of_key=True), f"unknown key `{path[-1]}`{_within(path)}", choose(str(path[-1]), known)
        )
    if kind == "missing":
        wanted = str(error["loc"][-1])
        meaning = schema_at(schema, path).get("properties", {}).get(wanted, {}).get("description", "")
        first = meaning.split(". ")[0].rstrip(".")
        return PolicyProblem(
            source.place(path),
            f"`{wanted}` is missing in {name or 'the file'}",
            f"add it: {first}" if first else "add it",
        )
    if error["loc"] and error["loc"][-1] == "[key]":
        return PolicyProblem(source.place(path, of_key=True), f"the name `{path[-1]}` {_must(error)}")
    if kind == "value_error":
        return PolicyProblem(source.place(path), _sentence(name, str(error["ctx"]["error"])))
    allowed = schema_at(schema, path).get("enum")
    if kind in {"enum", "literal_error"} and allowed:
        return PolicyProblem(
            source.place(path),
            f"{name} {_must(error)}, but is {_value(error)}",
            choose(str(error["input"]), map(str, allowed)),
        )
    return PolicyProblem(source.place(path), f"{name} {_must(error)}, but is {_value(error)}")


def _alternatives(errors: list[ErrorDetails], path: Path, source: PolicyFile) -> PolicyProblem:
    musts = list(dict.fromkeys(_must(error).removeprefix("must ").removeprefix("be ") for error in errors))
    return PolicyProblem(source.place(path), f"{_shown(path)} must be {' or '.join(musts)}, but is {_value(errors[0])}")


def _sentence(name: str, message: str) -> str:
    return f"{name}: {message}" if name else message


def _must(error: ErrorDetails) -> str:
    kind: str = error["type"]
    ctx: Mapping[str, Any] = error.get("ctx", {})
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}"
    if kind == "string_pattern_mismatch":
        return f"must match {ctx['pattern']}"
    return error["msg"].replace("Input should be", "must be").replace("Input should have", "must have")


def _value(error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _shown(path: Path) -> str:
    parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in path]
    text = "".join(parts).removeprefix(".")
    return f"`{text}`" if text else ""


def _within(path: Path) -> str:
    return f" in {_shown(path[:-1])}" if len(path) > 1 else ""
