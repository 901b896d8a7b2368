"""Let rows of link tables end in the state `refused`, when a rule of the policy refused their link. Phase: pre.

Rows that were counted until now keep the state `stored`: their counts do not name the rows.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE accounting.accounting
            DROP CONSTRAINT accounting_state_check,
            ADD CONSTRAINT accounting_state_check
                CHECK (state IN ('stored', 'duplicate', 'suppressed', 'not_permitted', 'invalid', 'blocked', 'refused'))
        """
    )
