"""Tables of the audit log: leaves, their facts, and the tree over them.

`entry.commitment` is all that the public log contains. `fact` contains what a leaf commits to, with its salt, until both
are erased together; from then on, the leaf is 32 bytes that cannot be distinguished from random ones.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from cdp.schema.dictionary import impersonal, metadata

tree = Table(
    "tree",
    metadata,
    Column("tree_id", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("origin", Text, nullable=False, unique=True, info=impersonal()),
    Column("size", BigInteger, nullable=False, info=impersonal()),
    Column("started_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("tree_id > 0", name="tree_id"),
    CheckConstraint("size >= 0", name="size"),
    schema="audit",
    comment="One row per log ever started; the one with the highest tree_id grows, the others do not change.",
)

entry = Table(
    "entry",
    metadata,
    Column("entry_id", BigInteger, Identity(always=True), primary_key=True, info=impersonal()),
    Column("commitment", LargeBinary, nullable=False, unique=True, info=impersonal()),
    Column("recorded_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("tree_id", SmallInteger, ForeignKey("audit.tree.tree_id"), info=impersonal()),
    Column("leaf_index", BigInteger, info=impersonal()),
    CheckConstraint("octet_length(commitment) = 32", name="commitment"),
    CheckConstraint("(tree_id IS NULL) = (leaf_index IS NULL)", name="placed"),
    CheckConstraint("leaf_index >= 0", name="leaf_index"),
    UniqueConstraint("tree_id", "leaf_index"),
    Index("entry_waiting_idx", "entry_id", postgresql_where=text("leaf_index IS NULL")),
    schema="audit",
    comment="Leaves: inserted without an index by the transaction they describe, ordered by the sequencer.",
)

fact = Table(
    "fact",
    metadata,
    Column(
        "entry_id",
        BigInteger,
        ForeignKey("audit.entry.entry_id"),
        primary_key=True,
        autoincrement=False,
        info=impersonal(),
    ),
    Column("kind", Text, nullable=False, info=impersonal()),
    Column("recorded_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("body", JSONB, nullable=False, info=impersonal()),
    Column("salt", LargeBinary, nullable=False, info=impersonal()),
    CheckConstraint("octet_length(salt) = 32", name="salt"),
    CheckConstraint("jsonb_typeof(body) = 'object'", name="body"),
    Index(None, "kind", "recorded_at"),
    schema="audit",
    comment="What a leaf commits to, and the salt: counts, fixed words and ids of records, no personal data.",
)

read_subject = Table(
    "read_subject",
    metadata,
    Column("subject_digest", LargeBinary, primary_key=True, info=impersonal()),
    Column(
        "entry_id",
        BigInteger,
        ForeignKey("audit.fact.entry_id", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
        info=impersonal(),
    ),
    CheckConstraint("octet_length(subject_digest) = 16", name="subject_digest"),
    Index(None, "entry_id"),
    schema="audit",
    comment="Whom a read showed: digests under the keys of the subjects. Once the key of a subject is shredded, nobody can tell "
    "whose digest it was; the leaf of the read commits to the set.",
)

tile = Table(
    "tile",
    metadata,
    Column("tree_id", SmallInteger, ForeignKey("audit.tree.tree_id"), primary_key=True, info=impersonal()),
    Column("level", SmallInteger, primary_key=True, info=impersonal()),
    Column("number", BigInteger, primary_key=True, info=impersonal()),
    Column("hashes", LargeBinary, nullable=False, info=impersonal()),
    CheckConstraint("level BETWEEN 0 AND 7", name="level"),
    CheckConstraint("number >= 0", name="number"),
    CheckConstraint("octet_length(hashes) BETWEEN 32 AND 8192 AND octet_length(hashes) % 32 = 0", name="hashes"),
    schema="audit",
    comment="C2SP tiles: up to 256 hashes; only the last tile of a level is ever rewritten, and it only grows.",
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("tree_id", SmallInteger, primary_key=True, info=impersonal()),
    Column("size", BigInteger, primary_key=True, info=impersonal()),
    Column("root", LargeBinary, nullable=False, info=impersonal()),
    Column("note", Text, nullable=False, info=impersonal()),
    Column("signed_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("octet_length(root) = 32", name="root"),
    CheckConstraint("size >= 0", name="size"),
    ForeignKeyConstraint(["tree_id"], ["audit.tree.tree_id"]),
    schema="audit",
    comment="Signed tree heads, as notes.",
)
