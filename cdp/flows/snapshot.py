"""Consistent reads: several statements that see the same instant while others write."""

from collections.abc import Callable
from typing import Final, TypeVar

from cdp.kit.db import Database, Transaction
from cdp.kit.db_faults import is_conflict
from cdp.kit.errors import Fault

_TRIES: Final = 5

Result = TypeVar("Result")


def at_one_instant(database: Database, read: Callable[[Transaction], Result]) -> Result:
    """Run `read` in a transaction whose statements all see the same instant, and return its result.

    `read` is run again, up to five times in all, if a key rotation destroyed a key that this instant still needs, or if
    the transaction conflicts with another one.
    """
    for left in reversed(range(_TRIES)):
        try:
            with database.transaction(one_instant=True) as tx:
                return read(tx)
        except Fault as fault:
            if not left or not (fault.code == "root_key_missing" or is_conflict(fault)):
                raise
    raise AssertionError("the last try returns or raises")
