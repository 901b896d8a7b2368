"""Normalize e-mail addresses: the address that is meant, or malformed. Pure."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote

import idna

from cdp.identity.ids import visible
from cdp.identity.model import Ignored
from cdp.policy.identifiers import EmailFolding

_PLAIN: Final = re.compile(
    r"^[a-z0-9.!#$%&*+/=?^_{|}~-][a-z0-9.!#$%&'*+/=?^_{|}~-]{0,63}@([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}$"
)
"""What most addresses look like: nothing about them is to be read differently."""

_DOTLESS_DOMAINS: Final = frozenset({"gmail.com", "googlemail.com"})
_LENGTH_MAX: Final = 254
_LOCAL_LENGTH_MAX: Final = 64
_SCHEME: Final = re.compile(r"(mailto|smtp|e-?mail|mail)\s*:\s*")
_BRACKETS: Final = re.compile(r"[<(\[]([^<>()\[\]]*)[>)\]]")
_SEPARATORS: Final = re.compile(r"[;,|\s]+")
_OF_LOCAL: Final = re.compile(r"""[^\x00-\x20\x7f\s@()<>\[\]\\,;:"]+""")
_QUOTES: Final = "\"'`“”‘’«»"
_NOBODY: Final = frozenset({
    "none", "null", "nil", "na", "n/a", "nan", "no", "nomail", "no-mail", "noemail", "no-email", "no_email", "noone", "nobody", "unknown",
    "undefined", "anonymous", "xxx", "test", "notset", "notprovided", "notavailable",
})  # fmt: skip
"""Local parts and domains of addresses such as `none@none.com`, which people type where an address is required."""


def normalize_email(text: str, folding: EmailFolding = EmailFolding.OFF) -> str | Ignored:
    """The address in lower case with an IDNA domain (RFC 5321 lengths, RFC 5891 domains).

    Read as what is meant: `mailto:`, a name with the address in brackets, quotes, a comment, a final dot. Malformed
    where it is not an address, or where there is more than one.
    """
    address = unicodedata.normalize("NFC", text).lower()
    if not _PLAIN.match(address):
        meant = _meant(address)
        if meant is None:
            return Ignored.MALFORMED
        address = meant
    if len(address) > _LENGTH_MAX:
        return Ignored.MALFORMED
    local, _, domain = address.partition("@")
    if local in _NOBODY and domain.partition(".")[0] in _NOBODY:
        return Ignored.BLOCKED
    return address if folding is EmailFolding.OFF else _folded(address, folding)


def _meant(text: str) -> str | None:
    """The only address of a text; None if there is none, or another beside it."""
    text = _SCHEME.sub("", visible(text).strip(" "), count=1) if ":" in text else visible(text)
    if "@" not in text and "%40" in text:
        text = _decoded(text)
    found = {_single(candidate) for candidate in _candidates(text)}
    return found.pop() if len(found) == 1 else None


def _candidates(text: str) -> Iterator[str]:
    """The parts of a text that are or must be addresses."""
    bracketed = [inner for inner in _BRACKETS.findall(text) if "@" in inner or "%40" in inner]
    for inner in bracketed:
        yield from _parts(inner)
    for part in _parts(_BRACKETS.sub(" ", text)):
        if "@" in part or not bracketed:  # beside an address in brackets, other words are a name
            yield part


def _parts(text: str) -> list[str]:
    return [part for part in _SEPARATORS.split(text) if part.strip(_QUOTES + ".")]


def _single(text: str) -> str | None:
    """One address without its scheme, quotes and punctuation; None if it is not one."""
    text = text.strip(":").rstrip(".!")
    if text[:1] == "'" or (text[:1] in _QUOTES and text[-1:] in _QUOTES):
        text = text.strip(_QUOTES).rstrip(".!")
    scheme = _SCHEME.match(text)
    if scheme is not None:
        text = _decoded(text[scheme.end() :])
    if "?" in text.rpartition("@")[2]:  # what follows are the headers of a `mailto:`
        text = text.partition("?")[0]
    if _PLAIN.match(text):
        return text
    local, _, domain = text.rpartition("@")
    if local[:1] == local[-1:] == '"':
        local = local[1:-1]
    if not _OF_LOCAL.fullmatch(local) or local[0] in _QUOTES or len(local.encode()) > _LOCAL_LENGTH_MAX:
        return None
    try:
        domain = idna.encode(domain, uts46=True).decode("ascii").rstrip(".")
    except idna.IDNAError:
        return None
    return f"{local}@{domain}" if "." in domain and not domain.rpartition(".")[2].isdigit() else None


def _decoded(text: str) -> str:
    return unicodedata.normalize("NFC", visible(unquote(text)).lower())


def _folded(address: str, folding: EmailFolding) -> str:
    local, _, domain = address.rpartition("@")
    local = local.split("+", 1)[0] or local
    if folding is EmailFolding.PLUS_AND_DOTS and domain in _DOTLESS_DOMAINS:
        local = local.replace(".", "") or local
    return f"{local}@{domain}"
