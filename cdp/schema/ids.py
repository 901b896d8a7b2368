"""Types of the numeric ids that several packages store."""

from typing import NewType

SourceId = NewType("SourceId", int)
