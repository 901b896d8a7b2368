"""Tables of message accounting: the outcome of every message, and counts of notices."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from cdp.schema.dictionary import impersonal, metadata

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
        "state IN ('stored', 'duplicate', 'suppressed', 'not_permitted', 'invalid', 'blocked', 'refused', 'deferred')",
        name="state",
    ),
    CheckConstraint("messages > 0 OR (state = 'deferred' AND messages < 0)", name="messages"),
    Index(None, "hour", "source_id"),
    schema="accounting",
    comment="The outcome of every message; appended per batch, summed on read, compacted by the worker. A deferred message whose "
    "wait ended is taken away by a negative row in its hour, beside the row of the state in which it ended.",
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
        "kind IN ('unknown_identifier_type', 'blocked_identifier', 'malformed_identifier', 'left_out_identifier', 'duplicate_other_body', "
        "'unknown_purpose', 'unrecorded_refusal', 'unknown_event', 'unknown_property', 'future_time', 'malformed_signal', 'left_over_traits')",
        name="kind",
    ),
    schema="accounting",
    comment="Counts of irregularities in messages that are accounted for as well; `subject` is a name from policy or 'other'.",
)

property_notice = Table(
    "property_notice",
    metadata,
    Column("property_notice_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("hour", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("kind", Text, nullable=False, info=impersonal()),
    Column("event", Text, nullable=False, info=impersonal()),
    Column("property", Text, nullable=False, info=impersonal()),
    Column("expected", Text, nullable=False, info=impersonal()),
    Column("messages", Integer, nullable=False, info=impersonal()),
    CheckConstraint("kind IN ('mistyped', 'missing')", name="kind"),
    Index(None, "hour", "source_id"),
    schema="accounting",
    comment="Counts of planned properties that were sent with another type or not at all; every name is one of the policy.",
)

recent_message = Table(
    "recent_message",
    metadata,
    Column("recent_message_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("received_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("type", Text, nullable=False, info=impersonal()),
    Column("event", Text, nullable=False, info=impersonal()),
    Column("state", Text, nullable=False, info=impersonal()),
    Column("reason", Text, nullable=False, info=impersonal()),
    Column("notices", ARRAY(Text), nullable=False, info=impersonal()),
    Column("delivery", Text, nullable=False, server_default=text("''"), info=impersonal()),
    CheckConstraint("received_at = date_trunc('second', received_at)", name="whole_second"),
    CheckConstraint("length(delivery) <= 100", name="delivery"),
    Index(None, "source_id", "recent_message_id"),
    schema="accounting",
    comment="What became of the latest messages of each source, to find faults of senders: no ids of people and no values, every name is one "
    "of the policy or 'other'; `delivery` is what a platform calls the delivery of its webhook. The worker keeps the latest of each source, and those for a day.",
)
