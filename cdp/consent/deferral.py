"""Messages that wait for an answer, as one transaction sees them: those that are stored, and what a batch adds. Pure.

A message is deferred if nobody has answered yet. A grant of the device marks its messages to be opened. A refusal of the device
ends them, unless a grant came first: then they are opened, and what is not permitted ends.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final, NamedTuple

from cdp.consent.model import Reason, Verdict
from cdp.policy.model import Deferral

Device = tuple[bytes, int]
"""The pseudonym of a device, of the suppression domain, and the id of a source."""

_ANSWERED = frozenset(
    {Reason.RESTRICTED, Reason.QUARANTINED, Reason.OBJECTED, Reason.OPTED_OUT, Reason.WITHDRAWN, Reason.REFUSED}
)
"""Reasons of refusals: a person who refused one purpose has answered, so that nothing more waits for an answer about others."""


class Waiting(Enum):
    """What became of a message that should wait."""

    DEFERRED = auto()
    DUPLICATE = auto()
    """A message with its id waits already."""
    FULL = auto()
    """As much as policy allows waits for the device already."""
    SOURCE_FULL = auto()
    """As much as policy allows waits for the source already, for whatever devices."""


@dataclass(frozen=True, slots=True)
class DeferredDevice:
    """What waits for a device and source; `first_at` is when the first of its messages happened, None if none waits.

    `pseudonym` is that of the suppression domain. `is_granted` tells that its messages are to be opened.
    """

    subject_id: int
    pseudonym: bytes
    source_id: int
    messages: int
    sealed_bytes: int
    first_at: datetime | None
    is_granted: bool


class Total(NamedTuple):
    """How many messages wait, and their bytes."""

    messages: int
    bytes: int

    def plus(self, messages: int, size: int) -> "Total":
        return Total(self.messages + messages, self.bytes + size)


_NOTHING: Final = Total(0, 0)


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message to defer: its place in the batch, its device and source, and the text to seal."""

    position: int
    device: Device
    event_id: bytes
    occurred_at: datetime
    text: bytes


def is_unanswered(covering: Collection[tuple[str, Reason]], verdicts: Mapping[str, Verdict]) -> bool:
    """Whether one of these purposes lacks an answer, and no purpose has been refused.

    `covering` are the purposes that cover a message, each with the reason where there is no verdict.
    """
    if any(verdict.reason in _ANSWERED for verdict in verdicts.values()):
        return False
    return any(
        (reason if (verdict := verdicts.get(purpose)) is None else verdict.reason) is Reason.NO_GRANT
        for purpose, reason in covering
    )


class Deferrals:
    """What waits for the devices of a batch while its messages are decided.

    `stored` are those of the store, `known` the subjects of message ids that wait. `arrived` gives the instants of messages
    that came together with a consent, by device and receipt: consents are processed first, so these waited for it.
    `totals` is what waits for each source that defers, also what is beyond its term and not deleted yet.
    With `is_reopened`, the messages of the batch are those that are stored.

    The result: `added` are the messages to defer, by position, `dropped` those that a refusal ended in the same batch, and `closed`
    those that a refusal followed after the grant that opens them; `ended_subjects` and `closed_subjects` are stored devices of
    which the same holds, and `granted` the pseudonyms whose messages are to be opened.
    """

    def __init__(
        self,
        bounds: Deferral,
        stored: Iterable[DeferredDevice] = (),
        known: Mapping[bytes, int] | None = None,
        *,
        totals: Mapping[int, Total] | None = None,
        arrived: Mapping[tuple[bytes, datetime], datetime] | None = None,
        is_reopened: bool = False,
    ) -> None:
        self._bounds = bounds
        self._stored = list(stored)
        by_subject = {device.subject_id: (device.pseudonym, device.source_id) for device in self._stored}
        self._known_devices = {event_id: by_subject.get(subject) for event_id, subject in (known or {}).items()}
        self._stored_totals = dict(totals or {})
        self._arrived = dict(arrived or {})
        self._sources = {device.source_id for device in self._stored}
        self._is_reopened = is_reopened
        self.restart()

    def restart(self) -> None:
        """Return to the state before the batch."""
        self._devices = {(device.pseudonym, device.source_id): device for device in self._stored}
        self._ids = dict(self._known_devices)
        self._used = {key: Total(device.messages, device.sealed_bytes) for key, device in self._devices.items()}
        self._totals = dict(self._stored_totals)
        self._first = {key: device.first_at for key, device in self._devices.items() if device.first_at is not None}
        self._to_open = {key for key, device in self._devices.items() if device.is_granted}
        self.added: dict[int, WaitingMessage] = {}
        self.dropped: set[int] = set()
        self.closed: set[int] = set()
        self.granted: set[bytes] = set()
        self.ended_subjects: set[int] = set()
        self.closed_subjects: set[int] = set()

    def first_at(self, pseudonym: bytes, received_at: datetime) -> datetime | None:
        """When the first message happened that waits for this device, or came with what was received at that instant."""
        instants = [self._first[key] for key in self._keys(pseudonym) if key in self._first]
        together = self._arrived.get((pseudonym, received_at))
        return min(instants if together is None else [*instants, together], default=None)

    def defer(self, message: WaitingMessage) -> Waiting:
        """Let a message wait, if its id does not wait already and the bounds allow it."""
        if self._is_reopened:
            return Waiting.DEFERRED
        if message.event_id in self._ids:
            return Waiting.DUPLICATE
        key = message.device
        used = self._used.get(key, _NOTHING).plus(1, len(message.text))
        total = self._totals.get(key[1], _NOTHING).plus(1, len(message.text))
        if used.messages > self._bounds.messages_max or used.bytes > self._bounds.bytes_max:
            return Waiting.FULL
        if total.messages > self._bounds.source_messages_max or total.bytes > self._bounds.source_bytes_max:
            return Waiting.SOURCE_FULL
        self._used[key], self._totals[key[1]] = used, total
        self._sources.add(key[1])
        self._ids[message.event_id] = key
        self._first[key] = min(self._first.get(key, message.occurred_at), message.occurred_at)
        self.added[message.position] = message
        return Waiting.DEFERRED

    def grant(self, pseudonym: bytes) -> None:
        """A grant of the device: what waits for it is to be opened."""
        keys = self._keys(pseudonym)
        if keys:
            self._to_open.update(keys)
            self.granted.add(pseudonym)

    def refuse(self, pseudonym: bytes) -> None:
        """A refusal of the device: nothing waits any more, but what a grant before it is to open."""
        keys = self._keys(pseudonym)
        for key in keys:
            positions = [position for position, message in self.added.items() if message.device == key]
            device = self._devices.get(key)
            subjects = () if device is None else (device.subject_id,)
            if key in self._to_open:
                self.closed.update(positions)
                self.closed_subjects.update(subjects)
            else:
                self.dropped.update(positions)
                self.ended_subjects.update(subjects)
                self._drop(key, positions)

    def _drop(self, key: Device, positions: Collection[int]) -> None:
        for position in positions:
            del self.added[position]
        self._ids = {event_id: of for event_id, of in self._ids.items() if of != key}
        self._devices.pop(key, None)
        self._first.pop(key, None)
        gone = self._used.pop(key)
        self._totals[key[1]] = self._totals.get(key[1], gone).plus(-gone.messages, -gone.bytes)

    def _keys(self, pseudonym: bytes) -> list[Device]:
        """What waits for the device, or will from this batch on, by source."""
        return [(pseudonym, source) for source in self._sources if (pseudonym, source) in self._used]

    def subject_of(self, device: Device) -> int | None:
        """The owner of the key under which messages of a device and source are sealed; None if it has none yet."""
        known = self._devices.get(device)
        return None if known is None else known.subject_id
