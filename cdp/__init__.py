"""A customer data platform in which consent, retention and erasure are part of the data model."""

from typing import Final

__version__: Final = "0.1.0"
