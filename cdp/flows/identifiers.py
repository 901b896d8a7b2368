"""Finding and naming people for the journeys: from what somebody typed to identifier and profile, and back."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from cdp.identity.model import Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.vault.pseudonym import GRAPH
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault

IDENTIFIER_PLACE = SealedColumn("identity.identifier", "sealed")


class OpenedIdentifier(NamedTuple):
    """An identifier in the clear; `value` is None once its key is shredded."""

    identifier_id: int
    type: str
    value: str | None
    is_shared: bool


def read_identifier(policy: Policy, type_: str, value: str) -> Identifier:
    """Normalize what somebody gave as an identifier.

    Raises the fault `invalid_identifier`, which never repeats the value.
    """
    outcome = IdentifierReader(policy.identifiers).read(type_, value)
    if isinstance(outcome, Identifier):
        return outcome
    if outcome is Ignored.UNKNOWN_TYPE:
        detail = f"The policy knows the types {', '.join(each.key for each in policy.identifiers.ordered)}."
    else:
        detail = (
            f"The value is {outcome.value.replace('_', ' ')} for the type {type_}: give one that can name a person."
        )
    raise Fault("invalid_identifier", "That is no identifier", detail, status=422)


def find_identifiers(
    tx: Transaction, vault: Vault, identifiers: Sequence[Identifier]
) -> dict[Identifier, identifier_store.StoredIdentifier]:
    """What is known of these identifiers, under whichever living pseudonym key they lie.

    A rotation, here or in another process, may move them from key to key meanwhile. So one statement asks under all
    living keys, and asks again where other keys live after it than before.
    """
    versions = vault.root_keys.active_versions(tx, GRAPH)
    while True:
        failure: Fault | None = None
        found: dict[Identifier, identifier_store.StoredIdentifier] = {}
        try:
            found = _find_under(tx, vault, identifiers, versions=versions)
        except Fault as fault:  # the key may have been destroyed just now
            failure = fault
        before, versions = versions, vault.root_keys.active_versions(tx, GRAPH)
        if versions == before:
            if failure is not None:
                raise failure
            return found


def _find_under(
    tx: Transaction, vault: Vault, identifiers: Sequence[Identifier], *, versions: Sequence[int]
) -> dict[Identifier, identifier_store.StoredIdentifier]:
    named = {
        pseudonym: each
        for version in versions
        for each, pseudonym in zip(
            identifiers, vault.hashes.pseudonyms(GRAPH, identifiers, version=version), strict=True
        )
    }
    return {
        named[pseudonym]: known
        for pseudonym, known in identifier_store.identifiers_by_pseudonym(tx, list(named)).items()
    }


def find_profile(
    tx: Transaction, vault: Vault, identifier: Identifier
) -> tuple[identifier_store.StoredIdentifier, int]:
    """The stored identifier and the profile that owns it. Raises the fault `unknown_profile` (404)."""
    known = find_identifiers(tx, vault, [identifier]).get(identifier)
    if known is None or known.profile_id is None:
        raise unknown_profile()
    return known, known.profile_id


def unknown_profile() -> Fault:
    """Nobody has this identifier."""
    return Fault(
        "unknown_profile",
        "There is no profile",
        "No profile has that identifier now. It may never have come, may not have been permitted, or was erased.",
        status=404,
    )


def open_identifiers(tx: Transaction, vault: Vault, identifier_ids: Collection[int]) -> dict[int, OpenedIdentifier]:
    """These identifiers in the clear."""
    rows = identifier_store.sealed_of(tx, identifier_ids)
    keys = vault.subject_keys.keys_for(tx, [row.identifier_id for row in rows])
    values = vault.open_many(
        keys, IDENTIFIER_PLACE, [Item(row.identifier_id, row.identifier_id, row.sealed) for row in rows]
    )
    return {
        row.identifier_id: OpenedIdentifier(
            row.identifier_id, row.type, None if value is None else value.decode("utf-8"), row.is_shared
        )
        for row, value in zip(rows, values, strict=True)
    }
