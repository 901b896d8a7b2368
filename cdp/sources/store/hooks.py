"""SQL of the webhooks of sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId
from cdp.sources.hook import Hook, SignatureScheme
from cdp.sources.model import Source, SourceKind


@dataclass(frozen=True, slots=True)
class StoredHook:
    """A webhook with its sealed secrets and the id of the key that they are sealed under."""

    hook: Hook
    key_id: int
    sealed: bytes = field(repr=False)


def put_hook(tx: Transaction, stored: StoredHook) -> None:
    """Store the webhook of a source, in place of the one that it had."""
    hook = stored.hook
    tx.execute(
        """
        INSERT INTO sources.hook
            (source_id, key_id, scheme, sealed, secrets, mapping, window_seconds, created_at, changed_at)
        VALUES (%(source)s, %(key)s, %(scheme)s, %(sealed)s, %(secrets)s, %(mapping)s, %(window)s, %(created)s, %(changed)s)
        ON CONFLICT (source_id) DO UPDATE
        SET key_id = excluded.key_id, scheme = excluded.scheme, sealed = excluded.sealed, secrets = excluded.secrets,
            mapping = excluded.mapping, window_seconds = excluded.window_seconds, changed_at = excluded.changed_at
        """,
        {
            "source": hook.source_id,
            "key": stored.key_id,
            "scheme": hook.scheme.value,
            "sealed": stored.sealed,
            "secrets": hook.secrets,
            "mapping": hook.mapping,
            "window": hook.window_seconds,
            "created": hook.created_at,
            "changed": hook.changed_at,
        },
    )


def hook_for_update(tx: Transaction, source_id: SourceId) -> StoredHook | None:
    """The webhook of a source, locked until the end of the transaction; None when it has none."""
    rows = tx.execute(
        """
        SELECT source_id, scheme, mapping, window_seconds, secrets, created_at, changed_at, key_id, sealed
        FROM sources.hook
        WHERE source_id = %(source)s
        FOR UPDATE
        """,
        {"source": source_id},
    )
    return _stored(*rows[0]) if rows else None


def hook_of(tx: Transaction, source_id: SourceId) -> Hook | None:
    """The webhook of a source; None when it has none."""
    rows = tx.execute(
        """
        SELECT source_id, scheme, mapping, window_seconds, secrets, created_at, changed_at
        FROM sources.hook
        WHERE source_id = %(source)s
        """,
        {"source": source_id},
    )
    return _hook(*rows[0]) if rows else None


def delete_hook(tx: Transaction, source_id: SourceId) -> int | None:
    """Delete the webhook of a source; gives the id of its key, None when there was none."""
    rows = tx.execute(
        "DELETE FROM sources.hook WHERE source_id = %(source)s RETURNING key_id",
        {"source": source_id},
    )
    return int(rows[0][0]) if rows else None


def active_hooks(tx: Transaction) -> Sequence[tuple[Source, StoredHook]]:
    """The webhooks of all sources that are not disabled."""
    rows = tx.execute(
        """
        SELECT s.source_id, s.name, s.kind, s.scopes, s.jurisdiction, s.request_bytes_max, s.defer,
               h.source_id, h.scheme, h.mapping, h.window_seconds, h.secrets, h.created_at, h.changed_at, h.key_id, h.sealed
        FROM sources.hook AS h
        JOIN sources.source AS s ON s.source_id = h.source_id
        WHERE s.disabled_at IS NULL
        """
    )
    return [(_source(*row[:7]), _stored(*row[7:])) for row in rows]


def _hook(
    source_id: int,
    scheme: str,
    mapping: str,
    window_seconds: int,
    secrets: int,
    created_at: datetime,
    changed_at: datetime,
) -> Hook:
    return Hook(SourceId(source_id), SignatureScheme(scheme), mapping, window_seconds, secrets, created_at, changed_at)


def _stored(*row: object) -> StoredHook:
    *hook, key_id, sealed = row
    return StoredHook(_hook(*hook), int(key_id), bytes(sealed))  # type: ignore[arg-type, call-overload]


def _source(
    source_id: int,
    name: str,
    kind: str,
    scopes: list[str],
    jurisdiction: str,
    request_bytes_max: int,
    defer: bool,
) -> Source:
    return Source(
        SourceId(source_id), name, SourceKind(kind), frozenset(scopes), jurisdiction, request_bytes_max, defer
    )
