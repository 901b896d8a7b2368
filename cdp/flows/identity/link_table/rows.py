"""The rows of a link table as edges over numbered identifiers, and the parts of a table. Pure.

A part is a set of whole connected groups, and no two parts have an identifier of the table in common.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cdp.accounting.model import State
from cdp.identity.components import Component, components
from cdp.identity.model import Identifier
from cdp.identity.normalize import IdentifierReader
from cdp.identity.rules import Rules

Row = tuple[str, object, str, object]
"""Type and value of one identifier, type and value of the other."""

ROWS_LISTED_MAX: Final = 20
"""How many row numbers are listed for each reason."""

NO_IDENTIFIER: Final = "no_identifier"
SELF_LINK: Final = "self_link"

_NO_NUMBER: Final = -1


@dataclass(slots=True)
class Table:
    """The rows of a link table as edges over dense numbers of identifiers, the stronger side in `ones`.

    `rows` has the row number of each edge, `repeats` how often it is repeated by position. `invalid` counts the rows
    that are not links by reason, and `listed` has the first of their numbers.
    """

    identifiers: list[Identifier] = field(default_factory=list)
    ones: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    repeats: Counter[int] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    listed: dict[str, list[int]] = field(default_factory=dict)

    def refuse(self, row: int, reason: str) -> None:
        """Count a row that is not a link."""
        self.invalid[reason] += 1
        listed = self.listed.setdefault(f"{State.INVALID.value}: {reason}", [])
        if len(listed) < ROWS_LISTED_MAX:
            listed.append(row)

    def groups(self) -> list[Component]:
        """The connected groups, in the order of their first rows."""
        return components(len(self.identifiers), self.ones, self.others)


@dataclass(frozen=True, slots=True)
class Part:
    """Whole groups of a table with numbers of their own: members and edges of each group are consecutive.

    `edges_before` is the number of edges of the table before the part. `groups` use the numbers of the part.
    """

    edges_before: int
    identifiers: Sequence[Identifier]
    ones: Sequence[int]
    others: Sequence[int]
    rows: Sequence[int]
    repeats: Sequence[int]
    groups: Sequence[Component]

    @property
    def edges_after(self) -> int:
        """The number of edges of the table up to the end of the part."""
        return self.edges_before + len(self.ones)


def read_rows(identifier_reader: IdentifierReader, rows: Iterable[Row | str]) -> Table:
    """Normalize every row; a row with an invalid identifier, or with two equal ones, is invalid.

    A row that is a string could not be read, and the string is the reason.
    """
    table = Table()
    numbering = _Numbering(identifier_reader)
    ranks = numbering.ranks
    position_of: dict[int, int] = {}
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            table.refuse(number, row)
            continue
        one_type, one_value, other_type, other_value = row
        one, other = numbering.number_of(one_type, one_value), numbering.number_of(other_type, other_value)
        if _NO_NUMBER in (one, other):
            table.refuse(number, NO_IDENTIFIER)
            continue
        if one == other:
            table.refuse(number, SELF_LINK)
            continue
        if ranks[one_type] > ranks[other_type]:
            one, other = other, one
        position = position_of.setdefault(one << 32 | other, len(table.rows))
        if position < len(table.rows):
            table.repeats[position] += 1
            continue
        table.ones.append(one)
        table.others.append(other)
        table.rows.append(number)
    table.identifiers = list(numbering.numbers)
    return table


class _Numbering:
    """Numbers identifiers in the order of their first rows; a repeated value is not normalized again."""

    def __init__(self, identifier_reader: IdentifierReader) -> None:
        self.numbers: dict[Identifier, int] = {}
        rules = Rules(identifier_reader.policy)
        self.ranks = {key: rules.priority(key) for key in identifier_reader.policy.types}
        self._read = identifier_reader.read
        self._numbers_by_value: dict[str, dict[str, int]] = {}

    def number_of(self, type_: str, raw: object) -> int:
        """The number of an identifier, `_NO_NUMBER` if it is invalid."""
        if not isinstance(raw, str):
            return self._number(type_, raw)
        numbers = self._numbers_by_value.get(type_)
        if numbers is None:
            numbers = self._numbers_by_value[type_] = {}
        number = numbers.get(raw)
        if number is None:
            number = numbers[raw] = self._number(type_, raw)
        return number

    def _number(self, type_: str, raw: object) -> int:
        read = self._read(type_, raw)
        return self.numbers.setdefault(read, len(self.numbers)) if isinstance(read, Identifier) else _NO_NUMBER


def divide(groups: Sequence[Component], rows_max: int, *, skip: int = 0) -> Iterator[tuple[int, int, int]]:
    """The division of a table into parts of whole groups, as (first group, end of groups, edges before) per part.

    A part ends with the group that fills it. The first `skip` edges, which must be whole groups, are skipped.
    """
    first, before, edges = 0, 0, 0
    for at, group in enumerate(groups):
        edges += len(group.edges)
        if before + edges <= skip:
            first, before, edges = at + 1, before + edges, 0
        elif edges >= rows_max:
            yield first, at + 1, before
            first, before, edges = at + 1, before + edges, 0
    if edges:
        yield first, len(groups), before


def part_of(table: Table, groups: Sequence[Component], edges_before: int) -> Part:
    """These groups of a table as a part."""
    nodes = [node for group in groups for node in group.members]
    positions = [position for group in groups for position in group.edges]
    number_of = {node: number for number, node in enumerate(nodes)}
    local: list[Component] = []
    members = edges = 0
    for group in groups:
        local.append(
            Component(
                range(members, members + len(group.members)),
                range(edges, edges + len(group.edges)),
            )
        )
        members += len(group.members)
        edges += len(group.edges)
    repeats = table.repeats
    return Part(
        edges_before,
        [table.identifiers[node] for node in nodes],
        [number_of[table.ones[position]] for position in positions],
        [number_of[table.others[position]] for position in positions],
        [table.rows[position] for position in positions],
        [repeats[position] for position in positions] if repeats else [0] * len(positions),
        local,
    )
