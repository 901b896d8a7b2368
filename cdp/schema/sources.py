"""Tables of sources: who may send messages, with which write key, and what platforms deliver to them by webhook."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

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
    Column("defer", Boolean, nullable=False, server_default=text("false"), info=impersonal()),
    CheckConstraint("kind IN ('browser', 'server')", name="kind"),
    CheckConstraint("kind = 'server' OR NOT 'consent' = ANY (scopes)", name="public_keys_record_no_consent"),
    schema="sources",
    comment="Where messages come from; the kind caps what authority its consent signals can have. `defer`: messages of people who "
    "have not answered wait sealed for their answer.",
)

hook = Table(
    "hook",
    metadata,
    Column(
        "source_id",
        Integer,
        ForeignKey("sources.source.source_id"),
        primary_key=True,
        autoincrement=False,
        info=impersonal(),
    ),
    Column("key_id", BigInteger, nullable=False, unique=True, info=impersonal()),
    Column("scheme", Text, nullable=False, info=impersonal()),
    Column("sealed", LargeBinary, nullable=False, info=impersonal()),
    Column("secrets", SmallInteger, nullable=False, info=impersonal()),
    Column("mapping", Text, nullable=False, info=impersonal()),
    Column("window_seconds", Integer, nullable=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("changed_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("scheme IN ('standard', 'shopify', 'stripe', 'github', 'woocommerce', 'basic')", name="scheme"),
    CheckConstraint("secrets BETWEEN 1 AND 2", name="secrets"),
    CheckConstraint("octet_length(mapping) BETWEEN 1 AND 131072", name="mapping"),
    CheckConstraint("window_seconds BETWEEN 30 AND 3600", name="window_seconds"),
    schema="sources",
    comment="The webhook of a source: how its deliveries are signed, and how they become messages. The secrets are sealed under a "
    "key of their own, `key_id`, which is shredded with the webhook.",
)
