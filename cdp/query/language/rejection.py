"""Why a text of the segment language is rejected, and at which character."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a text is not a valid segment: the position (a character offset from 0), the fault, and the remedy."""

    position: int
    message: str
    hint: str

    def pointed(self, text: str) -> str:
        """The line of the text with a caret under the position, then message and hint."""
        before = text[: self.position]
        number = before.count("\n") + 1
        column = len(before) - (before.rfind("\n") + 1)
        lines = text.split("\n")
        pad = " " * len(f"{number} | ") + "".join(
            "\t" if letter == "\t" else " " for letter in lines[number - 1][:column]
        )
        pointed = f"{number} | {lines[number - 1]}\n{pad}^ {self.message}"
        return f"{pointed}\n{self.hint}" if self.hint else pointed
