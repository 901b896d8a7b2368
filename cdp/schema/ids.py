"""Types of the numeric ids that more than one room stores."""

from typing import NewType

SourceId = NewType("SourceId", int)
