"""The parts of a mapping: where a value, an instant or a consent of a row comes from."""

import re
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, model_validator

from cdp.flows.imports.currencies import CurrencyList
from cdp.flows.imports.instants import ISO_8601, NAMED_FORMATS, MalformedInstant, Written, read_instant_text
from cdp.policy.frozen import Frozen, TypeKey

Scalar = str | int | float | bool
FIELD: Final = re.compile(r"\{([^{}]+)\}")
"""A column in a template."""
_ANSWERS: Final = ("grant", "refuse", "ignore")
_ORIGINS: Final = ("column", "value", "template")
_WITH_A_YEAR: Final = ("%Y", "%y", "%G")


def _column(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


def _fixed(value: Any) -> Any:
    return {"value": value} if isinstance(value, str) else value


class MinorUnits(Frozen):
    """That an amount is in the smallest unit of a currency, such as cents."""

    currency: str = Field(min_length=1)
    """The column with the code of the currency."""
    digits: CurrencyList = "iso4217"
    """The list that says how many digits a currency has: `iso4217`, or `stripe`, which differs for some."""


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
    case: Literal["upper", "lower"] | None = None
    """The letters of a text, such as `upper` for a currency that the file writes as `eur`."""
    otherwise: Scalar | None = None
    """The value of a text that `map` does not list."""
    format: str | None = None
    """With `type: instant`: how the cell is written, as in `timestamp`; by default `iso8601`."""
    zone: str | None = None
    """With `type: instant`: the IANA time zone of a text that names none; by default UTC."""
    combine: Literal["first", "sum"] = "first"
    """With `group_by`: the first value of the rows of a message, or the sum of them."""
    less: str | None = Field(default=None, min_length=1)
    """With `type: number` or `integer`: a column whose number is subtracted; an empty one is nothing."""
    minor_units: MinorUnits | None = None
    """With `type: number`: the amount is in the smallest unit of a currency, such as cents."""

    @model_validator(mode="after")
    def _has_one_place(self) -> Self:
        present = [name for name in _ORIGINS if getattr(self, name) is not None]
        if len(present) != 1:
            raise ValueError(f"give exactly one of {', '.join(_ORIGINS)}; found {' and '.join(present) or 'none'}")
        if self.otherwise is not None and self.map is None:
            raise ValueError("`otherwise` requires `map`")
        if self.case is not None and (self.type != "text" or self.map is not None or self.value is not None):
            raise ValueError("`case` requires a `column` or a `template` with `type: text` and without `map`")
        if self.combine == "sum" and (self.type not in ("number", "integer") or self.column is None):
            raise ValueError("`combine: sum` requires a `column` with `type: number` or `type: integer`")
        if self.less is not None and not (self.type in ("number", "integer") and self.column and self.map is None):
            raise ValueError("`less` requires a `column` with `type: number` or `type: integer` and without `map`")
        if self.minor_units is not None and not (self.type == "number" and self.column and self.map is None):
            raise ValueError("`minor_units` requires a `column` with `type: number` and without `map`")
        if self.type != "instant" and (self.format is not None or self.zone is not None):
            raise ValueError("`format` and `zone` require `type: instant`")
        if self.type == "instant":
            _check_written(self.written)
        return self

    @property
    def written(self) -> Written:
        """How an instant is written."""
        return Written(self.format or ISO_8601, self.zone or "UTC")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        if self.template is not None:
            return tuple(FIELD.findall(self.template))
        currency = None if self.minor_units is None else self.minor_units.currency
        return tuple(column for column in (self.column, self.less, currency) if column is not None)


FromColumn = Annotated[Value, BeforeValidator(_column)]
FromText = Annotated[Value, BeforeValidator(_fixed)]


class When(Frozen):
    """An instant of a row, or one for the whole file."""

    column: str | None = Field(default=None, min_length=1)
    """The column that holds it."""
    value: str | None = Field(default=None, min_length=1)
    """The same instant for every row."""
    format: str = ISO_8601
    """`iso8601`, `unix_seconds`, `unix_milliseconds`, or a pattern such as `%d.%m.%Y %H:%M`."""
    zone: str = "UTC"
    """The IANA time zone of a text that names none, such as `Europe/London`."""

    @model_validator(mode="after")
    def _is_known(self) -> Self:
        if (self.column is None) == (self.value is None):
            raise ValueError("give either `column` or `value`")
        _check_written(self.written)
        if self.value is not None:
            try:
                read_instant_text(self.value, self.written)
            except MalformedInstant:
                raise ValueError(f"`{self.value}` is not an instant of the format `{self.format}`") from None
        return self

    @property
    def written(self) -> Written:
        """How it is written."""
        return Written(self.format, self.zone)


class MessageTime(When):
    """The instant of a message."""

    empty: Literal["refuse", "now"] = "refuse"
    """What an empty cell means for an event: the row is invalid, or the event occurred at the time of the import."""


def _check_written(written: Written) -> None:
    try:
        ZoneInfo(written.zone)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"`{written.zone}` is not an IANA time zone such as Europe/London") from None
    if written.format in NAMED_FORMATS:
        return
    if "%" not in written.format:
        raise ValueError(f"`format` is {', '.join(NAMED_FORMATS)} or a pattern with %")
    if not any(code in written.format for code in _WITH_A_YEAR):
        raise ValueError("the pattern of `format` has no year: use %Y or %y")


class ConsentColumn(Frozen):
    """A column, or a fixed answer for every row, that grants or refuses consent to a purpose; an empty cell states nothing."""

    column: str | None = Field(default=None, min_length=1)
    """The column that holds the answer."""
    value: str | bool | None = None
    """The same answer for every row, for a file that lists only those who consented or only those who refused."""
    grant: tuple[str, ...] = ("yes", "true", "1")
    """Texts that grant consent, in upper or lower case."""
    refuse: tuple[str, ...] = ("no", "false", "0")
    """Texts that refuse consent."""
    ignore: tuple[str, ...] = ()
    """Texts that state nothing, like an empty cell; any other text makes the row invalid."""
    at: When | None = None
    """When the answer was given; by default the `timestamp` of the row. The date of an empty cell is unknown."""
    valid_until: When | None = None
    """When a consent ends; never later than under the validity of the purpose, which is the default."""

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        listed = [(name, text.casefold()) for name in _ANSWERS for text in getattr(self, name)]
        for name, text in listed:
            other = next((other for other, same in listed if same == text and other != name), None)
            if other is not None:
                raise ValueError(f"`{text}` is listed both under `{name}` and under `{other}`")
        if not self.grant and not self.refuse:
            raise ValueError("`grant` and `refuse` are both empty")
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

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads."""
        places = (self.column, self.at and self.at.column, self.valid_until and self.valid_until.column)
        return tuple(column for column in places if column)


class Selection(Frozen):
    """One condition on rows."""

    column: str = Field(min_length=1)
    """The column that decides."""
    values: tuple[str, ...] = Field(min_length=1)
    """Its texts in rows that become messages, in upper or lower case."""


Selections = tuple[Selection, ...]
"""Conditions that must all hold; in a file, one stands for itself."""


class Side(Frozen):
    """One side of a link: an identifier type, and the column with its value."""

    type: TypeKey
    """An identifier type of the policy; both sides may be of one type."""
    column: str = Field(min_length=1)
    """The column that holds the value."""
