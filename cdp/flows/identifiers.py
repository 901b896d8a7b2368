"""Find identifiers and profiles from input, and open stored identifiers: shared by use cases."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from cdp.identity.model import Evidence, Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import identifiers as identifier_store
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.model import Policy
from cdp.sources.model import IMPORT_SOURCE, Source, SourceKind
from cdp.vault.pseudonym import GRAPH
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item, Vault

IDENTIFIER_PLACE = SealedColumn("identity.identifier", "sealed")


class OpenedIdentifier(NamedTuple):
    """An identifier in plain text; `value` is None once its key is shredded."""

    identifier_id: int
    type: str
    value: str | None
    is_shared: bool


def evidence_of(source: Source) -> Evidence:
    """The authority of what a source says about who is who."""
    if source.kind is SourceKind.BROWSER:
        return Evidence.BROWSER
    return Evidence.IMPORT if source.name == IMPORT_SOURCE else Evidence.SERVER


def read_identifier(policy: Policy, type_: str, value: str) -> Identifier:
    """Normalize an identifier from input.

    Raises the fault `invalid_identifier` (422), which never repeats the value.
    """
    outcome = IdentifierReader(policy.identifiers).read(type_, value)
    if isinstance(outcome, Identifier):
        return outcome
    if outcome is Ignored.UNKNOWN_TYPE:
        types = ", ".join(identifier_type.key for identifier_type in policy.identifiers.ordered)
        detail = f"The policy defines the types {types}."
    else:
        detail = (
            f"The value is {outcome.value.replace('_', ' ')} for the type {type_}, so it cannot identify a person. "
            "docs/reference/identifiers.md lists what is accepted."
        )
    raise Fault("invalid_identifier", "The identifier is invalid", detail, status=422)


def find_identifiers(
    tx: Transaction, vault: Vault, identifiers: Sequence[Identifier]
) -> dict[Identifier, identifier_store.StoredIdentifier]:
    """The stored ones of these identifiers, under any active version of the pseudonym key.

    A rotation in any process may move them to another version meanwhile. So one statement looks under all active
    versions, and is repeated if other versions are active after it than before.
    """
    versions = vault.root_keys.active_versions(tx, GRAPH)
    while True:
        failure: Fault | None = None
        found: dict[Identifier, identifier_store.StoredIdentifier] = {}
        try:
            found = _find_under(tx, vault, identifiers, versions=versions)
        except Fault as fault:  # the key may just have been destroyed
            failure = fault
        before, versions = versions, vault.root_keys.active_versions(tx, GRAPH)
        if versions == before:
            if failure is not None:
                raise failure
            return found


def _find_under(
    tx: Transaction, vault: Vault, identifiers: Sequence[Identifier], *, versions: Sequence[int]
) -> dict[Identifier, identifier_store.StoredIdentifier]:
    requested = {
        pseudonym: identifier
        for version in versions
        for identifier, pseudonym in zip(
            identifiers, vault.hashes.pseudonyms(GRAPH, identifiers, version=version), strict=True
        )
    }
    return {
        requested[pseudonym]: stored
        for pseudonym, stored in identifier_store.identifiers_by_pseudonym(tx, list(requested)).items()
    }


def find_profile(
    tx: Transaction, vault: Vault, identifier: Identifier
) -> tuple[identifier_store.StoredIdentifier, int]:
    """The stored identifier and the profile that owns it. Raises the fault `unknown_profile` (404)."""
    stored = find_identifiers(tx, vault, [identifier]).get(identifier)
    if stored is None or stored.profile_id is None:
        raise unknown_profile()
    return stored, stored.profile_id


def unknown_profile() -> Fault:
    """The fault of an identifier that no profile owns."""
    return Fault(
        "unknown_profile",
        "There is no profile",
        "No profile has this identifier now. It was never received, was not permitted, or was erased.",
        status=404,
    )


def open_identifiers(tx: Transaction, vault: Vault, identifier_ids: Collection[int]) -> dict[int, OpenedIdentifier]:
    """These identifiers in plain text, by id; unknown ids are absent."""
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
