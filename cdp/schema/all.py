"""The whole schema: for migrations, the erasure plan, the export plan and the tests of the structure."""

from sqlalchemy import Table

from cdp.schema import (  # noqa: F401 - importing a module declares its tables
    access,
    accounting,
    audit,
    behavior,
    consent,
    deferred,
    destinations,
    identity,
    identity_history,
    operations,
    rights,
    segments,
    sources,
    vault,
)
from cdp.schema.dictionary import metadata


def tables() -> list[Table]:
    """Every declared table, referenced ones before those that refer to them."""
    return list(metadata.sorted_tables)
