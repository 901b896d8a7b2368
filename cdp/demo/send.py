"""Sending through a public SDK: segment-analytics-python, unmodified, with several clients at once."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlsplit
from zlib import crc32

from segment.analytics.client import Client

from cdp.demo.calls import Call, Sender
from cdp.kit.errors import Fault

CLIENTS: Final[Mapping[Sender, int]] = {"shop": 7, "web": 3}
_QUEUE_MAX: Final = 2_000
_RETRIES: Final = 8
_PAUSE_SECONDS: Final = 0.02
_ANSWER_SECONDS: Final = 120

Watch = Callable[[int], None]
"""Called periodically with the number of messages that were answered."""


class Senders:
    """SDK clients for both sources. A person's calls go through one client of each source, so they keep their order."""

    def __init__(self, url: str, write_keys: Mapping[Sender, str], clients: Mapping[Sender, int] = CLIENTS) -> None:
        self._errors: list[str] = []
        self._clients = {
            sender: [self._client(url, key) for _ in range(clients[sender])] for sender, key in write_keys.items()
        }

    def _client(self, url: str, write_key: str) -> Client:
        return Client(
            write_key,
            host=url,
            on_error=lambda error, _batch: self._errors.append(str(error)),
            max_queue_size=2 * _QUEUE_MAX,
            max_retries=_RETRIES,
            upload_interval=0.2,
            timeout=_ANSWER_SECONDS,
            proxies={"no_proxy": urlsplit(url).hostname},  # never through a proxy
        )

    def send(self, calls: Iterable[Call], watch: Watch = lambda _count: None) -> int:
        """Send calls, wait until all are answered, and return their number. Raises the fault `demo_not_sent`."""
        enqueued = 0
        for call in calls:
            clients = self._clients[call.sender]
            client = clients[crc32(call.about.encode()) % len(clients)]
            while client.queue.qsize() >= _QUEUE_MAX:
                self._report(enqueued, watch)
                time.sleep(_PAUSE_SECONDS)
            _enqueue(client, call)
            enqueued += 1
            if enqueued % 500 == 0:
                self._report(enqueued, watch)
        while self._unanswered():
            self._report(enqueued, watch)
            time.sleep(_PAUSE_SECONDS)
        self._report(enqueued, watch)
        return enqueued

    def _report(self, enqueued: int, watch: Watch) -> None:
        if self._errors:
            raise Fault(
                "demo_not_sent",
                "The service refused a batch",
                f"The SDK reports: {self._errors[0]}. See the service's log, then run the demonstration again: "
                "messages that were received count once.",
                status=503,
            )
        watch(max(0, enqueued - self._unanswered()))

    def _unanswered(self) -> int:
        return sum(client.queue.unfinished_tasks for clients in self._clients.values() for client in clients)

    def close(self) -> None:
        """Stop the threads of the clients."""
        with ExitStack() as closing:
            for clients in self._clients.values():
                for client in clients:
                    closing.callback(client.join)

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _enqueue(client: Client, call: Call) -> None:
    named: dict[str, Any] = {
        "user_id": call.user_id,
        "anonymous_id": call.anonymous_id,
        "properties": dict(call.properties),
        "context": dict(call.context),
        "timestamp": call.at,
        "message_id": call.message_id,
    }
    if call.kind == "track":
        is_queued, _ = client.track(event=call.name, **named)
    else:
        is_queued, _ = client.page(name=call.name, category=named["properties"].pop("category", None), **named)
    assert is_queued, "the queue has twice the capacity that is ever used"
