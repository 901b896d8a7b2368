"""Count what ends the right of readers to what they have read, so that older sessions of theirs can be ended. Phase: pre."""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_COMMENT = (
    "One row: the version of the mapping (caches compare it), the next number of the recorded sequence, and the "
    "instant of the last change: what follows is dated after it, even if the clock was set back. verdicts_ended grows when "
    "a permission ends or a profile is deleted: the sessions of readers that exist then are ended."
)

_FUNCTION = """
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
"""


def upgrade() -> None:
    op.execute("ALTER TABLE identity.generation ADD COLUMN verdicts_ended bigint NOT NULL DEFAULT 0")
    op.execute(f"COMMENT ON TABLE identity.generation IS '{_COMMENT}'")
    op.execute(_FUNCTION)
    op.execute(
        "CREATE TRIGGER verdicts_ended AFTER INSERT ON consent.withdrawal REFERENCING NEW TABLE AS ended "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.note_ended_verdicts()"
    )
    op.execute(
        "CREATE TRIGGER verdicts_ended AFTER DELETE ON identity.profile REFERENCING OLD TABLE AS ended "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.note_ended_verdicts()"
    )
