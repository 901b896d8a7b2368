"""Numbers with declared signs; what is not declared is refused, never read as another number."""

import pytest

from cdp.flows.imports.numbers import MalformedNumber, NumberFormat

GERMAN = NumberFormat(",", ".")
SWISS = NumberFormat(".", "'")
FRENCH = NumberFormat(",", " ")
AMERICAN = NumberFormat(".", ",")


@pytest.mark.parametrize(
    ("written", "text", "number"),
    [
        (GERMAN, "1.234", 1234),
        (GERMAN, "1.234,56", 1234.56),
        (GERMAN, "12,50", 12.5),
        (GERMAN, "25.000", 25000),
        (GERMAN, "-1.234.567,8", -1234567.8),
        (SWISS, "1'234.50", 1234.5),
        (SWISS, "1\u2019234", 1234),
        (FRENCH, "1 234,5", 1234.5),
        (FRENCH, "1\u202f234,5", 1234.5),
        (FRENCH, "1\u00a0234\u00a0567", 1234567),
        (AMERICAN, "1,234.50", 1234.5),
        (AMERICAN, "999", 999),
        (NumberFormat(","), "\u221212,5", -12.5),
        (NumberFormat(), "1e3", 1000.0),
        (GERMAN, 1.5, 1.5),
    ],
)
def test_a_number_as_it_is_declared(written: NumberFormat, text: object, number: float) -> None:
    assert written.read(text) == number


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (NumberFormat(","), "1.234"),
        (NumberFormat(","), "1.234,56"),
        (NumberFormat(","), "12,5.0"),
        (NumberFormat(), "1,234"),
        (NumberFormat(), "1,5"),
        (NumberFormat(), "1 234"),
        (GERMAN, "1.23"),
        (GERMAN, "1234.567"),
        (GERMAN, ".234"),
        (GERMAN, "12.50"),
        (GERMAN, "1,234.5"),
        (GERMAN, "1..234"),
        (GERMAN, "12,50 €"),
        (AMERICAN, "1,234,56"),
        (NumberFormat(), ""),
        (NumberFormat(), "98765432109876543210"),
        (NumberFormat(), 98765432109876543210),
        (NumberFormat(), True),
        (NumberFormat(), None),
        (NumberFormat(), "١٢"),
    ],
)
def test_a_number_that_is_not_as_declared_is_refused(written: NumberFormat, text: object) -> None:
    with pytest.raises(MalformedNumber):
        written.read(text)
