"""The mapping of an import: which column of a file becomes which part of a message.

A mapping is a YAML file, read as strictly as a policy: an unknown key, a wrong type or an impossible combination is
refused with its line number. Nothing is guessed from the data.
"""

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, get_args

from pydantic import Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, to_json

from cdp.flows.imports.numbers import Decimal, NumberFormat, Thousands
from cdp.flows.imports.parts import (
    ConsentColumn,
    FromColumn,
    FromText,
    MessageTime,
    MinorUnits,
    Selection,
    Selections,
    Side,
    Value,
    When,
)
from cdp.kit.bounded_file import read_bounded
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.errors import Fault
from cdp.kit.wording import counted
from cdp.policy.frozen import Frozen, Key, TypeKey
from cdp.policy.problems import Path as Steps
from cdp.policy.problems import PolicyProblem, Position, choose
from cdp.policy.source import PolicyFile, SourceRefused, parse
from cdp.policy.unknown_keys import KnownKeys

FORMATS: Final = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
LISTED: Final = "mappings"
"""The key of a document under which it lists its mappings."""
Document = TypeVar("Document", bound=Frozen)
_TYPES: Final = ("identify", "track", "page", "screen", "group", "alias")
_LINK_TABLE_KEYS: Final = frozenset(
    {"format", "delimiter", "encoding", "skip_lines", "decimal", "thousands", "absent", "links"}
)


class Mapping(Frozen):
    """How each row of a file becomes one message, or one link between two identifiers."""

    format: Literal["csv", "jsonl", "parquet"] | None = None
    """`csv`, `jsonl` or `parquet`; by default determined by the file name. The first two may be compressed with gzip."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What separates the cells of a CSV file."""
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"] = "utf-8"
    """The character encoding of the file; `cp1252` is Windows-1252."""
    skip_lines: int = Field(default=0, ge=0, le=1000)
    """How many lines of a CSV file come before its header."""
    decimal: Decimal = "."
    """The decimal separator of numbers."""
    thousands: Thousands = ""
    """The mark between groups of three digits of a number; by default a number with such a mark is invalid."""
    absent: tuple[str, ...] = ("",)
    """Texts that mean that there is no value."""
    type: FromText = Value(value="track")
    """The type of the message, fixed or from a column: identify, track, page, screen, group or alias."""
    event: FromText | None = None
    """The name of the event of a track message, fixed or from a column."""
    message_id: FromColumn | None = None
    """What identifies a row as the same message; by default the file and the number of the row."""
    timestamp: MessageTime | None = None
    """When the event occurred; by default the time of the import."""
    group_by: str | None = Field(default=None, min_length=1)
    """The column whose equal values in consecutive rows make these rows one message."""
    products: dict[str, FromColumn] = Field(default_factory=dict)
    """The articles of an order, one object of the property `products` for each row that has a value of them."""
    only: Selections = ()
    """Which rows become messages; by default all. Of several conditions, each must hold."""
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
        if self.thousands == self.decimal:
            raise ValueError(f"`{self.decimal}` cannot be both `decimal` and `thousands`")
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
        if self.products and "products" in self.properties:
            raise ValueError("`properties.products` and `products` are the same property: remove one of them")
        return self._is_grouped() if self.group_by is not None else self._is_ungrouped()

    def _is_grouped(self) -> Self:
        summed = [name for name, rule in (*self.identifiers.items(), *self.products.items()) if rule.combine == "sum"]
        if summed:
            raise ValueError(f"`combine` cannot be used in `{summed[0]}`: only properties and traits are summed")
        return self

    def _is_ungrouped(self) -> Self:
        rules = (*self.properties.items(), *self.traits.items(), *self.products.items(), *self.identifiers.items())
        summed = [name for name, rule in rules if rule.combine == "sum"]
        if summed:
            raise ValueError(f"`combine: sum` in `{summed[0]}` requires `group_by`")
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
        named += [*self.identifiers.values(), *self.properties.values(), *self.traits.values(), *self.products.values()]
        found = {column for part in named if part is not None for column in part.columns}
        found.update(column for consent in self.consents.values() for column in consent.columns)
        direct = (
            self.group_by,
            *(selection.column for selection in self.only),
            self.timestamp and self.timestamp.column,
        )
        return frozenset(found | {column for column in direct if column})

    @property
    def number_format(self) -> NumberFormat:
        """How numbers are written."""
        return NumberFormat(self.decimal, self.thousands)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content of the mapping, independent of the layout of its file."""
        return sha256(canonical_json(self.model_dump(mode="json")))


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file; raises the fault `invalid_mapping` with every problem and its line."""
    try:
        return read_mapping(path.name, read_bounded(path))
    except OSError as error:
        raise Fault("unreadable_mapping", "The mapping cannot be read", f"{path}: {error.strerror}.") from None


def read_mapping(name: str, text: bytes) -> Mapping:
    """Read a mapping from the text of a file of this name; raises `invalid_mapping`."""
    return read_as(lambda _content: Mapping, name, text)


def read_as(choose_model: Callable[[Any], type[Document]], name: str, text: bytes) -> Document:
    """Read a mapping, or a document of mappings, as the model that is chosen for its content; raises `invalid_mapping`."""
    try:
        source = parse(name, text)
    except SourceRefused as refused:
        raise _fault([refused.problem]) from None
    model = choose_model(source.content)
    problems: list[PolicyProblem] = []

    def keys(path: Steps) -> list[str]:
        return _keys(path, model)

    document = KnownKeys(_with_lists(source.content), keys)
    while True:
        try:
            found = model.model_validate_json(to_json(document.content))
        except ValidationError as error:
            problems += _problems(error, source, document)
            if not document.correct(error):
                raise _fault(problems) from None
        else:
            if problems:
                raise _fault(problems)
            return found


def _with_lists(content: Any) -> Any:
    """A document in which a condition that stands for itself is a list of one."""
    if not isinstance(content, dict):
        return content
    found = dict(content)
    if isinstance(found.get(LISTED), list):
        found[LISTED] = [_with_lists(part) for part in found[LISTED]]
    if isinstance(found.get("only"), dict):
        found["only"] = [found["only"]]
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
    return [
        _problem(place, *found[0], keys=document.declared(found[0][1]["loc"])) for (place, _), found in by_place.items()
    ]


def _problem(place: Position, path: Steps, error: ErrorDetails, *, keys: Collection[str]) -> PolicyProblem:
    name = ".".join(map(str, path)) or "the mapping"
    if error["type"] == "extra_forbidden":
        unknown = str(error["loc"][-1])
        return PolicyProblem(place, f"unknown key `{unknown}`", choose(unknown, keys))
    if error["type"] == "missing":
        return PolicyProblem(place, f"`{error['loc'][-1]}` is missing in {name}", "add it")
    message = error["msg"].removeprefix("Value error, ").replace("Input should", "must")
    return PolicyProblem(place, f"{name}: {message}")


def _keys(path: Steps, model: type[Frozen]) -> list[str]:
    """The keys that are allowed in the place of the last step of a path."""
    listed = next((field.annotation for name, field in model.model_fields.items() if name == LISTED), None)
    if len(path) > 2 and path[0] == LISTED and listed is not None:
        return _keys(path[2:], get_args(listed)[0])
    if len(path) <= 1:
        return list(model.model_fields)
    if path[0] in ("timestamp", "links"):
        return list((MessageTime if path[0] == "timestamp" else Side).model_fields)
    if path[0] == "only":
        return list(Selection.model_fields)
    if path[0] == "consents":
        return list((ConsentColumn if len(path) <= 3 else When).model_fields)
    return list((MinorUnits if path[-2] == "minor_units" else Value).model_fields)


def _existing(steps: tuple[int | str, ...], content: Any) -> Iterator[int | str]:
    """The steps of an error that are in the file; Pydantic adds names of its own for unions and keys."""
    for step in steps:
        if isinstance(content, dict) and isinstance(step, str) and step in content:  # noqa: SIM114 - each narrows its own
            content = content[step]
        elif isinstance(content, list) and isinstance(step, int) and step < len(content):
            content = content[step]
        elif isinstance(content, dict) and step == 0:  # a condition that stands for itself: see `_with_lists`
            continue
        else:
            return
        yield step
