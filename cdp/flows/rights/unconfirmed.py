"""Addresses and numbers that stand beside a person in messages, but that only a browser tied to them.

Anybody can name any address in a browser, so an archive does not show them: they may be somebody else's.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cdp.flows.context import Context
from cdp.flows.rights.person import values_by_id
from cdp.identity.model import Identifier
from cdp.identity.normalize import IdentifierReader
from cdp.identity.rules import Rules
from cdp.identity.store import anchors as anchor_store
from cdp.kit.db import Transaction
from cdp.policy.model import Policy
from cdp.rights.model import Scope

HIDDEN: Final[Mapping[str, str]] = {"held_but_not_shown": "an address or a number that only a browser named"}
"""What stands in an archive in place of such a value."""


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """The addresses and numbers that an archive hides; `reader` reads any text as one of their types."""

    identifiers: frozenset[Identifier] = frozenset()
    types: tuple[str, ...] = ()
    reader: IdentifierReader | None = field(default=None)

    def hide(self, value: Any) -> Any:
        """The value with a marker in place of every text that is one of these identifiers."""
        if not self.identifiers:
            return value
        if isinstance(value, dict):
            return {name: self.hide(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.hide(part) for part in value]
        return dict(HIDDEN) if self._names(value) else value

    def _names(self, value: object) -> bool:
        if self.reader is None or isinstance(value, bool) or not isinstance(value, str | int | float):
            return False
        return any(self.reader.read(type_, value) in self.identifiers for type_ in self.types)


def unconfirmed_beside(tx: Transaction, context: Context, scope: Scope) -> Unconfirmed:
    """The addresses and numbers in the messages of an archive that no source other than a browser ties to the person."""
    guarded = tuple(sorted(Rules(context.policy.identifiers).guarded))
    beside = anchor_store.members_of_types(tx, scope.anchors, guarded) - scope.identifiers
    if not beside:
        return Unconfirmed()
    values = values_by_id(tx, context, beside).values()
    return Unconfirmed(
        frozenset(Identifier(named.type, named.value) for named in values),
        guarded,
        IdentifierReader(context.policy.identifiers),
    )


def named_beside(policy: Policy, body: Mapping[str, Any], own: Collection[Identifier]) -> Unconfirmed:
    """The identifiers of people in a message that waits for an answer, apart from the person's own: nothing ties them yet."""
    reader, rules = IdentifierReader(policy.identifiers), Rules(policy.identifiers)
    named = (identifier for identifier in reader.promote(body).identifiers if identifier.type in rules.person_level)
    return Unconfirmed(frozenset(named) - frozenset(own), tuple(sorted(rules.person_level)), reader)
