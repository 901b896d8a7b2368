"""One YAML file, read safely: plain JSON values with the line of each.

Only a safe subset of YAML is accepted: one document of mappings, lists and scalars. Anchors, aliases, tags, duplicate
keys, deep nesting and large files are refused before anything is built. Scalars follow YAML 1.2: `true` and `false` are
the only booleans, so the country `NO` stays a string; dates stay strings, so everything has a canonical JSON form.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import JsonValue

from cdp.policy.problems import Path, PolicyProblem, Position

BYTES_MAX = 512_000
DEPTH_MAX = 12
NODES_MAX = 40_000
INTEGER_MAX = 2**53 - 1

_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)([eE][-+]?[0-9]{1,3})?")


class SourceRefused(Exception):
    """The file cannot be read; `problem` describes where and why."""

    def __init__(self, problem: PolicyProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True)
class PolicyFile:
    """A file's content, with the position of every value and every key."""

    file: str
    content: JsonValue
    values: Mapping[Path, Position] = field(default_factory=dict)
    keys: Mapping[Path, Position] = field(default_factory=dict)

    def place(self, path: Path, *, of_key: bool = False) -> Position:
        """The position of a value or of its key; that of the nearest enclosing value if there is none at the path."""
        places = self.keys if of_key else self.values
        while path and path not in places:
            path, places = path[:-1], self.keys
        return places.get(path) or self.values.get((), Position(self.file))


class _Builder:
    """Turns a node tree into plain values, and records their positions."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values: dict[Path, Position] = {}
        self.keys: dict[Path, Position] = {}

    def refuse(self, mark: Any, what: str, remedy: str = "") -> SourceRefused:
        return SourceRefused(PolicyProblem(self.at(mark), what, remedy))

    def at(self, mark: Any) -> Position:
        return Position(self.file, mark.line + 1, mark.column + 1)

    def value(self, node: yaml.Node, path: Path) -> JsonValue:
        self.values[path] = self.at(node.start_mark)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> JsonValue:
        built: dict[str, JsonValue] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(key_node.start_mark, "a key must be a string", "quote it, or write one key per line")
            key = self._text(key_node)
            if key in built:
                first = self.keys[(*path, key)].line
                raise self.refuse(
                    key_node.start_mark, f"the key `{key}` appears twice, first on line {first}", "keep one of them"
                )
            self.keys[(*path, key)] = self.at(key_node.start_mark)
            built[key] = self.value(value_node, (*path, key))
        return built

    def _text(self, node: yaml.Node) -> str:
        text = str(node.value)
        if any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text):
            raise self.refuse(
                node.start_mark, "this text contains a character that cannot be stored", "remove NUL and surrogates"
            )
        return text

    def _scalar(self, node: yaml.Node) -> JsonValue:
        text = self._text(node)
        if getattr(node, "style", None):
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            number = int(text)
            if abs(number) > INTEGER_MAX:
                raise self.refuse(
                    node.start_mark, "a number is too large", f"at most {INTEGER_MAX}, or quote it as a string"
                )
            return number
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        return text


def parse(file: str, data: bytes) -> PolicyFile:
    """Parse one file; raises SourceRefused with the first problem."""
    start = Position(file, 1, 1)
    if len(data) > BYTES_MAX:
        raise SourceRefused(PolicyProblem(start, f"the file is larger than {BYTES_MAX} bytes", "split or shorten it"))
    try:
        text = data.decode()
    except UnicodeDecodeError as fault:
        line = data[: fault.start].count(b"\n") + 1
        raise SourceRefused(
            PolicyProblem(Position(file, line, 1), "the file is not UTF-8", "save it as UTF-8")
        ) from None
    builder = _Builder(file)
    try:
        _scan(text, builder)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as fault:
        mark = fault.problem_mark or fault.context_mark
        place = builder.at(mark) if mark else start
        what = " ".join(part for part in (fault.context, fault.problem) if part)
        raise SourceRefused(
            PolicyProblem(place, f"this is not YAML: {what}", "check the indentation and the quotes")
        ) from None
    except yaml.YAMLError:
        raise SourceRefused(
            PolicyProblem(start, "the file contains characters that YAML does not allow", "remove them")
        ) from None
    if not isinstance(node, yaml.MappingNode):
        raise SourceRefused(PolicyProblem(start, "the file must be a mapping", "begin it with `key: value`"))
    content = builder.value(node, ())
    return PolicyFile(file, content, builder.values, builder.keys)


def _scan(text: str, builder: _Builder) -> None:
    """Refuse what could expand, execute code or exhaust memory, on the flat stream of events before a tree is built."""
    depth = nodes = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise builder.refuse(event.start_mark, "anchors and aliases (& and *) are not accepted", "repeat the value")
        if getattr(event, "tag", None):
            raise builder.refuse(
                event.start_mark, "tags (!) are not accepted", "write the plain value, in quotes if it is a string"
            )
        if isinstance(event, yaml.DocumentStartEvent) and (depth or nodes):
            raise builder.refuse(event.start_mark, "a second document begins here", "write one document per file")
        nodes += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_MAX:
            raise builder.refuse(event.start_mark, f"values are nested deeper than {DEPTH_MAX}", "flatten them")
        if nodes > NODES_MAX:
            raise builder.refuse(event.start_mark, f"the file has more than {NODES_MAX} values", "split or shorten it")
