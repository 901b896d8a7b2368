"""Import of a file of messages: every row is processed like any other message, exactly once.

Each chunk is one transaction of the ingest flow. The job records its progress in the same transaction, so a chunk is
stored if and only if its rows are counted: an import that was killed resumes after the last row that was processed.
Two processes that import the same file cannot both advance the job; the chunk of the second one is rolled back.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from cdp.accounting.model import Outcome
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.imports.cells import Row
from cdp.flows.imports.groups import grouped
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.read import File, inspect_file, rows_of
from cdp.flows.imports.row import Reader, row_reader
from cdp.flows.ingest.batch import Ingest
from cdp.flows.ingest.isolate import isolate, may_be_of_content
from cdp.flows.operations.sources import create_source
from cdp.kit.db import Transaction
from cdp.kit.db_faults import is_conflict
from cdp.kit.errors import Fault
from cdp.kit.gc import collector_paused
from cdp.kit.ids import encode_id, new_id
from cdp.kit.wording import counted
from cdp.operations.store import import_jobs as import_job_store
from cdp.operations.store.import_jobs import ImportJob
from cdp.policy.identifiers import EXTERNAL_IDS
from cdp.policy.model import Policy
from cdp.policy.problems import choose
from cdp.sources.model import IMPORT_SOURCE, Source, SourceKind
from cdp.sources.store import sources as source_store
from cdp.wire.message import Invalid, Message

"""The source of imports that name none; created with the first one."""

CHUNK_ROWS: Final = 1_000
ROWS_NAMED_MAX: Final = 20
"""How many row numbers are kept for each reason."""

NOTED: Final = "noted: "
"""Begins the names in a tally of rows that are irregular beside their state."""
UNDATED: Final = f"{NOTED}consent_undated"
"""The name in a tally of rows that grant a consent without a date."""
OTHER_BODY: Final = f"{NOTED}duplicate_other_body"
"""The name in a tally of rows whose message id has other content than the message that was stored under it."""

_TRIES: Final = 3
_log = logging.getLogger(__name__)
_OWN_TYPES: Final = frozenset({"user_id", "anonymous_id"})


@dataclass(frozen=True, slots=True)
class Tally:
    """The outcomes of rows: how many in each state and for each reason, and the first row numbers of each reason."""

    states: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    rows: dict[str, list[int]] = field(default_factory=dict)

    def plus(self, rows: Sequence[Row], outcomes: Sequence[Outcome], messages: Sequence[Message | Invalid]) -> "Tally":
        """The tally with more rows, each in the state of its message; what is irregular is noted beside it."""
        total = Tally(dict(self.states), dict(self.reasons), {name: list(rows) for name, rows in self.rows.items()})
        for row, outcome, message in zip(rows, outcomes, messages, strict=True):
            total.states[outcome.state.value] = total.states.get(outcome.state.value, 0) + 1 + len(row.more)
            if outcome.reason:
                total._name(f"{outcome.state.value}: {outcome.reason}", row)
            if isinstance(message, Message) and any(act.is_undated for act in message.acts):
                total._name(UNDATED, row)
            if outcome.is_other_body:
                total._name(OTHER_BODY, row)
        return total

    def _name(self, name: str, row: Row) -> None:
        self.reasons[name] = self.reasons.get(name, 0) + 1 + len(row.more)
        named = self.rows.setdefault(name, [])
        if len(named) < ROWS_NAMED_MAX:
            named.extend(islice(row.numbers, ROWS_NAMED_MAX - len(named)))

    def document(self) -> dict[str, Any]:
        """The tally as a JSON object."""
        return {"states": self.states, "reasons": self.reasons, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an import: rows processed, bytes read of the file, bytes in it."""

    rows: int
    bytes_read: int
    bytes_all: int


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import; `resumed_after` is the number of rows that earlier runs had processed."""

    job: str | None
    source: str
    rows: int
    resumed_after: int
    tally: Tally
    is_dry_run: bool = False
    notices: list[dict[str, Any]] = field(default_factory=list)
    """In a dry run, what is refused or read in an odd way: see `RowNotices`."""


Watch = Callable[[Progress], None]


def import_file(
    context: Context,
    path: Path,
    mapping: Mapping,
    *,
    source_name: str | None = None,
    resume: bool = False,
    chunk_rows: int = CHUNK_ROWS,
    watch: Watch = lambda _progress: None,
) -> Imported:
    """Import a file; rows that are not messages are counted as invalid.

    Faults: those of the file and of the mapping, `unknown_source`, `import_unfinished` and `nothing_to_resume` about
    an earlier run, `import_interrupted` when the database went away (resumable), `import_elsewhere`.
    """
    check_mapping(mapping, context.policy)
    file = inspect_file(path, mapping)
    source = source_of(context, source_name)
    job = begin_job(context, source, file.digest, mapping_digest=mapping.digest, resume=resume)
    run = _Run(context, file, job, reader=row_reader(mapping, source, file.digest), source=source)
    with rows_of(file, mapping) as (rows, bytes_read):
        for chunk in chunks(_after(grouped(rows, mapping), job.rows_done), chunk_rows):
            run.process(chunk, bytes_read())
            watch(Progress(run.job.rows_done, bytes_read(), file.size))
    return run.finish(resumed_after=job.rows_done)


def check_mapping(mapping: Mapping, policy: Policy) -> None:
    """Check a mapping against the policy. Raises `unknown_identifier_type` and `unknown_purpose`."""
    usable = usable_identifiers(policy)
    for key in mapping.identifiers:
        if key not in usable:
            raise Fault(
                "unknown_identifier_type",
                "The mapping names an identifier type that an import cannot carry",
                f"identifiers.{key}: {choose(key, usable)}",
                status=422,
            )
    purposes = usable_purposes(policy)
    for key in mapping.consents:
        if key not in purposes:
            raise Fault(
                "unknown_purpose",
                "The mapping names a purpose that cannot be consented to",
                f"consents.{key}: {choose(key, purposes)}",
                status=422,
            )


def usable_identifiers(policy: Policy) -> list[str]:
    """The identifier types that a row can carry."""
    return [
        key
        for key, rule in policy.identifiers.types.items()
        if key in _OWN_TYPES or any(promotion.place == EXTERNAL_IDS for promotion in rule.promote)
    ]


def usable_purposes(policy: Policy) -> list[str]:
    """The purposes that a row can grant or refuse."""
    return [key for key, rule in policy.purposes.items() if not rule.needs_unique_identifier]


class _Run:
    """One run of an import: processes chunk after chunk and keeps the job up to date."""

    def __init__(self, context: Context, file: File, job: ImportJob, *, reader: Reader, source: Source) -> None:
        self._context = context
        self._file = file
        self._reader = reader
        self._source = source
        self._ingest = Ingest(
            context.database, context.vault, context.policy, clock=context.clock, replay=context.replay
        )
        self.job = job

    def process(self, chunk: Sequence[Row], bytes_read: int) -> None:
        """Process some rows; a row that cannot be processed is invalid and does not affect the others."""
        now = self._context.clock.now()
        with collector_paused():
            messages = [self._reader(row, now) for row in chunk]
        try:
            self._process_all(chunk, messages, bytes_read)
        except Fault as fault:
            raise self._interrupted(fault) from fault
        except Exception as error:
            raise self._interrupted(_failed()) from error

    def _process_all(self, chunk: Sequence[Row], messages: Sequence[Message | Invalid], bytes_read: int) -> None:
        """Process in one transaction, or in several where rows fail only together."""
        try:
            self._process(chunk, messages, bytes_read)
            return
        except Exception as error:
            if not may_be_of_content(error):
                raise
            _log.exception("chunk_failed", extra={"rows": len(chunk)})
        isolated = isolate(self._ingest.check, messages)
        if isolated != messages or len(chunk) == 1:
            self._process(chunk, isolated, bytes_read)
            return
        half = len(chunk) // 2
        self._process_all(chunk[:half], messages[:half], bytes_read)
        self._process_all(chunk[half:], messages[half:], bytes_read)

    def _process(self, chunk: Sequence[Row], messages: Sequence[Message | Invalid], bytes_read: int) -> None:
        advanced = self.job

        def note(tx: Transaction, outcomes: Sequence[Outcome]) -> None:
            nonlocal advanced
            tally = _tally_of(self.job).plus(chunk, outcomes, messages).document()
            done = self.job.rows_done + count_of(chunk)
            advanced = replace(self.job, rows_done=done, byte_offset=bytes_read, tally=tally)
            if not import_job_store.advance_import_job(tx, self.job, advanced):
                raise import_elsewhere()

        for tries_left in reversed(range(_TRIES)):
            try:
                self._ingest.process(messages, also=note)
                break
            except Exception as error:
                if not tries_left or not is_conflict(error):
                    raise
        self.job = advanced

    def _interrupted(self, fault: Fault) -> Fault:
        if fault.status < 500:
            return fault
        return Fault(
            "import_interrupted",
            "The import was interrupted",
            f"{fault.detail or fault.title} Rows 1 to {self.job.rows_done:,} were processed, and none after them. "
            "Run the same command again with --resume.",
            status=503,
            retry_after_seconds=fault.retry_after_seconds,
        )

    def finish(self, *, resumed_after: int) -> Imported:
        """Record that every row has its outcome."""
        now = self._context.clock.now()
        tally = _tally_of(self.job)
        name = encode_id("imp", self.job.import_job_id)
        with self._context.database.transaction() as tx:
            import_job_store.finish_import_job(tx, self.job.import_job_id, now)
            fact = {"kind": "import.finished", "actor": "operator", "import": name, "states": tally.states}
            fact_store.append(tx, fact, now)
        return Imported(name, self._source.name, self.job.rows_done, resumed_after, tally)


def source_of(context: Context, name: str | None) -> Source:
    """The source to import into; the default one is created when it is first needed."""
    with context.database.transaction(read_only=True) as tx:
        found = source_store.source_named(tx, name or IMPORT_SOURCE)
    if found is not None:
        return found
    if name is not None:
        raise Fault(
            "unknown_source",
            "Unknown source",
            f"Create it: cdp source create {name} --kind server --jurisdiction eu",
            status=404,
        )
    return create_source(context, IMPORT_SOURCE, kind=SourceKind.SERVER).entry.source


def _failed() -> Fault:
    return Fault(
        "ingest_failed",
        "Messages cannot be stored right now",
        "Files, memory or the database cannot be used; the log has the error.",
        status=503,
        retry_after_seconds=10,
    )


def import_elsewhere() -> Fault:
    """The fault of an import whose job another process advanced."""
    return Fault(
        "import_elsewhere",
        "Another process is importing this file",
        "It advanced meanwhile; no row was processed twice. Wait until it has finished.",
        status=409,
    )


def begin_job(
    context: Context, source: Source, file_digest: bytes, *, mapping_digest: bytes, resume: bool
) -> ImportJob:
    """The job to work on: the unfinished one, or a new one. Faults: `import_unfinished`, `nothing_to_resume`."""
    now = context.clock.now()
    with context.database.transaction() as tx:
        latest = import_job_store.latest_import_job(tx, source.source_id, file_digest, mapping_digest=mapping_digest)
        is_open = latest is not None and latest.finished_at is None
        if latest is not None and is_open:
            if resume:
                return latest
            raise Fault(
                "import_unfinished",
                "An import of this file was not finished",
                f"Processed so far: {counted(latest.rows_done, 'row')}. If another process imports the file now, wait until it "
                "has finished; otherwise continue after them with --resume.",
                status=409,
            )
        if resume:
            cause = (
                "Its import is finished." if latest is not None else "No import of it was started with this mapping."
            )
            raise Fault("nothing_to_resume", "There is nothing to resume", cause + " Omit --resume.", status=409)
        job = ImportJob(
            import_job_id=new_id(),
            source_id=source.source_id,
            file_digest=file_digest,
            mapping_digest=mapping_digest,
            rows_done=0,
            byte_offset=0,
            tally=Tally().document(),
            started_at=now,
            finished_at=None,
        )
        import_job_store.add_import_job(tx, job)
        fact = {"kind": "import.started", "actor": "operator", "import": encode_id("imp", job.import_job_id)}
        fact_store.append(tx, fact, now)
    return job


def _tally_of(job: ImportJob) -> Tally:
    return Tally(job.tally["states"], job.tally["reasons"], job.tally["rows"])


def _after(rows: Iterator[Row], done: int) -> Iterator[Row]:
    """The rows of the messages after those with this many rows."""
    while done > 0 and (row := next(rows, None)) is not None:
        done -= 1 + len(row.more)
    return rows


def chunks(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    """The rows of so many messages that each chunk has at least `size` rows, but the last."""
    chunk: list[Row] = []
    count = 0
    for row in rows:
        chunk.append(row)
        count += 1 + len(row.more)
        if count >= size:
            yield chunk
            chunk, count = [], 0
    if chunk:
        yield chunk


def count_of(chunk: Sequence[Row]) -> int:
    """How many rows the messages of a chunk have."""
    return sum(1 + len(row.more) for row in chunk)
