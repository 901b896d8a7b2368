"""The stated ages in force for groups while a batch is decided. Pure."""

from collections.abc import Mapping, Sequence

from cdp.behavior.store.volume import AGE, StatedAge
from cdp.flows.ingest.stages import ReadMessage
from cdp.identity.resolve import Proposal


class AgesInForce:
    """The ages that the store holds, and above them those that messages of the batch state; by origin of the group."""

    def __init__(self, stored: Mapping[int, StatedAge]) -> None:
        self._stored = stored
        self._stated: dict[int, StatedAge] = {}

    def clear(self) -> None:
        """Drop everything that messages of the batch stated."""
        self._stated.clear()

    def of(self, origins: Sequence[int]) -> list[StatedAge]:
        """The ages of these groups, those without one left out."""
        ages = (self._stated.get(origin, self._stored.get(origin)) for origin in origins)
        return [age for age in ages if age is not None]

    def stated(self, origin: int) -> StatedAge | None:
        """The age that the batch stated for a group until now; to be given to `restore`."""
        return self._stated.get(origin)

    def add(self, message: ReadMessage, proposal: Proposal | None, origin: int) -> None:
        """Put the age in force for the group that the message would belong to, its own statement included."""
        if AGE not in message.classified.plain_traits and (proposal is None or not proposal.absorbed):
            return
        ages = self.of((origin, *(proposal.absorbed if proposal is not None else ())))
        age = message.classified.plain_traits.get(AGE)
        if isinstance(age, int | float):
            sent = message.message
            years = int(max(-1, min(1000, age)))
            ages.append(StatedAge(False, sent.occurred_at, sent.received_at, message.event_id, years))
        if ages:
            self._stated[origin] = max(ages)

    def restore(self, origin: int, age: StatedAge | None) -> None:
        """Undo `add` for a message that was refused."""
        self._stated.pop(origin, None)
        if age is not None:
            self._stated[origin] = age
