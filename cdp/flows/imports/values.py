"""The values of a message, from the cells of its rows. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from cdp.accounting.row_reasons import RowReason
from cdp.flows.imports.cells import Fields, InvalidRow, cell_of, text_of
from cdp.flows.imports.currencies import UnknownCurrency, in_main_unit
from cdp.flows.imports.instants import MalformedInstant, read_instant_text
from cdp.flows.imports.mapping import Mapping as ImportMapping
from cdp.flows.imports.numbers import MalformedNumber
from cdp.flows.imports.parts import FIELD, Value, When
from cdp.kit.canonical import instant_text

_TRUE: Final = frozenset({"true", "yes", "1", "t", "y"})
_FALSE: Final = frozenset({"false", "no", "0", "f", "n"})

Lines = Sequence[Fields]
"""The cells of the rows of one message: of one row, where the mapping does not group rows."""


class Values:
    """Reads values by the rules of a mapping. A cell that is not as declared raises `InvalidRow`."""

    def __init__(self, mapping: ImportMapping) -> None:
        self._absent = frozenset(mapping.absent)
        self._numbers = mapping.number_format

    def cell(self, column: str, lines: Lines) -> Any:
        """The first value of a column; None where there is none."""
        for fields in lines:
            found = cell_of(fields, column, self._absent)
            if found is not None:
                return found
        return None

    def all_of(self, rules: Mapping[str, Value], lines: Lines) -> dict[str, Any]:
        """The values by name, without those that are absent."""
        found = {}
        for name, rule in rules.items():
            value = self.of(rule, lines)
            if value is not None:
                found[name] = value
        return found

    def of(self, rule: Value, lines: Lines) -> Any:
        """The value of a rule; None when there is none."""
        if rule.value is not None:
            return rule.value
        if rule.combine == "sum":
            return self._sum(rule, lines)
        raw = self.cell(rule.column, lines) if rule.column is not None else self._filled(rule.template or "", lines)
        return None if raw is None else self._amount(rule, self._converted(rule, raw), lines)

    def instant(self, when: When, lines: Lines) -> datetime | None:
        """The instant in UTC; None for an empty cell."""
        raw = when.value if when.column is None else self.cell(when.column, lines)
        if raw is None:
            return None
        try:
            return read_instant_text(raw, when.written)
        except MalformedInstant:
            raise InvalidRow(RowReason.INSTANT_MALFORMED, when.column) from None

    def differs(self, columns: Sequence[str], lines: Lines) -> bool:
        """Whether a column has different values in the rows of one message."""
        return any(len(self._texts(column, lines)) > 1 for column in columns)

    def _texts(self, column: str, lines: Lines) -> set[str]:
        cells = (cell_of(fields, column, self._absent) for fields in lines)
        return {text_of(cell).strip() for cell in cells if cell is not None}

    def _mapped(self, rule: Value, raw: Any) -> Any:
        if rule.map is None:
            return self._typed(rule, raw)
        text = text_of(raw).strip()
        if text in rule.map:
            return rule.map[text]
        if rule.otherwise is None:
            raise InvalidRow(RowReason.VALUE_NOT_MAPPED)
        return rule.otherwise

    def _filled(self, template: str, lines: Lines) -> str | None:
        for fields in lines:
            cells = {name: cell_of(fields, name, self._absent) for name in FIELD.findall(template)}
            if all(cell is not None for cell in cells.values()):
                return FIELD.sub(lambda match, cells=cells: text_of(cells[match.group(1)]), template)  # type: ignore[misc]
        return None

    def _sum(self, rule: Value, lines: Lines) -> Any:
        numbers = [number for fields in lines if (number := self._one(rule, fields)) is not None]
        if not numbers:
            return None
        if all(isinstance(number, int) for number in numbers):
            return sum(numbers)
        return float(sum(Decimal(repr(number)) for number in numbers))

    def _one(self, rule: Value, fields: Fields) -> Any:
        raw = self.cell(rule.column or "", (fields,))
        return None if raw is None else self._amount(rule, self._converted(rule, raw), (fields,))

    def _amount(self, rule: Value, value: Any, lines: Lines) -> Any:
        """A value, without what is to be subtracted, in the main unit of its currency."""
        if rule.less is None and rule.minor_units is None:
            return value
        amount = Decimal(str(value))
        less = None if rule.less is None else self.cell(rule.less, lines)
        if less is not None:
            amount -= Decimal(str(self._converted(rule, less)))
        if rule.minor_units is not None:
            code = self.cell(rule.minor_units.currency, lines)
            try:
                amount = in_main_unit(amount, code, rule.minor_units.digits)
            except UnknownCurrency:
                raise InvalidRow(RowReason.CURRENCY_UNKNOWN, rule.minor_units.currency) from None
        return int(amount) if amount == amount.to_integral_value() else float(amount)

    def _converted(self, rule: Value, raw: Any) -> Any:
        try:
            return self._mapped(rule, raw)
        except InvalidRow as invalid:
            raise InvalidRow(invalid.reason, rule.column) from None

    def _typed(self, rule: Value, raw: Any) -> Any:
        match rule.type:
            case "text":
                text = text_of(raw).strip()
                return text if rule.case is None else text.upper() if rule.case == "upper" else text.lower()
            case "number" | "integer":
                return self._number(raw, is_whole=rule.type == "integer")
            case "boolean":
                return _boolean(raw)
            case "instant":
                return _instant(rule, raw)
            case _:
                return raw

    def _number(self, raw: Any, *, is_whole: bool) -> int | float:
        try:
            return self._numbers.read(raw, is_whole=is_whole)
        except MalformedNumber:
            raise InvalidRow(RowReason.NUMBER_MALFORMED) from None


def _instant(rule: Value, raw: Any) -> str:
    try:
        return instant_text(read_instant_text(raw, rule.written))
    except MalformedInstant:
        raise InvalidRow(RowReason.INSTANT_MALFORMED) from None


def _boolean(raw: Any) -> bool:
    text = text_of(raw).strip().casefold()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise InvalidRow(RowReason.BOOLEAN_MALFORMED)
