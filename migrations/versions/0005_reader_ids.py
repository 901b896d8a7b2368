"""Give every permission a random reader pseudonym and its days, and every profile a salt.

Reader pseudonyms were keyed hashes, equal in all projections of a profile. The marketers' role loses its access here and
gets it back, to other columns, when the service puts the policy in force. Phase: pre.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_REVOKE = """
DO $$
DECLARE
    projection regclass;
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdp_marketer') THEN
        FOR projection IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'consent.permitted'::regclass LOOP
            EXECUTE format('REVOKE ALL ON %s FROM cdp_marketer', projection);
            EXECUTE format(
                'REVOKE ALL (profile_id, purpose, since, until, reader_pseudonym, traits) ON %s FROM cdp_marketer',
                projection
            );
            EXECUTE format('DROP POLICY IF EXISTS unended ON %s', projection);
            EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', projection);
        END LOOP;
    END IF;
END
$$
"""

_COMMENTS = {
    "consent.permitted": "Verdicts in force: one partition per purpose, holding permitted profiles only (the projection). "
    "A permission that needs no act has since = 1900-01-01, earlier than any event. reader_pseudonym is random per row "
    "and ends with it; instants are shown to readers as days, because one click gives several purposes the same instant.",
    "identity.profile": "Profiles by stable id; origin_sequence names the resolution that made it, the older one survives a "
    "merge. salt is random, determines the samples of segments, and is shown to nobody.",
}


def upgrade() -> None:
    op.execute(_REVOKE)
    op.execute(
        """
        ALTER TABLE consent.permitted
            ALTER COLUMN reader_pseudonym SET DEFAULT replace(gen_random_uuid()::text, '-', ''),
            ADD COLUMN since_on date GENERATED ALWAYS AS ((timezone('UTC', since))::date) STORED,
            ADD COLUMN until_on date GENERATED ALWAYS AS ((timezone('UTC', until))::date) STORED
        """
    )
    op.execute("UPDATE consent.permitted SET reader_pseudonym = DEFAULT")
    # The default is evaluated for each row.
    op.execute("ALTER TABLE identity.profile ADD COLUMN salt bytea NOT NULL DEFAULT uuid_send(gen_random_uuid())")
    op.execute("ALTER TABLE identity.profile ALTER COLUMN salt SET STATISTICS 0")
    for table, comment in _COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON TABLE {table} IS '{quoted}'")
