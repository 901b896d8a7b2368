"""How often a function is called: the work of a bound, which does not depend on the load of the machine."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def counting_calls(function: Callable[..., Any]) -> Iterator[list[int]]:
    """The number of calls of a Python function in this thread within the block."""
    calls = [0]
    code = function.__code__

    def on_call(frame: FrameType, event: str, _: Any) -> None:
        calls[0] += event == "call" and frame.f_code is code

    before = sys.getprofile()
    sys.setprofile(on_call)
    try:
        yield calls
    finally:
        sys.setprofile(before)
