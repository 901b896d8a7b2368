"""Explain why two identifiers belong to one profile, or why not. Writes nothing but the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cdp.flows.context import Context
from cdp.flows.identity.names import ReadableIdentifier, identifier_pair, readable_identifiers
from cdp.flows.ingest.write_evidence import MESSAGE_PLACE
from cdp.flows.reads import Reading, log_read
from cdp.flows.snapshot import at_one_instant
from cdp.identity.explain import path_between, refusals_between
from cdp.identity.model import Identifier
from cdp.identity.rules import Rules
from cdp.identity.run import replay
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
    """A row of a link table: its source, the import of its file (None if it was not a file), and its number."""

    source: str
    import_job: str | None
    row: int


@dataclass(frozen=True, slots=True)
class ExplainedLink:
    """One link of a path: the message or the row that caused it, when, and the fingerprint of the policy in force."""

    one: ReadableIdentifier
    other: ReadableIdentifier
    rule: str
    message_id: str | None
    at: datetime
    policy: str
    row: TableRow | None


@dataclass(frozen=True, slots=True)
class ExplainedRefusal:
    """Why two identifiers were not linked: the rule, the type or bound, and the message or row that it refused."""

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
    """Whether two identifiers belong to one profile, by which path of links, or which refusals keep them apart."""

    is_same_profile: bool
    path: tuple[ExplainedLink, ...]
    refusals: tuple[ExplainedRefusal, ...]


def explain(
    context: Context, one: Identifier, other: Identifier, *, actor: str = "privacy", token: int | None = None
) -> LinkExplanation:
    """Why two identifiers belong to one profile, or why not. Raises the fault `unknown_profile` if either is unknown.

    Identifiers are opened, so the read is recorded in the audit log.
    """

    def read(tx: Transaction) -> LinkExplanation:
        first, second = identifier_pair(tx, context, one, other=other)
        rules = Rules(context.policy.identifiers)
        types = closure_store.LinkingTypes(rules.non_linking, guarded=sorted(rules.bound_by_authority))
        closure = closure_store.closure(tx, [first, second], types)
        run = replay(
            rules,
            closure.types,
            closure.steps,
            shared=closure.shared,
            never=separation_store.never_pairs(tx, list(closure.types)),
            authority=closure.authority,
            proved=closure.proved,
        )
        path = path_between(run, first, second)
        refusals = () if path is not None else refusals_between(run, first, second)
        sequences = [edge.sequence for edge in path or ()] + [sequence for _, sequence in refusals]
        origins = _Origins(tx, context, sequences)
        names = readable_identifiers(
            tx,
            context,
            [identifier for edge in path or () for identifier in (edge.one, edge.other)]
            + [identifier for refusal, _ in refusals for identifier in (refusal.identifier, refusal.other)],
        )
        log_read(
            tx,
            context,
            Reading(actor, token, "explain"),
            count=len(names),
            now=context.clock.now(),
            identifiers={first, second, *names},
        )
        return LinkExplanation(
            is_same_profile=path is not None,
            path=tuple(
                ExplainedLink(names[edge.one], names[edge.other], edge.rule.value, *origins.of(edge.sequence))
                for edge in path or ()
            ),
            refusals=tuple(
                ExplainedRefusal(
                    names[refusal.identifier],
                    names[refusal.other],
                    refusal.rule.value,
                    refusal.detail,
                    *origins.of(sequence),
                )
                for refusal, sequence in refusals
            ),
        )

    return at_one_instant(context.database, read)


class _Origins:
    """The messages and the rows of link tables behind some recorded steps, with their message ids opened."""

    def __init__(self, tx: Transaction, context: Context, sequences: Sequence[int]) -> None:
        self._resolutions = evidence_store.resolutions(tx, set(sequences))
        steps = list(self._resolutions.values())
        keys = context.vault.subject_keys.keys_for(tx, [step.anchor_id for step in steps])
        opened = context.vault.open_many(
            keys, MESSAGE_PLACE, [Item(step.anchor_id, step.sequence, step.message_sealed) for step in steps]
        )
        self._ids = {step.sequence: value for step, value in zip(steps, opened, strict=True)}
        self._edges = link_table_store.edges_of(tx, set(sequences) - self._resolutions.keys())
        entries = source_store.sources(tx) if self._edges else ()
        self._sources = {int(entry.source.source_id): entry.source.name for entry in entries}

    def of(self, sequence: int) -> tuple[str | None, datetime, str, TableRow | None]:
        """Message id, instant, policy fingerprint and row of a step; the first or the last is None."""
        edge = self._edges.get(sequence)
        if edge is not None:
            row = TableRow(
                self._sources.get(edge.source_id, ""),
                None if edge.import_job_id is None else encode_id("imp", edge.import_job_id),
                edge.row,
            )
            return None, edge.received_at, (edge.policy_fingerprint or b"").hex(), row
        step = self._resolutions[sequence]
        message_id = self._ids[sequence]
        return (
            None if message_id is None else message_id.decode("utf-8", "replace"),
            step.received_at,
            step.policy_fingerprint.hex(),
            None,
        )
