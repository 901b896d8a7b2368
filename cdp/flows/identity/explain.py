"""Explain why two identifiers are one person, or why they are not. Writes nothing but the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.identity.names import ReadableIdentifier, identifier_pair, readable_identifiers
from cdp.flows.identity.simulate import non_linking
from cdp.flows.ingest.write import MESSAGE_PLACE
from cdp.flows.snapshot import at_one_instant
from cdp.identity.explain import path_between, refusals_between
from cdp.identity.model import Identifier
from cdp.identity.resolve import Rules, replay
from cdp.identity.store import closure as closure_store
from cdp.identity.store import evidence as evidence_store
from cdp.identity.store import link_tables as link_table_store
from cdp.identity.store import separations as separation_store
from cdp.kit.db import Transaction
from cdp.kit.ids import encode_id
from cdp.sources.store import sources as source_store
from cdp.vault.vault import Item


@dataclass(frozen=True, slots=True)
class TableRow:
    """The row of a link table: its number, the source, and the import of the file; None where it came without a file."""

    source: str
    import_job: str | None
    row: int


@dataclass(frozen=True, slots=True)
class ExplainedLink:
    """One link of a path: the message or the row that made it, when, and under which policy."""

    one: ReadableIdentifier
    other: ReadableIdentifier
    rule: str
    message_id: str | None
    at: datetime
    policy: str
    row: TableRow | None


@dataclass(frozen=True, slots=True)
class ExplainedRefusal:
    """Why two identifiers were not joined."""

    one: ReadableIdentifier
    other: ReadableIdentifier
    rule: str
    detail: str
    message_id: str | None
    at: datetime
    policy: str
    row: TableRow | None


@dataclass(frozen=True, slots=True)
class LinkExplanation:
    """Whether two identifiers are one person, by which path of links, or what keeps them apart."""

    is_same_profile: bool
    path: tuple[ExplainedLink, ...]
    refusals: tuple[ExplainedRefusal, ...]


def explain(context: Context, one: Identifier, other: Identifier, *, actor: str = "privacy") -> LinkExplanation:
    """Why two identifiers are one person, or why not. Raises the fault `unknown_profile` when either is unknown.

    It opens identifiers, so it is logged as a reading.
    """

    def read(tx: Transaction) -> LinkExplanation:
        first, second = identifier_pair(tx, context, one, other=other)
        closure = closure_store.closure(tx, [first, second], non_linking=non_linking(context.policy))
        run = replay(
            Rules(context.policy.identifiers),
            closure.types,
            closure.steps,
            shared=closure.shared,
            never=separation_store.never_pairs(tx, list(closure.types)),
        )
        path = path_between(run, first, second)
        kept = () if path is not None else refusals_between(run, first, second)
        messages = _Messages(tx, context, [edge.sequence for edge in path or ()] + [each.sequence for each in kept])
        names = readable_identifiers(
            tx,
            context,
            [each for edge in path or () for each in (edge.one, edge.other)]
            + [each for one_kept in kept for each in (one_kept.refusal.identifier, one_kept.refusal.other)],
        )
        fact_store.append(
            tx, {"kind": "data.read", "actor": actor, "read": "explain", "count": len(names)}, context.clock.now()
        )
        return LinkExplanation(
            is_same_profile=path is not None,
            path=tuple(
                ExplainedLink(names[edge.one], names[edge.other], edge.rule.value, *messages.of(edge.sequence))
                for edge in path or ()
            ),
            refusals=tuple(
                ExplainedRefusal(
                    names[each.refusal.identifier],
                    names[each.refusal.other],
                    each.refusal.rule.value,
                    each.refusal.detail,
                    *messages.of(each.sequence),
                )
                for each in kept
            ),
        )

    return at_one_instant(context.database, read)


class _Messages:
    """The messages and the rows of link tables behind some recorded steps, with their ids opened."""

    def __init__(self, tx: Transaction, context: Context, sequences: Sequence[int]) -> None:
        self._rows = evidence_store.resolutions(tx, set(sequences))
        rows = list(self._rows.values())
        keys = context.vault.subject_keys.keys_for(tx, [row.anchor_id for row in rows])
        opened = context.vault.open_many(
            keys, MESSAGE_PLACE, [Item(row.anchor_id, row.sequence, row.message_sealed) for row in rows]
        )
        self._ids = {row.sequence: value for row, value in zip(rows, opened, strict=True)}
        self._edges = link_table_store.edges_of(tx, set(sequences) - self._rows.keys())
        self._sources = (
            {int(each.source.source_id): each.source.name for each in source_store.sources(tx)} if self._edges else {}
        )

    def of(self, sequence: int) -> tuple[str | None, datetime, str, TableRow | None]:
        """Message id, instant, policy fingerprint and row of one step: it came by a message or by a link table."""
        edge = self._edges.get(sequence)
        if edge is not None:
            row = TableRow(
                self._sources.get(edge.source_id, ""),
                None if edge.import_job_id is None else encode_id("imp", edge.import_job_id),
                edge.row,
            )
            return None, edge.received_at, (edge.policy_fingerprint or b"").hex(), row
        step = self._rows[sequence]
        message_id = self._ids[sequence]
        return (
            None if message_id is None else message_id.decode("utf-8", "replace"),
            step.received_at,
            step.policy_fingerprint.hex(),
            None,
        )
