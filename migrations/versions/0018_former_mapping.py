"""Keep what the mapping was, so that a question as of an earlier instant is answered by the mapping of then.

What is stored now is taken to have been so since it was made: of earlier changes, nothing is known. Phase: pre.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_PRESENT = "coalesce(nullif(current_setting('cdp.instant', true), '')::timestamptz, statement_timestamp())"

_TABLES = """
CREATE TABLE identity.former_link (
    identifier_id bigint NOT NULL,
    until timestamptz NOT NULL,
    since timestamptz NOT NULL,
    profile_id bigint NOT NULL,
    CONSTRAINT former_link_pkey PRIMARY KEY (identifier_id, until)
);
CREATE INDEX former_link_profile_id_idx ON identity.former_link (profile_id);
CREATE TABLE identity.former_canonical (
    anchor_id bigint NOT NULL,
    until timestamptz NOT NULL,
    since timestamptz NOT NULL,
    profile_id bigint NOT NULL,
    CONSTRAINT former_canonical_pkey PRIMARY KEY (anchor_id, until)
);
CREATE INDEX former_canonical_profile_id_idx ON identity.former_canonical (profile_id);
CREATE TABLE identity.former_sharing (
    identifier_id bigint NOT NULL,
    until timestamptz NOT NULL,
    is_shared boolean NOT NULL,
    CONSTRAINT former_sharing_pkey PRIMARY KEY (identifier_id, until)
);
CREATE TABLE identity.former_quarantine (
    profile_id bigint NOT NULL,
    until timestamptz NOT NULL,
    is_quarantined boolean NOT NULL,
    CONSTRAINT former_quarantine_pkey PRIMARY KEY (profile_id, until)
);
"""

_KEEP_OWNER = """
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

_KEEP_STATE = """
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

_COMMENTS = {
    "identity.former_link": "Which profile owned an identifier before, from when until when.",
    "identity.former_canonical": "Which profile an anchor belonged to before, from when until when.",
    "identity.former_sharing": "Whether an identifier was shared before, until when.",
    "behavior.former_age": "Ages that counted before, from when until when; they lose purposes and expire as those "
    "that count do. Of an age that was deleted, only the period is left, so that an answer as of then can state that it is "
    "incomplete.",
    "identity.former_quarantine": "Whether a profile was in quarantine before, until when.",
}


_FORMER_AGE = """
CREATE TABLE behavior.former_age (
    anchor_id bigint NOT NULL,
    former_age_id bigint GENERATED ALWAYS AS IDENTITY,
    authority text,
    bits bigint NOT NULL,
    is_birthday boolean,
    counts_from date,
    occurred_at timestamptz,
    received_at timestamptz,
    event_id uuid,
    since timestamptz NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT former_age_pkey PRIMARY KEY (anchor_id, former_age_id),
    CONSTRAINT former_age_deleted_check CHECK ((counts_from IS NULL) = (bits = 0))
)
"""

_KEEP_FORMER_AGE = """
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


def upgrade() -> None:
    _keep_former_ages()
    op.execute(_TABLES)
    for table in ("link", "canonical", "anchor_source"):
        op.execute(f"ALTER TABLE identity.{table} ADD COLUMN since timestamptz")
        # Nothing that a process may have cached changes, so the version of the mapping stays.
        op.execute(f"ALTER TABLE identity.{table} DISABLE TRIGGER USER")
    op.execute("UPDATE identity.link SET since = linked_at")
    for table in ("canonical", "anchor_source"):
        op.execute(
            f"UPDATE identity.{table} AS t SET since = a.created_at FROM identity.anchor AS a "
            "WHERE a.anchor_id = t.anchor_id"
        )
    for table in ("link", "canonical", "anchor_source"):
        op.execute(f"ALTER TABLE identity.{table} ENABLE TRIGGER USER")
        op.execute(f"ALTER TABLE identity.{table} ALTER COLUMN since SET DEFAULT {_PRESENT}")
        op.execute(f"ALTER TABLE identity.{table} ALTER COLUMN since SET NOT NULL")
    op.execute(_KEEP_OWNER)
    op.execute(_KEEP_STATE)
    for table in ("link", "canonical"):
        op.execute(
            f"CREATE TRIGGER former_owner BEFORE UPDATE ON identity.{table} FOR EACH ROW "
            "WHEN (OLD.profile_id IS DISTINCT FROM NEW.profile_id) EXECUTE FUNCTION identity.keep_former_owner()"
        )
    for table, column in (("identifier", "is_shared"), ("profile", "is_quarantined")):
        op.execute(
            f"CREATE TRIGGER former_state AFTER UPDATE ON identity.{table} FOR EACH ROW "
            f"WHEN (OLD.{column} IS DISTINCT FROM NEW.{column}) EXECUTE FUNCTION identity.keep_former_state()"
        )
    for table, comment in _COMMENTS.items():
        op.execute(f"COMMENT ON TABLE {table} IS '{comment}'")


def _keep_former_ages() -> None:
    op.execute("ALTER TABLE behavior.stated_age ADD COLUMN since timestamptz")
    op.execute("UPDATE behavior.stated_age SET since = received_at")
    op.execute(f"ALTER TABLE behavior.stated_age ALTER COLUMN since SET DEFAULT {_PRESENT}")
    op.execute("ALTER TABLE behavior.stated_age ALTER COLUMN since SET NOT NULL")
    op.execute(_FORMER_AGE)
    op.execute(_KEEP_FORMER_AGE)
    op.execute(
        "CREATE TRIGGER former_age BEFORE UPDATE ON behavior.stated_age "
        "FOR EACH ROW EXECUTE FUNCTION behavior.keep_former_age()"
    )
