"""Cases of the identity review that a reviewer rejected. Phase: pre."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_COMMENT = (
    "Cases of the identity review that a reviewer rejected: a reading (sealed), or all claims up to a step of the "
    "recorded sequence. A case is listed again when its evidence differs."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE identity.rejected_case (
            identifier_id bigint NOT NULL,
            kind text NOT NULL,
            reason text NOT NULL,
            evidence bytea,
            through_sequence bigint,
            rejected_at timestamptz NOT NULL,
            CONSTRAINT rejected_case_pkey PRIMARY KEY (identifier_id, kind),
            CONSTRAINT rejected_case_kind_check CHECK (kind IN ('reread', 'left_out')),
            CONSTRAINT rejected_case_readings_have_evidence_check
                CHECK ((kind = 'reread') = (evidence IS NOT NULL)),
            CONSTRAINT rejected_case_claims_end_at_a_step_check
                CHECK ((kind = 'left_out') = (through_sequence IS NOT NULL))
        )
        """
    )
    # Sealed bytes in pg_statistic would outlast their row.
    op.execute("ALTER TABLE identity.rejected_case ALTER COLUMN evidence SET STATISTICS 0")
    op.execute(f"COMMENT ON TABLE identity.rejected_case IS '{_COMMENT}'")
