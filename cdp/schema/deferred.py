"""Tables of deferred messages: sealed under a throw-away key of the device until it answers or the term ends.

No trait, segment, projection or reader sees them; of the exports, only the person's own. They are tied to a device by its
pseudonym of the suppression domain: the device need not be known to identity, and erasures and the lines of the replay file
name the same pseudonym.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    text,
)
from sqlalchemy.dialects.postgresql import UUID

from cdp.schema.dictionary import impersonal, metadata, personal

_RETENTION = "deferred_messages"


def _hidden(why: str) -> dict[str, object]:
    return personal(
        erase="delete", retention=_RETENTION, export=None, category="behavior", why_not_exported=why, via="deferred"
    )


def _shown(export: str) -> dict[str, object]:
    return personal(erase="delete", retention=_RETENTION, export=export, category="behavior", via="deferred")


deferred_device = Table(
    "deferred_device",
    metadata,
    Column(
        "subject_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=_hidden("a random id without meaning outside this store"),
    ),
    Column("pseudonym", LargeBinary, nullable=False, info=_hidden("a keyed hash without meaning outside this store")),
    Column("source_id", Integer, nullable=False, info=_shown("source")),
    Column("granted_at", DateTime(timezone=True), info=_hidden("for the moment between a grant and its effect")),
    CheckConstraint("octet_length(pseudonym) = 32", name="pseudonym"),
    Index(None, "pseudonym", "source_id", unique=True),
    Index("deferred_device_granted_at_idx", "granted_at", postgresql_where=text("granted_at IS NOT NULL")),
    schema="consent",
    comment="Devices with deferred messages, one row per source: the owner of the throw-away key (vault.subject_key) that seals them. "
    "`granted_at` marks those whose messages are to be opened.",
)

deferred_message = Table(
    "deferred_message",
    metadata,
    Column(
        "subject_id",
        BigInteger,
        ForeignKey("consent.deferred_device.subject_id"),
        primary_key=True,
        autoincrement=False,
        info=_hidden("a random id without meaning outside this store"),
    ),
    Column("event_id", UUID(as_uuid=False), primary_key=True, info=_hidden("a keyed hash of the message id")),
    Column("occurred_at", DateTime(timezone=True), nullable=False, info=_shown("occurred_at")),
    Column("counted_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("ends_at", DateTime(timezone=True), nullable=False, info=_shown("ends_at")),
    Column("is_refused", Boolean, nullable=False, server_default=text("false"), info=impersonal()),
    Column("sealed", LargeBinary, nullable=False, info=_shown("message")),
    CheckConstraint("octet_length(sealed) > 29", name="sealed"),
    Index(None, "event_id", unique=True),
    Index(None, "ends_at"),
    schema="consent",
    comment="Deferred messages, sealed under the key of their device; `counted_at` is the hour in which each was counted. "
    "`is_refused` marks those that end when they are opened and are not permitted, because the device refused something since.",
)
