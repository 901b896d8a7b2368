"""Use cases of sources, which may send messages. Each change is logged."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cdp.access.credentials import hash_secret, new_write_key
from cdp.audit.store import facts as fact_store
from cdp.flows.context import Context
from cdp.flows.operations.names import check_name
from cdp.kit.db import Transaction
from cdp.kit.errors import Fault
from cdp.policy.jurisdictions import UNKNOWN
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceEntry, SourceKind
from cdp.sources.store import sources as source_store

INGEST: Final = "ingest"
CONSENT: Final = "consent"
SCOPES: Final = (INGEST, CONSENT)
REQUEST_BYTES_DEFAULT: Final = 500 * 1024
REQUEST_BYTES_MAX: Final = 4 * 1024 * 1024
KEY_SECONDS_MAX: Final = 1.0
"""For how long a service may accept a write key after it last read that it is valid: so long a key lives on at most."""


@dataclass(frozen=True, slots=True)
class NewSource:
    """A new source with its write key, which is shown only once."""

    entry: SourceEntry
    write_key: str


def create_source(
    context: Context,
    name: str,
    *,
    kind: SourceKind = SourceKind.BROWSER,
    jurisdiction: str = UNKNOWN,
    scopes: Collection[str] = (INGEST,),
    request_bytes_max: int = REQUEST_BYTES_DEFAULT,
    defer: bool = False,
    actor: str = "operator",
) -> NewSource:
    """Create a source. With `defer`, messages of devices that have not answered wait for their answer.

    Faults: `invalid_name`, `unknown_scope`, `scope_needs_server`, `unknown_jurisdiction`, `source_exists` (409).
    """
    check_name(name)
    if not scopes or set(scopes) - set(SCOPES):
        raise Fault("unknown_scope", "Unknown scope", f"Give one or more of {', '.join(SCOPES)}.", status=422)
    if kind is SourceKind.BROWSER and CONSENT in scopes:
        raise Fault(
            "scope_needs_server",
            "A browser source cannot record consent",
            f"Anyone can use the write key of a browser, so the scope `{CONSENT}` requires the kind `server`. A browser states the "
            "consent of its device with the messages that it sends.",
            status=422,
        )
    if jurisdiction not in context.policy.jurisdictions.jurisdictions:
        known = ", ".join(context.policy.jurisdictions.jurisdictions)
        raise Fault("unknown_jurisdiction", "Unknown jurisdiction", f"The policy declares {known}.", status=422)
    now = context.clock.now()
    write_key = new_write_key()
    draft = Source(SourceId(0), name, kind, frozenset(scopes), jurisdiction, request_bytes_max, defer)
    with context.database.transaction() as tx:
        source = source_store.add_source(tx, draft, hash_secret(write_key), now=now)
        if source is None:
            raise Fault(
                "source_exists",
                "The name is already in use",
                "Another source has this name: choose a different one.",
                status=409,
            )
        fact = {"kind": "source.created", "actor": actor, "source": int(source.source_id)}
        fact_store.append(tx, fact, now)
        if defer:
            _log_defer(tx, source.source_id, defer=True, actor=actor, now=now)
    return NewSource(SourceEntry(source, now, None), write_key)


def list_sources(context: Context) -> list[SourceEntry]:
    """Every source, disabled ones included, by name."""
    with context.database.transaction(read_only=True) as tx:
        return source_store.sources(tx)


def deferring_sources(context: Context) -> tuple[str, ...]:
    """The active sources whose messages wait for an answer, by name."""
    return tuple(
        entry.source.name for entry in list_sources(context) if entry.source.defer and entry.disabled_at is None
    )


def set_defer(context: Context, name: str, *, defer: bool, actor: str = "operator") -> SourceEntry:
    """Let messages of a source wait for an answer, or no longer; what waits already waits on. Fault: `unknown_source` (404).

    Services follow within `KEY_SECONDS_MAX`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        source = source_store.source_named(tx, name)
        if source is None or not source_store.set_defer(tx, source.source_id, defer=defer):
            raise unknown_source()
        if source.defer is not defer:
            _log_defer(tx, source.source_id, defer=defer, actor=actor, now=now)
        return next(entry for entry in source_store.sources(tx) if entry.source.source_id == source.source_id)


def _log_defer(tx: Transaction, source_id: SourceId, *, defer: bool, actor: str, now: datetime) -> None:
    fact = {"kind": "source.defer_changed", "actor": actor, "source": int(source_id), "is_deferring": defer}
    fact_store.append(tx, fact, now)


def replace_write_key(context: Context, name: str, *, actor: str = "operator") -> str:
    """Replace the write key of a source and return the new one. Raises the fault `unknown_source` (404).

    The old one ends in every service within `KEY_SECONDS_MAX`.
    """
    now = context.clock.now()
    write_key = new_write_key()
    with context.database.transaction() as tx:
        source = source_store.source_named(tx, name)
        if source is None or not source_store.replace_write_key(tx, source.source_id, hash_secret(write_key)):
            raise unknown_source()
        fact = {"kind": "source.key_replaced", "actor": actor, "source": int(source.source_id)}
        fact_store.append(tx, fact, now)
    return write_key


def disable_source(context: Context, name: str, *, actor: str = "operator") -> None:
    """Disable a source and its write key. Raises the fault `unknown_source` (404).

    The key ends in every service within `KEY_SECONDS_MAX`.
    """
    now = context.clock.now()
    with context.database.transaction() as tx:
        source = source_store.source_named(tx, name)
        if source is None or not source_store.disable_source(tx, source.source_id, now):
            raise unknown_source()
        fact = {"kind": "source.disabled", "actor": actor, "source": int(source.source_id)}
        fact_store.append(tx, fact, now)


def unknown_source() -> Fault:
    """The fault for a name that belongs to no source, or to one that is disabled where it must not be."""
    return Fault(
        "unknown_source",
        "Unknown source",
        "No source has this name, or it is disabled: `cdp source list` lists all sources.",
        status=404,
    )
