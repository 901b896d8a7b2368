"""SQL of the texts of segment versions, for exports."""

from collections.abc import Collection

from cdp.kit.db import Transaction


def segment_texts(tx: Transaction, keys: Collection[str]) -> dict[tuple[str, int], str]:
    """The text of each version of these segments, by key and version."""
    rows = tx.execute(
        "SELECT key, version, where_text FROM segments.segment_version WHERE key = ANY(%(keys)s::text[])",
        {"keys": list(keys)},
    )
    return {(key, version): where for key, version, where in rows}
