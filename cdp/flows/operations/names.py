"""The rule for names of sources and tokens."""

from typing import Final

from cdp.kit.errors import Fault

NAME_MAX: Final = 100


def check_name(name: str) -> None:
    """Raise the fault `invalid_name` (422) for an empty, long or unprintable name."""
    if not name.strip() or len(name) > NAME_MAX or not name.isprintable():
        raise Fault(
            "invalid_name",
            "Invalid name",
            f"A name has 1 to {NAME_MAX} printable characters, such as web-shop.",
            status=422,
        )
