"""The cyclic garbage collector, held back while a batch is worked on."""

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
