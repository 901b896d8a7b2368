"""Move the tables of sources, accounting and operations out of the schema `access`, each to that of its package.

Tables keep their names, rows, indexes, sequences and privileges. The column that names the recorded step in which a
profile began becomes `origin_sequence`. Comments on tables are updated. Phase: pre.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOVED = {
    "source": "sources",
    "accounting": "accounting",
    "notice": "accounting",
    "import_job": "operations",
    "applied_policy": "operations",
    "instant_override": "operations",
}

_COMMENTS = {
    "accounting.accounting": "The outcome of every message; appended per batch, summed on read, compacted by the worker.",
    "accounting.notice": "Counts of irregularities in messages that are accounted for as well; `subject` is a name "
    "from policy or 'other'.",
    "audit.entry": "Leaves: inserted without an index by the transaction they describe, ordered by the sequencer.",
    "audit.fact": "What a leaf commits to, and the salt: counts, fixed words and ids of records, no personal data.",
    "audit.tree": "One row per log ever started; the one with the highest tree_id grows, the others do not change.",
    "behavior.definition": "The definitions under which rows were stored: `trait KEY` a computed trait's, `class KEY` "
    "a retention class's days. If the policy has another one, buckets are recomputed, and "
    "message ids are kept longer.",
    "behavior.duplicate": "Ids of stored messages as keyed digests, so that each message counts once; hash-"
    "partitioned.",
    "behavior.event": "One row per event, partitioned by retention class and month of occurred_at; never "
    "rewritten. name_id 0 is an event that the tracking plan does not name; its name is sealed.",
    "behavior.landmark": "The landmark of forward decay, by trait and generation.",
    "behavior.severed": "What remains of expired events of classes that sever: counts by month and coarsened plain "
    "values, without person or instant, and without values shared by fewer than the minimum.",
    "behavior.term": "Vocabulary strings, interned once for all profiles; vocabulary 'event' holds the event names.",
    "consent.purpose": "Purposes ever declared, each with its bit in behavior.event.bits; a bit is never reused.",
    "consent.record": "The ledger: one row per act, never updated. Fields follow ISO/IEC TS 27560.",
    "consent.refused": "Refusals based on a record; a profile in neither table has no record for the purpose.",
    "consent.repetition": "The last instant at which a signal repeated a recorded refusal; the record itself is never"
    " updated. A signal that repeats a refusal creates no new record.",
    "identity.profile": "Profiles by stable id; origin_sequence names the resolution that made it, the older one "
    "survives a merge.",
    "operations.applied_policy": "Policy history: every policy that was put in force, and when.",
    "operations.import_job": "The progress of an import; written in the transaction of each chunk, so a killed import "
    "resumes exactly.",
    "rights.hold": "Columns under a legal hold, sealed under a separate key and a random id, not available to "
    "segments.",
    "rights.replay": "The replay file that belongs to this database, and the last line that the database has "
    "applied; a database behind its file was restored.",
    "rights.request": "Subject requests; once fulfilled they contain no identifier.",
    "rights.request_identifier": "The identifiers that a request names, sealed under a key of the request, which is shredded"
    " after its end.",
    "rights.step": "The plan of an erasure and its progress: a killed run resumes at the first step that is not done.",
    "rights.suppression": "Pseudonyms that must not be processed again (purpose '' means every purpose), under the "
    "suppression domain, which cannot be joined with the graph. Rows with a request are pending"
    " suppressions until the request ends.",
    "segments.membership": "Members of each segment, since when, and under which version they were last evaluated.",
    "segments.membership_change": "Append-only: every entry and exit, written in the transaction that evaluated it.",
    "segments.segment_version": "Definitions as written; never updated.",
    "segments.stale": "Profiles whose memberships must be evaluated again: after an event of this name or, "
    "without a name, after any change. Written in the transaction that changed something, "
    "deleted within moments in the one that evaluates.",
    "vault.epoch": "Epochs; their keys are kept by the key provider. A backup can be opened until the key of "
    "its epoch is destroyed.",
    "vault.key_check": "Check values of root keys, by which a missing or wrong one is detected before anything is "
    "written.",
    "vault.subject_key": "One key per anchor and per identifier, wrapped under an epoch key; deleting the row shreds"
    " everything it sealed.",
}


def upgrade() -> None:
    for schema in ("sources", "accounting", "operations"):
        op.execute(f"CREATE SCHEMA {schema}")
    for table, schema in _MOVED.items():
        op.execute(f"ALTER TABLE access.{table} SET SCHEMA {schema}")
    # The body of a function is text, which still names the old schema.
    op.execute(
        """
        CREATE OR REPLACE FUNCTION consent.present_instant() RETURNS timestamptz
        LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT coalesce((SELECT instant FROM operations.instant_override), statement_timestamp()) $$
        """
    )
    op.execute("ALTER TABLE identity.profile RENAME COLUMN born_sequence TO origin_sequence")
    op.execute(
        "ALTER TABLE identity.profile RENAME CONSTRAINT profile_born_sequence_key TO profile_origin_sequence_key"
    )
    for table, comment in _COMMENTS.items():
        quoted = comment.replace("'", "''")
        op.execute(f"COMMENT ON TABLE {table} IS '{quoted}'")
