"""The form that signs a browser in: only one that this service gave to the same browser is accepted.

No session exists yet, so the form carries a key that belongs to a cookie of its own: another site can neither read the
form nor the cookie, whatever headers its requests have or lack. What browsers say about the origin of a request is
checked in addition.
"""

import hmac
import re
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request, Response

from cdp.access.credentials import hash_secret
from cdp.kit.ids import random_bytes
from cdp.web.connections.hosts import TrustedHosts, host_of
from cdp.web.console.session import CONSOLE_PATH, foreign_form

_SECRET_BYTES: Final = 32
_SECRET: Final = re.compile("[0-9a-f]{64}")
_NAME: Final = "cdp_sign_in"
_SECURE_NAME: Final = "__Host-cdp_sign_in"
"""Over TLS, the prefix keeps other hosts of the same domain from setting the cookie."""


class SignInForm:
    """The secret of a browser's sign-in form: that of its cookie, or a new one."""

    def __init__(self, request: Request) -> None:
        self._is_secure = request.url.scheme == "https"
        kept = request.cookies.get(self._cookie, "")
        self._is_kept = _SECRET.fullmatch(kept) is not None
        self._secret = kept if self._is_kept else random_bytes(_SECRET_BYTES).hex()

    @property
    def key(self) -> str:
        """What the form carries."""
        return hash_secret(f"console sign-in form {self._secret}").hex()

    def keep(self, response: Response) -> None:
        """Let the browser send the secret with the form, for as long as the browser runs."""
        response.set_cookie(
            self._cookie,
            self._secret,
            path="/" if self._is_secure else CONSOLE_PATH,
            secure=self._is_secure,
            httponly=True,
            samesite="strict",
        )

    def check(self, key: str) -> None:
        """Raises the fault `foreign_form` (403) unless the form was given to this browser."""
        is_right = hmac.compare_digest(key.encode("utf-8", "replace"), self.key.encode())
        if not (self._is_kept and is_right):
            raise foreign_form()

    @property
    def _cookie(self) -> str:
        return _SECURE_NAME if self._is_secure else _NAME


def check_same_site(request: Request) -> None:
    """Raises the fault `foreign_form` (403) where the browser says that another site sent the request.

    `Origin` is `null` for our own forms, too, because these pages have the policy `no-referrer`.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise foreign_form()
        return
    hosts: TrustedHosts = request.app.state.hosts
    for name in ("origin", "referer"):
        sent = request.headers.get(name)
        if sent and sent != "null" and not _is_of(sent, host_of(request.scope), hosts):
            raise foreign_form()


def _is_of(url: str, host: str | None, hosts: TrustedHosts) -> bool:
    """Whether a URL is of the host that was asked, or of one that was configured."""
    try:
        named = urlsplit(url).netloc.lower()
    except ValueError:
        return False
    return named != "" and (named == host or named in hosts)
