"""Global Privacy Control: the `Sec-GPC` header, the value that scripts read, and the support document."""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import GPC, ProposedAct, SignalMap, hash_of

DOM_FIELD: Final = "globalPrivacyControl"
"""The key of `context.consent` in which a browser client states `navigator.globalPrivacyControl`; only true counts."""


def has_gpc(values: Iterable[str]) -> bool:
    """Whether the request's `Sec-GPC` headers hold the signal.

    One header with exactly the value `1` is enough; any other value is ignored.
    """
    return any(value == "1" for value in values)


def gpc_acts(mapping: SignalMap) -> list[ProposedAct]:
    """An opt-out of every purpose of sale or sharing, for every identifier of the message."""
    return [
        ProposedAct(purpose, Act.REFUSE, Authority.SIGNAL, None, GPC, _HASH, "sale_or_sharing")
        for purpose in mapping.sale
    ]


def support_document(last_update: date) -> dict[str, Any]:
    """The body of `/.well-known/gpc.json`: the signal is honored, as of `last_update`."""
    return {"gpc": True, "lastUpdate": last_update.isoformat()}


_HASH = hash_of("1")
