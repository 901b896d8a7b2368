"""What the store holds at rest, read past the services: from its tables, its state store and its log, and by lookups."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from cdp.audit.checkpoint import VerifierKey
from cdp.audit.verify import Unverified, verify_receipt
from cdp.flows.audit.log_check import LogCheck, check_log
from cdp.flows.context import Context
from cdp.flows.operations.startup import open_for_command
from cdp.flows.segments.evaluation import changing
from cdp.kit.ids import decode_id, encode_id
from cdp.rights.replay_file import Erased
from cdp.segments.store import definitions
from cdp.vault.sign import is_signed
from tests.support.faults.checker import StoreState
from tests.support.faults.clients import Client
from tests.support.faults.deployment import SEGMENT, Deployment
from tests.support.faults.history import Act, History, Kind, Outcome
from tests.support.waits import until

_FOLLOWS_SECONDS: Final = 20.0


@dataclass(slots=True)
class StateReader:
    """Reads the state of a deployment at rest; what it verified once is not read again."""

    deployment: Deployment
    history: History
    _receipts: set[str] = field(default_factory=set)
    _event_ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """The ids of the events of messages, by source and message id."""
    _hashed: int = 0
    """How many acts of the history these are of."""
    _origin: str = ""

    def read(self, clients: Sequence[Client], *, rounds: Iterable[int], checks_log: bool) -> StoreState:
        """The state; people are looked up if they acted in one of the rounds."""
        with open_for_command(self.deployment.config) as context:
            until(lambda: _is_at_rest(context), "the end of all work of the services")
            acts = list(self.history.acts)
            asked = set(rounds)
            recent = [act for act in acts if act.round in asked]
            verdicts, members, found = _looked_up(clients, recent)
            log_findings = _wrong_trees(context)
            if checks_log or not self._origin:
                checked = check_log(context.database, context.log)
                self._origin = checked.origin
                log_findings += _wrong_in(checked)
            self._verify_receipts(clients[0], recent, context.log.vkey(self._origin))
            messages, events = self._stored(context, acts)
            records, record_counts = _consent_records(context, acts)
            return StoreState(
                messages=messages,
                events=events,
                accounted=_accounted(context),
                homeless=_homeless(context),
                records=records,
                record_counts=record_counts,
                verdicts=verdicts,
                members=members,
                found=found,
                fulfilled=_fulfilled(context),
                replayed=frozenset(
                    encode_id("req", numbered.line.request_id)
                    for numbered in context.replay.lines_after(0)
                    if isinstance(numbered.line, Erased)
                ),
                receipts=frozenset(self._receipts),
                leaves=_leaves(context),
                log_findings=log_findings,
                differing=_differing_at_rest(context),
            )

    def _verify_receipts(self, client: Client, acts: Sequence[Act], key: VerifierKey) -> None:
        for act in acts:
            if act.kind is Kind.ERASE and act.outcome is Outcome.ACKNOWLEDGED and act.record not in self._receipts:
                receipt = client.insist("GET", f"/api/v1/subject-requests/{act.record}/receipt", role="privacy")
                if receipt.status == 200 and not isinstance(
                    verify_receipt(receipt.content, [key], is_signed), Unverified
                ):
                    self._receipts.add(act.record)

    def _stored(self, context: Context, acts: Sequence[Act]) -> tuple[dict[str, int], dict[str, int]]:
        """How many events each message that was sent has, and how many events each source has in all."""
        rows: Counter[str] = Counter()
        events: Counter[str] = Counter()
        with context.database.transaction(read_only=True) as tx:
            sources = {str(name): int(of) for of, name in tx.execute("SELECT source_id, name FROM sources.source")}
            by_number = {number: name for name, number in sources.items()}
            for event_id, source in tx.execute(
                """
                SELECT event_id::text, source_id FROM behavior.event
                UNION ALL SELECT event_id::text, source_id FROM behavior.restricted_event
                """
            ):
                rows[event_id] += 1
                events[by_number[source]] += 1
        self._hash(context, sources, acts)
        ids = (pair for known in self._event_ids.values() for pair in known.items())
        return {name: rows[event_id] for name, event_id in ids if event_id in rows}, dict(events)

    def _hash(self, context: Context, sources: Mapping[str, int], acts: Sequence[Act]) -> None:
        """Compute the ids of the events of messages that were sent since the last time."""
        names: dict[str, set[str]] = defaultdict(set)
        for act in acts[self._hashed :]:
            names[act.source].update(act.messages)
        self._hashed = len(acts)
        for source, sent in names.items():
            if source in sources:
                ordered = sorted(sent)
                digests = context.vault.hashes.message_digests(sources[source], ordered)
                known = self._event_ids.setdefault(source, {})
                known |= {name: str(UUID(bytes=digest)) for name, digest in zip(ordered, digests, strict=True)}


def _is_at_rest(context: Context) -> bool:
    """Nothing waits for the worker, no leaf for the log and no mark for the segments, and no act lies in the future.

    An act that was dated by a clock that was ahead counts as soon as the clock has passed it.
    """
    with context.database.transaction(read_only=True) as tx:
        ((waiting,),) = tx.execute(
            """
            SELECT (SELECT count(*) FROM audit.entry WHERE tree_id IS NULL) + (SELECT count(*) FROM segments.stale)
                 + (SELECT count(*) FROM rights.request WHERE status = 'in_progress')
                 + (SELECT count(*) FROM identity.generation WHERE acted_at > clock_timestamp())
            """
        )
    return not waiting


def _accounted(context: Context) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    with context.database.transaction(read_only=True) as tx:
        for source, state, count in tx.execute(
            """
            SELECT name, state, sum(messages)::bigint
            FROM accounting.accounting JOIN sources.source USING (source_id) GROUP BY name, state
            """
        ):
            found[source][state] = int(count)
    return found


def _homeless(context: Context) -> int:
    with context.database.transaction(read_only=True) as tx:
        ((count,),) = tx.execute(
            """
            SELECT count(*) FROM behavior.event e LEFT JOIN identity.canonical c USING (anchor_id)
            WHERE c.profile_id IS NULL
            """
        )
    return int(count)


def _consent_records(context: Context, acts: Sequence[Act]) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """How often each answered record is stored, and how many records of acts each person has for each purpose."""
    subjects = {decode_id("con", act.record): act for act in acts if act.kind is Kind.CONSENT and act.record}
    counts: Counter[str] = Counter()
    of_people: dict[int, str] = {}
    by_purpose: dict[tuple[str, str], int] = defaultdict(int)
    with context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT record_id, identifier_id, purpose, signal FROM consent.record")
    for record, identifier, _, _ in rows:
        if record in subjects:
            counts[subjects[record].record] += 1
            of_people[identifier] = subjects[record].subject
    for _, identifier, purpose, signal in rows:
        if identifier in of_people and signal is None:
            by_purpose[of_people[identifier], purpose] += 1
    return dict(counts), dict(by_purpose)


def _fulfilled(context: Context) -> dict[str, int]:
    with context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT body ->> 'request', count(*) FROM audit.fact WHERE kind = 'request.fulfilled' GROUP BY 1"
        )
    return {str(request): int(count) for request, count in rows}


def _leaves(context: Context) -> list[bytes]:
    with context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            """
            SELECT commitment FROM audit.entry
            WHERE tree_id = (SELECT max(tree_id) FROM audit.tree) ORDER BY leaf_index
            """
        )
    return [bytes(leaf) for (leaf,) in rows]


def _wrong_in(checked: LogCheck) -> list[str]:
    return [f"{finding.what}: {finding.wrong}" for finding in checked.findings if finding.wrong is not None]


def _wrong_trees(context: Context) -> list[str]:
    with context.database.transaction(read_only=True) as tx:
        ((trees,),) = tx.execute("SELECT count(*) FROM audit.tree")
    return [] if trees == 1 else [f"there are {trees} trees"]


def _differing(context: Context) -> dict[str, int]:
    """Evaluate every segment for everybody, and compare with what is stored."""
    with context.database.transaction(read_only=True) as tx:
        catalogue = definitions.catalogue_of(tx, context.policy)
        return {
            str(segment.key): len(changing(tx, segment, catalogue, now=context.clock.now()))
            for segment in definitions.all_segments(tx)
        }


def _differing_at_rest(context: Context) -> dict[str, int]:
    """What differs for longer than the worker takes to follow an instant that has come."""
    deadline = time.monotonic() + _FOLLOWS_SECONDS
    while any((differing := _differing(context)).values()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return differing


def _looked_up(
    clients: Sequence[Client], acts: Sequence[Act]
) -> tuple[dict[tuple[str, str], bool], frozenset[str], frozenset[str]]:
    """Verdicts, members of the segment and people found, among those who acted; each client asks about its share of them."""
    choosers = {(act.subject, act.purpose) for act in acts if act.kind in (Kind.CONSENT, Kind.SIGNAL)}
    purposes: dict[str, list[str]] = {act.subject: [] for act in acts if act.kind is Kind.ERASE}
    for subject, purpose in sorted(choosers):
        purposes.setdefault(subject, []).append(purpose)
    subjects = sorted(purposes)
    verdicts: dict[tuple[str, str], bool] = {}
    members, found = set(), set()

    def ask(number: int) -> None:
        for subject in subjects[number :: len(clients)]:
            shown = _lookup(clients[number], subject)
            if shown is not None:
                found.add(subject)
                if SEGMENT["key"] in {_key_of(segment) for segment in shown["segments"]}:
                    members.add(subject)
            if purposes[subject]:
                body = {"identifier": {"type": "user_id", "value": subject}}
                answer = clients[number].insist("POST", "/api/v1/consents/lookup", role="privacy", json=body)
                for purpose in purposes[subject]:
                    verdicts[subject, purpose] = bool(answer.content["verdicts"][purpose]["allowed"])

    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(ask, range(len(clients))))
    return verdicts, frozenset(members), frozenset(found)


def _lookup(client: Client, subject: str) -> Any:
    body = {"identifier": {"type": "user_id", "value": subject}}
    answer = client.insist("POST", "/api/v1/profiles/lookup", role="privacy", json=body)
    return answer.content if answer.status == 200 else None


def _key_of(segment: Any) -> str:
    return str(segment["key"] if isinstance(segment, dict) else segment)
