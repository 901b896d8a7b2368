"""Let messages of people who have not answered wait, sealed under a throw-away key of the device. Phase: pre.

No source defers until an operator sets it to, so nothing that is stored changes.
"""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

_SOURCE = (
    "Where messages come from; the kind caps what authority its consent signals can have. `defer`: messages of people who "
    "have not answered wait sealed for their answer."
)
_ACCOUNTING = (
    "The outcome of every message; appended per batch, summed on read, compacted by the worker. A deferred message whose "
    "wait ended is taken away by a negative row in its hour, beside the row of the state in which it ended."
)
_DEVICE = (
    "Devices with deferred messages, one row per source: the owner of the throw-away key (vault.subject_key) that seals them. "
    "`granted_at` marks those whose messages are to be opened."
)
_MESSAGE = (
    "Deferred messages, sealed under the key of their device; `counted_at` is the hour in which each was counted. "
    "`is_refused` marks those that end when they are opened and are not permitted, because the device refused something since."
)


def upgrade() -> None:
    op.execute("ALTER TABLE sources.source ADD COLUMN defer boolean NOT NULL DEFAULT false")
    op.execute(f"COMMENT ON TABLE sources.source IS '{_SOURCE}'")
    op.execute(
        """
        ALTER TABLE accounting.accounting
            DROP CONSTRAINT accounting_state_check,
            ADD CONSTRAINT accounting_state_check CHECK (state IN (
                'stored', 'duplicate', 'suppressed', 'not_permitted', 'invalid', 'blocked', 'refused', 'deferred'
            )),
            DROP CONSTRAINT accounting_messages_check,
            ADD CONSTRAINT accounting_messages_check CHECK (messages > 0 OR (state = 'deferred' AND messages < 0))
        """
    )
    op.execute(f"COMMENT ON TABLE accounting.accounting IS '{_ACCOUNTING}'")
    op.execute(
        """
        ALTER TABLE consent.record
            ADD COLUMN permits_from timestamptz,
            ADD CONSTRAINT record_only_grants_permit_check CHECK (act = 'grant' OR permits_from IS NULL)
        """
    )
    op.execute(
        """
        CREATE TABLE consent.deferred_device (
            subject_id bigint CONSTRAINT deferred_device_pkey PRIMARY KEY,
            pseudonym bytea NOT NULL CONSTRAINT deferred_device_pseudonym_check CHECK (octet_length(pseudonym) = 32),
            source_id integer NOT NULL,
            granted_at timestamptz
        )
        """
    )
    op.execute(
        "CREATE UNIQUE INDEX deferred_device_pseudonym_source_id_idx ON consent.deferred_device (pseudonym, source_id)"
    )
    op.execute(
        "CREATE INDEX deferred_device_granted_at_idx ON consent.deferred_device (granted_at) WHERE granted_at IS NOT NULL"
    )
    op.execute("ALTER TABLE consent.deferred_device ALTER COLUMN pseudonym SET STATISTICS 0")
    op.execute(f"COMMENT ON TABLE consent.deferred_device IS '{_DEVICE}'")
    op.execute(
        """
        CREATE TABLE consent.deferred_message (
            subject_id bigint CONSTRAINT deferred_message_subject_id_fkey REFERENCES consent.deferred_device,
            event_id uuid,
            occurred_at timestamptz NOT NULL,
            counted_at timestamptz NOT NULL,
            ends_at timestamptz NOT NULL,
            is_refused boolean NOT NULL DEFAULT false,
            sealed bytea NOT NULL CONSTRAINT deferred_message_sealed_check CHECK (octet_length(sealed) > 29),
            CONSTRAINT deferred_message_pkey PRIMARY KEY (subject_id, event_id)
        )
        """
    )
    op.execute("CREATE UNIQUE INDEX deferred_message_event_id_idx ON consent.deferred_message (event_id)")
    op.execute("CREATE INDEX deferred_message_ends_at_idx ON consent.deferred_message (ends_at)")
    op.execute("ALTER TABLE consent.deferred_message ALTER COLUMN sealed SET STATISTICS 0")
    op.execute(f"COMMENT ON TABLE consent.deferred_message IS '{_MESSAGE}'")
