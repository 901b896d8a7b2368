"""Give further reader roles ids and tables of their own, and tokens a reader role. Phase: pre."""

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

_FOLLOW_VERDICTS = """CREATE FUNCTION consent.follow_verdicts() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
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

_COMMENTS = {
    "consent.reader_purpose": "The purposes for which further reader roles read people, each with its partition of consent.projection.",
    "consent.projection": "What further reader roles read: the permitted profiles of their purposes, one partition per role and purpose, each with random ids of its own. Follows consent.permitted in the same transaction, by a trigger that exists while there are such roles.",
    "access.token": "`reader` is the reader role of the policy, for tokens that read people as another one than marketers. Bearer tokens of the people who work with the store, as SHA-256 of 256 random bits.",
}


def upgrade() -> None:
    op.execute("ALTER TABLE access.token ADD COLUMN reader text")
    op.execute("ALTER TABLE access.token ADD CONSTRAINT token_reader_check CHECK (reader IS NULL OR role = 'marketer')")
    op.execute(
        """
        CREATE TABLE consent.reader_purpose (
            role text NOT NULL,
            purpose text NOT NULL,
            CONSTRAINT reader_purpose_pkey PRIMARY KEY (role, purpose)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE consent.projection (
            profile_id bigint NOT NULL,
            role text NOT NULL,
            purpose text NOT NULL,
            until timestamptz,
            reader_pseudonym text DEFAULT replace(gen_random_uuid()::text, '-', '') NOT NULL,
            since_on date NOT NULL,
            until_on date,
            traits jsonb NOT NULL,
            CONSTRAINT projection_pkey PRIMARY KEY (profile_id, role, purpose)
        ) PARTITION BY LIST (role)
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX projection_role_purpose_reader_pseudonym_idx ON consent.projection (role, purpose, reader_pseudonym)"
    )
    op.execute("ALTER TABLE consent.projection ALTER COLUMN reader_pseudonym SET STATISTICS 0")
    op.execute(_FOLLOW_VERDICTS)
    op.execute("REVOKE ALL ON FUNCTION consent.follow_verdicts() FROM PUBLIC")
    for table, comment in _COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON TABLE {table} IS '{quoted}'")
