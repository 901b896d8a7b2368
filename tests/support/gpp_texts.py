"""Texts of the Global Privacy Platform, written bit by bit."""

import string

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"


def letters(bits: str) -> str:
    """Bits as base64url letters; zeros fill up the last one."""
    bits += "0" * (-len(bits) % 6)
    return "".join(LETTERS[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def fibonacci(number: int) -> str:
    """A number from 1 as the bits of its Fibonacci coding."""
    weights = [1, 2]
    while weights[-1] <= number:
        weights.append(weights[-1] + weights[-2])
    bits = ""
    for weight in reversed(weights[:-1]):
        bits = ("1" if weight <= number else "0") + bits
        number -= weight if weight <= number else 0
    return bits + "1"


def header(*ids: int) -> str:
    """The header for sections of these ids, in ascending order."""
    items, last = "", 0
    for id_ in ids:
        items += "0" + fibonacci(id_ - last)
        last = id_
    return letters(f"{3:06b}{1:06b}{len(ids):012b}{items}")
