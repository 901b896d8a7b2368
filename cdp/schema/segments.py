"""Tables of segments: definitions, their immutable versions, memberships with their start, and every change."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from cdp.schema.dictionary import impersonal, metadata, personal

_OWN_ID = "a random id without meaning outside this store"
_MOMENTARY = "bookkeeping about the exported events, deleted within moments"


def _tie() -> dict[str, object]:
    return personal(
        erase="delete",
        retention="memberships",
        export=None,
        category="segment",
        why_not_exported=_OWN_ID,
        via="profile",
    )


def _fact(export: str) -> dict[str, object]:
    return personal(erase="delete", retention="memberships", export=export, category="segment", via="profile")


def _mark() -> dict[str, object]:
    return personal(
        erase="delete",
        retention="memberships",
        export=None,
        category="segment",
        why_not_exported=_MOMENTARY,
        via="profile",
    )


def _instant() -> dict[str, object]:
    return personal(
        erase="delete",
        retention="memberships",
        export=None,
        category="segment",
        why_not_exported="follows from the exported events and the definition, and is replaced within a day",
        via="profile",
    )


segment = Table(
    "segment",
    metadata,
    Column("key", Text, primary_key=True, info=impersonal()),
    Column("name", Text, nullable=False, info=impersonal()),
    Column("purpose", Text, nullable=False, info=impersonal()),
    Column("owner", Text, nullable=False, info=impersonal()),
    Column("text", Text, nullable=False, server_default=text("''"), info=impersonal()),
    Column("version", Integer, nullable=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("changed_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("refreshed_at", DateTime(timezone=True), info=impersonal()),
    Column("planned_until", DateTime(timezone=True), info=impersonal()),
    Column("ended_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("version >= 1", name="version"),
    schema="segments",
    comment="Segments by key, each with one purpose; `version` names the definition in force. One that ended has no members; its "
    "versions stay, because past changes refer to them.",
)

segment_version = Table(
    "segment_version",
    metadata,
    Column("key", Text, ForeignKey("segments.segment.key", ondelete="CASCADE"), primary_key=True, info=impersonal()),
    Column("version", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("purpose", Text, nullable=False, info=impersonal()),
    Column("where_text", Text, nullable=False, info=impersonal()),
    Column("where_json", JSONB, nullable=False, info=impersonal()),
    Column("policy_fingerprint", Text, nullable=False, info=impersonal()),
    Column("author", Text, nullable=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    schema="segments",
    comment="Definitions as written; never updated.",
)

membership = Table(
    "membership",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie()),
    Column("key", Text, primary_key=True, info=_fact("segment")),
    Column("version", Integer, nullable=False, info=_fact("version")),
    Column("since", DateTime(timezone=True), nullable=False, info=_fact("since")),
    ForeignKeyConstraint(
        ["key", "version"], ["segments.segment_version.key", "segments.segment_version.version"], ondelete="CASCADE"
    ),
    Index(None, "key"),
    schema="segments",
    comment="Members of each segment, since when, and under which version they were last evaluated.",
)

membership_change = Table(
    "membership_change",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie()),
    Column("change_id", BigInteger, Identity(always=True), primary_key=True, info=_tie()),
    Column("key", Text, nullable=False, info=_fact("segment")),
    Column("version", Integer, nullable=False, info=_fact("version")),
    Column("change", Text, nullable=False, info=_fact("change")),
    Column("changed_at", DateTime(timezone=True), nullable=False, info=_fact("changed_at")),
    CheckConstraint("change IN ('entered', 'exited')", name="change"),
    Index(None, "key", "changed_at"),
    schema="segments",
    comment="Append-only: every entry and exit, written in the transaction that evaluated it.",
)

stale = Table(
    "stale",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_mark()),
    Column("stale_id", BigInteger, Identity(always=True), primary_key=True, info=_mark()),
    Column("event", Text, info=_mark()),
    schema="segments",
    comment="Profiles whose memberships must be evaluated again: after an event of this name or, without a name, after any "
    "change. Written in the transaction that changed something, deleted within moments in the one that evaluates.",
)

due = Table(
    "due",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_instant()),
    Column(
        "key",
        Text,
        ForeignKey("segments.segment.key", ondelete="CASCADE"),
        primary_key=True,
        info=_instant(),
    ),
    Column("at", DateTime(timezone=True), nullable=False, info=_instant()),
    Index(None, "at"),
    Index(None, "key"),
    schema="segments",
    comment="When time alone may change a membership: the earliest instant of the next day at which the segment must be "
    "evaluated again for the profile. Computed from definition, events and permission; deleted when it has been evaluated.",
)
