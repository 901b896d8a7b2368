"""${message}

Phase: pre (before the new code runs) or post (after the old code is gone).
Lock and statement timeouts are set in migrations/env.py; raise them here only with a reason.
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "op.execute('SELECT 1')"}
