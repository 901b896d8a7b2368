"""The schema as PostgreSQL statements; tests compare a migrated database with it.

`python -m cdp.schema.ddl` prints them.
"""

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable, SetColumnComment, SetTableComment

from cdp.schema.all import tables
from cdp.schema.behavior import FORMER_AGE_TRIGGER, KEEP_FORMER_AGE
from cdp.schema.consent import (
    APPEND_ONLY,
    APPEND_ONLY_TABLES,
    ENDED_VERDICTS,
    FOLLOW_VERDICTS,
    IN_ORDER,
    PRESENT_INSTANT,
    SHORTENED_END,
)
from cdp.schema.deferred import TOTAL_DEFERRED, TOTAL_TRIGGERS
from cdp.schema.dictionary import SCHEMAS, declaration_of
from cdp.schema.identity_history import DATABASE_INSTANT, history_triggers
from cdp.schema.part_functions import FUNCTIONS as PART_FUNCTIONS
from cdp.schema.reader_sessions import FUNCTIONS
from cdp.schema.version import version_triggers

DUPLICATE_PARTITIONS = 8

_ROLES = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'cdp_marketer') THEN
        CREATE ROLE cdp_marketer NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'role cdp_marketer was not created: ask an administrator to create it (NOLOGIN)';
    WHEN unique_violation OR duplicate_object THEN
        NULL;
END
$$;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
"""


def statements() -> list[str]:
    """The statements that create an empty store, in order."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    out = [f"CREATE SCHEMA {name}" for name in SCHEMAS]
    for table in tables():
        out.append(str(CreateTable(table).compile(dialect=dialect)).strip())
        ordered = sorted(table.indexes, key=lambda index: str(index.name))
        out.extend(str(CreateIndex(index).compile(dialect=dialect)).strip() for index in ordered)
        if table.comment:
            out.append(str(SetTableComment(table).compile(dialect=dialect)))
        out.extend(str(SetColumnComment(column).compile(dialect=dialect)) for column in table.columns if column.comment)
    out.extend(_partitions())
    out.extend(_without_statistics())
    out += [PRESENT_INSTANT.strip(), "REVOKE ALL ON FUNCTION consent.present_instant() FROM PUBLIC"]
    signature = "consent.shortened_end(text, timestamptz, timestamptz, timestamptz)"
    out += [SHORTENED_END.strip(), f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"]
    out += [DATABASE_INSTANT.strip(), "REVOKE ALL ON FUNCTION identity.database_instant() FROM PUBLIC"]
    out += [FOLLOW_VERDICTS.strip(), "REVOKE ALL ON FUNCTION consent.follow_verdicts() FROM PUBLIC"]
    for signature, function in (FUNCTIONS | PART_FUNCTIONS).items():
        out += [function.strip(), f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC"]
    out.append(APPEND_ONLY.strip())
    out += [
        f"CREATE TRIGGER append_only BEFORE UPDATE ON consent.{table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.refuse_update()"
        for table in APPEND_ONLY_TABLES
    ]
    out.append(IN_ORDER.strip())
    out += [
        f"CREATE TRIGGER in_order AFTER INSERT ON consent.{table} REFERENCING NEW TABLE AS added "
        "FOR EACH STATEMENT EXECUTE FUNCTION consent.require_order()"
        for table in APPEND_ONLY_TABLES
    ]
    out += [statement.strip() for statement in ENDED_VERDICTS]
    out += [TOTAL_DEFERRED.strip(), "REVOKE ALL ON FUNCTION consent.total_deferred() FROM PUBLIC", *TOTAL_TRIGGERS]
    out += [KEEP_FORMER_AGE.strip(), FORMER_AGE_TRIGGER]
    out.extend(history_triggers())
    out.extend(version_triggers())
    # The dialect doubles percent signs for a driver; this script is sent to the server directly.
    out = [statement.replace("%%", "%") for statement in out]
    out.append("INSERT INTO identity.generation (single, version, next_sequence) VALUES (1, 1, 1)")
    return out


def render() -> str:
    """The statements as one SQL script, roles included."""
    return ";\n\n".join(statements()) + ";\n" + _ROLES


def _partitions() -> list[str]:
    return [
        f"CREATE TABLE behavior.duplicate_{number} PARTITION OF behavior.duplicate "
        f"FOR VALUES WITH (MODULUS {DUPLICATE_PARTITIONS}, REMAINDER {number})"
        for number in range(DUPLICATE_PARTITIONS)
    ]


def _without_statistics() -> list[str]:
    """Keep sealed and pseudonymous bytes out of pg_statistic, where they would survive an erasure."""
    out = []
    for table in tables():
        for column in table.columns:
            declared = declaration_of(column)
            is_bytes = column.type.compile(dialect=postgresql.dialect()) == "BYTEA"  # type: ignore[no-untyped-call]
            is_identifying = is_bytes or column.name.endswith("pseudonym")
            if declared is not None and declared.is_personal and is_identifying:
                out.append(f"ALTER TABLE {table.fullname} ALTER COLUMN {column.name} SET STATISTICS 0")
    return out


if __name__ == "__main__":
    print(render(), end="")
