"""The rows of a link table as numbers, and its parts: what hangs together, by some ten thousand rows.

A part is a set of whole groups, and no two parts share an identifier of the table. Pure, but for the randomness of names.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from cdp.accounting.model import State
from cdp.identity.components import Component, components
from cdp.identity.model import Identifier
from cdp.identity.normalize import IdentifierReader
from cdp.identity.resolve import Rules

Row = tuple[str, object, str, object]
"""Type and value of one identifier, type and value of the other."""

ROWS_NAMED_MAX: Final = 20
"""How many row numbers are kept for each reason."""

NO_IDENTIFIER: Final = "no_identifier"
SELF_LINK: Final = "self_link"

_NOBODY: Final = -1


@dataclass(slots=True)
class Table:
    """The rows of a link table over dense numbers of identifiers, the stronger one of each row first.

    `rows` gives the row number of each edge, `repeats` how often it came again, `invalid` what is no link and why,
    with the first row numbers in `named`.
    """

    identifiers: list[Identifier] = field(default_factory=list)
    ones: list[int] = field(default_factory=list)
    others: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    repeats: Counter[int] = field(default_factory=Counter)
    invalid: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[int]] = field(default_factory=dict)

    def refuse(self, row: int, reason: str) -> None:
        """Count a row that is no link."""
        self.invalid[reason] += 1
        named = self.named.setdefault(f"{State.INVALID.value}: {reason}", [])
        if len(named) < ROWS_NAMED_MAX:
            named.append(row)

    def groups(self) -> list[Component]:
        """What hangs together, in the order of the first rows."""
        return components(len(self.identifiers), self.ones, self.others)


@dataclass(frozen=True, slots=True)
class Part:
    """Whole groups of a table, numbered afresh: the members and the edges of each group come one after another.

    `edges_before` is how many edges of the table come before the part. `groups` speak of the part's own numbers.
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
        """How many edges of the table there are up to the end of the part."""
        return self.edges_before + len(self.ones)


def read_rows(normaliser: IdentifierReader, rows: Iterable[Row | str]) -> Table:
    """Normalize every row; one with a side that is no identifier, or with two equal sides, is invalid.

    A row that is a text is one that could not be read, and the text is the reason.
    """
    table = Table()
    reader = _Reader(normaliser)
    ranks = reader.ranks
    place_of: dict[int, int] = {}
    for number, row in enumerate(rows, 1):
        if isinstance(row, str):
            table.refuse(number, row)
            continue
        one, other = reader.number_of(row[0], row[1]), reader.number_of(row[2], row[3])
        if _NOBODY in (one, other):
            table.refuse(number, NO_IDENTIFIER)
            continue
        if one == other:
            table.refuse(number, SELF_LINK)
            continue
        if ranks[row[0]] > ranks[row[2]]:
            one, other = other, one
        place = place_of.setdefault(one << 32 | other, len(table.rows))
        if place < len(table.rows):
            table.repeats[place] += 1
            continue
        table.ones.append(one)
        table.others.append(other)
        table.rows.append(number)
    table.identifiers = list(reader.numbers)
    return table


class _Reader:
    """Numbers identifiers as they come; a value that came before is not normalized again."""

    def __init__(self, normaliser: IdentifierReader) -> None:
        self.numbers: dict[Identifier, int] = {}
        rules = Rules(normaliser.policy)
        self.ranks = {key: rules.priority(key) for key in normaliser.policy.types}
        self._read = normaliser.read
        self._met: dict[str, dict[str, int]] = {}

    def number_of(self, type_: str, raw: object) -> int:
        """The number of an identifier, `_NOBODY` when it is none."""
        if not isinstance(raw, str):
            return self._number(type_, raw)
        met = self._met.get(type_)
        if met is None:
            met = self._met[type_] = {}
        number = met.get(raw)
        if number is None:
            number = met[raw] = self._number(type_, raw)
        return number

    def _number(self, type_: str, raw: object) -> int:
        read = self._read(type_, raw)
        return self.numbers.setdefault(read, len(self.numbers)) if isinstance(read, Identifier) else _NOBODY


def cut(groups: Sequence[Component], rows_max: int, *, skip: int = 0) -> Iterator[tuple[int, int, int]]:
    """Where to cut a table: first and last group of each part, and the edges before it. A group is never cut.

    A part ends with the group that fills it. The first `skip` edges, which must be whole groups, are left out.
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
    """These groups of a table as a part of their own."""
    nodes = [node for group in groups for node in group.members]
    places = [place for group in groups for place in group.edges]
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
        [number_of[table.ones[place]] for place in places],
        [number_of[table.others[place]] for place in places],
        [table.rows[place] for place in places],
        [repeats[place] for place in places] if repeats else [0] * len(places),
        local,
    )
