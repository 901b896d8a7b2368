"""The journey of a file of links: every row a pair of identifiers, taken as one link table, whole or not at all."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdp.flows.house import House
from cdp.flows.import_mapping import Mapping, Side
from cdp.flows.import_read import look_at, rows_of
from cdp.flows.import_row import Row, cell_of
from cdp.flows.imports import SOURCE, Tally, source_of
from cdp.flows.link_table import Row as Pair
from cdp.flows.link_table import import_links, read_rows
from cdp.identity.components import components
from cdp.identity.normalise import Normaliser
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.policy.problems import choose

READING: Final = "reading"
_TELL_EVERY: Final = 10_000


@dataclass(frozen=True, slots=True)
class ImportedLinks:
    """What a file of links came to.

    `groups` counts what hangs together in the file: `by_rules` of them were stepped through because a rule could
    break. `profiles` are those that the groups belong to now; None in a dry run, which does not ask the store.
    """

    source: str
    rows: int
    tally: Tally
    identifiers: int
    groups: int
    by_rules: int | None
    profiles: int | None
    is_dry_run: bool = False


Watch = Callable[[str, int, int], None]
"""Called with the work under way, how much of it is done, and how much there is."""


def import_link_file(
    house: House,
    path: Path,
    mapping: Mapping,
    *,
    source_name: str | None = None,
    watch: Watch = lambda _what, _done, _all: None,
) -> ImportedLinks:
    """Import a file of links in one transaction. A row that was taken before is a duplicate and changes nothing.

    Faults: those of the file and of the mapping, `unknown_source`.
    """
    sides = check_sides(mapping, house.policy)
    file = look_at(path, mapping)
    source = source_of(house, source_name)
    with rows_of(file, mapping) as (rows, tell):
        pairs = _pairs(rows, sides, mapping, lambda: watch(READING, tell(), file.size))
        linked = import_links(house, source, pairs, progress=watch)
    return ImportedLinks(
        source=source.name,
        rows=sum(linked.states.values()),
        tally=Tally(
            dict(linked.states), dict(linked.reasons), {name: list(each) for name, each in linked.rows.items()}
        ),
        identifiers=linked.identifiers,
        groups=linked.plain + linked.bounded,
        by_rules=linked.bounded,
        profiles=linked.profiles,
    )


def try_link_file(
    policy: Policy, path: Path, mapping: Mapping, *, watch: Watch = lambda _what, _done, _all: None
) -> ImportedLinks:
    """What the rows of a file of links say, as far as that can be told without the store; nothing is written."""
    sides = check_sides(mapping, policy)
    file = look_at(path, mapping)
    with rows_of(file, mapping) as (rows, tell):
        table = read_rows(
            Normaliser(policy.identifiers),
            _pairs(rows, sides, mapping, lambda: watch(READING, tell(), file.size)),
        )
    states = {"stored": len(table.edges), "duplicate": len(table.repeats), **table.by_state()}
    return ImportedLinks(
        source=SOURCE,
        rows=sum(states.values()),
        tally=Tally(
            {state: count for state, count in states.items() if count},
            {f"{state.value}: {reason}": count for (state, reason), count in table.states.items()},
            table.named,
        ),
        identifiers=len(table.identifiers),
        groups=len(components(len(table.identifiers), table.edges)),
        by_rules=None,
        profiles=None,
        is_dry_run=True,
    )


def check_sides(mapping: Mapping, policy: Policy) -> tuple[Side, Side]:
    """Hold the sides of a mapping of links against the policy. Raises `unknown_identifier_type`."""
    assert mapping.links is not None
    for number, side in enumerate(mapping.links, 1):
        if side.type not in policy.identifiers.types:
            raise Fault(
                "unknown_identifier_type",
                "The mapping names an identifier type that the policy does not know",
                f"links, side {number}: {side.type}: {choose(side.type, list(policy.identifiers.types))}",
                status=422,
            )
    one, other = mapping.links
    return one, other


def _pairs(
    rows: Iterator[Row], sides: tuple[Side, Side], mapping: Mapping, tell: Callable[[], None]
) -> Iterator[Pair | str]:
    """Each row as a pair, or as the reason why it cannot be read."""
    one, other = sides
    absent = frozenset(mapping.absent)
    for row in rows:
        if row.number % _TELL_EVERY == 0:
            tell()
        if row.reason is not None:
            yield row.reason.value
        else:
            fields = row.fields
            yield (one.type, cell_of(fields, one.column, absent), other.type, cell_of(fields, other.column, absent))
    tell()
