"""Tables of destinations: the outbox of deliveries."""

from sqlalchemy import BigInteger, Column, DateTime, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from cdp.schema.dictionary import impersonal, metadata, personal


def _fact(export: str) -> dict[str, object]:
    return personal(erase="delete", retention="deliveries", export=export, category="delivery", via="profile")


outbox = Table(
    "outbox",
    metadata,
    Column("delivery_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("destination", Text, nullable=False, info=_fact("destination")),
    Column("kind", Text, nullable=False, info=_fact("kind")),
    Column(
        "profile_id",
        BigInteger,
        info=personal(
            erase="sever",
            retention="deliveries",
            export=None,
            category="delivery",
            why_not_exported="a random id without meaning outside this store",
            via="profile",
        ),
    ),
    Column(
        "recipient_pseudonym",
        LargeBinary,
        info=personal(
            erase="sever",
            retention="deliveries",
            export=None,
            category="delivery",
            why_not_exported="a pseudonym that only the recipient uses",
            via="profile",
        ),
    ),
    Column("body", JSONB, nullable=False, info=_fact("body")),
    Column("created_at", DateTime(timezone=True), nullable=False, info=_fact("created_at")),
    Column("due_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("attempts", Integer, nullable=False, server_default=text("0"), info=impersonal()),
    Column("acknowledged_at", DateTime(timezone=True), info=_fact("acknowledged_at")),
    Index(None, "due_at", postgresql_where=text("acknowledged_at IS NULL")),
    Index(None, "profile_id", postgresql_where=text("profile_id IS NOT NULL")),
    schema="destinations",
    comment="Deliveries waiting for their recipient, written in the transaction that caused them.",
)
