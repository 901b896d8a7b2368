"""Tables of the vault: wrapped subject keys, the epochs they are wrapped under, and check values of root keys.

No key is stored here in the clear, and epoch keys are not stored here at all. Only `cdp.vault.store` may name these
tables. `subject_key.epoch_id` has no foreign key: writers lock the row of the epoch once per batch, not once per key.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, Integer, LargeBinary, Table, Text

from cdp.schema.dictionary import impersonal, metadata, personal

epoch = Table(
    "epoch",
    metadata,
    Column("epoch_id", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("retired_at", DateTime(timezone=True), info=impersonal()),
    Column("destroyed_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("epoch_id > 0", name="epoch_id"),
    CheckConstraint("destroyed_at IS NULL OR retired_at IS NOT NULL", name="destroyed"),
    schema="vault",
    comment="Epochs; their keys are kept by the key provider. A backup can be opened until the key of its epoch is destroyed.",
)

subject_key = Table(
    "subject_key",
    metadata,
    Column(
        "subject_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=personal(
            erase="shred",
            retention="identifiers",
            export=None,
            category="key",
            why_not_exported="a random id without meaning outside this store",
            via="subject",
        ),
    ),
    Column("epoch_id", Integer, nullable=False, info=impersonal()),
    Column(
        "wrapped",
        LargeBinary,
        nullable=False,
        info=personal(
            erase="shred",
            retention="identifiers",
            export=None,
            category="key",
            why_not_exported="a wrapped key: what it opens is exported, the key is not",
            via="subject",
        ),
    ),
    CheckConstraint("subject_id > 0", name="subject_id"),
    CheckConstraint("octet_length(wrapped) = 61", name="wrapped"),
    schema="vault",
    comment="One key per anchor and per identifier, wrapped under an epoch key; deleting the row shreds everything it sealed.",
)

key_check = Table(
    "key_check",
    metadata,
    Column("name", Text, primary_key=True, info=impersonal()),
    Column("check_value", LargeBinary, nullable=False, info=impersonal()),
    Column("created_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("destroyed_at", DateTime(timezone=True), info=impersonal()),
    Column("retired_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("octet_length(check_value) = 16", name="check_value"),
    schema="vault",
    comment="Check values of root keys, by which a missing or wrong one is detected before anything is written. A retired key is "
    "kept for earlier backups only.",
)
