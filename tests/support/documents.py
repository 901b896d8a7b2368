"""Blocks of code in the pages of the documentation."""

import re

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code of a page that are marked with this language; an empty one names those without a mark."""
    return [body for name, body in _BLOCK.findall(text) if name == language]
