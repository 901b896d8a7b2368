"""Request bodies read chunk by chunk, decompressed where needed, never larger than allowed. Pure.

The limit applies to the decompressed size, so a zip bomb costs no more memory or time than a plain body of that size.
"""

import zlib
from typing import Final

from cdp.wire.request_refusal import RequestRefused

_GZIP_MAGIC: Final = b"\x1f\x8b"
_MEMBERS_MAX: Final = 100
"""A stream may have several members (RFC 1952); each costs time, also one that is empty."""
_TOO_MANY_MEMBERS: Final = RequestRefused(
    "too_many_gzip_members", f"A compressed body may have at most {_MEMBERS_MAX} gzip members. Compress it at once."
)
_MALFORMED: Final = RequestRefused("malformed_gzip", "The body is declared as gzip, but it is malformed or truncated.")


def too_large(bytes_max: int) -> RequestRefused:
    """The refusal of a body over the limit of its source."""
    return RequestRefused(
        "request_too_large", f"A request from this source may have at most {bytes_max:,} bytes of JSON."
    )


class Body:
    """A request body that is being received. Gzip is recognized by its first bytes as well as by the header."""

    def __init__(self, bytes_max: int, *, is_gzip: bool) -> None:
        self._bytes_max = bytes_max
        self._is_gzip = is_gzip
        self._inflater = zlib.decompressobj(wbits=31)
        self._arrived = 0
        self._members = 1
        self._content = bytearray()

    def __len__(self) -> int:
        return len(self._content)

    def feed(self, chunk: bytes) -> RequestRefused | None:
        """Add a chunk; after a refusal nothing more may be fed."""
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
        """The whole content, or the refusal of a truncated one."""
        if self._is_gzip and self._arrived and not self._inflater.eof:
            return _MALFORMED
        return bytes(self._content)

    def _inflate(self, chunk: bytes) -> RequestRefused | None:
        while chunk:
            if self._inflater.eof:
                self._members += 1
                if self._members > _MEMBERS_MAX:
                    return _TOO_MANY_MEMBERS
                self._inflater = zlib.decompressobj(wbits=31)
            bytes_left = self._bytes_max - len(self._content) + 1
            try:
                self._content += self._inflater.decompress(chunk, bytes_left)
            except zlib.error:
                return _MALFORMED
            if len(self._content) > self._bytes_max:
                return too_large(self._bytes_max)
            chunk = self._inflater.unused_data.lstrip(b"\x00") if self._inflater.eof else self._inflater.unconsumed_tail
        return None
