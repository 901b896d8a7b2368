"""Pseudonyms and digests under the root keys of their domains."""

from collections.abc import Iterable

from cdp.vault.pseudonym import DUPLICATES, Domain, hashed_forms, names_of_forms
from cdp.vault.root_keys import RootKeys


class KeyedHashes:
    """Keyed hashes of identifiers, profiles and messages; under the newest root key unless a version is named."""

    def __init__(self, root_keys: RootKeys) -> None:
        self._root_keys = root_keys

    def pseudonym(self, domain: Domain, kind: str, value: str, *, version: int | None = None) -> bytes:
        """The 32-byte pseudonym of one normalized identifier."""
        return self._root_keys.keyed_hash(domain, version).of(kind, value.encode("utf-8", "surrogatepass"))

    def pseudonyms(
        self, domain: Domain, identifiers: Iterable[tuple[str, str]], *, version: int | None = None
    ) -> list[bytes]:
        """The 32-byte pseudonyms of (type, normalized value), in order."""
        keyed_hash = self._root_keys.keyed_hash(domain, version)
        return [keyed_hash.of(kind, value.encode("utf-8", "surrogatepass")) for kind, value in identifiers]

    def form_pseudonyms(self, domain: Domain, kind: str, value: str) -> list[tuple[str, bytes]]:
        """(form, pseudonym) of each plain hash by which a protocol may name this identifier."""
        keyed_hash = self._root_keys.keyed_hash(domain, None)
        return [(form.name, keyed_hash.of(form.name, form.digest)) for form in hashed_forms(kind, value)]

    def received_form_pseudonyms(
        self, domain: Domain, kind: str, protocol: str, *, digest: bytes
    ) -> list[tuple[str, bytes]]:
        """(form, pseudonym) under which a received hash may be stored.

        `protocol` is `md5`, `sha1`, `sha256` or `drop`.
        """
        keyed_hash = self._root_keys.keyed_hash(domain, None)
        return [(name, keyed_hash.of(name, digest)) for name in names_of_forms(kind, protocol)]

    def message_digests(self, source_id: int, message_ids: Iterable[str]) -> list[bytes]:
        """The keys by which duplicates of one source's messages are recognized, in order: 16 bytes each."""
        prefix = source_id.to_bytes(8, "big")
        values = (prefix + message_id.encode("utf-8", "surrogatepass") for message_id in message_ids)
        return [digest[:16] for digest in self.digests(DUPLICATES, "message", values)]

    def reference_digests(self, values: Iterable[tuple[str, str]]) -> list[int]:
        """A number of 63 bits for each (property, text), by which events that name the same thing are joined."""
        texts = (f"{name}\0{text}".encode("utf-8", "surrogatepass") for name, text in values)
        return [int.from_bytes(digest[:8], "big") >> 1 for digest in self.digests(DUPLICATES, "reference", texts)]

    def digests(self, domain: Domain, kind: str, values: Iterable[bytes], *, version: int | None = None) -> list[bytes]:
        """32-byte keyed hashes of any bytes, in order; `kind` separates the uses of one domain."""
        return self._root_keys.keyed_hash(domain, version).of_many(kind, values)
