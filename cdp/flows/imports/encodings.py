"""The text of a file in its declared encoding. A file that is evidently in another encoding is refused by name."""

import codecs
import io
from typing import IO, Final, Protocol, cast

from cdp.kit.errors import Fault

UTF_16: Final = "utf-16"
_CODECS: Final = {"utf-8": "utf-8-sig", "latin-1": "latin-1", "cp1252": "cp1252"}
_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
"""The byte-order marks of UTF-16."""
_SAMPLE: Final = 4096
_INVALID: Final = "cdp.invalid_utf_16"


class Peekable(Protocol):
    """A file of bytes whose next ones can be looked at."""

    def peek(self, size: int = ..., /) -> bytes: ...


def text_of_file(file: IO[bytes], encoding: str) -> io.TextIOWrapper:
    """The text; bytes that are invalid in the encoding become surrogates. Raises the fault `other_encoding`."""
    sample = cast("Peekable", file).peek(_SAMPLE)[:_SAMPLE]
    if encoding == UTF_16:
        return io.TextIOWrapper(file, _codec_of_utf_16(sample), errors=_INVALID, newline="")
    if _is_utf_16(sample):
        raise Fault(
            "other_encoding",
            "The file is UTF-16",
            "Spreadsheets save this as Unicode text. Set `encoding: utf-16` in the mapping; its cells are often separated by "
            'tabs: `delimiter: "\\t"`.',
        )
    return io.TextIOWrapper(file, _CODECS[encoding], errors="surrogateescape", newline="")


def guess_encoding(sample: bytes) -> str:
    """The encoding of a file that begins so: UTF-16 or UTF-8 where that is evident, otherwise Windows-1252."""
    if _is_utf_16(sample[:_SAMPLE]):
        return UTF_16
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _surrogate(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\udc80", error.end


codecs.register_error(_INVALID, _surrogate)  # `surrogateescape` cannot keep invalid bytes of UTF-16


def _codec_of_utf_16(sample: bytes) -> str:
    if sample and b"\x00" not in sample:
        raise Fault(
            "other_encoding",
            "The file is not UTF-16",
            "It has no zero byte, which UTF-16 has in each end of a line. Remove `encoding: utf-16` from the mapping.",
        )
    if sample.startswith(_MARKS):
        return "utf-16"
    return "utf-16-be" if sample[::2].count(0) > sample[1::2].count(0) else "utf-16-le"


def _is_utf_16(sample: bytes) -> bool:
    """Whether bytes begin with a byte-order mark of UTF-16, or most bytes at odd or at even places are zero."""
    if sample.startswith(_MARKS):
        return True
    half = len(sample) // 2
    return half > 1 and max(sample[::2].count(0), sample[1::2].count(0)) > half * 0.6 > min(
        sample[::2].count(0), sample[1::2].count(0)
    )
