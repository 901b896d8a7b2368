"""Find pairs of identifiers and open identifiers for the use cases of identity."""

from collections.abc import Sequence
from dataclasses import dataclass

from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, open_identifiers, unknown_profile
from cdp.identity.model import Identifier
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class ReadableIdentifier:
    """An identifier as shown to staff; `value` is None once its key is shredded."""

    type: str
    value: str | None


def identifier_pair(tx: Transaction, context: Context, one: Identifier, *, other: Identifier) -> tuple[int, int]:
    """The ids of two identifiers. Raises the fault `unknown_profile` when either is unknown."""
    stored = find_identifiers(tx, context.vault, [one, other])
    if one not in stored or other not in stored:
        raise unknown_profile()
    return stored[one].identifier_id, stored[other].identifier_id


def readable_identifiers(
    tx: Transaction, context: Context, identifier_ids: Sequence[int]
) -> dict[int, ReadableIdentifier]:
    """These identifiers as shown to staff, by id."""
    opened = open_identifiers(tx, context.vault, set(identifier_ids))
    return {
        identifier.identifier_id: ReadableIdentifier(identifier.type, identifier.value)
        for identifier in opened.values()
    }
