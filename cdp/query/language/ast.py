"""The syntax tree of a segment: frozen nodes, independent of text, SQL and storage.

The parser and the JSON form build these nodes; the printer, the checks, the compiler, the interpreter and the
explanation read them. `at` is the offset in the text at which a node begins; it is not part of the meaning and is
left out of equality.

Every node checks its own shape and raises ValueError, so that an impossible tree cannot be built.
"""

# ruff: noqa: PLC0414  an alias of the same name marks what this module re-exports
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal

from cdp.query.language.literal import MAX_TEXT as MAX_TEXT
from cdp.query.language.literal import Day as Day
from cdp.query.language.literal import Duration as Duration
from cdp.query.language.literal import Flag as Flag
from cdp.query.language.literal import Literal as Literal
from cdp.query.language.literal import Node as Node
from cdp.query.language.literal import Number as Number
from cdp.query.language.literal import Operator as Operator
from cdp.query.language.literal import Text as Text
from cdp.query.language.literal import Unit as Unit
from cdp.query.language.literal import require_text

MAX_TERMS = 200
CURRENCY = re.compile("[A-Z]{3}")


# --- events ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Within(Node):
    """The window (now − duration, now]."""

    duration: Duration


@dataclass(frozen=True, slots=True)
class During(Node):
    """Whole days, both ends included, but not after now."""

    first: Day
    last: Day

    def __post_init__(self) -> None:
        if self.last.value < self.first.value:
            raise ValueError("a date range must not end before it begins")


Window = Within | During


@dataclass(frozen=True, slots=True)
class Events(Node):
    """The events of one name that satisfy a filter, in a window; without a window, all that are retained."""

    name: str
    where: "Condition | None" = None
    window: Window | None = None

    def __post_init__(self) -> None:
        require_text(self.name, "an event name")
        if self.where is not None and not _is_filter(self.where):
            raise ValueError("an event filter can only read properties of the event")


# --- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Named(Node):
    name: str

    def __post_init__(self) -> None:
        require_text(self.name, "a name")


@dataclass(frozen=True, slots=True)
class Trait(_Named):
    """A stated trait of the profile."""


@dataclass(frozen=True, slots=True)
class Computed(_Named):
    """A computed trait, derived from events."""


@dataclass(frozen=True, slots=True)
class Property(_Named):
    """A property of the event; only used in filters."""


@dataclass(frozen=True, slots=True)
class EntryField(Node):
    """A field of the entries of the list `of` of the event; only used in filters of these entries."""

    of: str
    name: str

    def __post_init__(self) -> None:
        require_text(self.of, "the name of a list")
        require_text(self.name, "a name")


@dataclass(frozen=True, slots=True)
class Count(Node):
    """The number of events; with a half-life each has the weight 2^(−age / half_life). 0 without events."""

    events: Events
    half_life: Duration | None = None


@dataclass(frozen=True, slots=True)
class _OfProperty(Node):
    """`currency` is for amounts of money: those in another one do not count. Without it, amounts are converted."""

    events: Events
    property: str
    currency: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        require_text(self.property, "a property name")
        if self.currency is not None and not CURRENCY.fullmatch(self.currency):
            raise ValueError("a currency is written as three capital letters, such as EUR")


@dataclass(frozen=True, slots=True)
class Sum(_OfProperty):
    """The sum of a numeric property; with a half-life each term decays. 0 without events."""

    half_life: Duration | None = None


@dataclass(frozen=True, slots=True)
class Average(_OfProperty):
    """The mean of a numeric property over the events that have it. Absent without such events."""


@dataclass(frozen=True, slots=True)
class Least(_OfProperty):
    """The smallest value of a numeric property. Absent without such events."""


@dataclass(frozen=True, slots=True)
class Greatest(_OfProperty):
    """The largest value of a numeric property. Absent without such events."""


@dataclass(frozen=True, slots=True)
class DaysSinceLast(Node):
    """Whole days, rounded down, since the latest event. Absent without events."""

    events: Events


@dataclass(frozen=True, slots=True)
class First(Node):
    """The instant of the earliest event. Absent without events."""

    events: Events


@dataclass(frozen=True, slots=True)
class Last(Node):
    """The instant of the latest event. Absent without events."""

    events: Events


@dataclass(frozen=True, slots=True)
class Net(_OfProperty):
    """The sum of an amount after what later events took back of it, such as refunds. 0 without events."""


OfProperty = Sum | Average | Least | Greatest | Net
Aggregate = Count | Sum | Average | Least | Greatest | DaysSinceLast | First | Last
Value = Trait | Computed | Property | EntryField | Aggregate | Net


# --- conditions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compare(Node):
    """A value compared with a literal; unknown when the value is absent."""

    value: Value
    operator: Operator
    literal: Literal


@dataclass(frozen=True, slots=True)
class OneOf(Node):
    """The value equals one of the literals; unknown when it is absent."""

    value: Value
    literals: tuple[Literal, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.literals) <= MAX_TERMS:
            raise ValueError(f"a list must have from 1 to {MAX_TERMS} values")
        if len({type(literal) for literal in self.literals}) != 1:
            raise ValueError("the values of a list must be of one type")


@dataclass(frozen=True, slots=True)
class _TextTest(Node):
    value: Value
    text: str

    def __post_init__(self) -> None:
        require_text(self.text, "the text to look for")


@dataclass(frozen=True, slots=True)
class Contains(_TextTest):
    """The string value contains the text, case-sensitive; unknown when it is absent."""


@dataclass(frozen=True, slots=True)
class StartsWith(_TextTest):
    """The string value starts with the text, case-sensitive; unknown when it is absent."""


@dataclass(frozen=True, slots=True)
class Between(Node):
    """From low to high, both included; days are whole days. Unknown when the value is absent."""

    value: Value
    low: Number | Day
    high: Number | Day

    def __post_init__(self) -> None:
        ordered = (
            (isinstance(self.low, Number) and isinstance(self.high, Number) and self.low.value <= self.high.value)
            or (isinstance(self.low, Day) and isinstance(self.high, Day) and self.low.value <= self.high.value)
        )  # fmt: skip
        if not ordered:
            raise ValueError("between requires two numbers or two dates, the smaller one first")


@dataclass(frozen=True, slots=True)
class Recent(Node):
    """The instant lies in (now − duration, now]; unknown when it is absent."""

    value: Value
    duration: Duration


@dataclass(frozen=True, slots=True)
class Exists(Node):
    """There is a value, be it the 0 of a count or sum without events; never unknown."""

    value: Value


@dataclass(frozen=True, slots=True)
class Known(Node):
    """The value rests on something observed: a stated trait, or at least one event; never unknown."""

    value: Value


@dataclass(frozen=True, slots=True)
class Did(Node):
    """There is at least one such event; never unknown."""

    events: Events


@dataclass(frozen=True, slots=True)
class Percentile(Node):
    """The value compared with a percentile of the consented population."""

    value: Value
    operator: Operator
    rank: Decimal

    def __post_init__(self) -> None:
        if not 0 <= self.rank <= 100:
            raise ValueError("a percentile must be from 0 to 100")


@dataclass(frozen=True, slots=True)
class ZScore(Node):
    """The value compared with a number of standard deviations from the mean of the consented population."""

    value: Value
    operator: Operator
    score: Decimal

    def __post_init__(self) -> None:
        if abs(self.score) > 100:
            raise ValueError("a z-score must be from -100 to 100")


@dataclass(frozen=True, slots=True)
class Quantile(Node):
    """The value lies in one of `of` equal buckets of the consented population; 1 is the lowest."""

    value: Value
    bucket: int
    of: int

    def __post_init__(self) -> None:
        if not (2 <= self.of <= 100 and 1 <= self.bucket <= self.of):
            raise ValueError("a quantile must be a bucket from 1 to n, of 2 to 100 buckets")


@dataclass(frozen=True, slots=True)
class Step(Node):
    """One step of a sequence: events that follow, or must not follow, the previous step within a duration."""

    events: Events
    is_absent: bool = False
    within: Duration | None = None

    def __post_init__(self) -> None:
        if self.events.window is not None:
            raise ValueError("the window of a sequence belongs to the sequence, not to a step")


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """Events one after another, each strictly later than the one before; the first lies in the window."""

    steps: tuple[Step, ...]
    window: Window | None = None

    def __post_init__(self) -> None:
        if not 2 <= len(self.steps) <= 8:
            raise ValueError("a sequence must have from 2 to 8 steps")
        if self.steps[0].is_absent or self.steps[0].within is not None:
            raise ValueError("a sequence must start with an event, without `not` and without `within`")
        if any(step.is_absent for step in self.steps[:-1]):
            raise ValueError("only the last step of a sequence may be a `not`")


@dataclass(frozen=True, slots=True)
class InSegment(Node):
    """The profile is in another segment, and permitted for the purpose of that one too; never unknown."""

    key: str

    def __post_init__(self) -> None:
        require_text(self.key, "a segment key")


@dataclass(frozen=True, slots=True)
class Sample(Node):
    """A fixed share of all profiles, for each purpose the same profiles for the same seed; never unknown."""

    percent: Decimal
    seed: str

    def __post_init__(self) -> None:
        require_text(self.seed, "a seed")
        if not 0 < self.percent <= 100 or int(self.percent.as_tuple().exponent) < -4:
            raise ValueError("a sample must be more than 0% and at most 100%, with at most four decimal places")


@dataclass(frozen=True, slots=True)
class Not(Node):
    """Kleene's not: unknown stays unknown."""

    term: "Condition"


@dataclass(frozen=True, slots=True)
class _Chain(Node):
    terms: "tuple[Condition, ...]"

    def __post_init__(self) -> None:
        if not 2 <= len(self.terms) <= MAX_TERMS:
            raise ValueError(f"and/or must join from 2 to {MAX_TERMS} conditions")


@dataclass(frozen=True, slots=True)
class And(_Chain):
    """Kleene's and: false if a term is false, otherwise unknown if one is unknown."""


@dataclass(frozen=True, slots=True)
class Or(_Chain):
    """Kleene's or: true if a term is true, otherwise unknown if one is unknown."""


@dataclass(frozen=True, slots=True)
class AnyEntry(Node):
    """A filter is true for an entry of a list of the event; otherwise unknown if it is for one, or without the list."""

    of: str
    where: "Condition"

    def __post_init__(self) -> None:
        require_text(self.of, "the name of a list")
        for node in walk(self.where):
            if not isinstance(node, (EntryField, *_FILTER_NODES)) or (
                isinstance(node, EntryField) and node.of != self.of
            ):
                raise ValueError("a filter of entries can only read fields of the entries of its list")


Test = (
    Compare | OneOf | Contains | StartsWith | Between | Recent | Exists | Known | Percentile | ZScore | Quantile
)  # fmt: skip
Condition = Test | Did | Sequence | InSegment | Sample | AnyEntry | Not | And | Or

_FILTER_NODES = (
    Compare, OneOf, Contains, StartsWith, Between, Recent, Exists, Known, Not, And, Or, Number, Text, Flag, Day, Duration
)  # fmt: skip
"""What a filter of events and one of entries have in common."""


def _is_filter(node: Node) -> bool:
    """Whether a condition reads nothing but properties of an event."""
    if isinstance(node, AnyEntry):
        return True
    return isinstance(node, (Property, *_FILTER_NODES)) and all(map(_is_filter, children(node)))


NODES: tuple[type[Node], ...] = tuple(
    node
    for name, node in list(globals().items())
    if isinstance(node, type) and issubclass(node, Node) and node is not Node and not name.startswith("_")
)
"""Every kind of node; tests require that each part of the language handles all of them."""


def walk(node: Node) -> Iterator[Node]:
    """The node and all its descendants, parents first, in the order of the text."""
    yield node
    for child in children(node):
        yield from walk(child)


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below a node, in the order of its fields."""
    for item in fields(node):
        value = getattr(node, item.name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from value
