"""Jurisdictions and the deadlines of their regimes."""

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from cdp.policy.frozen import CategoryKey, DashedKey, Frozen, Key, KeyedEntry, Name, Text


class Right(StrEnum):
    """Kinds of subject requests."""

    ACCESS = "access"
    PORTABILITY = "portability"
    ERASURE = "erasure"
    RECTIFICATION = "rectification"
    RESTRICTION = "restriction"
    OBJECTION = "objection"
    OPT_OUT = "opt_out"
    LIMIT = "limit"


class DeadlineTerm(Frozen):
    """A deadline's length; exactly one unit."""

    months: Annotated[int, Field(ge=1, le=24)] | None = None
    """Calendar months."""
    calendar_days: Annotated[int, Field(ge=1, le=730)] | None = None
    """Days, including weekends and holidays."""
    business_days: Annotated[int, Field(ge=1, le=260)] | None = None
    """Days that are neither Saturday, Sunday nor a holiday of the regime."""

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        if sum(length is not None for length in (self.months, self.calendar_days, self.business_days)) != 1:
            raise ValueError("a term has exactly one of months, calendar_days, business_days")
        return self


class Regime(KeyedEntry):
    """A law or group of laws under which people exercise rights."""

    key: Key
    """The name of the entry, as requests name it."""
    name: Name
    """Title for people."""
    rights: Annotated[tuple[Right, ...], Field(min_length=1)]
    """The rights that can be exercised."""
    confirm: DeadlineTerm | None = None
    """Receipt must be confirmed within this term; absent: no such duty."""
    answer: DeadlineTerm
    """The answer is due within this term, counted from receipt."""
    extension: DeadlineTerm | None = None
    """Available once, if the person is informed before `answer` has passed; absent: none."""
    opt_out: DeadlineTerm
    """Objections and opt-outs must be carried out within this term."""
    ask_again_after_months: Annotated[int, Field(ge=1, le=60)] | None = None
    """Months after an opt-out in which consent must not be requested again; absent: no such rule."""
    holidays: tuple[date, ...] = ()
    """Dates that are not business days."""
    authority: Text
    """Where a person may lodge a complaint; named in every denial."""
    remedy: Text = "You may also ask a court to review this decision."
    """What else a person can do about a denial; named in every denial."""
    record_keeping: Text = "Requests and their outcome are kept as proof that they were answered."
    """The law under which requests are kept after an erasure; cited in the plan and in the receipt's explanation."""
    sensitive_categories: tuple[CategoryKey, ...] = ()
    """Data categories, with their subcategories, whose use a request to limit ends."""


class Jurisdiction(KeyedEntry):
    """A country or state whose law protects a person."""

    key: DashedKey
    """The name of the entry, as consent records and sources name it."""
    name: Name
    """Title for people."""
    regime: Key
    """The regime that applies to its requests."""


class Jurisdictions(Frozen):
    """The file `jurisdictions.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("regimes",), ("jurisdictions",))

    time_zone: Name
    """IANA time zone in which dates of segments and deadlines are whole days."""
    minimum_disclosure_size: Annotated[int, Field(ge=2, le=100_000)] = 100
    """Where sizes leave those who work with people, smaller groups are "fewer than" this, or omitted."""
    round_sizes_to: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Without effect: sizes are no longer rounded. Accepted so that an earlier policy stays valid; remove it."""
    regimes: Annotated[Mapping[Key, Regime], Field(min_length=1, max_length=50)]
    """The regimes."""
    jurisdictions: Annotated[Mapping[DashedKey, Jurisdiction], Field(min_length=1, max_length=300)]
    """The jurisdictions; `unknown` must be among them and has the strictest consent model of all."""

    def regime_of(self, jurisdiction: str) -> Regime:
        """The regime of a jurisdiction; that of `unknown` for one that is not declared."""
        return self.regimes[self.jurisdictions.get(jurisdiction, self.jurisdictions[UNKNOWN]).regime]

    @model_validator(mode="after")
    def _knows_unknown(self) -> Self:
        if UNKNOWN not in self.jurisdictions:
            raise ValueError(
                "the jurisdiction `unknown` is missing: it names the regime for people whose jurisdiction is not known"
            )
        return self


UNKNOWN = "unknown"
