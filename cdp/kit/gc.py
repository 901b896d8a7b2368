"""The cyclic garbage collector, held back where it finds nothing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Let no collection interrupt the block; what it leaves behind is collected soon after.

    A batch makes many objects that all live to its end, so every collection on the way searches them for nothing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def keep_what_is_there() -> None:
    """Exempt everything alive from collection from now on: to be called once, when a service has started.

    Policy, plans and code live as long as the process; searching them after every batch costs more than small batches do.
    """
    gc.collect()
    gc.freeze()
