"""Definitions that every evaluator of the language shares: they are part of its meaning, not of one engine.

The reference interpreter and the engines compute everything else on their own, so that they can be compared.
"""

from decimal import Decimal
from typing import Final

HALF_LIVES_MAX: Final = 1000
"""An event that is older than this many half-lives has the weight 0: beyond it a double cannot hold the weight."""


class NotEvaluable(ValueError):
    """The condition contains a node that `check` refuses, so no evaluator implements it."""


def sample_threshold(percent: Decimal) -> int:
    """The bound of a sample: a profile is in it when the first eight bytes of its hash are a smaller number.

    The hash is SHA-256(SHA-256(salt ‖ purpose) ‖ seed), with the salt of the profile and both texts in UTF-8; its first
    eight bytes are read as a big-endian number. The inner hash serves copies for one purpose, which hold no salt.
    """
    return int(percent * 2**64 / 100)
