"""Destinations: where segments may be sent, and which hosts may be reached at all."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from cdp.policy.frozen import Frozen, Key, KeyedEntry, Name, Text, TypeKey

Host = Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$")]
"""A host by its full name in lower case; not an address, without wildcard or port."""


class Destination(KeyedEntry):
    """One recipient. This version sends no segments yet; recipients are named to people and in records of processing."""

    key: Key
    """The name of the entry."""
    name: Name
    """Title for people; the recipient as named to data subjects (GDPR Art. 15(1)(c))."""
    text: Text = ""
    """What the recipient does with it."""
    enabled: bool = False
    """Nothing is sent while it is false."""
    purpose: Key
    """Only profiles permitted for this purpose are sent."""
    url: Annotated[str, Field(pattern=r"^https://[a-z0-9.-]+(/[^\s?#]*)?$", max_length=500)]
    """Where deliveries go: HTTPS, a host of `hosts`, no query."""
    identifiers: tuple[TypeKey, ...] = ()
    """Identifier types that are sent; the only other identifier is the destination's own pseudonym."""


class Destinations(Frozen):
    """The file `destinations.yaml`."""

    entries: ClassVar[tuple[tuple[str, ...], ...]] = (("destinations",),)

    hosts: tuple[Host, ...] = ()
    """Hosts that deliveries and callbacks may reach; all others are refused."""
    destinations: Annotated[Mapping[Key, Destination], Field(max_length=200)] = Field(default_factory=dict)
    """The recipients."""
