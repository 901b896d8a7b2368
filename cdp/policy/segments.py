"""Segments as files: key, name, purpose and a text; the segment room gives the text its meaning."""

from typing import Annotated

from pydantic import Field

from cdp.policy.frozen import Frozen, Key, Name, Text


class SegmentText(Frozen):
    """One file `segments/<key>.yaml`."""

    key: Key
    """The name of the file without its ending."""
    name: Name
    """Title for people."""
    text: Text = ""
    """What it is for, for people."""
    purpose: Key
    """The purpose it serves; only profiles permitted for it can be in."""
    where: Annotated[str, Field(min_length=1, max_length=20_000)]
    """The conditions, in the segment language."""
