"""Rows packed by hand arrive as they were given."""

from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from cdp.kit.copy import copy_packed
from cdp.kit.db import Database, Transaction
from cdp.kit.pg_binary.copying import (
    Field,
    always_day,
    always_instant,
    always_integer,
    always_octets,
    always_smallint,
    always_text,
    bigints,
    integers,
    octets,
)

pytestmark = pytest.mark.postgres

AT = datetime(1999, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
DAY = date(1987, 6, 5)


@pytest.fixture
def tx(database: Database) -> Iterator[Transaction]:
    with database.transaction() as tx:
        tx.execute(
            """
            CREATE TEMPORARY TABLE given (
                big bigint, word int, small smallint, at timestamptz, day date, kind text, seal bytea, hash bytea, name text
            ) ON COMMIT DROP
            """
        )
        yield tx


@pytest.mark.parametrize("count", [1, 2, 511, 512, 513, 1_500])
def test_rows_arrive_as_they_were_given(tx: Transaction, count: int) -> None:
    bigs = [(-1) ** at * at * 2**40 for at in range(count)]
    seals = [bytes([at % 256]) * (at % 7) for at in range(count)]
    names = [("é" * (at % 5)).encode() for at in range(count)]
    fields = {
        "big": bigints(bigs),
        "seal": octets(seals),
        "word": integers(range(-count, 0)),
        "small": always_smallint(-3),
        "name": octets(names),
        "at": always_instant(AT),
        "day": always_day(DAY),
        "kind": always_text("ünder"),
        "hash": octets([bytes([at % 256]) * 32 for at in range(count)], 32),
    }
    sent = tx.statements
    copy_packed(tx, "pg_temp.given", list(fields), count=count, fields=list(fields.values()))
    assert tx.statements == sent + 1
    assert tx.execute("SELECT big, seal, word, name, hash FROM given ORDER BY word") == [
        (bigs[at], seals[at], at - count, names[at].decode(), bytes([at % 256]) * 32) for at in range(count)
    ]
    assert tx.execute("SELECT DISTINCT small, at, day, kind FROM given") == [(-3, AT, DAY, "ünder")]


def test_columns_of_fixed_size_alone_and_those_that_never_change(tx: Transaction) -> None:
    copy_packed(tx, "pg_temp.given", ("big", "word"), count=3, fields=[bigints([1, 2, 3]), always_integer(7)])
    copy_packed(tx, "pg_temp.given", ("hash",), count=0, fields=[always_octets(b"x")])
    assert tx.execute("SELECT big, word, hash FROM given ORDER BY big") == [(1, 7, None), (2, 7, None), (3, 7, None)]


def test_a_column_that_is_too_short_is_an_error(tx: Transaction) -> None:
    with pytest.raises(ValueError):
        copy_packed(tx, "pg_temp.given", ("big", "word"), count=3, fields=[bigints([1, 2]), Field("i", 4, [1, 2, 3])])
