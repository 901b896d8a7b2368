"""Segments as files: key, name, purpose and conditions in the segment language."""

from typing import Annotated

from pydantic import Field

from cdp.policy.frozen import Frozen, Key, Name, Text


class SegmentText(Frozen):
    """One file `segments/<key>.yaml`."""

    key: Key
    """The name of the file without its extension."""
    name: Name
    """Title for people."""
    text: Text = ""
    """What it is for."""
    purpose: Key
    """The purpose it serves; only profiles permitted for it can be members."""
    where: Annotated[str, Field(min_length=1, max_length=20_000)]
    """The conditions, in the segment language."""
