"""Tables of behavior: events, stated traits, computed traits, and the ids of stored messages."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from cdp.schema.dictionary import impersonal, metadata, personal
from cdp.schema.identity_history import PRESENT

_OWN_ID = "a random id without meaning outside this store"
_INTERNAL = "bookkeeping derived from the exported events"


def _tie(retention: str, category: str = "event") -> dict[str, object]:
    return personal(
        erase="delete", retention=retention, export=None, category=category, why_not_exported=_OWN_ID, via="anchor"
    )


def _fact(
    export: str, retention: str = "event_class", category: str = "event", *, erase: str = "delete"
) -> dict[str, object]:
    return personal(erase=erase, retention=retention, export=export, category=category, via="anchor")


def _derived(retention: str, category: str) -> dict[str, object]:
    return personal(
        erase="delete", retention=retention, export=None, category=category, why_not_exported=_INTERNAL, via="anchor"
    )


event = Table(
    "event",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("event_class")),
    Column("occurred_at", DateTime(timezone=True), primary_key=True, info=_fact("occurred_at")),
    Column("event_id", UUID(as_uuid=False), primary_key=True, info=_tie("event_class")),
    Column("retention_class", Text, primary_key=True, info=_fact("retention_class")),
    Column("received_at", DateTime(timezone=True), nullable=False, info=_fact("received_at")),
    Column("source_id", Integer, nullable=False, info=_fact("source")),
    Column("name_id", Integer, nullable=False, info=_fact("name")),
    Column("bits", BigInteger, nullable=False, info=_fact("purposes")),
    Column("plain", JSONB, info=_fact("properties")),
    Column("sealed", LargeBinary, nullable=False, info=_fact("message", erase="shred")),
    CheckConstraint("bits > 0", name="bits"),
    CheckConstraint(
        """jsonb_path_query_array(plain, 'strict $.*.type()') <@ '["number", "boolean", "null", "array"]' """
        """AND jsonb_path_query_array(plain, 'strict $.**{2}.type()') <@ '["object"]' """
        """AND jsonb_path_query_array(plain, 'strict $.**{3}.type()') <@ '["number", "boolean", "null"]'""",
        name="no_text",
    ),
    Index(None, "name_id", "occurred_at"),
    schema="behavior",
    comment="One row per event, partitioned by retention class and month of occurred_at; never rewritten. "
    "name_id 0 is an event that the tracking plan does not name; its name is sealed.",
    postgresql_partition_by="LIST (retention_class)",
)

restricted_event = Table(
    "restricted_event",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("event_class")),
    Column("occurred_at", DateTime(timezone=True), primary_key=True, info=_fact("occurred_at")),
    Column("event_id", UUID(as_uuid=False), primary_key=True, info=_tie("event_class")),
    Column("retention_class", Text, nullable=False, info=_fact("retention_class")),
    Column("received_at", DateTime(timezone=True), nullable=False, info=_fact("received_at")),
    Column("source_id", Integer, nullable=False, info=_fact("source")),
    Column("name_id", Integer, nullable=False, info=_fact("name")),
    Column("bits", BigInteger, nullable=False, info=_fact("purposes")),
    Column("plain", JSONB, info=_fact("properties")),
    Column("sealed", LargeBinary, nullable=False, info=_fact("message", erase="shred")),
    CheckConstraint("bits > 0", name="bits"),
    schema="behavior",
    comment="Events that fell due while the processing of their person was restricted (GDPR Art. 18): nobody uses them, and "
    "they end with the first sweep after the restriction. Sealed as in behavior.event.",
)

duplicate = Table(
    "duplicate",
    metadata,
    Column("event_id", UUID(as_uuid=False), primary_key=True, info=_derived("event_class", "event")),
    Column("body_digest", LargeBinary, nullable=False, info=_derived("event_class", "event")),
    Column("keep_until", Date, nullable=False, info=_derived("event_class", "event")),
    schema="behavior",
    comment="Ids of stored messages as keyed digests, so that each message counts once; hash-partitioned.",
    postgresql_partition_by="HASH (event_id)",
)

term = Table(
    "term",
    metadata,
    Column("term_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("vocabulary", Text, nullable=False, info=impersonal()),
    Column("term", Text, nullable=False, info=impersonal()),
    UniqueConstraint("vocabulary", "term"),
    schema="behavior",
    comment="Vocabulary strings, interned once for all profiles; vocabulary 'event' holds the event names.",
)

trait = Table(
    "trait",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("traits", "trait")),
    Column("name", Text, primary_key=True, info=_fact("name", "traits", "trait")),
    Column("occurred_at", DateTime(timezone=True), nullable=False, info=_fact("occurred_at", "traits", "trait")),
    Column("received_at", DateTime(timezone=True), nullable=False, info=_fact("received_at", "traits", "trait")),
    Column("event_id", UUID(as_uuid=False), nullable=False, info=_tie("traits", "trait")),
    Column("bits", BigInteger, primary_key=True, autoincrement=False, info=_fact("purposes", "traits", "trait")),
    Column("plain", JSONB, info=_fact("plain", "traits", "trait")),
    Column("sealed", LargeBinary, info=_fact("value", "traits", "trait", erase="shred")),
    Column(
        "is_rectified",
        Boolean,
        nullable=False,
        server_default=text("false"),
        info=_fact("is_rectified", "traits", "trait"),
    ),
    CheckConstraint("(plain IS NULL) <> (sealed IS NULL)", name="one_form"),
    CheckConstraint("bits > 0", name="bits"),
    schema="behavior",
    postgresql_with={"fillfactor": 70},
    comment="Stated traits per anchor and purpose bits: the latest by (occurred_at, received_at, event_id) wins, a rectified "
    "one always. Bits are part of the key, so that a later statement never hides an earlier one from a purpose it lacks.",
)

stated_age = Table(
    "stated_age",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("traits", "trait")),
    Column("authority", Text, primary_key=True, info=_fact("authority", "traits", "trait")),
    Column("bits", BigInteger, primary_key=True, autoincrement=False, info=_fact("purposes", "traits", "trait")),
    Column("is_birthday", Boolean, nullable=False, info=_fact("is_birthday", "traits", "trait")),
    Column("counts_from", Date, nullable=False, info=_fact("counts_from", "traits", "trait")),
    Column("occurred_at", DateTime(timezone=True), nullable=False, info=_fact("occurred_at", "traits", "trait")),
    Column("received_at", DateTime(timezone=True), nullable=False, info=_fact("received_at", "traits", "trait")),
    Column("event_id", UUID(as_uuid=False), nullable=False, info=_tie("traits", "trait")),
    Column(
        "since",
        DateTime(timezone=True),
        nullable=False,
        server_default=text(PRESENT),
        info=_fact("since", "traits", "trait"),
    ),
    CheckConstraint("authority IN ('authenticated', 'imported', 'device')", name="authority"),
    CheckConstraint("bits > 0", name="bits"),
    schema="behavior",
    comment="Ages as the latest day of birth that agrees with them, per anchor, authority and purpose bits: of a device the "
    "youngest, otherwise a date of birth before an age, and the latest. Minimum ages of purposes are compared with them.",
)

former_age = Table(
    "former_age",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("traits", "trait")),
    Column("former_age_id", BigInteger, Identity(always=True), primary_key=True, info=_tie("traits", "trait")),
    Column("authority", Text, info=_fact("authority", "traits", "trait")),
    Column("bits", BigInteger, nullable=False, info=_fact("purposes", "traits", "trait")),
    Column("is_birthday", Boolean, info=_fact("is_birthday", "traits", "trait")),
    Column("counts_from", Date, info=_fact("counts_from", "traits", "trait")),
    Column("occurred_at", DateTime(timezone=True), info=_fact("occurred_at", "traits", "trait")),
    Column("received_at", DateTime(timezone=True), info=_fact("received_at", "traits", "trait")),
    Column("event_id", UUID(as_uuid=False), info=_tie("traits", "trait")),
    Column("since", DateTime(timezone=True), nullable=False, info=_fact("since", "traits", "trait")),
    Column("until", DateTime(timezone=True), nullable=False, info=_fact("until", "traits", "trait")),
    CheckConstraint("(counts_from IS NULL) = (bits = 0)", name="deleted"),
    schema="behavior",
    comment="Ages that counted before, from when until when; they lose purposes and expire as those "
    "that count do. Of an age that was deleted, only the period is left, so that an answer as of then can state that it is incomplete.",
)

KEEP_FORMER_AGE = """
CREATE FUNCTION behavior.keep_former_age() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    present timestamptz := coalesce(
        nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()
    );
BEGIN
    IF OLD.since < present THEN
        INSERT INTO behavior.former_age (anchor_id, authority, bits, is_birthday, counts_from, occurred_at, received_at,
                                         event_id, since, until)
        VALUES (OLD.anchor_id, OLD.authority, OLD.bits, OLD.is_birthday, OLD.counts_from, OLD.occurred_at,
                OLD.received_at, OLD.event_id, OLD.since, present);
    END IF;
    NEW.since := present;
    RETURN NEW;
END
$$
"""
"""Keeps an age that another statement replaces, so that no statement that replaces one can omit it."""

FORMER_AGE_TRIGGER = (
    "CREATE TRIGGER former_age BEFORE UPDATE ON behavior.stated_age "
    "FOR EACH ROW EXECUTE FUNCTION behavior.keep_former_age()"
)

bucket = Table(
    "bucket",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("event_class", "computed_trait")),
    Column("trait", Text, primary_key=True, info=_fact("trait", "event_class", "computed_trait")),
    Column("day", Date, primary_key=True, info=_fact("day", "event_class", "computed_trait")),
    Column(
        "generation",
        SmallInteger,
        primary_key=True,
        autoincrement=False,
        info=_derived("event_class", "computed_trait"),
    ),
    Column("events", BigInteger, nullable=False, info=_fact("events", "event_class", "computed_trait")),
    Column("total", Double, nullable=False, info=_fact("total", "event_class", "computed_trait")),
    Column("last_at", DateTime(timezone=True), nullable=False, info=_fact("last_at", "event_class", "computed_trait")),
    Column("last_event_id", UUID(as_uuid=False), nullable=False, info=_derived("event_class", "computed_trait")),
    Column("last_plain", JSONB, info=_fact("last", "event_class", "computed_trait")),
    schema="behavior",
    postgresql_with={"fillfactor": 70},
    comment="Computed traits per anchor and day of occurred_at; `total` is a plain or forward-decayed sum. "
    "Only ever added to or recomputed, never subtracted from. Generation 0 needs no landmark.",
)

landmark = Table(
    "landmark",
    metadata,
    Column("trait", Text, primary_key=True, info=impersonal()),
    Column("generation", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("landmark_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("half_life_days", Double, nullable=False, info=impersonal()),
    CheckConstraint("half_life_days > 0", name="half_life"),
    schema="behavior",
    comment="The landmark of forward decay, by trait and generation.",
)

definition = Table(
    "definition",
    metadata,
    Column("subject", Text, primary_key=True, info=impersonal()),
    Column("definition", Text, nullable=False, info=impersonal()),
    schema="behavior",
    comment="The definitions under which rows were stored: `trait KEY` a computed trait's, `class KEY` a retention class's days. "
    "If the policy has another one, buckets are recomputed, and message ids are kept longer.",
)

severed = Table(
    "severed",
    metadata,
    Column("severed_id", BigInteger, primary_key=True, autoincrement=True, info=impersonal()),
    Column("retention_class", Text, nullable=False, info=impersonal()),
    Column("name_id", Integer, nullable=False, info=impersonal()),
    Column("month", Date, nullable=False, info=impersonal()),
    Column("plain", JSONB, nullable=False, info=impersonal()),
    Column("events", BigInteger, nullable=False, info=impersonal()),
    CheckConstraint("events > 0", name="events"),
    Index(None, "retention_class", "month"),
    schema="behavior",
    comment="What remains of expired events of classes that sever: counts by month and coarsened plain values, without "
    "person or instant, and without values shared by fewer than the minimum.",
)
