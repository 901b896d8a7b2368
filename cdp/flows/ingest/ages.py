"""The stated ages that count for groups while a batch is decided. Pure."""

from collections.abc import Mapping, Sequence

from cdp.behavior.ages import UNKNOWN_AGE, Ages
from cdp.flows.ingest.stages import ReadMessage
from cdp.identity.resolve import Proposal


class AgesInForce:
    """The ages that the store holds, joined with those that messages of the batch state; by origin of the group."""

    def __init__(self, stored: Mapping[int, Ages]) -> None:
        self._stored = stored
        self._stated: dict[int, Ages] = {}

    def clear(self) -> None:
        """Drop everything that messages of the batch stated."""
        self._stated.clear()

    def of(self, origins: Sequence[int]) -> Ages:
        """The statements that count of these groups together."""
        ages = UNKNOWN_AGE
        for origin in origins:
            known = self._stated.get(origin) or self._stored.get(origin)
            if known is not None:
                ages = known if ages is UNKNOWN_AGE else ages.joined(known)
        return ages

    def stated(self, origin: int) -> Ages | None:
        """What the batch made of a group until now; to be given to `restore`."""
        return self._stated.get(origin)

    def add(self, message: ReadMessage, proposal: Proposal | None, origin: int) -> None:
        """Put the ages in force for the group that the message would belong to, its own statement included."""
        if not message.states_age and (proposal is None or not proposal.absorbed):
            return
        ages = self.of((origin, *(proposal.absorbed if proposal is not None else ())))
        stated = message.age() if message.states_age else None
        if stated is not None:
            ages = ages.joined(Ages(stated))
        if ages != UNKNOWN_AGE:
            self._stated[origin] = ages

    def restore(self, origin: int, ages: Ages | None) -> None:
        """Undo `add` for a message that was refused."""
        self._stated.pop(origin, None)
        if ages is not None:
            self._stated[origin] = ages
