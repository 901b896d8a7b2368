"""Tables of operations: import jobs, offsets of topics, policies that were in force, the test clock, the roles of the parts."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from cdp.schema.dictionary import impersonal, metadata

import_job = Table(
    "import_job",
    metadata,
    Column("import_job_id", BigInteger, primary_key=True, info=impersonal()),
    Column("source_id", Integer, nullable=False, info=impersonal()),
    Column("file_digest", LargeBinary, nullable=False, info=impersonal()),
    Column("mapping_digest", LargeBinary, nullable=False, info=impersonal()),
    Column("rows_done", BigInteger, nullable=False, info=impersonal()),
    Column("byte_offset", BigInteger, nullable=False, info=impersonal()),
    Column("states", JSONB, nullable=False, info=impersonal()),
    Column("started_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    Column("finished_at", DateTime(timezone=True), info=impersonal()),
    schema="operations",
    comment="The progress of an import; written in the transaction of each chunk, so a killed import resumes exactly.",
)

topic_offset = Table(
    "topic_offset",
    metadata,
    Column("source_id", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("topic", Text, primary_key=True, info=impersonal()),
    Column("partition", Integer, primary_key=True, autoincrement=False, info=impersonal()),
    Column("next_offset", BigInteger, nullable=False, info=impersonal()),
    Column("cluster_id", Text, nullable=False, info=impersonal()),
    Column("topic_id", Text, info=impersonal()),
    Column("updated_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("next_offset >= 0", name="offset"),
    schema="operations",
    comment="Up to where the partitions of a topic of Kafka were read; written in the transaction of the messages, so each counts once.",
)

applied_policy = Table(
    "applied_policy",
    metadata,
    Column("applied_policy_id", Integer, primary_key=True, autoincrement=True, info=impersonal()),
    Column("fingerprint", LargeBinary, nullable=False, info=impersonal()),
    Column("content", JSONB, nullable=False, info=impersonal()),
    Column("applied_at", DateTime(timezone=True), nullable=False, info=impersonal()),
    schema="operations",
    comment="Policy history: every policy that was put in force, and when.",
)

instant_override = Table(
    "instant_override",
    metadata,
    Column("single", SmallInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column("instant", DateTime(timezone=True), nullable=False, info=impersonal()),
    CheckConstraint("single = 1", name="single"),
    schema="operations",
    comment="The owner-only test clock of the database; empty in production.",
)

part_role = Table(
    "part_role",
    metadata,
    Column("part", Text, primary_key=True, info=impersonal()),
    Column("role_name", Text, nullable=False, info=impersonal()),
    schema="operations",
    comment="The database roles of the parts of the service: their sessions are not those of readers. A copy of the database names "
    "those of its original, which lose their rights in it.",
)
