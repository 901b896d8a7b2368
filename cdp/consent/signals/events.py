"""Events by which a person refuses purposes, as the tracking plan declares: an unsubscription at a mail service."""

from collections.abc import Iterable, Iterator

from cdp.consent.model import Act, Authority
from cdp.consent.signals.model import EVENT, ProposedAct, hash_of


def event_acts(event: str, refused: Iterable[str], *, is_server: bool) -> Iterator[ProposedAct]:
    """A withdrawal of each of these purposes, for every identifier of the message."""
    authority = Authority.AUTHENTICATED if is_server else Authority.DEVICE
    for purpose in refused:
        yield ProposedAct(purpose, Act.WITHDRAW, authority, None, EVENT, hash_of(event), f"events.{event}")
