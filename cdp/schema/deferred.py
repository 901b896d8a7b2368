"""Tables of deferred messages: sealed under a throw-away key of the device until it answers or the term ends.

No trait, segment, projection or reader sees them; of the exports, only the person's own. They are tied to a device by its
pseudonym of the suppression domain: the device need not be known to identity, and erasures and the lines of the replay file
name the same pseudonym.
"""

from typing import Final

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
    Column("source_id", Integer, nullable=False, info=impersonal()),
    CheckConstraint("octet_length(sealed) > 29", name="sealed"),
    Index(None, "event_id", unique=True),
    Index(None, "ends_at"),
    schema="consent",
    comment="Deferred messages, sealed under the key of their device; `counted_at` is the hour in which each was counted. "
    "`is_refused` marks those that end when they are opened and are not permitted, because the device refused something since.",
)

deferred_total = Table(
    "deferred_total",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("messages", BigInteger, nullable=False, info=impersonal()),
    Column("bytes", BigInteger, nullable=False, info=impersonal()),
    CheckConstraint("messages >= 0 AND bytes >= 0", name="total"),
    schema="consent",
    comment="How many messages wait for each source, and their bytes. Triggers count every row of deferred_message that is added or deleted.",
)

TOTAL_DEFERRED: Final = """
CREATE FUNCTION consent.total_deferred() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO consent.deferred_total AS t (source_id, messages, bytes)
        SELECT source_id, count(*), sum(octet_length(sealed) - 29) FROM added GROUP BY source_id
        ON CONFLICT (source_id) DO UPDATE
        SET messages = t.messages + excluded.messages, bytes = t.bytes + excluded.bytes;
    ELSIF TG_OP = 'DELETE' THEN
        UPDATE consent.deferred_total AS t
        SET messages = t.messages - c.messages, bytes = t.bytes - c.bytes
        FROM (
            SELECT source_id, count(*) AS messages, sum(octet_length(sealed) - 29) AS bytes FROM gone GROUP BY source_id
        ) AS c
        WHERE t.source_id = c.source_id;
    ELSE
        DELETE FROM consent.deferred_total;
    END IF;
    RETURN NULL;
END
$$
"""
"""Counts for a statement what it added or deleted, for every way to do so; the bytes are those of the texts, without what sealing adds."""

TOTAL_TRIGGERS: Final = (
    (
        "CREATE TRIGGER total_added AFTER INSERT ON consent.deferred_message REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    ),
    (
        "CREATE TRIGGER total_gone AFTER DELETE ON consent.deferred_message REFERENCING OLD TABLE AS gone "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    ),
    (
        "CREATE TRIGGER total_truncated AFTER TRUNCATE ON consent.deferred_message "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.total_deferred()"
    ),
)
