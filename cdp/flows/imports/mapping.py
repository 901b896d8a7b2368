"""The mapping of an import: which column of a file becomes which part of a message.

A mapping is a YAML file, read as strictly as a policy: an unknown key, a wrong type or an impossible combination is
refused with its line number. Nothing is guessed from the data.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, to_json

from cdp.kit.bounded_file import read_bounded
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.policy.frozen import Frozen, Key, TypeKey
from cdp.policy.problems import Path as Steps
from cdp.policy.problems import PolicyProblem, Position, choose
from cdp.policy.source import PolicyFile, SourceRefused, parse
from cdp.policy.unknown_keys import KnownKeys

Scalar = str | int | float | bool
FORMATS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_FIELD: Final = re.compile(r"\{([^{}]+)\}")
_TYPES: Final = ("identify", "track", "page", "screen", "group", "alias")
_LINK_TABLE_KEYS: Final = frozenset({"format", "delimiter", "encoding", "decimal", "absent", "links"})
_ORIGINS: Final = ("column", "value", "template")


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _fixed(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


class Value(Frozen):
    """Where a value comes from: a column, a fixed value, or a text with columns in braces."""

    column: str | None = Field(default=None, min_length=1)
    """The name of a column; in JSON Lines a path with dots such as `user.email`."""
    value: Scalar | None = None
    """The same for every row."""
    template: str | None = Field(default=None, min_length=1)
    """Text with columns in braces, such as `order-{invoice}`; absent when one of them is."""
    type: Literal["text", "number", "integer", "boolean", "instant", "json"] = "text"
    """How the text of a cell is read."""
    map: dict[str, Scalar] | None = None
    """Another value for each text; a text that is not listed makes the row invalid, unless `otherwise` is set."""
    otherwise: Scalar | None = None
    """The value of a text that `map` does not list."""

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        present = [name for name in _ORIGINS if getattr(self, name) is not None]
        if len(present) != 1:
            raise ValueError(f"give exactly one of {', '.join(_ORIGINS)}; found {' and '.join(present) or 'none'}")
        if self.otherwise is not None and self.map is None:
            raise ValueError("`otherwise` requires `map`")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        if self.template is not None:
            return tuple(_FIELD.findall(self.template))
        return () if self.column is None else (self.column,)


FromColumn = Annotated[Value, BeforeValidator(_column)]
FromText = Annotated[Value, BeforeValidator(_fixed)]


class When(Frozen):
    """The instant of a row."""

    column: str = Field(min_length=1)
    """The column that holds it."""
    format: str = "iso8601"
    """`iso8601`, `unix_seconds`, `unix_milliseconds`, or a pattern such as `%d.%m.%Y %H:%M`."""
    zone: str = "UTC"
    """The IANA time zone of a text that names none, such as `Europe/London`."""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        try:
            ZoneInfo(self.zone)
        except (KeyError, OSError, ValueError):
            raise ValueError(f"`{self.zone}` is not an IANA time zone such as Europe/London") from None
        if self.format not in ("iso8601", "unix_seconds", "unix_milliseconds") and "%" not in self.format:
            raise ValueError("`format` is iso8601, unix_seconds, unix_milliseconds or a pattern with %")
        return self


class ConsentColumn(Frozen):
    """A column, or a fixed answer for every row, that grants or refuses consent to a purpose; an empty cell states nothing."""

    column: str | None = Field(default=None, min_length=1)
    """The column that holds the answer."""
    value: str | bool | None = None
    """The same answer for every row, for a file that lists only those who consented or only those who refused."""
    grant: tuple[str, ...] = Field(default=("yes", "true", "1"), min_length=1)
    """Texts that grant consent, in upper or lower case."""
    refuse: tuple[str, ...] = Field(default=("no", "false", "0"), min_length=1)
    """Texts that refuse consent; any other text makes the row invalid."""

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        both = {text.casefold() for text in self.grant} & {text.casefold() for text in self.refuse}
        if both:
            raise ValueError(f"`{min(both)}` is listed both under `grant` and under `refuse`")
        if (self.column is None) == (self.value is None):
            raise ValueError("give either `column` or `value`")
        answers = {text.casefold() for text in (*self.grant, *self.refuse)}
        if self.value is not None and self.answer not in answers:
            raise ValueError(f"`{self.answer}` is listed neither under `grant` nor under `refuse`")
        return self

    @property
    def answer(self) -> str:
        """The fixed answer as the lists spell it; empty when a column holds it."""
        return "" if self.value is None else str(self.value).casefold()


class Side(Frozen):
    """One side of a link: an identifier type, and the column with its value."""

    type: TypeKey
    """An identifier type of the policy; both sides may be of one type."""
    column: str = Field(min_length=1)
    """The column that holds the value."""


class Mapping(Frozen):
    """How each row of a file becomes one message, or one link between two identifiers."""

    format: Literal["csv", "jsonl"] | None = None
    """`csv` or `jsonl`; by default determined by the file name. Either may be compressed with gzip."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What separates the cells of a CSV file."""
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
    """The character encoding of the file."""
    decimal: Literal[".", ","] = "."
    """The decimal separator of numbers."""
    absent: tuple[str, ...] = ("",)
    """Texts that mean that there is no value."""
    type: FromText = Value(value="track")
    """The type of the message, fixed or from a column: identify, track, page, screen, group or alias."""
    event: FromText | None = None
    """The name of the event of a track message, fixed or from a column."""
    message_id: FromColumn | None = None
    """What identifies a row as the same message; by default the file and the number of the row."""
    timestamp: When | None = None
    """When the event occurred; by default the time of the import."""
    links: tuple[Side, ...] | None = None
    """The two sides of each row of a link table: rows that state only that two identifiers belong to the same person."""
    identifiers: dict[TypeKey, FromColumn] = Field(default_factory=dict)
    """Whom the message is about: identifier types of the policy, from columns."""
    previous_id: FromColumn | None = None
    """The earlier identifier of an alias message."""
    group_id: FromColumn | None = None
    """The group of a group message."""
    properties: dict[str, FromColumn] = Field(default_factory=dict)
    """Properties of the event, from columns."""
    traits: dict[str, FromColumn] = Field(default_factory=dict)
    """What is stated about the person."""
    consents: dict[Key, ConsentColumn] = Field(default_factory=dict)
    """Purposes of the policy to which rows grant or refuse consent, with the authority `imported`."""

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.links is not None:
            return self._is_link_table(self.links)
        if not self.identifiers:
            raise ValueError("`identifiers` is missing: name at least one identifier type and its column")
        kinds = [self.type.value] if self.type.value is not None else list((self.type.map or {}).values())
        wrong = next((kind for kind in kinds if kind not in _TYPES), None)
        if wrong is not None:
            raise ValueError(f"`{wrong}` is not a message type; use one of {', '.join(_TYPES)}")
        if "track" in kinds and self.event is None:
            raise ValueError("`event` is missing: a track message needs the name of its event")
        return self

    def _is_link_table(self, sides: tuple[Side, ...]) -> Self:
        if len(sides) != 2:
            raise ValueError(f"`links` needs exactly two sides, each with `type` and `column`; it has {len(sides)}")
        if sides[0] == sides[1]:
            raise ValueError("both sides of `links` are the same column: no row could link anything")
        unusable = sorted(self.model_fields_set - _LINK_TABLE_KEYS)
        if unusable:
            raise ValueError(f"`{unusable[0]}` cannot be used with `links`: a link is not a message; remove it")
        return self

    @property
    def columns(self) -> frozenset[str]:
        """Every column that it reads."""
        if self.links is not None:
            return frozenset(side.column for side in self.links)
        named = [self.type, self.event, self.message_id, self.previous_id, self.group_id]
        named += [*self.identifiers.values(), *self.properties.values(), *self.traits.values()]
        direct = [part.column for part in (self.timestamp, *self.consents.values()) if part is not None]
        return frozenset(column for part in named if part is not None for column in part.columns) | {
            column for column in direct if column is not None
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content of the mapping, independent of the layout of its file."""
        return sha256(canonical_json(self.model_dump(mode="json")))


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file; raises the fault `invalid_mapping` with every problem and its line."""
    try:
        source = parse(path.name, read_bounded(path))
    except OSError as error:
        raise Fault("unreadable_mapping", "The mapping cannot be read", f"{path}: {error.strerror}.") from None
    except SourceRefused as refused:
        raise _fault([refused.problem]) from None
    problems: list[PolicyProblem] = []
    document = KnownKeys(source.content, _keys)
    while True:
        try:
            found = Mapping.model_validate_json(to_json(document.content))
        except ValidationError as error:
            problems += _problems(error, source, document)
            if not document.correct(error):
                raise _fault(problems) from None
        else:
            if problems:
                raise _fault(problems)
            return found


def _fault(problems: list[PolicyProblem]) -> Fault:
    listed = sorted(set(problems))
    return Fault("invalid_mapping", f"The mapping has {counted(len(listed), 'problem')}", "\n".join(map(str, listed)))


def _problems(error: ValidationError, source: PolicyFile, document: KnownKeys) -> list[PolicyProblem]:
    by_place: dict[tuple[Position, bool], list[tuple[Steps, ErrorDetails]]] = {}
    for detail in error.errors(include_url=False):
        if document.is_misspelled(detail["loc"]):
            continue
        path = tuple(_existing(detail["loc"], source.content))
        is_unknown = detail["type"] == "extra_forbidden"  # a mapping begins where its first key does
        place = source.place(path, of_key=is_unknown)
        by_place.setdefault((place, is_unknown), []).append((path, detail))
    return [_problem(place, *found[0]) for (place, _), found in by_place.items()]


def _problem(place: Position, path: Steps, error: ErrorDetails) -> PolicyProblem:
    name = ".".join(map(str, path)) or "the mapping"
    if error["type"] == "extra_forbidden":
        return PolicyProblem(place, f"unknown key `{path[-1]}`", choose(str(path[-1]), _keys(path)))
    if error["type"] == "missing":
        return PolicyProblem(place, f"`{error['loc'][-1]}` is missing in {name}", "add it")
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return PolicyProblem(place, f"{name}: {message}")


def _keys(path: Steps) -> list[str]:
    """The keys that are allowed in the place of the last step of a path."""
    if len(path) == 1:
        return list(Mapping.model_fields)
    if path[0] in ("timestamp", "links"):
        return list((When if path[0] == "timestamp" else Side).model_fields)
    return list(ConsentColumn.model_fields if path[0] == "consents" else Value.model_fields)


def _existing(steps: tuple[int | str, ...], content: Any) -> Iterator[int | str]:
    """The steps of an error that are in the file; Pydantic adds names of its own for unions and keys."""
    for step in steps:
        if isinstance(content, dict) and isinstance(step, str) and step in content:  # noqa: SIM114 - each narrows its own
            content = content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        else:
            return
        yield step
