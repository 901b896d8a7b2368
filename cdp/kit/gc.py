"""Pausing the cyclic garbage collector where it would free nothing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Run the block without garbage collection; its garbage is collected soon after.

    A batch creates many objects that all live until its end, so a collection in between scans them without freeing any.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def freeze_live_objects() -> None:
    """Exempt all live objects from collection from now on; call it once, when a service has started.

    Policy, plans and code live as long as the process; scanning them after every batch costs more than a small batch does.
    """
    gc.collect()
    gc.freeze()
