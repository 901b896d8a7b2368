"""Request bodies while they arrive, inflated where they are compressed, never larger than allowed. Pure.

The limit counts what comes out, so a zip bomb costs no more memory or time than an honest body of the limit's size.
"""

import zlib
from typing import Final

from cdp.wire.refusal import RequestRefused

_GZIP_MAGIC: Final = b"\x1f\x8b"
_MALFORMED: Final = RequestRefused("malformed_gzip", "The body is said to be gzip, but it is not, or it is cut short.")


def too_large(bytes_max: int) -> RequestRefused:
    """The refusal of a body over the limit of its source."""
    return RequestRefused(
        "request_too_large", f"A request of this source may have at most {bytes_max:,} bytes of JSON."
    )


class Body:
    """A request body in the making. Gzip is recognized by its first bytes as well as by the header."""

    def __init__(self, bytes_max: int, *, is_gzip: bool) -> None:
        self._bytes_max = bytes_max
        self._is_gzip = is_gzip
        self._inflater = zlib.decompressobj(wbits=31)
        self._arrived = 0
        self._content = bytearray()

    def feed(self, chunk: bytes) -> RequestRefused | None:
        """Add what arrived; a refusal ends the reading."""
        if not chunk:
            return None
        if self._arrived == 0 and chunk.startswith(_GZIP_MAGIC):
            self._is_gzip = True
        self._arrived += len(chunk)
        if not self._is_gzip:
            self._content += chunk
            return too_large(self._bytes_max) if len(self._content) > self._bytes_max else None
        return self._inflate(chunk)

    def end(self) -> bytes | RequestRefused:
        """The whole content."""
        if self._is_gzip and self._arrived and not self._inflater.eof:
            return _MALFORMED
        return bytes(self._content)

    def _inflate(self, chunk: bytes) -> RequestRefused | None:
        while chunk:
            if self._inflater.eof:
                self._inflater = zlib.decompressobj(wbits=31)
            room = self._bytes_max - len(self._content) + 1
            try:
                self._content += self._inflater.decompress(chunk, room)
            except zlib.error:
                return _MALFORMED
            if len(self._content) > self._bytes_max:
                return too_large(self._bytes_max)
            chunk = self._inflater.unused_data.lstrip(b"\x00") if self._inflater.eof else self._inflater.unconsumed_tail
        return None
