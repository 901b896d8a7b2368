"""Keep ages by the authority of their statement. Phase: pre.

Of the ages that were stored before, nobody knows who stated them: they may refuse, and permit nothing.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COMMENT = (
    "Ages as the latest day of birth that agrees with them, per anchor, authority and purpose bits: of a device the "
    "youngest, otherwise a date of birth before an age, and the latest. Minimum ages of purposes are compared with them."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE behavior.stated_age (
            anchor_id bigint NOT NULL,
            authority text NOT NULL,
            bits bigint NOT NULL,
            is_birthday boolean NOT NULL,
            counts_from date NOT NULL,
            occurred_at timestamptz NOT NULL,
            received_at timestamptz NOT NULL,
            event_id uuid NOT NULL,
            CONSTRAINT stated_age_pkey PRIMARY KEY (anchor_id, authority, bits),
            CONSTRAINT stated_age_authority_check CHECK (authority IN ('authenticated', 'imported', 'device')),
            CONSTRAINT stated_age_bits_check CHECK (bits > 0)
        )
        """
    )
    op.execute(f"COMMENT ON TABLE behavior.stated_age IS '{_COMMENT}'")
    op.execute(
        """
        INSERT INTO behavior.stated_age
        SELECT anchor_id, 'device', bits, false,
               ((occurred_at AT TIME ZONE 'UTC')
                - make_interval(years => floor(greatest(-1, least(150, (plain #>> '{}')::numeric)))::int))::date,
               occurred_at, received_at, event_id
        FROM behavior.trait
        WHERE name = 'age' AND jsonb_typeof(plain) = 'number' AND NOT is_rectified
        """
    )
