"""Ports for programs that do not find one themselves."""

import random
import socket
from contextlib import suppress
from typing import Final

_FIRST: Final = 20_000
_LAST: Final = 32_000
"""Below the ports that outgoing connections get, one of which could take a port before its program does."""


def unused_ports(count: int) -> list[int]:
    """So many ports on which nothing listens."""
    found: list[int] = []
    drawn = random.SystemRandom()
    while len(found) < count:
        port = drawn.randint(_FIRST, _LAST)
        with suppress(OSError), socket.socket() as tried:
            tried.bind(("127.0.0.1", port))
            found.append(port)
    return found
