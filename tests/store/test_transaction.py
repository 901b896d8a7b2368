"""What happens after a commit happens after a commit, and never without one."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from cdp.kit.db import Database, Transaction

pytestmark = pytest.mark.postgres


def test_it_is_called_once_the_transaction_is_on_disk(database: Database) -> None:
    seen: list[int] = []

    def look() -> None:
        with database.transaction(read_only=True) as other:
            seen.append(int(other.scalar(text("SELECT count(*) FROM behavior.term WHERE term = 'after'"))))

    with database.transaction() as tx:
        tx.bulk("INSERT INTO behavior.term (vocabulary, term) VALUES ('test', 'after')")
        tx.after_commit(look)
        assert seen == []
    assert seen == [1]


def test_it_is_not_called_after_a_rollback(database: Database) -> None:
    called: list[bool] = []
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        _fail_after(tx, lambda: called.append(True))
    assert called == []


def test_lists_that_follow_each_other_may_be_of_other_kinds(database: Database) -> None:
    with database.transaction() as tx:
        assert tx.bulk("SELECT %(given)s::bigint[]", {"given": [1, 2]}) == [([1, 2],)]
        assert tx.bulk("SELECT %(given)s::text[]", {"given": ["a", None]}) == [(["a", None],)]
        assert tx.bulk("SELECT %(given)s::bigint[]", {"given": [None]}) == [([None],)]


def _fail_after(tx: Transaction, call: Callable[[], None]) -> None:
    tx.after_commit(call)
    raise ZeroDivisionError
