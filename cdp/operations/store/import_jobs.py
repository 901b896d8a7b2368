"""All SQL of import jobs: the progress of an import, written in the transaction of each chunk."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId


@dataclass(frozen=True, slots=True)
class ImportJob:
    """An import of one file under one mapping into one source; `tally` counts the outcomes of its rows so far."""

    import_job_id: int
    source_id: SourceId
    file_digest: bytes
    mapping_digest: bytes
    rows_done: int
    byte_offset: int
    tally: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None


def add_import_job(tx: Transaction, job: ImportJob) -> None:
    """Record the start of an import."""
    tx.execute(
        """
        INSERT INTO operations.import_job
            (import_job_id, source_id, file_digest, mapping_digest, rows_done, byte_offset, states, started_at)
        VALUES (%(job)s, %(source)s, %(file)s, %(mapping)s, %(rows)s, %(bytes)s, %(tally)s, %(started)s)
        """,
        {
            "job": job.import_job_id,
            "source": job.source_id,
            "file": job.file_digest,
            "mapping": job.mapping_digest,
            "rows": job.rows_done,
            "bytes": job.byte_offset,
            "tally": Jsonb(job.tally),
            "started": job.started_at,
        },
    )


def latest_import_job(
    tx: Transaction, source_id: SourceId, file_digest: bytes, *, mapping_digest: bytes
) -> ImportJob | None:
    """The last import of this file under this mapping into this source, None when there was none."""
    rows = tx.execute(
        """
        SELECT import_job_id, source_id, file_digest, mapping_digest, rows_done, byte_offset, states,
               started_at, finished_at
        FROM operations.import_job
        WHERE source_id = %(source)s AND file_digest = %(file)s AND mapping_digest = %(mapping)s
        ORDER BY started_at DESC, import_job_id DESC
        LIMIT 1
        """,
        {"source": source_id, "file": file_digest, "mapping": mapping_digest},
    )
    if not rows:
        return None
    job_id, source, file, mapping, done, offset, tally, started_at, finished_at = rows[0]
    return ImportJob(
        job_id, SourceId(source), bytes(file), bytes(mapping), done, offset, tally, started_at, finished_at
    )


def advance_import_job(tx: Transaction, before: ImportJob, after: ImportJob) -> bool:
    """Record the progress of a job; False when another process advanced or finished it meanwhile."""
    rows = tx.execute(
        """
        UPDATE operations.import_job
        SET rows_done = %(rows)s, byte_offset = %(bytes)s, states = %(tally)s
        WHERE import_job_id = %(job)s AND rows_done = %(before)s AND finished_at IS NULL
        RETURNING import_job_id
        """,
        {
            "job": before.import_job_id,
            "before": before.rows_done,
            "rows": after.rows_done,
            "bytes": after.byte_offset,
            "tally": Jsonb(after.tally),
        },
    )
    return bool(rows)


def finish_import_job(tx: Transaction, import_job_id: int, now: datetime) -> None:
    """Record that every row of the file has its outcome."""
    tx.execute(
        "UPDATE operations.import_job SET finished_at = %(now)s WHERE import_job_id = %(job)s AND finished_at IS NULL",
        {"job": import_job_id, "now": now},
    )
