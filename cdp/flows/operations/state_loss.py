"""Use cases of a state store that lacks what its database remembers: what may come back, and going on without it."""

from dataclasses import dataclass
from datetime import datetime

from cdp.flows.context import Context
from cdp.flows.operations.startup import open_current_database, open_state
from cdp.flows.rights.replay import ReplayResult, replay
from cdp.flows.rights.replay_loss import LossReport, assess_loss, lost_lines
from cdp.identity.store import generation as generation_store
from cdp.kit.config import Config
from cdp.rights.replay_file import ReplayFile
from cdp.rights.store import replay_position as replay_store


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was written into the replay file again from the database, and what of the file was applied again."""

    restated: int
    replayed: ReplayResult


def show_loss(config: Config) -> LossReport:
    """What the state store of these settings lacks of that which the database remembers; changes neither."""
    with (
        open_current_database(config) as (database, _),
        open_state(config.state_url, config.home) as state,
        database.transaction(read_only=True) as tx,
    ):
        return assess_loss(tx, ReplayFile(state), config.clock().now())


def recover(context: Context, now: datetime) -> Recovered:
    """Complete the replay file of a context whose loss was accepted, and apply all of it again."""
    with context.database.transaction() as tx:
        generation_store.lock_exclusive(tx)
        lines = lost_lines(tx, context, now)
        replay_store.append(tx, context.replay, lines, now=now)
    return Recovered(len(lines), replay(context, now))
