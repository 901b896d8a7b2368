"""Reading about a person as of one instant, beside everybody who writes."""

from collections.abc import Callable
from typing import Final, TypeVar

from cdp.kit.db import Database, Transaction, is_conflict
from cdp.kit.errors import Fault

_TRIES: Final = 5

Result = TypeVar("Result")


def at_one_instant(database: Database, read: Callable[[Transaction], Result]) -> Result:
    """What `read` finds, and its note in the log, in one transaction whose statements all see the same instant.

    It begins again where a rotation destroyed a key that the instant still needed, or a lost race ended it.
    """
    for left in reversed(range(_TRIES)):
        try:
            with database.transaction(one_instant=True) as tx:
                return read(tx)
        except Fault as fault:
            if not left or not (fault.code == "root_key_missing" or is_conflict(fault)):
                raise
    raise AssertionError("the last try returns or raises")
