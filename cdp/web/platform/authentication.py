"""Whose request it is, by a secret that anyone may guess: wrong ones are counted by address, wherever they are sent."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.types import Scope

from cdp.flows.context import Context
from cdp.web.connections.addresses import client_of
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.platform.auth import Caller, identify

_GUESSES_AT_ONCE: Final = 2


class Authentication:
    """Looks secrets up, in the context for a path, and counts the wrong ones of each address."""

    def __init__(self, context: Callable[[str], Context], wrong_secrets: WrongSecrets) -> None:
        self._context = context
        self._wrong_secrets = wrong_secrets
        self._guesses = asyncio.Semaphore(_GUESSES_AT_ONCE)

    async def caller(self, scope: Scope, authorization: str | None) -> Caller | None:
        """Whose request it is, by an `Authorization` header or a token in the same form.

        Raises the fault `too_many_wrong_secrets`. After many wrong secrets, those of their address are looked up two at a
        time: the right ones among them are served, and nobody else waits for the wrong ones.
        """
        if authorization is None:
            return None
        client = client_of(scope)
        async with self._guesses if self._wrong_secrets.is_exhausted(client) else nullcontext():
            caller = await run_in_threadpool(identify, self._context(scope["path"]), authorization)
        if caller is None:
            self._wrong_secrets.note(client)
        return caller
