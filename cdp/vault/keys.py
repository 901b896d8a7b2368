"""Root keys and where they are kept: the key provider.

A root key is 32 random bytes with a name such as `epoch/1`, `pseudonym/graph/1` or `sign/audit/1`. Root keys are never
stored in PostgreSQL, not even wrapped: a key destroyed here is destroyed for every copy of the database.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit

from cdp.kit.errors import UNAVAILABLE, Fault
from cdp.vault.providers.file import _prepare_folder

_Answer = TypeVar("_Answer")

PROVIDER_GROUP: Final = "cdp.key_providers"
KMS_UNAVAILABLE: Final = "key_service_unavailable"
"""The code of the fault that a provider of a package does not answer."""


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


class KmsProvider:
    """The provider of a package: whatever it raises that is not a fault means that its service cannot be used now.

    The fault `key_service_unavailable` names the type of the exception only, because its text may contain an address with a secret.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider

    def names(self) -> frozenset[str]:
        """As `KeyProvider.names`."""
        return _answered(self._provider.names)

    def load(self, name: str) -> bytes:
        """As `KeyProvider.load`."""
        return _answered(partial(self._provider.load, name))

    def create(self, name: str) -> bytes:
        """As `KeyProvider.create`."""
        return _answered(partial(self._provider.create, name))

    def destroy(self, name: str) -> None:
        """As `KeyProvider.destroy`."""
        _answered(partial(self._provider.destroy, name))

    def fingerprint(self) -> bytes:
        """As `KeyProvider.fingerprint`."""
        return _answered(self._provider.fingerprint)


def _answered(ask: Callable[[], _Answer]) -> _Answer:
    try:
        return ask()
    except Fault:
        raise
    except Exception as failed:
        raise Fault(
            "key_service_unavailable",
            "The key service is unavailable",
            f"The service in CDP_KMS_URL did not answer, or not as its provider expects ({type(failed).__qualname__}). Try "
            "again when it can be reached: a destruction of keys that was begun is completed then. Until then, a running service "
            "continues with the keys that it has in memory.",
            status=503,
            caller_detail=UNAVAILABLE,
        ) from failed


def open_kms_provider(url: str, folder: Path) -> KeyProvider:
    """The provider of a key management service, from the installed package that supports the scheme of the URL.

    The package declares `<scheme> = "module:function"` under the entry point group `cdp.key_providers`; the function
    takes the URL and a folder of mode 0700 for wrapped keys. Faults: `kms_unknown` when no package does,
    `key_service_unavailable`.
    """
    scheme = urlsplit(url).scheme
    for entry_point in entry_points(group=PROVIDER_GROUP, name=scheme):
        _prepare_folder(folder)
        return KmsProvider(_answered(partial(entry_point.load(), url, folder)))
    raise Fault(
        "kms_unknown",
        "No key provider supports this CDP_KMS_URL",
        f"No installed package provides keys for URLs that begin with {scheme}: (see docs/reference/keys.md). "
        "Install one, or use a local master key by leaving CDP_KMS_URL unset.",
        status=500,
    )
