"""The parts of the service that have a database role of their own: what each may do with each table, and nothing else.

Grants, tests and the reference page come from here. What is not listed is not granted. No part may change or delete
the consent ledger or the audit log, or define anything; erasing, retention and migrations are done by the owner.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

VERBS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
"""The privileges of tables that PostgreSQL knows in all versions that cdp supports."""

LEDGER: Final = ("consent.record", "consent.repetition", "consent.validity")
"""The consent ledger: acts, their repetitions, and how long grants are valid."""

AUDIT_LOG: Final = ("audit.entry", "audit.fact", "audit.read_subject", "audit.tile", "audit.tree", "audit.checkpoint")
"""The audit log: leaves, what they commit to, and what is signed."""

READ_BY_PARTITION: Final = ("behavior.event", "consent.permitted")
"""Partitioned tables of which statements read partitions by name; the others are reached through the table alone."""

ROWS_SECURED: Final = ("consent.permitted",)
"""Those of them whose partitions have row security, which hides rows that ended from readers; parts see all rows."""


class DatabaseRole(StrEnum):
    """A part of the service with a database role of its own."""

    INGEST = "ingest"
    AUDITOR = "auditor"
    MARKETING = "marketing"
    PRIVACY = "privacy"


PURPOSES: Final[Mapping[DatabaseRole, str]] = {
    DatabaseRole.INGEST: "receives messages: write keys, batches, opt-outs by signal",
    DatabaseRole.AUDITOR: "serves auditors in the API and the console: it reads, and changes nothing but that it records each read",
    DatabaseRole.MARKETING: "serves tokens of reader roles, marketers among them: segments, and people by pseudonym; sealed values and the "
    "pseudonyms of identifiers are hidden from it",
    DatabaseRole.PRIVACY: "serves privacy staff, and sources that record consents: acts of consent, requests of data subjects and what is held about them; "
    "erasing and unmerging are done by the owner",
}
"""What each part is for."""

WITHOUT_PART: Final = (
    "requests of admins",
    "erasing and unmerging",
    "authentication",
    "public pages",
    "the worker",
    "commands",
    "checks of readiness",
)
"""What uses the role of the owner."""


def _columns(*names: str) -> str:
    """SELECT of these columns only, in the form in which the matrix has it: `SELECT(column)`."""
    return " ".join(f"SELECT({name})" for name in names)


_TOKENS: Final = _columns("token_id", "name", "role", "reader", "created_at", "revoked_at")
_SOURCES: Final = _columns(
    "source_id",
    "name",
    "kind",
    "scopes",
    "jurisdiction",
    "request_bytes_max",
    "defer",
    "created_at",
    "disabled_at",
)
"""Tokens and sources without the hashes of their secrets."""

_EVENTS: Final = _columns(
    "anchor_id",
    "occurred_at",
    "event_id",
    "retention_class",
    "received_at",
    "source_id",
    "name_id",
    "bits",
    "plain",
)
_TRAITS: Final = _columns(
    "anchor_id", "name", "occurred_at", "received_at", "event_id", "bits", "plain", "is_rectified"
)
_IDENTIFIERS: Final = _columns("identifier_id", "type", "is_shared", "authority", "proved_at")
"""Events, traits and identifiers without what is sealed, and without the pseudonyms by which identifiers are found."""

LOCK_OF_WRITERS: Final = "SELECT UPDATE(single)"
"""A right to read and lock the row of `identity.generation` and to change nothing of it: a constraint fixes the value of this column."""

_RECORDED_READS: Final = {
    "audit.entry": "INSERT",
    "audit.fact": " ".join(("INSERT", _columns("entry_id", "salt"))),
    "audit.read_subject": "INSERT",
    "identity.anchor_member": "SELECT",
    "identity.canonical": "SELECT",
    "vault.subject_key": "SELECT",
}
"""What it takes to record a read: digests of whom it showed, under their keys."""

_CONDITIONS: Final = {
    "behavior.bucket": "SELECT",
    "behavior.event": _EVENTS,
    "behavior.landmark": "SELECT",
    "behavior.term": "SELECT",
    "consent.permitted": "SELECT",
    "consent.purpose": "SELECT",
    "identity.canonical": "SELECT",
    "identity.profile": "SELECT",
    "segments.membership": "SELECT",
    "segments.segment": "SELECT",
    "segments.segment_version": "SELECT",
}
"""What the conditions of segments read."""

_VERDICTS: Final = {
    "behavior.stated_age": "SELECT",
    "behavior.trait": _TRAITS,
    "consent.record": "SELECT",
    "consent.repetition": "SELECT",
    "consent.validity": "SELECT",
    "identity.anchor_member": "SELECT",
    "identity.anchor_source": "SELECT",
    "identity.canonical": "SELECT",
    "identity.edge": "SELECT",
    "identity.identifier": _IDENTIFIERS,
    "identity.link": "SELECT",
    "identity.profile": "SELECT",
    "sources.source": _SOURCES,
}
"""What it takes to say why somebody is permitted or not."""

_INGEST: Final = {
    "accounting.accounting": "INSERT",
    "accounting.notice": "INSERT",
    "accounting.property_notice": "INSERT",
    "accounting.recent_message": "INSERT",
    "audit.entry": "INSERT",
    "audit.fact": "SELECT INSERT",
    "behavior.bucket": "SELECT INSERT UPDATE DELETE",
    "behavior.duplicate": "SELECT INSERT",
    "behavior.event": "SELECT INSERT",
    "behavior.former_age": "INSERT",
    "behavior.landmark": "SELECT INSERT",
    "behavior.stated_age": "SELECT INSERT UPDATE",
    "behavior.term": "SELECT INSERT UPDATE",
    "behavior.trait": "SELECT INSERT UPDATE",
    "consent.deferred_device": "SELECT INSERT UPDATE DELETE",
    "consent.deferred_message": "SELECT INSERT UPDATE DELETE",
    "consent.deferred_total": "SELECT",
    "consent.permitted": "SELECT INSERT UPDATE DELETE",
    "consent.projection": "SELECT INSERT UPDATE DELETE",
    "consent.purpose": "SELECT",
    "consent.reader_purpose": "SELECT",
    "consent.record": "SELECT INSERT",
    "consent.refused": "SELECT INSERT UPDATE DELETE",
    "consent.repetition": "SELECT INSERT",
    "consent.validity": "SELECT",
    "consent.withdrawal": "SELECT INSERT UPDATE",
    "identity.anchor": "SELECT INSERT UPDATE",
    "identity.anchor_member": "SELECT INSERT",
    "identity.anchor_source": "SELECT INSERT UPDATE",
    "identity.canonical": "SELECT INSERT UPDATE",
    "identity.edge": "SELECT",
    "identity.evidence": "SELECT INSERT",
    "identity.former_canonical": "SELECT INSERT",
    "identity.former_link": "SELECT INSERT",
    "identity.former_quarantine": "SELECT INSERT",
    "identity.former_sharing": "SELECT INSERT",
    "identity.generation": "SELECT UPDATE",
    "identity.identifier": "SELECT INSERT UPDATE",
    "identity.link": "SELECT INSERT UPDATE DELETE",
    "identity.never": "SELECT",
    "identity.profile": "SELECT INSERT UPDATE",
    "identity.resolution": "SELECT INSERT",
    "operations.instant_override": "SELECT",
    "rights.replay": "SELECT UPDATE",
    "rights.suppression": "SELECT",
    "segments.segment": "SELECT",
    "segments.stale": "SELECT INSERT",
    "sources.hook": "SELECT",
    "sources.source": "SELECT",
    "vault.epoch": "SELECT",
    "vault.key_check": "SELECT",
    "vault.subject_key": "SELECT INSERT",
}

_AUDITOR: Final = {
    **_RECORDED_READS,
    **_CONDITIONS,
    **_VERDICTS,
    "access.token": _TOKENS,
    "accounting.accounting": "SELECT",
    "accounting.notice": "SELECT",
    "accounting.property_notice": "SELECT",
    "audit.checkpoint": "SELECT",
    "audit.entry": "SELECT INSERT",
    "audit.fact": "SELECT INSERT",
    "audit.read_subject": "SELECT INSERT",
    "audit.tree": "SELECT",
    "behavior.severed": "SELECT",
    "consent.reader_session": "SELECT",
    "identity.former_canonical": "SELECT",
    "identity.former_link": "SELECT",
    "identity.former_quarantine": "SELECT",
    "identity.former_sharing": "SELECT",
    "identity.identifier": "SELECT",
    "operations.applied_policy": "SELECT",
    "rights.hold": "SELECT",
    "rights.request": "SELECT",
    "vault.key_check": "SELECT",
}

_MARKETING: Final = {
    **_RECORDED_READS,
    **_CONDITIONS,
    **_VERDICTS,
    "access.lookup": "SELECT INSERT UPDATE",
    "consent.projection": "SELECT",
    "consent.refused": "SELECT",
    "identity.generation": LOCK_OF_WRITERS,
    "operations.instant_override": "SELECT",
    "segments.due": "SELECT INSERT UPDATE DELETE",
    "segments.membership": "SELECT INSERT UPDATE DELETE",
    "segments.membership_change": "SELECT INSERT",
    "segments.segment": "SELECT INSERT UPDATE",
    "segments.segment_version": "SELECT INSERT",
}

_PRIVACY: Final = {
    **_RECORDED_READS,
    **_CONDITIONS,
    **_VERDICTS,
    "access.token": _TOKENS,
    "accounting.accounting": "INSERT",
    "audit.checkpoint": "SELECT",
    "audit.entry": "SELECT INSERT",
    "audit.fact": "SELECT INSERT",
    "audit.read_subject": "SELECT INSERT",
    "audit.tile": "SELECT",
    "audit.tree": "SELECT",
    "behavior.bucket": "SELECT INSERT DELETE",
    "behavior.duplicate": "SELECT",
    "behavior.event": "SELECT",
    "behavior.former_age": "SELECT INSERT",
    "behavior.landmark": "SELECT INSERT",
    "behavior.restricted_event": "SELECT",
    "behavior.severed": "SELECT",
    "behavior.term": "SELECT INSERT UPDATE",
    "behavior.trait": "SELECT INSERT UPDATE DELETE",
    "consent.deferred_device": "SELECT UPDATE DELETE",
    "consent.deferred_message": "SELECT DELETE",
    "consent.permitted": "SELECT INSERT UPDATE DELETE",
    "consent.projection": "SELECT INSERT UPDATE DELETE",
    "consent.reader_purpose": "SELECT",
    "consent.reader_session": "SELECT",
    "consent.record": "SELECT INSERT",
    "consent.refused": "SELECT INSERT UPDATE DELETE",
    "consent.withdrawal": "SELECT INSERT UPDATE",
    "destinations.outbox": "SELECT INSERT",
    "identity.anchor": "SELECT",
    "identity.evidence": "SELECT",
    "identity.former_canonical": "SELECT",
    "identity.former_link": "SELECT",
    "identity.former_quarantine": "SELECT",
    "identity.former_sharing": "SELECT",
    "identity.generation": "SELECT UPDATE",
    "identity.identifier": "SELECT INSERT UPDATE",
    "identity.never": "SELECT",
    "identity.rejected_case": "SELECT",
    "identity.resolution": "SELECT",
    "operations.applied_policy": "SELECT",
    "operations.instant_override": "SELECT",
    "rights.hold": "SELECT",
    "rights.replay": "SELECT UPDATE",
    "rights.request": "SELECT INSERT UPDATE",
    "rights.request_identifier": "SELECT INSERT DELETE",
    "rights.request_value": "SELECT INSERT DELETE",
    "rights.review": "SELECT INSERT UPDATE DELETE",
    "rights.step": "SELECT",
    "rights.suppression": "SELECT INSERT UPDATE DELETE",
    "segments.due": "SELECT",
    "segments.membership_change": "SELECT",
    "segments.stale": "SELECT INSERT",
    "vault.key_check": "SELECT",
    "vault.subject_key": "SELECT INSERT",
}

MATRIX: Final[Mapping[DatabaseRole, Mapping[str, frozenset[str]]]] = {
    part: {table: frozenset(verbs.split()) for table, verbs in granted.items()}
    for part, granted in (
        (DatabaseRole.INGEST, _INGEST),
        (DatabaseRole.AUDITOR, _AUDITOR),
        (DatabaseRole.MARKETING, _MARKETING),
        (DatabaseRole.PRIVACY, _PRIVACY),
    )
}
"""By part and table (`schema.name`), what the role of the part may do; `SELECT(column)` is a right to this column only."""

FUNCTIONS: Final[Mapping[DatabaseRole, tuple[str, ...]]] = {
    DatabaseRole.INGEST: (
        "consent.shortened_end(text,timestamp with time zone,timestamp with time zone,timestamp with time zone)",
        "identity.database_instant()",
        "identity.is_advanced()",
        "vault.hold_active_epoch()",
        "vault.throw_away_keys(bigint[])",
    ),
    DatabaseRole.AUDITOR: (
        "consent.shortened_end(text,timestamp with time zone,timestamp with time zone,timestamp with time zone)",
    ),
    DatabaseRole.MARKETING: (
        "consent.shortened_end(text,timestamp with time zone,timestamp with time zone,timestamp with time zone)",
        "identity.database_instant()",
    ),
    DatabaseRole.PRIVACY: (
        "consent.shortened_end(text,timestamp with time zone,timestamp with time zone,timestamp with time zone)",
        "identity.database_instant()",
        "identity.is_advanced()",
        "vault.hold_active_epoch()",
        "vault.shred_request_keys(bigint[])",
        "vault.throw_away_keys(bigint[])",
    ),
}
"""By part, the functions of the store that its role may call, as PostgreSQL writes their signatures."""
