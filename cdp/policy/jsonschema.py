"""JSON Schemas of the policy files: published in docs/reference/schemas for editors, and used for the loader's suggestions."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from cdp.policy.model import FILES, SegmentText
from cdp.policy.problems import Path

SEGMENT_FILE = "segments.yaml"
"""The name under which the schema of the segment files is published."""


@cache
def schema_of(file: str) -> Mapping[str, Any]:
    """The JSON Schema (2020-12) of one policy file; `SEGMENT_FILE` for each file of `segments/`."""
    model = SegmentText if file == SEGMENT_FILE else FILES[file]
    schema = model.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def published() -> Mapping[str, str]:
    """File name and text of every published schema."""
    return {
        file.replace(".yaml", ".schema.json"): json.dumps(schema_of(file), indent=2, ensure_ascii=False) + "\n"
        for file in (*FILES, SEGMENT_FILE)
    }


def schema_at(file: str, path: Path) -> Mapping[str, Any]:
    """The part of a file's schema that describes the value at this path; empty where there is none."""
    root = schema_of(file)
    found: Mapping[str, Any] = root
    for step in path:
        found = _step(root, _resolve(root, found), step)
    options = [option for option in found.get("anyOf", (found,)) if option.get("type") != "null"]
    return _resolve(root, options[0] if len(options) == 1 else found)


def _resolve(root: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _step(root: Mapping[str, Any], schema: Mapping[str, Any], step: str | int) -> Mapping[str, Any]:
    options = [_resolve(root, option) for option in schema.get("anyOf", (schema,))]
    for option in options:
        below = option.get("items") if isinstance(step, int) else _member(option, step)
        if isinstance(below, Mapping):
            return below
    return {}


def _member(schema: Mapping[str, Any], key: str) -> object:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    patterns = list(schema.get("patternProperties", {}).values())
    return patterns[0] if patterns else schema.get("additionalProperties")
