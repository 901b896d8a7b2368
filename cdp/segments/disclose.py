"""Sizes of groups of people as they leave those who work with people. Pure.

Those who may list people get exact sizes. Others, such as auditors, get none below the policy's minimum.
"""


def size_outside(size: int, minimum: int) -> int | str:
    """The size as others may see it: 0 and sizes from the minimum on are exact, the rest are "fewer than" the minimum."""
    return size if size == 0 or size >= minimum else f"fewer than {minimum}"
