"""Authentication: bearer tokens with a role, and write keys of sources that may record consents.

A secret is looked up by its hash, so timing does not reveal how much of it was right. The role is checked before
anything is looked up, so no response reveals to one role what only another may know.
"""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, cast

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBasic, HTTPBearer

from cdp.access.credentials import hash_secret
from cdp.access.model import Role, TokenId
from cdp.flows.consent.acts import check_source
from cdp.flows.context import Context
from cdp.flows.operations.sources import CONSENT
from cdp.flows.operations.tokens import find_token
from cdp.kit.errors import Fault
from cdp.sources.model import Source
from cdp.sources.store.sources import active_sources

CALLER: Final = "caller"
_SECRET_MAX: Final = 200
# Only for the OpenAPI document: RequestLimits has already read the header.
bearer = HTTPBearer(auto_error=False, description="A token from `cdp token create`.", scheme_name="token")
write_key = HTTPBasic(
    auto_error=False,
    description="The write key of a server source with the scope `consent` as user name.",
    scheme_name="write_key",
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller: the holder of a token, or a source with its write key.

    The audit log names a caller by role and by the number of the token; its name stays in the list of tokens. `reader` is
    the reader role of the policy, for tokens that have one.
    """

    role: Role | None
    source: Source | None = None
    token: TokenId | None = None
    reader: str | None = None

    @property
    def actor(self) -> str:
        """How the audit log names them."""
        return self.reader or ("source" if self.role is None else self.role.value)


def identify(context: Context, authorization: str | None) -> Caller | None:
    """The caller behind an `Authorization` header, or None. One statement, whatever the header holds."""
    scheme, _, rest = (authorization or "").strip().partition(" ")
    secret = rest.strip()
    if not secret or len(secret) > _SECRET_MAX:
        return None
    if scheme.lower() == "bearer":
        token = find_token(context, secret)
        return None if token is None else Caller(token.role, token=token.token_id, reader=token.reader)
    if scheme.lower() == "basic":
        key = _basic_name(secret)
        source = None if key is None else _source_of(context, key)
        return None if source is None else Caller(None, source)
    return None


def allow(*roles: Role) -> Callable[[Request], Caller]:
    """A dependency that allows only these roles; others get the fault `not_permitted` (403).

    The OpenAPI document names the roles where OpenAPI has them: beside the security scheme.
    """
    scheme = Security(bearer, scopes=[role.value for role in roles])

    def check(request: Request, _scheme: object = scheme) -> Caller:
        caller = _caller(request)
        if caller.role not in roles:
            raise _not_permitted(roles)
        return caller

    return check


def allow_consent(
    request: Request,
    _token: Annotated[object, Security(bearer, scopes=[Role.PRIVACY.value])] = None,
    _key: Annotated[object, Depends(write_key)] = None,
) -> Caller:
    """Privacy staff, or a server source whose write key has the scope `consent`.

    A browser source is refused before its request is read, so that its public key tells nothing about anybody.
    """
    caller = _caller(request)
    if caller.source is not None:
        check_source(caller.source)
    if caller.source is not None and CONSENT in caller.source.scopes:
        return caller
    if caller.role is not Role.PRIVACY:
        raise _not_permitted((Role.PRIVACY,))
    return caller


def _caller(request: Request) -> Caller:
    return cast("Caller", getattr(request.state, CALLER))


def _not_permitted(roles: tuple[Role, ...]) -> Fault:
    allowed = " or ".join(role.value for role in roles)
    return Fault("not_permitted", "This token may not do that", f"It requires the role {allowed}.", status=403)


def _basic_name(credentials: str) -> str | None:
    try:
        name, colon, _ = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name if name and colon else None


def _source_of(context: Context, key: str) -> Source | None:
    with context.database.transaction(read_only=True) as tx:
        return active_sources(tx).get(hash_secret(key))
