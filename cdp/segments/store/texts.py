"""SQL of the texts of segment versions, for exports."""

from collections.abc import Collection

from cdp.kit.db import Transaction


def segment_texts(tx: Transaction, keys: Collection[str]) -> dict[tuple[str, int], str]:
    """What each version of these segments asked for, by key and version: why somebody is in."""
    rows = tx.execute(
        "SELECT key, version, where_text FROM segments.segment_version WHERE key = ANY(%(keys)s::text[])",
        {"keys": list(keys)},
    )
    return {(row[0], row[1]): row[2] for row in rows}
