"""The mapping of a webhook: which part of a delivery becomes which message. Pure.

It is a mapping of an import, or a list of them under `mappings`, each with the list of the delivery whose elements are its
rows. Headers of the request are columns: `header:X-Shopify-Topic`.
"""

from typing import Any, Final, Self

from pydantic import Field, model_validator

from cdp.flows.imports.mapping import LISTED, Mapping, read_as
from cdp.kit.errors import Fault
from cdp.policy.frozen import Frozen
from cdp.sources.hook import MAPPING_BYTES_MAX

HEADER: Final = "header:"
"""Begins the name of a column that is a header of the request."""
MAPPINGS_MAX: Final = 50
_OF_FILES: Final = frozenset({"format", "delimiter", "encoding", "skip_lines", "links"})


class HookMapping(Mapping):
    """How the rows of a delivery become messages."""

    rows: str | None = Field(default=None, min_length=1)
    """The path of a list in the delivery; each of its elements is a row, beside everything else. By default, the delivery is one row, or each element of a list that it is."""

    @model_validator(mode="after")
    def _is_of_a_delivery(self) -> Self:
        unusable = sorted(self.model_fields_set & _OF_FILES)
        if unusable:
            raise ValueError(f"`{unusable[0]}` is about files and cannot be used for a webhook; remove it")
        return self


class HookMappings(Frozen):
    """The mappings of a webhook, of which the first that selects a row applies to it."""

    mappings: tuple[HookMapping, ...]
    """Mappings, each with its own `only` and `rows`."""

    @model_validator(mode="after")
    def _are_bounded(self) -> Self:
        if not 1 <= len(self.mappings) <= MAPPINGS_MAX:
            raise ValueError(f"`mappings` has 1 to {MAPPINGS_MAX} entries")
        return self


def read_hook_mapping(name: str, text: bytes) -> tuple[HookMapping, ...]:
    """The mappings of a webhook from the text of a file of this name. Faults: `invalid_mapping`, `mapping_too_large`."""
    if len(text) > MAPPING_BYTES_MAX:
        raise Fault(
            "mapping_too_large",
            "The mapping is too large",
            f"The mapping of a webhook may have at most {MAPPING_BYTES_MAX:,} bytes.",
            status=422,
        )
    found: Frozen = read_as(_model_of, name, text)
    if isinstance(found, HookMappings):
        return found.mappings
    assert isinstance(found, HookMapping)
    return (found,)


def _model_of(content: Any) -> type[Frozen]:
    return HookMappings if isinstance(content, dict) and LISTED in content else HookMapping
