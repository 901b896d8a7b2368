"""Import of a file of links: every row is a pair of identifiers; the file is one link table, processed part by part.

The job records its progress in the transaction of each part, so an import that was killed resumes after the last part
that was processed. Two processes that import the same file cannot both advance the job.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Mapping as Counts
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cdp.accounting.model import State
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identity.link_table.rows import ROWS_LISTED_MAX, read_rows
from cdp.flows.identity.link_table.rows import Row as Pair
from cdp.flows.identity.link_table.table import PART_ROWS, LinkTableResult, PartResult, import_links
from cdp.flows.imports.cells import Fields, Row, cell_of, without_text_mark
from cdp.flows.imports.mapping import Mapping
from cdp.flows.imports.messages import Tally, begin_job, import_elsewhere, source_of
from cdp.flows.imports.parts import Side
from cdp.flows.imports.read import File, inspect_file, rows_of
from cdp.identity.normalize import IdentifierReader
from cdp.kit.canonical import canonical_json, sha256
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.kit.ids import encode_id
from cdp.kit.wording import counted
from cdp.operations.store import import_jobs as import_job_store
from cdp.operations.store.import_jobs import ImportJob
from cdp.policy.identifiers import Identifiers
from cdp.policy.model import Policy
from cdp.policy.problems import choose
from cdp.sources.model import IMPORT_SOURCE, Source

READING: Final = "reading"
_REPORT_EVERY_ROWS: Final = 10_000
_COUNTED: Final = ("identifiers", "profiles", "plain", "bounded")


@dataclass(frozen=True, slots=True)
class ImportedLinks:
    """The result of importing a file of links, over all its runs; `resumed_after` links were processed in earlier ones.

    `groups` counts the connected components of the file; `by_rules` of them were resolved step by step because a rule
    could be broken. `profiles` counts those to which the groups belong now; None in a dry run, which does not read the
    store.
    """

    job: str | None
    source: str
    rows: int
    resumed_after: int
    tally: Tally
    identifiers: int
    groups: int
    by_rules: int | None
    profiles: int | None
    is_dry_run: bool = False


Watch = Callable[[str, int, int], None]
"""Called with the name of the current phase, how much of it is done, and its total."""


def import_link_file(
    context: Context,
    path: Path,
    mapping: Mapping,
    *,
    source_name: str | None = None,
    resume: bool = False,
    part_rows: int = PART_ROWS,
    watch: Watch = lambda _what, _done, _all: None,
) -> ImportedLinks:
    """Import a file of links part by part. A row that was processed before is a duplicate and changes nothing.

    Faults: those of the file and of the mapping, `unknown_source`, `import_unfinished` and `nothing_to_resume` about an
    earlier run, `import_interrupted` when the database went away (resumable), `import_elsewhere`.
    """
    sides = check_sides(mapping, context.policy)
    file = inspect_file(path, mapping)
    source = source_of(context, source_name)
    job = begin_job(
        context, source, file.digest, mapping_digest=_digest(mapping, context.policy.identifiers), resume=resume
    )
    run = _Run(context, job)
    try:
        linked = _linked(context, source, file, mapping=mapping, sides=sides, run=run, part_rows=part_rows, watch=watch)
    except Fault as fault:
        raise run.interrupted(fault) from fault
    done = run.done
    return ImportedLinks(
        job=encode_id("imp", job.import_job_id),
        source=source.name,
        rows=sum(done["states"].values()),
        resumed_after=job.rows_done,
        tally=Tally(
            done["states"],
            done["reasons"],
            {name: list(rows) for name, rows in (linked.rows | done["refused"]).items()},
        ),
        identifiers=done["identifiers"],
        groups=done["plain"] + done["bounded"],
        by_rules=done["bounded"],
        profiles=done["profiles"],
    )


def _linked(
    context: Context,
    source: Source,
    file: File,
    *,
    mapping: Mapping,
    sides: tuple[Side, Side],
    run: "_Run",
    part_rows: int,
    watch: Watch,
) -> LinkTableResult:
    with rows_of(file, mapping) as (rows, bytes_read):
        return import_links(
            context,
            source,
            _pairs(rows, sides, mapping, report=lambda: watch(READING, bytes_read(), file.size)),
            part_rows=part_rows,
            job=run,
            progress=watch,
        )


class _Run:
    """One run of an import with the outcomes of its rows, those of earlier runs included, written with each part."""

    def __init__(self, context: Context, job: ImportJob) -> None:
        self._context = context
        self.job = job

    @property
    def import_job_id(self) -> int:
        """Which import it is."""
        return self.job.import_job_id

    @property
    def edges_done(self) -> int:
        """How many links were processed so far."""
        return self.job.rows_done

    @property
    def done(self) -> dict[str, Any]:
        """The outcomes of the rows so far."""
        return dict.fromkeys(_COUNTED, 0) | {"refused": {}} | self.job.tally

    def note(self, tx: Transaction, edges_done: int, result: PartResult) -> None:
        """Record a part in its transaction. Raises `import_elsewhere`."""
        counts = {name: self.done[name] + getattr(result, name) for name in _COUNTED}
        tally = self._with(result.states) | counts | {"refused": self._refused_with(result)}
        advanced = replace(self.job, rows_done=edges_done, tally=tally)
        if not import_job_store.advance_import_job(tx, self.job, advanced):
            raise import_elsewhere()
        tx.on_commit(lambda: self._set_job(advanced))

    def finish(self, tx: Transaction, invalid: Counts[tuple[State, str], int]) -> None:
        """Record that every row of the file has its outcome."""
        advanced = replace(self.job, tally=self._with(invalid))
        if not import_job_store.advance_import_job(tx, self.job, advanced):
            raise import_elsewhere()
        now = self._context.clock.now()
        import_job_store.finish_import_job(tx, self.job.import_job_id, now)
        name = encode_id("imp", self.job.import_job_id)
        fact = {"kind": "import.finished", "actor": "operator", "import": name, "states": advanced.tally["states"]}
        fact_store.append(tx, fact, now)
        tx.on_commit(lambda: self._set_job(advanced))

    def interrupted(self, fault: Fault) -> Fault:
        """The fault that describes how to resume, if the database became unavailable; other faults unchanged."""
        if fault.status < 500:
            return fault
        return Fault(
            "import_interrupted",
            "The import was interrupted",
            f"{fault.detail or fault.title} Processed: {counted(self.job.rows_done, 'link')}, and none of the others. "
            "Run the same command again with --resume.",
            status=503,
            retry_after_seconds=fault.retry_after_seconds,
        )

    def _set_job(self, job: ImportJob) -> None:
        self.job = job

    def _refused_with(self, result: PartResult) -> dict[str, list[int]]:
        """The first numbers of refused rows by reason, with those of one more part."""
        rows: dict[str, list[int]] = dict(self.done["refused"])
        for rule, numbers in result.refused.items():
            reason = f"{State.REFUSED.value}: {rule.value}"
            rows[reason] = sorted([*rows.get(reason, ()), *numbers])[:ROWS_LISTED_MAX]
        return rows

    def _with(self, ended: Counts[tuple[State, str], int]) -> dict[str, Any]:
        """The tally with more rows."""
        done = self.done
        states, reasons = Counter[str](done["states"]), Counter[str](done["reasons"])
        for (state, reason), count in ended.items():
            states[state.value] += count
            if reason:
                reasons[f"{state.value}: {reason}"] += count
        return done | {"states": dict(states), "reasons": dict(reasons)}


def _digest(mapping: Mapping, identifiers: Identifiers) -> bytes:
    """Identifies how a file is divided into parts: by the mapping, and by how identifiers are read and ordered."""
    return sha256(mapping.digest + canonical_json(identifiers.model_dump(mode="json")))


def try_link_file(
    policy: Policy, path: Path, mapping: Mapping, *, watch: Watch = lambda _what, _done, _all: None
) -> ImportedLinks:
    """The outcome of the rows of a file of links as far as it can be determined without the store; nothing is written."""
    sides = check_sides(mapping, policy)
    file = inspect_file(path, mapping)
    with rows_of(file, mapping) as (rows, bytes_read):
        table = read_rows(
            IdentifierReader(policy.identifiers),
            _pairs(rows, sides, mapping, report=lambda: watch(READING, bytes_read(), file.size)),
        )
    groups = table.groups()
    counts = {"stored": len(table.ones), "duplicate": table.repeats.total(), "invalid": table.invalid.total()}
    states = {state: count for state, count in counts.items() if count}
    return ImportedLinks(
        job=None,
        source=IMPORT_SOURCE,
        rows=sum(states.values()),
        resumed_after=0,
        tally=Tally(states, {f"invalid: {reason}": count for reason, count in table.invalid.items()}, table.listed),
        identifiers=sum(len(group.members) for group in groups),
        groups=len(groups),
        by_rules=None,
        profiles=None,
        is_dry_run=True,
    )


def check_sides(mapping: Mapping, policy: Policy) -> tuple[Side, Side]:
    """Check the sides of a mapping of links against the policy. Raises `unknown_identifier_type`."""
    assert mapping.links is not None
    for number, side in enumerate(mapping.links, 1):
        if side.type not in policy.identifiers.types:
            raise Fault(
                "unknown_identifier_type",
                "The mapping names an identifier type that the policy does not define",
                f"links, side {number}: {side.type}: {choose(side.type, list(policy.identifiers.types))}",
                status=422,
            )
    one, other = mapping.links
    return one, other


def _pairs(
    rows: Iterator[Row], sides: tuple[Side, Side], mapping: Mapping, *, report: Callable[[], None]
) -> Iterator[Pair | str]:
    """Each row as a pair, or the reason why it cannot be read."""
    one, other = sides
    absent = frozenset(mapping.absent)
    for row in rows:
        if row.number % _REPORT_EVERY_ROWS == 0:
            report()
        if row.reason is not None:
            yield row.reason.value
        else:
            fields = row.fields
            yield (one.type, _side(one, fields, absent), other.type, _side(other, fields, absent))
    report()


def _side(side: Side, fields: Fields, absent: frozenset[str]) -> Any:
    return without_text_mark(cell_of(fields, side.column, absent))
