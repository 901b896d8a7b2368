"""Tables of consent: the ledger, and the verdicts in force as projections per purpose."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from cdp.schema.dictionary import impersonal, metadata, personal

PRESENT_INSTANT = """
CREATE FUNCTION consent.present_instant() RETURNS timestamptz
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT coalesce((SELECT instant FROM operations.instant_override), statement_timestamp()) $$
"""
"""The instant by which the database hides expired permissions: its clock or the test clock of the owner, no setting."""

APPEND_ONLY = """
CREATE FUNCTION consent.refuse_update() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'consent.% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$
"""
"""The ledger is never updated. Rows are only deleted: with the person, at the end of their retention, or where an accepted
case of the identity review records them again about the other spelling of their identifier."""

APPEND_ONLY_TABLES = ("record", "repetition")

IN_ORDER = """
CREATE FUNCTION consent.require_order() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    earliest timestamptz;
    latest timestamptz;
BEGIN
    SELECT min(recorded_at), max(recorded_at) INTO earliest, latest FROM added;
    IF earliest < (SELECT acted_at FROM identity.generation) THEN
        RAISE EXCEPTION 'consent.% cannot be dated before the last act', TG_TABLE_NAME
            USING HINT = 'Acts have the instant that the exclusive lock gives.';
    END IF;
    UPDATE identity.generation SET acted_at = latest WHERE acted_at < latest;
    RETURN NULL;
END
$$
"""
"""No act is dated before an earlier one: a grant that a withdrawal ended must not be later than it by any clock."""

ENDED_VERDICTS = (
    """
CREATE FUNCTION consent.note_ended_verdicts() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT FROM ended) THEN
        UPDATE identity.generation SET verdicts_ended = verdicts_ended + 1;
    END IF;
    RETURN NULL;
END
$$
""",
    """
    CREATE TRIGGER verdicts_ended AFTER INSERT ON consent.withdrawal REFERENCING NEW TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION consent.note_ended_verdicts()
    """,
    """
    CREATE TRIGGER verdicts_ended AFTER DELETE ON identity.profile REFERENCING OLD TABLE AS ended
    FOR EACH STATEMENT EXECUTE FUNCTION consent.note_ended_verdicts()
    """,
)
"""Counts what ends the right of readers to what they have read: the end of a permission, and an erasure."""

_OWN_ID = "a random id without meaning outside this store"


def projection_of(purpose: str) -> str:
    """The name of the partition of `consent.permitted` with the people permitted for a purpose."""
    return f"permitted_{purpose}"


def _tie(via: str) -> dict[str, object]:
    return personal(
        erase="delete", retention="consent_records", export=None, category="consent", why_not_exported=_OWN_ID, via=via
    )


def _fact(export: str, via: str = "identifier") -> dict[str, object]:
    return personal(erase="delete", retention="consent_records", export=export, category="consent", via=via)


def _salt() -> dict[str, object]:
    return personal(
        erase="delete",
        retention="consent_records",
        export=None,
        category="consent",
        why_not_exported="random bytes that make the log's commitment to the row unreadable once they are deleted",
        via="identifier",
    )


def _of_readers(why_not_exported: str) -> dict[str, object]:
    """A column of a projection that is made for those who read it."""
    return personal(
        erase="delete",
        retention="consent_records",
        export=None,
        category="consent",
        why_not_exported=why_not_exported,
        via="profile",
    )


purpose = Table(
    "purpose",
    metadata,
    Column("purpose", Text, primary_key=True, info=impersonal()),
    Column("bit", SmallInteger, nullable=False, unique=True, info=impersonal()),
    Column("added_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("bit BETWEEN 0 AND 62", name="bit"),
    schema="consent",
    comment="Purposes ever declared, each with its bit in behavior.event.bits; a bit is never reused.",
)

record = Table(
    "record",
    metadata,
    Column("record_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("identifier_id", BigInteger, nullable=False, info=_tie("identifier")),
    Column("purpose", Text, nullable=False, info=_fact("purpose")),
    Column("act", Text, nullable=False, info=_fact("act")),
    Column("authority", Text, nullable=False, info=_fact("authority")),
    Column("jurisdiction", Text, nullable=False, info=_fact("jurisdiction")),
    Column("notice_version", Text, info=_fact("notice_version")),
    Column("notice_hash", LargeBinary, info=_fact("notice_hash")),
    Column("source_id", Integer, info=_fact("source")),
    Column("signal", Text, info=_fact("signal")),
    Column("signal_hash", LargeBinary, info=_fact("signal_hash")),
    Column("rule", Text, info=_fact("rule")),
    Column("policy_fingerprint", LargeBinary, nullable=False, info=impersonal()),
    Column("occurred_at", DateTime(timezone=True), nullable=False, info=_fact("occurred_at")),
    Column("recorded_at", DateTime(timezone=True), nullable=False, info=_fact("recorded_at")),
    Column("valid_until", DateTime(timezone=True), info=_fact("valid_until")),
    Column("is_two_step", Boolean, nullable=False, server_default=text("false"), info=_fact("is_two_step")),
    Column("is_undated", Boolean, nullable=False, server_default=text("false"), info=_fact("is_undated")),
    Column(
        "is_subject_initiated",
        Boolean,
        nullable=False,
        server_default=text("false"),
        info=_fact("is_subject_initiated"),
    ),
    Column("permits_from", DateTime(timezone=True), info=_fact("permits_from")),
    Column("salt", LargeBinary, info=_salt()),
    CheckConstraint("act IN ('grant', 'refuse', 'withdraw', 'object', 'restrict', 'release')", name="act"),
    CheckConstraint("act IN ('restrict', 'release') OR purpose <> ''", name="act_without_purpose"),
    CheckConstraint("authority IN ('authenticated', 'operator', 'imported', 'device', 'signal')", name="authority"),
    CheckConstraint("valid_until IS NULL OR act = 'grant'", name="only_grants_end"),
    CheckConstraint("act = 'grant' OR NOT is_two_step", name="only_grants_take_two_steps"),
    CheckConstraint("act = 'grant' OR NOT is_undated", name="only_grants_are_undated"),
    CheckConstraint("act = 'grant' OR NOT is_subject_initiated", name="only_grants_are_initiated"),
    CheckConstraint("act = 'grant' OR permits_from IS NULL", name="only_grants_permit"),
    CheckConstraint("octet_length(salt) = 32", name="salt"),
    Index(None, "identifier_id", "purpose"),
    schema="consent",
    comment="The ledger: one row per act, never updated. Fields follow ISO/IEC TS 27560. The entry of the audit log commits to "
    "the row with its salt; an act recorded before there were salts has none. Restrictions of processing have the purpose '', "
    "which means every purpose.",
)

repetition = Table(
    "repetition",
    metadata,
    Column("record_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("identifier_id", BigInteger, nullable=False, info=_tie("identifier")),
    Column("repeated_at", DateTime(timezone=True), primary_key=True, info=_fact("repeated_at")),
    Column("recorded_at", DateTime(timezone=True), nullable=False, info=_fact("recorded_at")),
    Column("salt", LargeBinary, info=_salt()),
    CheckConstraint("octet_length(salt) = 32", name="salt"),
    Index(None, "identifier_id"),
    schema="consent",
    comment="Each repetition of a recorded refusal by a signal, at most one per batch; never updated. "
    "A signal that repeats a refusal creates no new record.",
)

validity = Table(
    "validity",
    metadata,
    Column("validity_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("purpose", Text, nullable=False, info=impersonal()),
    Column("applied_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("validity_days", Integer, info=impersonal()),
    schema="consent",
    comment="Changes of how long the grants of a purpose are valid: from when on, and for how many days; without a number, "
    "for ever. Never updated. A purpose whose validity has not changed has no row.",
)

SHORTENED_END = """
CREATE FUNCTION consent.shortened_end(purpose text, given_at timestamptz, recorded_at timestamptz, as_of timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT min(period.ends_at) FROM (
        SELECT v.validity_days, greatest(given_at + make_interval(hours => 24 * v.validity_days), v.applied_at) AS ends_at,
               lead(v.applied_at) OVER (ORDER BY v.validity_id) AS replaced_at
        FROM consent.validity AS v
        WHERE v.purpose = shortened_end.purpose AND (as_of IS NULL OR v.applied_at <= as_of)
    ) AS period
    WHERE period.validity_days IS NOT NULL
      AND (period.replaced_at IS NULL OR period.replaced_at > shortened_end.recorded_at)
$$
"""
"""The end that the validities in force since give a grant; NULL for none. As of an instant, later ones are not known.

A validity ends a grant that is older when it is applied at once, and any other at its age. It limits every grant that was recorded
before it was replaced: a longer one is for later grants only.
"""

permitted = Table(
    "permitted",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("profile")),
    Column("purpose", Text, primary_key=True, info=_fact("purpose", "profile")),
    Column("since", DateTime(timezone=True), nullable=False, info=_fact("since", "profile")),
    Column("until", DateTime(timezone=True), info=_fact("until", "profile")),
    Column(
        "reader_pseudonym",
        Text,
        nullable=False,
        server_default=text("replace((gen_random_uuid())::text, '-'::text, ''::text)"),
        info=_of_readers("a random id under which marketers know the profile for this purpose alone"),
    ),
    Column(
        "traits",
        JSONB,
        nullable=False,
        server_default=text("'{}'::jsonb"),
        info=personal(
            erase="delete",
            retention="traits",
            export=None,
            category="trait",
            why_not_exported="a copy of behavior.trait, which is exported",
            via="profile",
        ),
    ),
    Column(
        "since_on",
        Date,
        Computed("(timezone('UTC'::text, since))::date", persisted=True),
        info=_of_readers("the day of `since`, which is exported"),
    ),
    Column(
        "until_on",
        Date,
        Computed("(timezone('UTC'::text, until))::date", persisted=True),
        info=_of_readers("the day of `until`, which is exported"),
    ),
    Index(None, "purpose", "reader_pseudonym", unique=True),
    Index("permitted_until_idx", "until", postgresql_where=text("until IS NOT NULL")),
    schema="consent",
    comment="Verdicts in force: one partition per purpose, holding permitted profiles only (the projection). "
    "A permission that needs no act has since = 1900-01-01, earlier than any event. reader_pseudonym is random per row "
    "and ends with it; instants are shown to readers as days, because one click gives several purposes the same instant.",
    postgresql_partition_by="LIST (purpose)",
)

reader_purpose = Table(
    "reader_purpose",
    metadata,
    Column("role", Text, primary_key=True, info=impersonal()),
    Column("purpose", Text, primary_key=True, info=impersonal()),
    schema="consent",
    comment="The purposes for which further reader roles read people, each with its partition of consent.projection.",
)

reader_session = Table(
    "reader_session",
    metadata,
    Column("started_at", DateTime(timezone=True), primary_key=True, info=impersonal()),
    Column("pid", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("login", Text, nullable=False, info=impersonal()),
    Column("tables", ARRAY(Text), nullable=False, info=impersonal()),
    Column("seen_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("gone_at", DateTime(timezone=True), info=impersonal()),
    Index(None, "login", "started_at"),
    Index("reader_session_open_idx", "started_at", postgresql_where=text("gone_at IS NULL")),
    schema="consent",
    comment="Sessions of SQL logins that read projections: from when, when last seen, when found ended, and which tables the "
    "login could read meanwhile. Statements are not recorded: they contain values of people.",
)

projection = Table(
    "projection",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("profile")),
    Column("role", Text, primary_key=True, info=_of_readers("a reader role of the policy, not about the person")),
    Column("purpose", Text, primary_key=True, info=_of_readers("the purpose of consent.permitted, which is exported")),
    Column("until", DateTime(timezone=True), info=_of_readers("the end in consent.permitted, which is exported")),
    Column(
        "reader_pseudonym",
        Text,
        nullable=False,
        server_default=text("replace((gen_random_uuid())::text, '-'::text, ''::text)"),
        info=_of_readers("a random id under which one role knows the profile for this purpose alone"),
    ),
    Column("since_on", Date, nullable=False, info=_of_readers("a day of consent.permitted, which is exported")),
    Column("until_on", Date, info=_of_readers("a day of consent.permitted, which is exported")),
    Column("traits", JSONB, nullable=False, info=_of_readers("a copy of behavior.trait, which is exported")),
    Index(None, "role", "purpose", "reader_pseudonym", unique=True),
    schema="consent",
    comment="What further reader roles read: the permitted profiles of their purposes, one partition per role and purpose, "
    "each with random ids of its own. Follows consent.permitted in the same transaction, by a trigger that exists "
    "while there are such roles.",
    postgresql_partition_by="LIST (role)",
)

refused = Table(
    "refused",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("profile")),
    Column("purpose", Text, primary_key=True, info=_fact("purpose", "profile")),
    Column("reason", Text, nullable=False, info=_fact("reason", "profile")),
    schema="consent",
    comment="Refusals based on a record; a profile in neither table has no record for the purpose.",
)

withdrawal = Table(
    "withdrawal",
    metadata,
    Column("withdrawal_id", BigInteger, primary_key=True, autoincrement=True, info=_tie("profile")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Column("purpose", Text, nullable=False, info=_fact("purpose", "profile")),
    Column("withdrawn_at", DateTime(timezone=True), nullable=False, info=_fact("withdrawn_at", "profile")),
    Index(None, "profile_id"),
    schema="consent",
    comment="Permissions that ended: the worker clears the purpose's bits of earlier events, then deletes the row.",
)

FOLLOW_VERDICTS = """
CREATE FUNCTION consent.follow_verdicts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM consent.projection WHERE profile_id = OLD.profile_id AND purpose = OLD.purpose;
    ELSIF TG_OP = 'INSERT' THEN
        INSERT INTO consent.projection (profile_id, role, purpose, until, since_on, until_on, traits)
        SELECT NEW.profile_id, r.role, NEW.purpose, NEW.until, NEW.since_on, NEW.until_on, NEW.traits
        FROM consent.reader_purpose AS r
        WHERE r.purpose = NEW.purpose;
    ELSE  -- a permission that begins again has a new id with every role
        UPDATE consent.projection AS p
        SET until = NEW.until, since_on = NEW.since_on, until_on = NEW.until_on, traits = NEW.traits,
            reader_pseudonym = CASE WHEN NEW.reader_pseudonym = OLD.reader_pseudonym THEN p.reader_pseudonym
                                    ELSE replace(gen_random_uuid()::text, '-', '') END
        WHERE p.profile_id = NEW.profile_id AND p.purpose = NEW.purpose;
    END IF;
    RETURN NULL;
END
$$
"""
"""Lets consent.projection follow consent.permitted; the trigger is created with the first further reader role."""
