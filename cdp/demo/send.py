"""Sending through an SDK that anybody can install: segment-analytics-python, unmodified, several clients at once."""

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
"""Called now and then with the number of messages that were answered."""


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
            proxies={"no_proxy": urlsplit(url).hostname},  # whatever proxy leads out of this machine
        )

    def send(self, calls: Iterable[Call], watch: Watch = lambda _count: None) -> int:
        """Send calls and wait until all are answered; how many. Raises the fault `demo_not_sent`."""
        handed = 0
        for call in calls:
            clients = self._clients[call.sender]
            client = clients[crc32(call.about.encode()) % len(clients)]
            while client.queue.qsize() >= _QUEUE_MAX:
                self._look(handed, watch)
                time.sleep(_PAUSE_SECONDS)
            _hand(client, call)
            handed += 1
            if handed % 500 == 0:
                self._look(handed, watch)
        while self._unanswered():
            self._look(handed, watch)
            time.sleep(_PAUSE_SECONDS)
        self._look(handed, watch)
        return handed

    def _look(self, handed: int, watch: Watch) -> None:
        if self._errors:
            raise Fault(
                "demo_not_sent",
                "The service did not take a batch",
                f"The SDK reports: {self._errors[0]}. Look at the service's log, and start the demonstration again: "
                "what arrived counts once.",
                status=503,
            )
        watch(max(0, handed - self._unanswered()))

    def _unanswered(self) -> int:
        return sum(client.queue.unfinished_tasks for clients in self._clients.values() for client in clients)

    def close(self) -> None:
        """End the clients' threads."""
        with ExitStack() as closing:
            for clients in self._clients.values():
                for client in clients:
                    closing.callback(client.join)

    def __enter__(self) -> "Senders":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def _hand(client: Client, call: Call) -> None:
    named: dict[str, Any] = {
        "user_id": call.user_id,
        "anonymous_id": call.anonymous_id,
        "properties": dict(call.properties),
        "context": dict(call.context),
        "timestamp": call.at,
        "message_id": call.message_id,
    }
    if call.kind == "track":
        taken, _ = client.track(event=call.name, **named)
    else:
        taken, _ = client.page(name=call.name, category=named["properties"].pop("category", None), **named)
    assert taken, "the queue holds twice what is ever waiting"
