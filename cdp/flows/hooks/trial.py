"""A dry run of a webhook: what would become of a recorded delivery, as far as that can be known without the store."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cdp.accounting.model import Outcome, State
from cdp.flows.hooks.delivery import Delivery, DeliveryReader, ReadRow
from cdp.flows.hooks.mapping import HookMapping
from cdp.flows.hooks.rows import TooManyRows
from cdp.flows.imports.messages import check_mapping
from cdp.flows.imports.row_notices import NoticeReader, RowNotices
from cdp.flows.imports.trial import RowTrial
from cdp.flows.ingest.plan import compile_ingest_plan
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import UNKNOWN
from cdp.policy.model import Policy
from cdp.schema.ids import SourceId
from cdp.sources.hook import SignatureScheme
from cdp.sources.model import Source, SourceKind
from cdp.wire.document import read_document
from cdp.wire.limits import Unreadable
from cdp.wire.message import Message
from cdp.wire.segment_spec import explain
from cdp.wire.signatures import VerifiedSender, headers_of


@dataclass(frozen=True, slots=True)
class TriedRow:
    """What would become of one message of a delivery: its rows, its outcome, and the consents that it states."""

    mapping: int | None
    rows: int
    type: str
    event: str
    state: str
    reason: str
    consents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TriedDelivery:
    """What would become of a delivery; `notices` are as in a dry run of an import."""

    rows: tuple[TriedRow, ...]
    notices: list[dict[str, Any]]


def try_delivery(
    policy: Policy,
    mappings: tuple[HookMapping, ...],
    body: bytes,
    *,
    headers: Iterable[tuple[str, str]],
    now: datetime,
) -> TriedDelivery:
    """Read a recorded delivery without its signature; nothing is written.

    A valid message counts as stored: whether a purpose permits it depends on the store. Faults: those of `check_mapping`,
    `unreadable_delivery`.
    """
    for mapping in mappings:
        check_mapping(mapping, policy)
    given = headers_of((name.encode(), value.encode()) for name, value in headers)
    delivery = Delivery(given, body, _document(body, given), VerifiedSender("", "dry-run-delivery"))
    source = Source(SourceId(0), "dry run", SourceKind.SERVER, frozenset(), UNKNOWN, 0)
    notices = RowNotices()
    reader = DeliveryReader(source, SignatureScheme.BASIC, mappings)
    try:
        found = reader.read(delivery, now, note=notices.note)
    except TooManyRows:
        raise _unreadable("delivery_too_large") from None
    plan = compile_ingest_plan(policy)
    tried = []
    for row in found:
        outcome = Outcome(State.INVALID, "" if isinstance(row.message, Message) else row.message.reason)
        if row.mapping is not None:
            outcome = RowTrial(plan, NoticeReader(row.mapping), notices, now=now).outcome(row.row, row.message)
        tried.append(_tried(row, outcome, mappings))
    return TriedDelivery(tuple(tried), notices.document())


def _tried(row: ReadRow, outcome: Outcome, mappings: tuple[HookMapping, ...]) -> TriedRow:
    message = row.message if isinstance(row.message, Message) else row.message.consents
    event = message.body.get("event") if message is not None else None
    return TriedRow(
        mapping=None if row.mapping is None else 1 + next(n for n, one in enumerate(mappings) if one is row.mapping),
        rows=1 + len(row.row.more),
        type=row.message.kind if isinstance(row.message, Message) else "",
        event=event if isinstance(event, str) else "",
        state=outcome.state.value,
        reason=outcome.reason,
        consents=tuple(f"{act.act.value} {act.purpose}" for act in (message.acts if message is not None else ())),
    )


def _document(body: bytes, headers: Mapping[bytes, bytes]) -> Any:
    try:
        return read_document(body, headers.get(b"content-type", b""))
    except Unreadable as unreadable:
        raise _unreadable(unreadable.reason.value) from None


def _unreadable(reason: str) -> Fault:
    return Fault("unreadable_delivery", "The delivery cannot be read", explain(reason), status=422)
