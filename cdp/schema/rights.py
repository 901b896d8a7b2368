"""Tables of rights: requests, the steps of an erasure, suppressions, legal holds, and the position in the replay file."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    text,
)

from cdp.schema.dictionary import RECORD_KEEPING, SUPPRESSION_KEEPING, impersonal, metadata, personal


def _kept(export: str | None, why_not_exported: str | None = None) -> dict[str, object]:
    return personal(
        erase="keep",
        retention="requests",
        export=export,
        category="request",
        why_kept=RECORD_KEEPING,
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
    Column("asked_at", DateTime(timezone=True), info=_kept("asked_at")),
    Column("verified_at", DateTime(timezone=True), info=_kept("verified_at")),
    Column("started_at", DateTime(timezone=True), info=_kept("started_at")),
    Column("closed_at", DateTime(timezone=True), info=_kept("closed_at")),
    Column("denial_reason", Text, info=_kept("denial_reason")),
    Column("mode", Text, info=_kept("mode")),
    Column("weighed", ARRAY(Text), nullable=False, server_default=text("'{}'"), info=_kept("weighed")),
    Column("waiting", Integer, nullable=False, server_default=text("0"), info=impersonal()),
    Column("entry_id", BigInteger, info=_kept(None, "the id of the audit entry, which is in the receipt")),
    Column("scrub_entry_id", BigInteger, info=_kept(None, "the id of the audit entry, which is in the second receipt")),
    Column("is_scrubbed", Boolean, nullable=False, server_default=text("false"), info=_kept("is_scrubbed")),
    CheckConstraint(
        "kind IN ('access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit')",
        name="kind",
    ),
    CheckConstraint(
        "status IN ('received', 'verified', 'in_progress', 'fulfilled', 'denied', 'withdrawn', 'expired')",
        name="status",
    ),
    CheckConstraint("scrub_entry_id IS NOT NULL OR NOT is_scrubbed", name="scrubbed_has_entry"),
    CheckConstraint("(status = 'denied') = (denial_reason IS NOT NULL)", name="denial_has_reason"),
    CheckConstraint("mode IN ('erase_and_suppress', 'erase', 'suppress')", name="mode"),
    CheckConstraint("(kind = 'erasure') = (mode IS NOT NULL)", name="erasure_has_mode"),
    CheckConstraint("kind = 'objection' OR weighed = '{}'", name="weighed_objection"),
    Index(None, "status", "due_at"),
    schema="rights",
    comment="Subject requests; once fulfilled they contain no identifier.",
)

request_identifier = Table(
    "request_identifier",
    metadata,
    Column(
        "request_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=personal(erase="delete", retention="requests", export="id", category="request", via="request"),
    ),
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
    comment="The identifiers that a request names, sealed under a key of the request, which is shredded after its end.",
)

request_value = Table(
    "request_value",
    metadata,
    Column(
        "request_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=personal(erase="delete", retention="requests", export="id", category="request", via="request"),
    ),
    Column("position", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column(
        "sealed",
        LargeBinary,
        nullable=False,
        info=personal(erase="shred", retention="requests", export="value", category="request", via="request"),
    ),
    schema="rights",
    comment="The corrected traits of a rectification, name and value, sealed under the key of the request until its end.",
)

review = Table(
    "review",
    metadata,
    Column(
        "request_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=personal(
            erase="delete",
            retention="requests",
            export=None,
            category="request",
            why_not_exported="a random id; the request itself is exported",
            via="request",
        ),
    ),
    Column(
        "identifier_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        info=personal(
            erase="delete",
            retention="requests",
            export=None,
            category="request",
            why_not_exported="a random id; it may be of another person, who is not disclosed",
            via="identifier",
        ),
    ),
    Column("is_included", Boolean, nullable=False, info=impersonal()),
    Column("decided_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Index(None, "identifier_id"),
    schema="rights",
    comment="Decisions of a reviewer about identifiers that nobody vouched for: whether they belong to the person of the "
    "request. Deleted when the request ends.",
)

step = Table(
    "step",
    metadata,
    Column("request_id", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("position", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("table_name", Text, nullable=False, info=impersonal()),
    Column("verb", Text, nullable=False, info=impersonal()),
    Column("reason", Text, nullable=False, info=impersonal()),
    Column("rows_touched", BigInteger, nullable=False, server_default=text("0"), info=impersonal()),
    Column("done_at", DateTime(timezone=True), info=impersonal()),
    CheckConstraint("verb IN ('delete', 'sever', 'shred', 'keep')", name="verb"),
    CheckConstraint("rows_touched >= 0", name="rows_touched"),
    schema="rights",
    comment="The plan of an erasure and its progress: a killed run resumes at the first step that is not done.",
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
            why_kept=SUPPRESSION_KEEPING,
            why_not_exported="a keyed hash under the suppression domain",
            via="identifier",
        ),
    ),
    Column("purpose", Text, primary_key=True, server_default=text("''"), info=impersonal()),
    Column(
        "request_id",
        BigInteger,
        primary_key=True,
        autoincrement=False,
        server_default=text("0"),
        info=personal(
            erase="delete",
            retention="requests",
            export=None,
            category="request",
            why_not_exported="a random id; the request itself is exported",
            via="request",
        ),
    ),
    Column("since", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("until", DateTime(timezone=True), info=impersonal()),
    Column("lifted_at", DateTime(timezone=True), info=impersonal()),
    Index(None, "request_id", postgresql_where=text("request_id <> 0")),
    schema="rights",
    comment="Pseudonyms that must not be processed again (purpose '' means every purpose), under the suppression domain, "
    "which cannot be joined with the graph. Rows with a request are pending suppressions until the request ends; request_id "
    "-1 is a restriction of an identifier that was unknown, 0 any other suppression. Of a lifted suppression (lifted_at), only "
    "messages that occurred before it are still refused; a restriction that ended has one as well, and refuses nothing.",
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
            why_kept="a legal hold required by the law named in policies/retention.yaml",
            why_not_exported="section 7024 (d): its existence is disclosed, but not its content",
            via="request",
        ),
    ),
    Index(None, "keep_until"),
    schema="rights",
    comment="Columns under a legal hold, sealed under a separate key and a random id, not available to segments.",
)

replay = Table(
    "replay",
    metadata,
    Column("single", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("file_id", LargeBinary, nullable=False, info=impersonal()),
    Column("number", BigInteger, nullable=False, info=impersonal()),
    Column("generation", BigInteger, nullable=False, server_default=text("0"), info=impersonal()),
    Column("nonce", LargeBinary, nullable=False, server_default=text("''"), info=impersonal()),
    Column("compactions", BigInteger, nullable=False, server_default=text("0"), info=impersonal()),
    Column("digest", LargeBinary, nullable=False, server_default=text("''"), info=impersonal()),
    CheckConstraint("single = 1", name="single"),
    CheckConstraint("octet_length(file_id) = 16", name="file_id"),
    CheckConstraint("number >= 0", name="number"),
    CheckConstraint("generation >= 0", name="generation"),
    CheckConstraint("octet_length(nonce) = CASE WHEN generation = 0 THEN 0 ELSE 16 END", name="nonce"),
    CheckConstraint("compactions >= 0", name="compactions"),
    CheckConstraint("octet_length(digest) IN (0, 32)", name="digest"),
    schema="rights",
    comment="The replay file that belongs to this database, the last line that the database has applied, the digest of the file "
    "up to it, and the last start of a service with it: a database behind its file was restored; a file that is behind its "
    "database is a copy, and one with another digest was altered.",
)
