"""Tables of the rights room: requests, suppressions, holds and receipts."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from cdp.schema.dictionary import impersonal, metadata, personal

_STATUTE = "California Code of Regulations, title 11, section 7101: requests are kept for 24 months"


def _kept(export: str | None, why_not_exported: str | None = None) -> dict[str, object]:
    return personal(
        erase="keep",
        retention="requests",
        export=export,
        category="request",
        why_kept=_STATUTE,
        why_not_exported=why_not_exported,
        via="request",
    )


request = Table(
    "request",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False, info=_kept("id")),
    Column("kind", Text, nullable=False, info=_kept("kind")),
    Column("regime", Text, nullable=False, info=_kept("regime")),
    Column("status", Text, nullable=False, info=_kept("status")),
    Column("received_at", DateTime(timezone=True), nullable=False, info=_kept("received_at")),
    Column("confirm_by", DateTime(timezone=True), info=_kept("confirm_by")),
    Column("due_at", DateTime(timezone=True), nullable=False, info=_kept("due_at")),
    Column("extended_at", DateTime(timezone=True), info=_kept("extended_at")),
    Column("verified_at", DateTime(timezone=True), info=_kept("verified_at")),
    Column("started_at", DateTime(timezone=True), info=_kept("started_at")),
    Column("closed_at", DateTime(timezone=True), info=_kept("closed_at")),
    Column("denial_reason", Text, info=_kept("denial_reason")),
    Column("entry_id", BigInteger, info=_kept(None, "the id of the audit entry, given in the receipt")),
    CheckConstraint(
        "kind IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit')",
        name="kind",
    ),
    CheckConstraint(
        "status IN ('received', 'verified', 'in_progress', 'fulfilled', 'denied', 'withdrawn', 'expired')", name="status"
    ),
    CheckConstraint("(status = 'denied') = (denial_reason IS NOT NULL)", name="denial_has_reason"),
    Index(None, "status", "due_at"),
    schema="rights",
    comment="Subject requests; after fulfilment they name nobody.",
)

request_identifier = Table(
    "request_identifier",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False, info=_kept("id")),
    Column("position", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column(
        "type",
        Text,
        nullable=False,
        info=personal(erase="delete", retention="requests", export="type", category="request", via="request"),
    ),
    Column(
        "sealed",
        LargeBinary,
        nullable=False,
        info=personal(erase="shred", retention="requests", export="value", category="request", via="request"),
    ),
    schema="rights",
    comment="What the requester named, sealed under the request's own key, shredded on fulfilment.",
)

step = Table(
    "step",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("position", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("table_name", Text, nullable=False, info=impersonal()),
    Column("verb", Text, nullable=False, info=impersonal()),
    Column("rows_touched", BigInteger, nullable=False, server_default=text("0"), info=impersonal()),
    Column("done_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("verb IN ('delete', 'sever', 'shred', 'keep', 'suppress', 'notify', 'repair', 'scrub')", name="verb"),
    schema="rights",
    comment="The plan of an erasure and how far it came: a killed run resumes at the first step that is not done.",
)

suppression = Table(
    "suppression",
    metadata,
    Column(
        "pseudonym",
        LargeBinary,
        primary_key=True,
        info=personal(
            erase="keep",
            retention="suppressions",
            export=None,
            category="request",
            why_kept="without it the next message would bring the person back",
            why_not_exported="a keyed hash under the suppression domain",
            via="identifier",
        ),
    ),
    Column("purpose", Text, primary_key=True, server_default=text("''"), info=impersonal()),
    Column("is_person_level", SmallInteger, nullable=False, info=impersonal()),
    Column("since", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("until", DateTime(timezone=True), info=impersonal()),
    Column("lifted_at", DateTime(timezone=True), info=impersonal()),
    schema="rights",
    comment="Standing orders never to process these pseudonyms again (purpose '' means every purpose); "
    "keyed under the suppression domain, which cannot be joined with the graph.",
)

hold = Table(
    "hold",
    metadata,
    Column("hold_id", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("retention_class", Text, nullable=False, info=impersonal()),
    Column("law", Text, nullable=False, info=impersonal()),
    Column("keep_until", Date, nullable=False, info=impersonal()),
    Column(
        "sealed",
        LargeBinary,
        nullable=False,
        info=personal(
            erase="keep",
            retention="holds",
            export=None,
            category="transaction",
            why_kept="a statutory hold named by law in policies/retention.yaml",
            why_not_exported="section 7024 (d): it is said that it is held, not what",
            via="request",
        ),
    ),
    Index(None, "keep_until"),
    schema="rights",
    comment="Columns under a statutory hold, sealed under a hold key and a random id, invisible to segments.",
)

receipt = Table(
    "receipt",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("body", JSONB, nullable=False, info=impersonal()),
    Column("entry_id", BigInteger, nullable=False, info=impersonal()),
    Column("issued_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    schema="rights",
    comment="What was done, in canonical JSON without personal data; the proof is computed from the log.",
)

replay = Table(
    "replay",
    metadata,
    Column("replay_number", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("written_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    schema="rights",
    comment="The last number of the replay file that this database has seen; a database behind its file was restored.",
)
