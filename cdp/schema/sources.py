"""Tables of sources: who may send messages, with which write key."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
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
