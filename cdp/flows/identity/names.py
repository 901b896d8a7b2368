"""Identifiers in the clear, for the use cases that explain and simulate."""

from collections.abc import Sequence
from dataclasses import dataclass

from cdp.flows.context import Context
from cdp.flows.identifiers import find_identifiers, open_identifiers, unknown_profile
from cdp.identity.model import Identifier
from cdp.kit.db import Transaction


@dataclass(frozen=True, slots=True)
class ReadableIdentifier:
    """An identifier as people read it; `value` is None once its key is shredded."""

    type: str
    value: str | None


def identifier_pair(tx: Transaction, context: Context, one: Identifier, *, other: Identifier) -> tuple[int, int]:
    """The ids of two identifiers. Raises the fault `unknown_profile` when either is unknown."""
    known = find_identifiers(tx, context.vault, [one, other])
    if one not in known or other not in known:
        raise unknown_profile()
    return known[one].identifier_id, known[other].identifier_id


def readable_identifiers(
    tx: Transaction, context: Context, identifier_ids: Sequence[int]
) -> dict[int, ReadableIdentifier]:
    opened = open_identifiers(tx, context.vault, set(identifier_ids))
    return {each.identifier_id: ReadableIdentifier(each.type, each.value) for each in opened.values()}
