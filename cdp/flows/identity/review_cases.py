"""Steps about the cases of the identity review: find one, and note what it was decided on."""

from collections.abc import Mapping
from typing import Final

from cdp.flows.context import Context
from cdp.flows.identifiers import OpenedIdentifier, find_identifiers, open_identifiers
from cdp.identity.model import Identifier, Ignored
from cdp.identity.normalize import IdentifierReader
from cdp.identity.store import rejections as rejection_store
from cdp.kit.canonical import canonical_json
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.vault.seal import SealedColumn
from cdp.vault.vault import Item

CASE_PREFIX: Final = "idn"
"""Of a stored value that reads differently."""
CLAIM_PREFIX: Final = "clm"
"""Of the claims of an identifier that were left out."""
EVIDENCE_PLACE: Final = SealedColumn("identity.rejected_case", "evidence")


def case_of(
    tx: Transaction, context: Context, identifier_id: int | None
) -> tuple[OpenedIdentifier, Identifier | Ignored]:
    """A stored identifier and what it reads as today; faults `unknown_case` (404) and `nothing_to_review` (409)."""
    opened = {} if identifier_id is None else open_identifiers(tx, context.vault, [identifier_id])
    stored = next(iter(opened.values()), None)
    if stored is None or stored.value is None:
        raise Fault(
            "unknown_case", "There is no such case", "`cdp identity review` lists the cases by their ids.", status=404
        )
    reading = IdentifierReader(context.policy.identifiers).read(stored.type, stored.value)
    if reading == Identifier(stored.type, stored.value) or reading is Ignored.UNKNOWN_TYPE:
        raise Fault(
            "nothing_to_review",
            "There is nothing to decide about this identifier",
            "The present rules read it as it is stored, or its type is not one of the policy.",
            status=409,
        )
    return stored, reading


def unchanged_rejections(
    tx: Transaction, context: Context, readings: Mapping[int, Identifier | Ignored]
) -> frozenset[int]:
    """Those of these identifiers whose reading was rejected, on the evidence that there is today."""
    sealed = rejection_store.rejected_readings(tx, list(readings))
    if not sealed:
        return frozenset()
    keys = context.vault.subject_keys.keys_for(tx, list(sealed))
    opened = context.vault.open_many(keys, EVIDENCE_PLACE, [Item(at, at, value) for at, value in sealed.items()])
    evidence = _evidence(tx, context, {identifier_id: readings[identifier_id] for identifier_id in sealed})
    return frozenset(
        identifier_id for identifier_id, value in zip(sealed, opened, strict=True) if value == evidence[identifier_id]
    )


def sealed_evidence(tx: Transaction, context: Context, identifier_id: int, *, reading: Identifier | Ignored) -> bytes:
    """What a reviewer decides on about an identifier that reads so, under the key of the identifier."""
    evidence = _evidence(tx, context, {identifier_id: reading})[identifier_id]
    return context.vault.seal(tx, EVIDENCE_PLACE, Item(identifier_id, identifier_id, evidence))


def _evidence(tx: Transaction, context: Context, readings: Mapping[int, Identifier | Ignored]) -> dict[int, bytes]:
    """What a reviewer decides on, by identifier: what it reads as, and whether that value is stored, under which id."""
    meant = find_identifiers(
        tx, context.vault, [reading for reading in readings.values() if isinstance(reading, Identifier)]
    )
    evidence = {}
    for identifier_id, reading in readings.items():
        if isinstance(reading, Identifier):
            other = meant.get(reading)
            stored_as = None if other is None else str(other.identifier_id)
            evidence[identifier_id] = canonical_json({"reads_as": reading.value, "stored_as": stored_as})
        else:
            evidence[identifier_id] = canonical_json({"reason": reading.value})
    return evidence
