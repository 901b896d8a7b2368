"""A dry run of an import: what would become of each row, as far as that can be known without the store."""

from datetime import datetime
from pathlib import Path

from cdp.accounting.model import Outcome, State
from cdp.behavior.model import EventId
from cdp.flows.imports.cells import Row
from cdp.flows.imports.groups import grouped
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.messages import CHUNK_ROWS, Imported, Progress, Tally, Watch, check_mapping, chunks, count_of
from cdp.flows.imports.read import inspect_file, rows_of
from cdp.flows.imports.row import row_reader
from cdp.flows.imports.row_notices import NoticeReader, RowNotices
from cdp.flows.ingest.plan import IngestPlan, compile_ingest_plan
from cdp.flows.ingest.read import read_message
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import Policy
from cdp.schema.ids import SourceId
from cdp.sources.model import IMPORT_SOURCE, Source, SourceKind
from cdp.wire.message import Invalid, Message

_STORED = Outcome(State.STORED)


def try_file(
    policy: Policy, path: Path, mapping: Mapping, *, now: datetime, watch: Watch = lambda _progress: None
) -> Imported:
    """The outcome of each row as far as it can be determined without the store; nothing is written.

    A row that is a valid message counts as stored; whether a purpose permits it depends on the store.
    """
    check_mapping(mapping, policy)
    file = inspect_file(path, mapping)
    source = Source(SourceId(0), IMPORT_SOURCE, SourceKind.SERVER, frozenset(), UNKNOWN, 0)
    notices = RowNotices()
    trial = RowTrial(compile_ingest_plan(policy), NoticeReader(mapping), notices, now=now)
    reader = row_reader(mapping, source, file.digest, note=notices.note)
    tally, done = Tally(), 0
    with rows_of(file, mapping) as (rows, bytes_read):
        for chunk in chunks(grouped(rows, mapping), CHUNK_ROWS):
            read = [reader(row, now) for row in chunk]
            tally = tally.plus(
                chunk, [trial.outcome(row, message) for row, message in zip(chunk, read, strict=True)], read
            )
            done += count_of(chunk)
            watch(Progress(done, bytes_read(), file.size))
    return Imported(None, IMPORT_SOURCE, done, 0, tally, is_dry_run=True, notices=notices.document())


class RowTrial:
    """What the first stage of ingest says of each message, and what is odd about it."""

    def __init__(self, plan: IngestPlan, reader: NoticeReader, notices: RowNotices, *, now: datetime) -> None:
        self._plan = plan
        self._reader = reader
        self._notices = notices
        self._now = now

    def outcome(self, row: Row, message: Message | Invalid) -> Outcome:
        """The outcome of a message as far as it is known; its notices are noted."""
        if isinstance(message, Invalid):
            return Outcome(State.INVALID, message.reason)
        read = read_message(self._plan, message, 0, event_id=EventId(b""), now=self._now)
        for notice in dict.fromkeys(self._reader.of(row, read)):
            self._notices.note(row, notice)
        return read.outcome or _STORED
