"""Instants as shops, mail services and spreadsheets write them."""

from datetime import UTC, datetime

import pytest

from cdp.flows.imports.instants import MalformedInstant, Written, read_instant_text

ISO = Written("iso8601", "UTC")
BERLIN = Written("iso8601", "Europe/Berlin")


@pytest.mark.parametrize(
    ("written", "cell", "instant"),
    [
        (ISO, "2026-10-02 09:59:00 +0200", datetime(2026, 10, 2, 7, 59, tzinfo=UTC)),
        (BERLIN, "2026-10-02 09:59:00 -04:00", datetime(2026, 10, 2, 13, 59, tzinfo=UTC)),
        (BERLIN, "2026-10-02 09:59:00 UTC", datetime(2026, 10, 2, 9, 59, tzinfo=UTC)),
        (BERLIN, "2026-10-02T09:59:00Z", datetime(2026, 10, 2, 9, 59, tzinfo=UTC)),
        (BERLIN, "2026-10-02 09:59", datetime(2026, 10, 2, 7, 59, tzinfo=UTC)),
        (BERLIN, "2026-10-25 02:30", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (Written("unix_seconds", "UTC"), "1700000000.5", datetime(2023, 11, 14, 22, 13, 20, 500000, tzinfo=UTC)),
        (Written("%m/%d/%Y %I:%M %p", "UTC"), "10/02/2026 09:59 PM", datetime(2026, 10, 2, 21, 59, tzinfo=UTC)),
    ],
)
def test_an_instant_as_it_is_declared(written: Written, cell: object, instant: datetime) -> None:
    assert read_instant_text(cell, written) == instant


@pytest.mark.parametrize(
    ("written", "cell"),
    [
        (ISO, "02.10.2026"),
        (ISO, "2026-10-02 09:59:00 CEST"),
        (ISO, "45384.34789351852"),
        (Written("unix_milliseconds", "UTC"), "1.76E+12"),
        (Written("unix_milliseconds", "UTC"), "nan"),
        (Written("unix_seconds", "UTC"), "1_700_000_000"),
        (Written("unix_seconds", "UTC"), True),
        (Written("unix_seconds", "UTC"), {}),
        (Written("unix_seconds", "UTC"), float("inf")),
        (Written("%d.%m.%Y", "UTC"), "2.13.2026"),
    ],
)
def test_an_instant_that_is_not_as_declared_is_refused(written: Written, cell: object) -> None:
    with pytest.raises(MalformedInstant):
        read_instant_text(cell, written)
