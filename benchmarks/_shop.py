"""A seeded shop: people who return by Zipf's law, some who are new, and the track calls they make."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

from cdp.sources.model import Source
from cdp.wire.frame import Frame
from cdp.wire.message import Invalid, Message
from cdp.wire.segment_spec import read_message

_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/126.0"
_CATEGORIES = ("shoes", "coats", "hats", "bags", "books")


@dataclass(slots=True)
class Shop:
    """`people` are known by name from `everybody` on; `newcomers` is the share of calls by somebody new."""

    people: int
    seed: int = 1
    newcomers: float = 0.05
    _random: Random = field(init=False)
    _weights: list[float] = field(init=False)
    _calls: int = 0
    _came: int = 0

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self._weights = list(accumulate(1 / rank for rank in range(1, self.people + 1)))

    def everybody(self) -> Iterator[dict[str, Any]]:
        """One call by each person."""
        for person in range(self.people):
            yield self._call(person)

    def calls(self, count: int) -> list[dict[str, Any]]:
        """The next calls, as a client sends them; about 300 bytes of properties and context each."""
        returning = self._random.choices(range(self.people), cum_weights=self._weights, k=count)
        return [self._call(self._newcomer() if self._random.random() < self.newcomers else each) for each in returning]

    def _newcomer(self) -> int:
        self._came += 1
        return self.people + self._came

    def _call(self, person: int) -> dict[str, Any]:
        self._calls += 1
        happened = datetime.now(UTC) - timedelta(minutes=self._random.randrange(60 * 24 * 20))
        sku = self._random.randrange(500)
        return {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"bench-{self.seed}-{self._calls}",
            "timestamp": happened.isoformat(),
            "userId": f"customer-{person}",
            "anonymousId": f"device-{person}",
            "properties": {
                "product_id": f"sku-{sku}",
                "name": f"Product number {sku}",
                "category": self._random.choice(_CATEGORIES),
                "price": round(self._random.random() * 200, 2),
            },
            "context": {
                "page": {"url": "https://shop.example.com/p?utm=1", "path": "/p"},
                "userAgent": _AGENT,
                "ip": "203.0.113.7",
            },
        }


def understood(calls: list[dict[str, Any]], source: Source) -> list[Message | Invalid]:
    """The calls as the ingest endpoint gives them to the ingest flow."""
    frame = Frame(source=source, received_at=datetime.now(UTC))
    return [read_message(json.dumps(call).encode(), frame) for call in calls]
