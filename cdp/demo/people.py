"""The invented half of the demonstration: e-mail addresses, devices, and the choices of each customer.

Nothing is random: every choice is a hash of the customer number, so each run invents the same people.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdp.demo.orders import LAST_ORDER_AT, Order
from cdp.kit.canonical import sha256

SEED: Final = "online-retail-1"
EMAIL_MARKETING: Final = "email_marketing"
CHOICES: Final[Mapping[str, float]] = {
    "analytics": 0.80,
    "personalization": 0.65,
    EMAIL_MARKETING: 0.70,
    "advertising": 0.30,
}
"""The share of those who answer the consent question that consent, by purpose."""

NO_ANSWER: Final = 0.12
"""The share that never answers: no banner, no account page. No answer is not a consent."""

WITHDRAWN: Final = 0.06
"""The share of those who consented to e-mail marketing that withdraw later."""

TABLET: Final = "tablet-in-the-kitchen"


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A customer: invented details, and real orders.

    `choices` is empty for those who never answered. `withdrew_at` is when consent to e-mail marketing was withdrawn.
    """

    buyer: str
    orders: tuple[Order, ...]
    joined_at: datetime
    choices: Mapping[str, bool]
    withdrew_at: datetime | None

    @property
    def user_id(self) -> str:
        return f"C{self.buyer}"

    @property
    def email(self) -> str:
        return f"c{self.buyer}@example.com"

    @property
    def phone(self) -> str:
        """The device used to join."""
        return f"phone-{self.buyer}"

    @property
    def laptop(self) -> str:
        """The device used for a later login."""
        return f"laptop-{self.buyer}"

    @property
    def wants_email(self) -> bool:
        """Whether consent to e-mail marketing is in force at the end."""
        return self.choices.get(EMAIL_MARKETING, False) and self.withdrew_at is None


def invent(orders: Iterable[Order]) -> list[DemoPerson]:
    """All customers, by number."""
    by_buyer: dict[str, list[Order]] = {}
    for order in orders:
        by_buyer.setdefault(order.buyer, []).append(order)
    return [_person(buyer, tuple(theirs)) for buyer, theirs in sorted(by_buyer.items())]


def chance(buyer: str, question: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    return int.from_bytes(sha256(f"{SEED}:{buyer}:{question}".encode())[:8], "big") / 2**64


def tablet_users(people: Sequence[DemoPerson]) -> tuple[DemoPerson, DemoPerson]:
    """The two who log in on one tablet: the first two British customers who consent to e-mail and order often."""
    often = [
        person
        for person in people
        if person.wants_email and len(person.orders) >= 5 and person.orders[0].country == "GB"
    ]
    return often[0], often[1]


def is_lapsing(person: DemoPerson, now_local: datetime) -> bool:
    """The condition of policies/segments/lapsing_high_value.yaml, recomputed independently and without consent."""
    year = [order for order in person.orders if order.local_at > now_local - timedelta(days=365)]
    recent = [order for order in year if order.local_at > now_local - timedelta(days=60)]
    return len(year) >= 3 and sum(order.amount for order in year) > 1000 and not recent


def followed_person(people: Sequence[DemoPerson], now_local: datetime) -> DemoPerson:
    """The person whose data is exported and erased: the lapsing customer with consent to e-mail and the most orders."""
    shared = tablet_users(people)
    wanted = [
        person for person in people if person.wants_email and person not in shared and is_lapsing(person, now_local)
    ]
    return max(wanted, key=lambda person: (len(person.orders), person.buyer))


def _person(buyer: str, orders: tuple[Order, ...]) -> DemoPerson:
    first = orders[0].local_at
    choices: dict[str, bool] = {}
    if chance(buyer, "answers") >= NO_ANSWER:
        choices = {purpose: chance(buyer, purpose) < share for purpose, share in CHOICES.items()}
    withdrew_at = None
    if choices.get(EMAIL_MARKETING) and chance(buyer, "withdraws") < WITHDRAWN:
        late = LAST_ORDER_AT - timedelta(days=1 + int(chance(buyer, "when") * 40))
        withdrew_at = max(late, first + timedelta(hours=2))
    return DemoPerson(buyer, orders, first - timedelta(minutes=30), choices, withdrew_at)
