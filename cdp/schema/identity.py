"""Tables of identity: identifiers, anchors, profiles, links, and the evidence of links.

`resolution` and `edge` are the recorded sequence; `link`, `canonical`, `profile` and `identifier.is_shared`
follow from it by the rules, and can be recomputed at any time (docs/explanation/identity.md).
"""

from sqlalchemy import (
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

from cdp.schema.dictionary import impersonal, metadata, personal
from cdp.schema.identity_history import PRESENT

_OWN_ID = "a random id that means nothing outside this store"


def _tie(via: str, erase: str = "delete") -> dict[str, object]:
    return personal(
        erase=erase, retention="identifiers", export=None, category="identifier", why_not_exported=_OWN_ID, via=via
    )


def _about(export: str) -> dict[str, object]:
    return personal(erase="delete", retention="identifiers", export=export, category="identifier", via="identifier")


identifier = Table(
    "identifier",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column(
        "type",
        Text,
        nullable=False,
        info=personal(erase="delete", retention="identifiers", export="type", category="identifier", via="identifier"),
    ),
    Column(
        "pseudonym",
        LargeBinary,
        nullable=False,
        unique=True,
        info=personal(
            erase="delete",
            retention="identifiers",
            export=None,
            category="identifier",
            why_not_exported="a keyed hash of the exported value",
            via="identifier",
        ),
    ),
    Column("pseudonym_version", SmallInteger, nullable=False, info=impersonal()),
    Column(
        "sealed",
        LargeBinary,
        nullable=False,
        info=personal(erase="shred", retention="identifiers", export="value", category="identifier", via="identifier"),
    ),
    Column(
        "is_shared",
        Boolean,
        nullable=False,
        server_default=text("false"),
        info=personal(
            erase="delete", retention="identifiers", export="is_shared", category="identifier", via="identifier"
        ),
    ),
    Column(
        "first_seen_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="first_seen_at", category="identifier", via="identifier"
        ),
    ),
    Column(
        "last_seen_on",
        Date,
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="last_seen_on", category="identifier", via="identifier"
        ),
    ),
    Column(
        "authority",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        info=personal(
            erase="delete", retention="identifiers", export="authority", category="identifier", via="identifier"
        ),
    ),
    Column(
        "proved_at",
        DateTime(timezone=True),
        info=personal(
            erase="delete", retention="identifiers", export="proved_at", category="identifier", via="identifier"
        ),
    ),
    schema="identity",
    comment="The only table that holds pseudonyms; everything else holds the random identifier_id.",
)

profile = Table(
    "profile",
    metadata,
    Column("profile_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("profile")),
    Column("origin_sequence", BigInteger, nullable=False, unique=True, info=_tie("profile")),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="created_at", category="identifier", via="profile"
        ),
    ),
    Column("merged_into", BigInteger, info=_tie("profile")),
    Column(
        "is_quarantined",
        Boolean,
        nullable=False,
        server_default=text("false"),
        info=personal(
            erase="delete", retention="identifiers", export="is_quarantined", category="identifier", via="profile"
        ),
    ),
    Column(
        "salt",
        LargeBinary,
        nullable=False,
        server_default=text("uuid_send(gen_random_uuid())"),
        info=_tie("profile"),
    ),
    Index(None, "merged_into", postgresql_where=text("merged_into IS NOT NULL")),
    schema="identity",
    comment="Profiles by stable id; origin_sequence names the resolution that made it, the older one survives a merge. "
    "salt is random, determines the samples of segments, and is shown to nobody.",
)

anchor = Table(
    "anchor",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column("members_digest", LargeBinary, nullable=False, unique=True, info=_tie("anchor")),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="created_at", category="identifier", via="anchor"
        ),
    ),
    Column("is_settled", Boolean, nullable=False, info=_tie("anchor")),
    schema="identity",
    comment="Interned identifier sets; not settled where a limit with a window may decide otherwise later.",
)

anchor_member = Table(
    "anchor_member",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("position", SmallInteger, nullable=False, info=_tie("anchor")),
    Index(None, "identifier_id", "anchor_id"),
    schema="identity",
    comment="Which identifiers an anchor holds, dropped ones included; position 0 is the strongest.",
)

anchor_source = Table(
    "anchor_source",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column(
        "source_id",
        Integer,
        primary_key=True,
        autoincrement=False,
        info=personal(erase="delete", retention="identifiers", export="source", category="identifier", via="anchor"),
    ),
    Column(
        "authority",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        info=personal(erase="delete", retention="identifiers", export="authority", category="identifier", via="anchor"),
    ),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text(PRESENT), info=_tie("anchor")),
    schema="identity",
    comment="Which sources asserted an anchor, and with which authority: gives jurisdictions, how far an erasure may "
    "reach, and whose word decides a conflict.",
)

canonical = Table(
    "canonical",
    metadata,
    Column("anchor_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text(PRESENT), info=_tie("anchor")),
    Index(None, "profile_id", "anchor_id"),
    schema="identity",
    comment="The canonical map: which anchors make one profile today.",
)

link = Table(
    "link",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Column(
        "linked_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="linked_at", category="identifier", via="identifier"
        ),
    ),
    Column("since", DateTime(timezone=True), nullable=False, server_default=text(PRESENT), info=_tie("identifier")),
    Index(None, "profile_id", "identifier_id"),
    schema="identity",
    comment="Which profile owns an identifier now.",
)

resolution = Table(
    "resolution",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False, info=_tie("anchor")),
    Column("anchor_id", BigInteger, nullable=False, info=_tie("anchor")),
    Column("source_id", Integer, nullable=False, info=_tie("anchor")),
    Column(
        "received_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="received_at", category="identifier", via="anchor"
        ),
    ),
    Column(
        "message_sealed",
        LargeBinary,
        nullable=False,
        info=personal(erase="shred", retention="identifiers", export="message_id", category="identifier", via="anchor"),
    ),
    Column("policy_fingerprint", LargeBinary, nullable=False, info=impersonal()),
    Column(
        "occurred_at",
        DateTime(timezone=True),
        info=personal(
            erase="delete", retention="identifiers", export="occurred_at", category="identifier", via="anchor"
        ),
    ),
    Index(None, "anchor_id"),
    schema="identity",
    comment="The recorded sequence: every application of the rules, in the order in which it took effect.",
)

edge = Table(
    "edge",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("identifier_id", BigInteger, nullable=False, info=_tie("identifier")),
    Column("other_identifier_id", BigInteger, nullable=False, info=_tie("identifier")),
    Column(
        "source_id",
        Integer,
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="source", category="identifier", via="identifier"
        ),
    ),
    Column(
        "received_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="received_at", category="identifier", via="identifier"
        ),
    ),
    Column(
        "import_job_id",
        BigInteger,
        info=personal(
            erase="delete",
            retention="identifiers",
            export=None,
            category="identifier",
            why_not_exported="the number of a file import, which does not identify a person",
            via="identifier",
        ),
    ),
    Column(
        "row_number",
        Integer,
        nullable=False,
        info=personal(erase="delete", retention="identifiers", export="row", category="identifier", via="identifier"),
    ),
    Column(
        "authority",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        info=personal(
            erase="delete", retention="identifiers", export="authority", category="identifier", via="identifier"
        ),
    ),
    Index(None, "identifier_id"),
    Index(None, "other_identifier_id"),
    schema="identity",
    comment="Recorded steps that came from a link table instead of a message: two identifiers, no anchor. `row_number` is the "
    "row of the table, `import_job_id` the import of its file.",
)

evidence = Table(
    "evidence",
    metadata,
    Column("evidence_id", BigInteger, primary_key=True, autoincrement=True, info=_tie("identifier")),
    Column("sequence", BigInteger, nullable=False, info=_tie("identifier")),
    Column(
        "kind",
        Text,
        nullable=False,
        info=personal(erase="delete", retention="identifiers", export="kind", category="identifier", via="identifier"),
    ),
    Column(
        "rule",
        Text,
        nullable=False,
        info=personal(erase="delete", retention="identifiers", export="rule", category="identifier", via="identifier"),
    ),
    Column("identifier_id", BigInteger, nullable=False, info=_tie("identifier")),
    Column("other_identifier_id", BigInteger, info=_tie("identifier")),
    Column("profile_id", BigInteger, nullable=False, info=_tie("profile")),
    Column("other_profile_id", BigInteger, info=_tie("profile")),
    Column(
        "at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(erase="delete", retention="identifiers", export="at", category="identifier", via="identifier"),
    ),
    Column("policy_fingerprint", LargeBinary, nullable=False, info=impersonal()),
    CheckConstraint(
        "kind IN ('link', 'merge', 'refusal', 'shared', 'quarantine', 'never', 'unmerge', 'allow_again', 'authority')",
        name="kind",
    ),
    Index(None, "identifier_id"),
    Index(None, "other_identifier_id", postgresql_where=text("other_identifier_id IS NOT NULL")),
    Index(
        "evidence_left_out_idx",
        "identifier_id",
        postgresql_where=text("kind = 'refusal' AND (rule LIKE 'authority:%' OR rule LIKE 'stale:%')"),
    ),
    Index(None, "profile_id"),
    Index(None, "other_profile_id", postgresql_where=text("other_profile_id IS NOT NULL")),
    schema="identity",
    comment="Append-only evidence of links, merges and refusals; `rule` is the rule's name in the policy.",
)

never = Table(
    "never",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("other_identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column(
        "created_at",
        DateTime(timezone=True),
        nullable=False,
        info=personal(
            erase="delete", retention="identifiers", export="created_at", category="identifier", via="identifier"
        ),
    ),
    CheckConstraint("identifier_id < other_identifier_id", name="ordered"),
    Index(None, "other_identifier_id"),
    schema="identity",
    comment="Pairs that an unmerge keeps apart; gone when either side is erased.",
)

rejected_case = Table(
    "rejected_case",
    metadata,
    Column("identifier_id", BigInteger, primary_key=True, autoincrement=False, info=_tie("identifier")),
    Column("kind", Text, primary_key=True, info=_about("kind")),
    Column("reason", Text, nullable=False, info=_about("reason")),
    Column(
        "evidence",
        LargeBinary,
        info=personal(
            erase="shred",
            retention="identifiers",
            export=None,
            category="identifier",
            why_not_exported="another way to read the exported identifier, kept to notice when that changes",
            via="identifier",
        ),
    ),
    Column("through_sequence", BigInteger, info=_tie("identifier")),
    Column("rejected_at", DateTime(timezone=True), nullable=False, info=_about("rejected_at")),
    CheckConstraint("kind IN ('reread', 'left_out')", name="kind"),
    CheckConstraint("(kind = 'reread') = (evidence IS NOT NULL)", name="readings_have_evidence"),
    CheckConstraint("(kind = 'left_out') = (through_sequence IS NOT NULL)", name="claims_end_at_a_step"),
    schema="identity",
    comment="Cases of the identity review that a reviewer rejected: a reading (sealed), or all claims up to a step of the "
    "recorded sequence. A case is listed again when its evidence differs.",
)

generation = Table(
    "generation",
    metadata,
    Column("single", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("version", BigInteger, nullable=False, info=impersonal()),
    Column("next_sequence", BigInteger, nullable=False, info=impersonal()),
    Column(
        "acted_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=text("'1970-01-01 00:00:00+00'::timestamp with time zone"),
        info=impersonal(),
    ),
    Column("verdicts_ended", BigInteger, nullable=False, server_default=text("0"), info=impersonal()),
    CheckConstraint("single = 1", name="single"),
    schema="identity",
    comment="One row: the version of the mapping (caches compare it), the next number of the recorded sequence, and the "
    "instant of the last change: what follows is dated after it, even if the clock was set back. verdicts_ended grows when "
    "a permission ends or a profile is deleted: the sessions of readers that exist then are ended.",
)
