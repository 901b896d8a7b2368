"""Webhooks of sources, and which delivery brought a recent message. Phase: pre.

Nothing that is stored changes: messages of before came by no webhook.
"""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

_COMMENT = (
    "The webhook of a source: how its deliveries are signed, and how they become messages. The secrets are sealed under a key of "
    "their own, `key_id`, which is shredded with the webhook."
)
_RECENT = (
    "What became of the latest messages of each source, to find faults of senders: no ids of people and no values, every name is one "
    "of the policy or ''other''; `delivery` is what a platform calls the delivery of its webhook. The worker keeps the latest of each "
    "source, and those for a day."
)


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE sources.hook (
            source_id integer CONSTRAINT hook_pkey PRIMARY KEY REFERENCES sources.source (source_id),
            key_id bigint NOT NULL CONSTRAINT hook_key_id_key UNIQUE,
            scheme text NOT NULL,
            sealed bytea NOT NULL,
            secrets smallint NOT NULL,
            mapping text NOT NULL,
            window_seconds integer NOT NULL,
            created_at timestamptz NOT NULL,
            changed_at timestamptz NOT NULL,
            CONSTRAINT hook_scheme_check
                CHECK (scheme IN ('standard', 'shopify', 'stripe', 'github', 'woocommerce', 'basic')),
            CONSTRAINT hook_secrets_check CHECK (secrets BETWEEN 1 AND 2),
            CONSTRAINT hook_mapping_check CHECK (octet_length(mapping) BETWEEN 1 AND 131072),
            CONSTRAINT hook_window_seconds_check CHECK (window_seconds BETWEEN 30 AND 3600)
        )
        """
    )
    op.execute(f"COMMENT ON TABLE sources.hook IS '{_COMMENT}'")
    op.execute("ALTER TABLE accounting.recent_message ADD COLUMN delivery text NOT NULL DEFAULT ''")
    op.execute(
        "ALTER TABLE accounting.recent_message "
        "ADD CONSTRAINT recent_message_delivery_check CHECK (length(delivery) <= 100)"
    )
    op.execute(f"COMMENT ON TABLE accounting.recent_message IS '{_RECENT}'")
