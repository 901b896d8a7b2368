"""How numbers stand in sentences that people read."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun in singular or plural, such as "1 day" or "1,200 days"; `plural` is one that does not just end in -s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {plural or noun + 's'}"
