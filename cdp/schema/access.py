"""Tables of access: tokens of the people who work with the store."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    Table,
    Text,
)

from cdp.schema.dictionary import impersonal, metadata

token = Table(
    "token",
    metadata,
    Column("token_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("name", Text, nullable=False, info=impersonal()),
    Column("role", Text, nullable=False, info=impersonal()),
    Column("reader", Text, info=impersonal()),
    Column("token_hash", LargeBinary, nullable=False, unique=True, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("revoked_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("role IN ('marketer', 'privacy', 'auditor', 'admin')", name="role"),
    CheckConstraint("reader IS NULL OR role = 'marketer'", name="reader"),
    schema="access",
    comment="`reader` is the reader role of the policy, for tokens that read people as another one than marketers. Bearer tokens of the people who work with the store, as SHA-256 of 256 random bits.",
)

lookup = Table(
    "lookup",
    metadata,
    Column("token_id", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("began_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("lookups", Integer, nullable=False, info=impersonal()),
    schema="access",
    comment="How many single people a token looked up in the hour that began at `began_at`; one row per token, reused.",
)
