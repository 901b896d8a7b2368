"""A proposal of a mapping for a file, for the operator to read. It contains no value of the file."""

import json
from collections.abc import Mapping as Tree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cdp.flows.imports.instants import ISO_8601
from cdp.flows.imports.mapping import read_mapping
from cdp.flows.imports.messages import usable_identifiers, usable_purposes
from cdp.flows.imports.parts import FIELD
from cdp.flows.imports.suggest.guess import column_named, has_zones, instant_format, number_format
from cdp.flows.imports.suggest.layouts import layout_of
from cdp.flows.imports.suggest.sample import FileSample, take_sample
from cdp.kit.errors import Fault
from cdp.policy.model import Policy

_RULES: Final = ("identifiers", "properties", "traits", "products")
_LISTED_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class SuggestedMapping:
    """A mapping as YAML, and the name of the layout that was recognized, if one was."""

    layout: str | None
    mapping: str


def suggest_mapping(path: Path, policy: Policy) -> SuggestedMapping:
    """Propose a mapping that `cdp import` accepts. Faults: those of the file, and `nothing_to_suggest`."""
    sample = take_sample(path)
    layout = layout_of(frozenset(sample.columns))
    notes = list(layout.notes) if layout else []
    content = _prune(layout.content if layout else _by_names(sample.columns), frozenset(sample.columns))
    _limit_to(policy, content, notes)
    if not content.get("identifiers"):
        listed = ", ".join(f"`{name}`" for name in sample.columns[:_LISTED_MAX])
        raise Fault(
            "nothing_to_suggest",
            "No column is named like an identifier of the policy",
            f"The file has the columns {listed}. Write a mapping by hand.",
            status=422,
        )
    written = dict(sample.written)
    _add_formats(sample, content, written=written, notes=notes)
    unused = [name for name in sample.columns if name not in _columns(content)]
    if unused:
        more = "" if len(unused) <= _LISTED_MAX else f" and {len(unused) - _LISTED_MAX} more"
        notes.append(f"Not mapped: {', '.join(unused[:_LISTED_MAX])}{more}.")
    title = layout.name if layout else "unknown layout, read by the names of the columns"
    text = _rendered(title, notes, {**written, **content})
    read_mapping("suggested.yaml", text.encode())
    return SuggestedMapping(layout.name if layout else None, text)


def _by_names(columns: Sequence[str]) -> dict[str, Any]:
    """What columns of an unknown layout mean by their names."""
    named = {
        meaning: (column,)
        for meaning in (
            "email",
            "phone",
            "user_id",
            "timestamp",
            "order_id",
            "revenue",
            "currency",
            "firstName",
            "lastName",
        )
        if (column := column_named(meaning, columns)) is not None
    }
    identifiers = {type_: named[type_] for type_ in ("user_id", "email", "phone") if type_ in named}
    traits = {name: named[name] for name in ("firstName", "lastName") if name in named}
    if not {"order_id", "revenue", "timestamp"} <= named.keys():
        return {"type": "identify", "identifiers": identifiers, "traits": traits}
    return {
        "event": "Order Completed",
        "message_id": {"template": f"order-{{{named['order_id'][0]}}}"},
        "timestamp": {"column": named["timestamp"]},
        "identifiers": identifiers,
        "properties": {
            "order_id": named["order_id"],
            "revenue": {"column": named["revenue"], "type": "number"},
            **({"currency": named["currency"]} if "currency" in named else {}),
        },
        "traits": traits,
    }


def _prune(content: Tree[str, Any], columns: frozenset[str]) -> dict[str, Any]:
    """The content for a file with these columns: rules without a column are left out, and of several the first is used."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        if key in _RULES:
            rules = {name: rule for name, tried in value.items() if (rule := _rule(tried, columns)) is not None}
            if rules:
                found[key] = rules
        elif key == "consents":
            rules = {name: rule for name, tried in value.items() if (rule := _consent(tried, columns)) is not None}
            if rules:
                found[key] = rules
        elif key in ("timestamp", "only"):
            rule = _rule(value, columns)
            if rule is not None:
                found[key] = rule
        else:
            found[key] = value
    return found


def _rule(tried: Any, columns: frozenset[str]) -> Any:
    if isinstance(tried, tuple):
        return next((column for column in tried if column in columns), None)
    names = tried["column"] if isinstance(tried["column"], tuple) else (tried["column"],)
    column = next((name for name in names if name in columns), None)
    return None if column is None else {**tried, "column": column}


def _consent(tried: Tree[str, Any], columns: frozenset[str]) -> dict[str, Any] | None:
    if "column" in tried and tried["column"] not in columns:
        return None
    rule = {key: value for key, value in tried.items() if key != "at"}
    at = _rule(tried["at"], columns) if "at" in tried else None
    return rule if at is None else {**rule, "at": at}


def _limit_to(policy: Policy, content: dict[str, Any], notes: list[str]) -> None:
    """Leave out identifier types and purposes that the policy does not have."""
    for key, usable in (("identifiers", usable_identifiers(policy)), ("consents", usable_purposes(policy))):
        unknown = [name for name in content.get(key, {}) if name not in usable]
        if unknown:
            notes.append(f"The policy has no {', '.join(unknown)} for `{key}`: what the file says of it is not mapped.")
            content[key] = {name: rule for name, rule in content[key].items() if name in usable}
            if not content[key]:
                del content[key]


def _add_formats(sample: FileSample, content: dict[str, Any], *, written: dict[str, Any], notes: list[str]) -> None:
    """Declare how numbers and times are written, as far as the sample shows it."""
    numbers = [rule["column"] for part in _RULES for rule in content.get(part, {}).values() if _is_number(rule)]
    cells = [cell for column in dict.fromkeys(numbers) for cell in sample.cells(column)]
    marks, is_certain = number_format(cells)
    if not is_certain and cells:
        notes.append("CHECK numbers: the sample does not show what is the decimal sign; set `decimal` and `thousands`.")
    if marks.decimal != ".":
        written["decimal"] = marks.decimal
    if marks.thousands:
        written["thousands"] = marks.thousands
    times = [("timestamp", content["timestamp"])] if "timestamp" in content else []
    times += [(f"consents.{name}.at", rule["at"]) for name, rule in content.get("consents", {}).items() if "at" in rule]
    for place, when in times:
        read = sample.cells(when["column"])
        format_, possible = instant_format(read)
        if format_ != ISO_8601:
            when["format"] = format_
        elif possible:
            notes.append(f"CHECK {place}: the sample fits {' and '.join(possible)}; set `format` to the right one.")
        if not has_zones(read) and "zone" not in when and format_.find("unix") < 0:
            notes.append(f"CHECK {place}: times that name no zone are read as UTC; set `zone` if they are local times.")


def _is_number(rule: Any) -> bool:
    return isinstance(rule, dict) and rule.get("type") in ("number", "integer")


def _columns(content: Any) -> set[str]:
    """Every column that a content names."""
    if isinstance(content, str):
        return set(FIELD.findall(content)) or {content}
    if isinstance(content, dict):
        return {column for value in content.values() for column in _columns(value)}
    return set()


def _rendered(title: str, notes: Sequence[str], content: Tree[str, Any]) -> str:
    """The mapping as YAML, one rule on a line; JSON is YAML."""
    lines = [f"# {title}. Proposed from the columns and a sample: read it before you use it."]
    lines += [f"# {' '.join(note.split())}" for note in notes]
    lines.append("")
    for key, value in content.items():
        if key in (*_RULES, "consents"):
            lines.append(f"{key}:")
            lines += [f"  {name}: {_json(rule)}" for name, rule in value.items()]
        else:
            lines.append(f"{key}: {_json(value)}")
    return "\n".join(lines) + "\n"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True)
