"""The page of odd values says what the readers do, of which these are the ones that must never change by accident."""

from cdp.flows.imports.odd_values import PAGE, pages
from tests.support.policies import ROOT, shipped


def test_the_page_is_what_the_readers_do() -> None:
    page = pages(shipped())[PAGE]
    assert page == (ROOT / "docs" / "reference" / PAGE).read_text(encoding="utf-8")
    for line in (
        '| `` "1.234,50" `` | `1234.5` | `1234.5` | `1234.5` |',
        '| `` "02.10.2026" `` | invalid: `timestamp_malformed` | invalid: `instant_malformed` | invalid: `instant_malformed` | invalid: `instant_malformed` |',
        "| `` NaN `` | `NaN`, sealed, counted as mistyped | invalid: `number_malformed` | no value | no value |",
        "| `` 12347.0 `` | `12347.0` | `12347.0` | `12347` | `12347` |",
    ):
        assert line in page
