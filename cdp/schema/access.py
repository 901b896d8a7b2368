"""Tables of the access room: sources and their write keys, tokens of people, message accounting."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cdp.schema.dictionary import impersonal, metadata

source = Table(
    "source",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("name", Text, nullable=False, unique=True, info=impersonal()),
    Column("kind", Text, nullable=False, info=impersonal()),
    Column("write_key_hash", LargeBinary, nullable=False, unique=True, info=impersonal()),
    Column("scopes", ARRAY(Text), nullable=False, info=impersonal()),
    Column("jurisdiction", Text, nullable=False, info=impersonal()),
    Column("request_bytes_max", Integer, nullable=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("disabled_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("kind IN ('browser', 'server')", name="kind"),
    schema="access",
    comment="Where messages come from; the kind caps what authority its consent signals can have.",
)

token = Table(
    "token",
    metadata,
    Column("token_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("name", Text, nullable=False, info=impersonal()),
    Column("role", Text, nullable=False, info=impersonal()),
    Column("token_hash", LargeBinary, nullable=False, unique=True, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("revoked_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("role IN ('marketer', 'privacy', 'auditor', 'admin')", name="role"),
    schema="access",
    comment="Bearer tokens of the people who work with the store, as SHA-256 of 256 random bits.",
)

accounting = Table(
    "accounting",
    metadata,
    Column("accounting_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("hour", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("state", Text, nullable=False, info=impersonal()),
    Column("reason", Text, nullable=False, info=impersonal()),
    Column("messages", Integer, nullable=False, info=impersonal()),
    CheckConstraint(
        "state IN ('stored', 'duplicate', 'suppressed', 'not_permitted', 'invalid', 'blocked')", name="state"
    ),
    CheckConstraint("messages > 0", name="messages"),
    Index(None, "hour", "source_id"),
    schema="access",
    comment="What became of every message; appended per batch, summed on reading, compacted by the worker.",
)

notice = Table(
    "notice",
    metadata,
    Column("notice_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("hour", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("kind", Text, nullable=False, info=impersonal()),
    Column("subject", Text, nullable=False, info=impersonal()),
    Column("messages", Integer, nullable=False, info=impersonal()),
    CheckConstraint(
        "kind IN ('unknown_identifier_type', 'blocked_identifier', 'duplicate_other_body', 'unknown_purpose', "
        "'unknown_event', 'unknown_property', 'future_time', 'malformed_signal')",
        name="kind",
    ),
    schema="access",
    comment="Counts of oddities in otherwise accounted messages; `subject` is a name from policy or 'other'.",
)

import_job = Table(
    "import_job",
    metadata,
    Column("import_job_id", BigInteger, primary_key=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("file_digest", LargeBinary, nullable=False, info=impersonal()),
    Column("mapping_digest", LargeBinary, nullable=False, info=impersonal()),
    Column("rows_done", BigInteger, nullable=False, info=impersonal()),
    Column("byte_offset", BigInteger, nullable=False, info=impersonal()),
    Column("states", JSONB, nullable=False, info=impersonal()),
    Column("started_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("finished_at", DateTime(timezone=True), info=impersonal()),
    schema="access",
    comment="How far an import came; written in the transaction of each chunk, so a killed import resumes exactly.",
)

applied_policy = Table(
    "applied_policy",
    metadata,
    Column("applied_policy_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("fingerprint", LargeBinary, nullable=False, info=impersonal()),
    Column("content", JSONB, nullable=False, info=impersonal()),
    Column("applied_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    schema="access",
    comment="Policy history: every policy that was in force, with the instant from which it was.",
)

instant_override = Table(
    "instant_override",
    metadata,
    Column("single", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("instant", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("single = 1", name="single"),
    schema="access",
    comment="The owner-only test clock of the database; empty in production.",
)
