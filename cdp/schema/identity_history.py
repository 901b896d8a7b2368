"""What the mapping was before: former owners, former profiles of anchors, former sharing and former quarantine.

With them, a question as of an earlier instant is answered by the mapping of then. Triggers write them, so that no statement
that changes the mapping can omit it; rows are deleted with the person, like the mapping itself.
"""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Table

from cdp.schema.dictionary import metadata, personal

_OWN_ID = "a random id that means nothing outside this store"

PRESENT: Final = "coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp())"
"""The instant of the transaction, which the lock of the only writer sets."""


DATABASE_INSTANT: Final = """
CREATE FUNCTION identity.database_instant() RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$ SELECT coalesce((SELECT instant FROM operations.instant_override), clock_timestamp()) $$
"""
"""The instant by the clock of the database, as of the call, or by the test clock of the owner."""


def _tie(via: str) -> dict[str, object]:
    return personal(
        erase="delete", retention="identifiers", export=None, category="identifier", why_not_exported=_OWN_ID, via=via
    )


def _fact(export: str, via: str) -> dict[str, object]:
    return personal(erase="delete", retention="identifiers", export=export, category="identifier", via=via)


former_link = Table(
    "former_link",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("until", DateTime(timezone=True), primary_key=True, info=_fact("until", "identifier")),
    Column("since", DateTime(timezone=True), nullable=False, info=_fact("since", "identifier")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Index(None, "profile_id"),
    schema="identity",
    comment="Which profile owned an identifier before, from when until when.",
)

former_canonical = Table(
    "former_canonical",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column("until", DateTime(timezone=True), primary_key=True, info=_fact("until", "anchor")),
    Column("since", DateTime(timezone=True), nullable=False, info=_fact("since", "anchor")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Index(None, "profile_id"),
    schema="identity",
    comment="Which profile an anchor belonged to before, from when until when.",
)

former_sharing = Table(
    "former_sharing",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("until", DateTime(timezone=True), primary_key=True, info=_fact("until", "identifier")),
    Column("is_shared", Boolean, nullable=False, info=_fact("is_shared", "identifier")),
    schema="identity",
    comment="Whether an identifier was shared before, until when.",
)

former_quarantine = Table(
    "former_quarantine",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("profile")),
    Column("until", DateTime(timezone=True), primary_key=True, info=_fact("until", "profile")),
    Column("is_quarantined", Boolean, nullable=False, info=_fact("is_quarantined", "profile")),
    schema="identity",
    comment="Whether a profile was in quarantine before, until when.",
)

_KEEP_OWNER: Final = """
CREATE FUNCTION identity.keep_former_owner() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    present timestamptz := coalesce(
        nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()
    );
BEGIN
    IF OLD.since < present THEN
        IF TG_TABLE_NAME = 'link' THEN
            INSERT INTO identity.former_link (identifier_id, until, since, profile_id)
            VALUES (OLD.identifier_id, present, OLD.since, OLD.profile_id)
            ON CONFLICT DO NOTHING;
        ELSE
            INSERT INTO identity.former_canonical (anchor_id, until, since, profile_id)
            VALUES (OLD.anchor_id, present, OLD.since, OLD.profile_id)
            ON CONFLICT DO NOTHING;
        END IF;
    END IF;
    NEW.since := present;
    RETURN NEW;
END
$$
"""

_KEEP_STATE: Final = """
CREATE FUNCTION identity.keep_former_state() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    present timestamptz := coalesce(
        nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp()
    );
BEGIN
    IF TG_TABLE_NAME = 'identifier' THEN
        INSERT INTO identity.former_sharing (identifier_id, until, is_shared)
        VALUES (OLD.identifier_id, present, OLD.is_shared)
        ON CONFLICT DO NOTHING;
    ELSE
        INSERT INTO identity.former_quarantine (profile_id, until, is_quarantined)
        VALUES (OLD.profile_id, present, OLD.is_quarantined)
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END
$$
"""


_TRIGGERS: Final = (
    """
    CREATE TRIGGER former_owner BEFORE UPDATE ON identity.link FOR EACH ROW
    WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id) EXECUTE FUNCTION identity.keep_former_owner()
    """,
    """
    CREATE TRIGGER former_owner BEFORE UPDATE ON identity.canonical FOR EACH ROW
    WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id) EXECUTE FUNCTION identity.keep_former_owner()
    """,
    """
    CREATE TRIGGER former_state AFTER UPDATE ON identity.identifier FOR EACH ROW
    WHEN (OLD.is_shared IS DISTINCT FROM NEW.is_shared) EXECUTE FUNCTION identity.keep_former_state()
    """,
    """
    CREATE TRIGGER former_state AFTER UPDATE ON identity.profile FOR EACH ROW
    WHEN (OLD.is_quarantined IS DISTINCT FROM NEW.is_quarantined) EXECUTE FUNCTION identity.keep_former_state()
    """,
)


def history_triggers() -> list[str]:
    """The functions and triggers that keep what the mapping was. Of several changes at one instant, the first is kept."""
    return [statement.strip() for statement in (_KEEP_OWNER, _KEEP_STATE, *_TRIGGERS)]
