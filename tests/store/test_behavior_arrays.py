"""Packed arrays say to PostgreSQL what lists say."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cdp.kit.db import Database
from cdp.kit.pg_binary import arrays

pytestmark = pytest.mark.postgres

INSTANTS = [
    datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2200, 1, 1, tzinfo=UTC) + timedelta(microseconds=1),
]


@pytest.mark.parametrize(
    ("pack", "kind", "values"),
    [
        (arrays.bigints, "bigint", [0, 1, -1, 2**63 - 1, -(2**63)]),
        (arrays.bigints, "bigint", [5, None, -1]),
        (arrays.integers, "int", [0, 7, -(2**31)]),
        (arrays.doubles, "float8", [0.0, -1.5, 1e300, 5e-324]),
        (arrays.instants, "timestamptz", INSTANTS),
        (arrays.instants, "timestamptz", [None, *INSTANTS]),
        (arrays.days, "date", [date(2026, 1, 1), date(1970, 1, 1), date(2000, 1, 1)]),
        (lambda ids: arrays.uuids([each.bytes for each in ids]), "uuid", [UUID(int=0), UUID(int=2**128 - 1)]),
        (arrays.texts, "text", ["", "a", "é😀", None, 'quote " and {comma, }', "NULL"]),
        (arrays.blobs, "bytea", [b"", b"\x00\xff", None]),
        (arrays.booleans, "bool", [True, False]),
    ],
)
def test_values_arrive_as_they_are(
    database: Database, pack: Callable[[Sequence[Any]], Any], kind: str, values: list[Any]
) -> None:
    for given in (values, values[:1], [], values * 300):
        with database.transaction() as tx:
            packed = tx.execute(
                f"SELECT v FROM unnest(%(values)s::{kind}[]) WITH ORDINALITY AS t(v, n) ORDER BY n",
                {"values": pack(given)},
            )
            (whole,) = tx.raw.execute(  # the driver's own packing of a list
                f"SELECT %(packed)s::{kind}[] IS NOT DISTINCT FROM %(listed)s::{kind}[]",
                {"packed": pack(given), "listed": given},
            )
            (listed,) = tx.execute(f"SELECT %(values)s::{kind}[]", {"values": given})
        assert [row[0] for row in packed] == given
        assert whole == (True,)
        assert listed == (given,)


def test_integers_serve_as_smallints(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.execute("SELECT %(values)s::smallint[]", {"values": arrays.integers([1, 2])}) == [([1, 2],)]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(Exception, match=r"out of range|format requires|too large"):
        arrays.bigints([2**63])
