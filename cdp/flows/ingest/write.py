"""Writing the result of a batch: identifiers, keys, anchors, links, evidence, records, verdicts and events."""

from collections.abc import Iterator, Sequence

from cdp.accounting.model import State
from cdp.flows.ingest.batch_result import BatchResult
from cdp.flows.ingest.stages import DecidedMessage
from cdp.flows.ingest.write_consent import update_followers, write_consent
from cdp.flows.ingest.write_events import write_events
from cdp.flows.ingest.write_evidence import write_evidence
from cdp.flows.ingest.write_identity import write_identity
from cdp.segments.store import marks as mark_store


def write_batch(result: BatchResult) -> set[int]:
    """Write everything, in the order in which later parts need earlier ones.

    Gives the profiles that changed beside those whose links were loaded.
    """
    stored = [message for message in result.decided if message.outcome.state is State.STORED]
    keys, new_profiles = write_identity(result, stored)
    write_evidence(result, keys)
    changed = write_consent(result, stored, new_profiles)
    written = write_events(result, stored, keys)
    touched = update_followers(result, written, changed)
    mark_store.mark(result.tx, _changed_memberships(result, written))
    return touched


def _changed_memberships(result: BatchResult, stored: Sequence[DecidedMessage]) -> Iterator[tuple[int, str | None]]:
    """The profiles whose memberships this batch can change, each with the name of the event, None for anything else."""
    for origin in (*result.consent.changed, *result.run.world.merged_into):
        yield result.profile_at(origin), None
        if origin in result.state.profile_of:
            yield result.state.profile_of[origin], None
    for message in stored:
        classified = message.read.classified
        if classified.plain_traits:
            yield result.profile_of(message), None
        elif classified.name is not None:
            yield result.profile_of(message), classified.name
