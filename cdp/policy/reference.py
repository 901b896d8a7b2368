"""The reference pages of the policy files and their JSON Schemas, generated from the models."""

from collections.abc import Iterator, Mapping
from typing import Any

from cdp.policy.jsonschema import SEGMENT_FILE, published, schema_of
from cdp.policy.model import FILES


def pages() -> Mapping[str, str]:
    """File name and text of every generated file, relative to docs/reference."""
    generated = {f"policies-{file.removesuffix('.yaml')}.md": _page(file) for file in (*FILES, SEGMENT_FILE)}
    return generated | {f"schemas/{name}": text for name, text in published().items()}


def _page(file: str) -> str:
    schema = schema_of(file)
    title = "segments/*.yaml" if file == SEGMENT_FILE else file
    name = file.removesuffix(".yaml")
    lines = [
        f"# {title}",
        "",
        f"Written by `cdp docs` from the models. [Policies](policies.md) describes how files are read and validated. Schema for editors: [schemas/{name}.schema.json](schemas/{name}.schema.json).",
        "",
        "## The file",
        *_table(schema),
    ]
    for kind, part in sorted(schema.get("$defs", {}).items()):
        lines += ["", f"## {kind}", "", *_definition(part)]
    return "\n".join(lines) + "\n"


def _definition(part: Mapping[str, Any]) -> Iterator[str]:
    yield " ".join(part.get("description", "").split())
    if "enum" in part:
        yield ""
        yield "One of " + ", ".join(f"`{value}`" for value in part["enum"]) + "."
    elif part.get("properties"):
        yield from _table(part)


def _table(part: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    required = part.get("required", [])
    for name, value in part["properties"].items():
        meaning = " ".join(value.get("description", "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_value(value)} | {'required' if name in required else _default(value)} | {meaning} |"


def _default(part: Mapping[str, Any]) -> str:
    default = part.get("default")
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, dict):
        filled = [f"{key}: {value}" for key, value in default.items() if value not in (None, [], {})]
        return f"`{', '.join(filled)}`" if filled else "none"
    return f"`{default}`" if default else "none"


def _value(part: Mapping[str, Any]) -> str:
    if "$ref" in part:
        kind = part["$ref"].rpartition("/")[2]
        return f"[{kind}](#{kind.lower()})"
    if "anyOf" in part:
        options = [_value(option) for option in part["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    if "const" in part:
        return f"`{part['const']}`"
    match part.get("type"):
        case "array":
            return f"list of {_value(part['items'])}"
        case "object":
            inner = next(iter(part.get("patternProperties", {}).values()), part.get("additionalProperties", {}))
            return f"mapping of {_value(inner)}"
        case "integer" | "number" as kind:
            return {"integer": "whole number", "number": "number"}[kind] + _bounds(part)
        case "boolean":
            return "true or false"
        case _:
            return {"date": "date"}.get(part.get("format", ""), "string")


def _bounds(part: Mapping[str, Any]) -> str:
    return f", {part['minimum']:g} to {part['maximum']:g}" if {"minimum", "maximum"} <= part.keys() else ""
