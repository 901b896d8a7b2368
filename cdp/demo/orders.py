"""The real half of the demonstration: orders of a British gift shop, with shifted dates.

The orders are those of examples/online_retail (see its README.md for where they come from). Nothing is added to them:
customer, number, amount, articles, pieces and country are as recorded. Only their dates move, all by the same time.
"""

import csv
import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder

LONDON: Final = ZoneInfo("Europe/London")
LAST_ORDER_AT: Final = datetime(2011, 12, 9, 12, 50)  # noqa: DTZ001 - local time in London, as in the file
_FILE: Final = Path("online_retail") / "orders.csv.gz"

COUNTRIES: Final[Mapping[str, str]] = {
    "Australia": "AU", "Austria": "AT", "Bahrain": "BH", "Belgium": "BE", "Brazil": "BR", "Canada": "CA",
    "Channel Islands": "JE", "Cyprus": "CY", "Czech Republic": "CZ", "Denmark": "DK", "EIRE": "IE", "Finland": "FI",
    "France": "FR", "Germany": "DE", "Greece": "GR", "Iceland": "IS", "Israel": "IL", "Italy": "IT", "Japan": "JP",
    "Lebanon": "LB", "Lithuania": "LT", "Malta": "MT", "Netherlands": "NL", "Norway": "NO", "Poland": "PL",
    "Portugal": "PT", "RSA": "ZA", "Saudi Arabia": "SA", "Singapore": "SG", "Spain": "ES", "Sweden": "SE",
    "Switzerland": "CH", "USA": "US", "United Arab Emirates": "AE", "United Kingdom": "GB",
}  # fmt: skip
"""ISO 3166 codes of the countries that the data set names; `Unspecified` and `European Community` are none."""


@dataclass(frozen=True, slots=True)
class Order:
    """One real order; `local_at` is the time on the clocks of London."""

    buyer: str
    invoice: str
    local_at: datetime
    amount: float
    lines: int
    items: int
    country: str | None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Moves the dates of the orders. In whole weeks a Friday stays a Friday, and nine o'clock stays nine.

    `slip` is how far the sender's clock is ahead of the service's; zero except in tests that stop the service's clock.
    """

    weeks: int = 0
    slip: timedelta = timedelta(0)

    def at(self, local: datetime) -> datetime:
        """The instant that a local time of the data set becomes, on the sender's clock."""
        return (local + timedelta(weeks=self.weeks)).replace(tzinfo=LONDON).astimezone(UTC) + self.slip


def ending_last_week(now: datetime) -> Calendar:
    """The calendar under which the last order, a Friday's, was placed in the week before this one."""
    today = now.astimezone(LONDON).date()
    friday = today - timedelta(days=today.weekday() + 3)
    return Calendar(weeks=(friday - LAST_ORDER_AT.date()).days // 7)


def read_orders(path: Path | None = None) -> list[Order]:
    """All orders by time. Raises the fault `demo_data_missing`."""
    found = path or data_file()
    with gzip.open(found, "rt", encoding="utf-8", newline="") as file:
        return [
            Order(
                buyer=row["customer_id"],
                invoice=row["invoice"],
                local_at=datetime.fromisoformat(row["ts"]),
                amount=float(row["amount"]),
                lines=int(row["lines"]),
                items=int(row["items"]),
                country=COUNTRIES.get(row["country"]),
            )
            for row in csv.DictReader(file)
        ]


def data_file() -> Path:
    """The file with the orders. Raises the fault `demo_data_missing`."""
    file = shipped_folder("examples") / _FILE
    if file.is_file():
        return file
    raise Fault(
        "demo_data_missing",
        "The orders of the demonstration are missing",
        f"{file} does not exist. Install cdp again, from its wheel or from the whole repository.",
        status=500,
    )
