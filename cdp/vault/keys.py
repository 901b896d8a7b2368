"""Root keys and where they are kept: the key provider.

A root key is 32 random bytes with a name such as `epoch/1`, `pseudonym/graph/1` or `sign/audit/1`. Root keys are never
stored in PostgreSQL, not even wrapped: a key destroyed here is destroyed for every copy of the database.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from cdp.kit.errors import Fault
from cdp.vault.providers.file import _prepare_folder

PROVIDER_GROUP: Final = "cdp.key_providers"


class KeyProvider(Protocol):
    """Keeps root keys. A KMS implements it by envelope encryption: each root key is stored wrapped by a KMS key.

    Each process loads a root key at most once, and none per subject. Names match `[a-z0-9_-]+(/[a-z0-9_-]+)*`.
    `cdp.vault.conformance` tests these promises.
    """

    def names(self) -> frozenset[str]:
        """The names of all keys that it keeps."""
        ...

    def load(self, name: str) -> bytes:
        """The 32 bytes of a key. Raises the faults `root_key_missing` and `wrong_master_key`."""
        ...

    def create(self, name: str) -> bytes:
        """Create, store durably and return a random key; if one of that name exists, return that one."""
        ...

    def destroy(self, name: str) -> None:
        """Make a key unrecoverable; does nothing when there is none."""
        ...

    def fingerprint(self) -> bytes:
        """16 bytes that identify the master key without revealing it."""
        ...


def open_kms_provider(url: str, folder: Path) -> KeyProvider:
    """The provider of a key management service, from the installed package that supports the scheme of the URL.

    The package declares `<scheme> = "module:function"` under the entry point group `cdp.key_providers`; the function
    takes the URL and a folder of mode 0700 for wrapped keys. Raises the fault `kms_unknown` when no package does.
    """
    scheme = urlsplit(url).scheme
    for entry_point in entry_points(group=PROVIDER_GROUP, name=scheme):
        _prepare_folder(folder)
        provider: KeyProvider = entry_point.load()(url, folder)
        return provider
    raise Fault(
        "kms_unknown",
        "No key provider supports this CDP_KMS_URL",
        f"No installed package provides keys for URLs that begin with {scheme}: (see docs/reference/keys.md). "
        "Install one, or use a local master key by leaving CDP_KMS_URL unset.",
        status=500,
    )
