"""The conformance tests for key providers: a correct one keeps every promise, and each defect is found."""

import base64
from pathlib import Path

import pytest

from cdp.kit.errors import Fault
from cdp.kit.ids import random_bytes
from cdp.kit.state import StateFolder
from cdp.vault.conformance import check_provider
from cdp.vault.providers.file import LocalFileProvider

MASTER = b"\x05" * 32


class Plain(LocalFileProvider):
    def create(self, name: str) -> bytes:
        key = super().create(name)
        self._store.create(name.replace("/", ".") + ".copy", base64.b64encode(key))
        return key


class Recreating(LocalFileProvider):
    def create(self, name: str) -> bytes:
        self.destroy(name)
        return super().create(name)


class Short(LocalFileProvider):
    def create(self, name: str) -> bytes:
        return super().create(name)[:16]


class Constant(LocalFileProvider):
    def create(self, name: str) -> bytes:
        return b"\x01" * 32

    def load(self, name: str) -> bytes:
        return b"\x01" * 32


class Eager(LocalFileProvider):
    def load(self, name: str) -> bytes:
        return super().create(name)


class Indestructible(LocalFileProvider):
    def destroy(self, name: str) -> None:
        pass


class Unbound(LocalFileProvider):
    """Keeps each key wrapped, but not under its name."""

    def create(self, name: str) -> bytes:
        self._store.create(self._file(name), self._wrapper.wrap_many([(b"any", random_bytes(32))])[0])
        return self.load(name)

    def load(self, name: str) -> bytes:
        content = self._store.read(self._file(name))
        if content is None:
            raise Fault("root_key_missing", "", "", status=500)
        return self._wrapper.unwrap_many([(b"any", content)])[0]

    def _file(self, name: str) -> str:
        return name.replace("/", ".") + ".wrapped"


class Changing(LocalFileProvider):
    def fingerprint(self) -> bytes:
        return random_bytes(16)


class Foreign(LocalFileProvider):
    def load(self, name: str) -> bytes:
        try:
            return super().load(name)
        except Fault as fault:
            raise KeyError(name) from fault


def broken(provider: type[LocalFileProvider], folder: Path) -> list[str]:
    results = check_provider(lambda: provider(StateFolder(folder), MASTER), folder)
    assert len(results) == 9
    assert all(result.text for result in results)
    return [result.text for result in results if result.broken is not None]


def test_the_local_provider_keeps_every_promise_and_leaves_nothing(tmp_path: Path) -> None:
    assert broken(LocalFileProvider, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("provider", "promise"),
    [
        (Plain, "in the clear"),
        (Recreating, "returns that key"),
        (Short, "32 random bytes"),
        (Constant, "32 random bytes"),
        (Eager, "root_key_missing"),
        (Indestructible, "unrecoverable"),
        (Unbound, "in place of another one"),
        (Changing, "`fingerprint`"),
        (Foreign, "root_key_missing"),
    ],
)
def test_each_fault_is_found_at_its_promise(provider: type[LocalFileProvider], promise: str, tmp_path: Path) -> None:
    assert any(promise in text for text in broken(provider, tmp_path))
