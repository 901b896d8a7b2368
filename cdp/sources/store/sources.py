"""SQL of sources and their write keys."""

from collections.abc import Mapping
from datetime import datetime

from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId
from cdp.sources.model import Source, SourceEntry, SourceKind


def add_source(tx: Transaction, source: Source, write_key_hash: bytes, *, now: datetime) -> Source | None:
    """Store a new source under a fresh id; None when the name or the write key is in use.

    The id of `source` is ignored; the returned value has the real one.
    """
    rows = tx.execute(
        """
        INSERT INTO sources.source
            (name, kind, write_key_hash, scopes, jurisdiction, request_bytes_max, defer, created_at)
        VALUES (%(name)s, %(kind)s, %(hash)s, %(scopes)s, %(jurisdiction)s, %(bytes)s, %(defer)s, %(now)s)
        ON CONFLICT DO NOTHING
        RETURNING source_id, name, kind, scopes, jurisdiction, request_bytes_max, defer
        """,
        {
            "name": source.name,
            "kind": source.kind.value,
            "hash": write_key_hash,
            "scopes": sorted(source.scopes),
            "jurisdiction": source.jurisdiction,
            "bytes": source.request_bytes_max,
            "defer": source.defer,
            "now": now,
        },
    )
    return _source(*rows[0]) if rows else None


def sources(tx: Transaction) -> list[SourceEntry]:
    """Every source, disabled ones included, by name."""
    rows = tx.execute(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max, defer, created_at, disabled_at
        FROM sources.source
        ORDER BY name
        """
    )
    return [SourceEntry(_source(*source), created_at, disabled_at) for *source, created_at, disabled_at in rows]


def server_source_ids(tx: Transaction) -> list[SourceId]:
    """The ids of all sources of the kind `server`, disabled ones included."""
    rows = tx.execute("SELECT source_id FROM sources.source WHERE kind = 'server'")
    return [SourceId(source_id) for (source_id,) in rows]


def source_named(tx: Transaction, name: str) -> Source | None:
    """The active source of that name, None when there is none."""
    rows = tx.execute(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max, defer
        FROM sources.source
        WHERE name = %(name)s AND disabled_at IS NULL
        """,
        {"name": name},
    )
    return _source(*rows[0]) if rows else None


def active_sources(tx: Transaction) -> Mapping[bytes, Source]:
    """Every active source, by the hash of that key."""
    rows = tx.execute(
        """
        SELECT source_id, name, kind, scopes, jurisdiction, request_bytes_max, defer, write_key_hash
        FROM sources.source
        WHERE disabled_at IS NULL
        """
    )
    return {bytes(write_key_hash): _source(*source) for *source, write_key_hash in rows}


def disable_source(tx: Transaction, source_id: SourceId, now: datetime) -> bool:
    """Disable the write key of a source; False when there is no such active source."""
    rows = tx.execute(
        """
        UPDATE sources.source SET disabled_at = %(now)s
        WHERE source_id = %(source)s AND disabled_at IS NULL
        RETURNING source_id
        """,
        {"source": source_id, "now": now},
    )
    return bool(rows)


def set_defer(tx: Transaction, source_id: SourceId, *, defer: bool) -> bool:
    """Let messages of a source wait for an answer, or no longer; False when there is no such active source."""
    rows = tx.execute(
        """
        UPDATE sources.source SET defer = %(defer)s
        WHERE source_id = %(source)s AND disabled_at IS NULL
        RETURNING source_id
        """,
        {"source": source_id, "defer": defer},
    )
    return bool(rows)


def replace_write_key(tx: Transaction, source_id: SourceId, write_key_hash: bytes) -> bool:
    """Replace the write key of a source, the old one is invalid at once; False when there is no such active source."""
    rows = tx.execute(
        """
        UPDATE sources.source SET write_key_hash = %(hash)s
        WHERE source_id = %(source)s AND disabled_at IS NULL
        RETURNING source_id
        """,
        {"source": source_id, "hash": write_key_hash},
    )
    return bool(rows)


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
