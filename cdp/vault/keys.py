"""Root keys and where they live: the key provider.

A root key is 32 random bytes with a name such as `epoch/1`, `pseudonym/graph/1` or `sign/audit/1`. Root keys never
enter PostgreSQL, not even wrapped: what is destroyed here is gone for every copy of the database.
"""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from cdp.kit.errors import Fault
from cdp.vault.providers.file import _prepare_folder

PROVIDER_GROUP: Final = "cdp.key_providers"


class KeyProvider(Protocol):
    """Keeps root keys. A KMS implements it by envelope: it keeps each key wrapped by a key that never leaves it.

    It is asked once per key and process, so at most once per epoch, and never per subject. Names match
    `[a-z0-9_-]+(/[a-z0-9_-]+)*`.
    """

    def names(self) -> frozenset[str]:
        """The names of all keys that it keeps."""
        ...

    def load(self, name: str) -> bytes:
        """The 32 bytes of a key. Raises the faults `root_key_missing` and `wrong_master_key`."""
        ...

    def create(self, name: str) -> bytes:
        """Make, keep durably and return a new random key; when one of that name exists, return that one."""
        ...

    def destroy(self, name: str) -> None:
        """Make a key unrecoverable; it is no error when there is none."""
        ...

    def fingerprint(self) -> bytes:
        """16 bytes that name the master key without telling it."""
        ...


def open_kms_provider(url: str, folder: Path) -> KeyProvider:
    """The provider of a key management service, from the installed package that knows its kind of URL.

    The package declares `<scheme> = "module:function"` under the entry point group `cdp.key_providers`; the function
    takes the URL and a folder of mode 0700 for wrapped keys. Raises the fault `kms_unknown` when none does.
    """
    scheme = urlsplit(url).scheme
    for found in entry_points(group=PROVIDER_GROUP, name=scheme):
        _prepare_folder(folder)
        provider: KeyProvider = found.load()(url, folder)
        return provider
    raise Fault(
        "kms_unknown",
        "No key provider knows this CDP_KMS_URL",
        f"No installed package provides keys for URLs that begin with {scheme}: (docs/reference/keys.md says how one "
        "does). Install it, or use a local master key by leaving CDP_KMS_URL unset.",
        status=500,
    )
