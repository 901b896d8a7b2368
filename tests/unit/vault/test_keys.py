"""The local key provider: made once, never made again beside data, refused when exposed, gone when destroyed."""

import base64
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import pytest

from cdp.kit.errors import Fault
from cdp.kit.state import StateFolder
from cdp.vault.providers.file import LocalFileProvider, open_local_provider
from cdp.vault.providers.master_key import check_value, parse_master_key

P = ParamSpec("P")


def opened(folder: Path, master_key: bytes | None = None, may_create: bool = True) -> LocalFileProvider:
    return open_local_provider(folder, master_key, may_create=may_create)[0]


def code_of(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    with pytest.raises(Fault) as caught:
        call(*args, **kwargs)
    return caught.value.code


def test_the_first_start_makes_a_master_key_for_its_owner_alone_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "home/keys"

    _, notice = open_local_provider(folder, None, may_create=True)

    assert notice is not None
    assert str(folder / "master.key") in notice
    assert stat.S_IMODE((folder / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert len(bytes.fromhex((folder / "master.key").read_text())) == 32


def test_later_starts_use_the_same_key_and_say_nothing(tmp_path: Path) -> None:
    key = opened(tmp_path / "keys").create("epoch/1")

    provider, notice = open_local_provider(tmp_path / "keys", None, may_create=False)

    assert notice is None
    assert provider.load("epoch/1") == key
    assert provider.names() == {"epoch/1"}


def test_no_key_is_made_beside_data(tmp_path: Path) -> None:
    assert code_of(open_local_provider, tmp_path / "keys", None, may_create=False) == "master_key_missing"
    assert not (tmp_path / "keys/master.key").exists()


@pytest.mark.parametrize(("name", "mode"), [("master.key", 0o640), ("master.key", 0o604), (".", 0o750), (".", 0o701)])
def test_keys_that_others_may_read_are_refused(tmp_path: Path, name: str, mode: int) -> None:
    opened(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(mode)

    assert code_of(opened, tmp_path / "keys") == "key_file_exposed"


def test_a_key_from_outside_replaces_the_file(tmp_path: Path) -> None:
    outside = bytes(range(32))
    key = opened(tmp_path / "keys", outside).create("epoch/1")

    assert not (tmp_path / "keys/master.key").exists()
    assert opened(tmp_path / "keys", outside).load("epoch/1") == key
    assert code_of(opened(tmp_path / "keys", bytes(32)).load, "epoch/1") == "wrong_master_key"


def test_a_master_key_is_read_in_hexadecimal_and_in_base64() -> None:
    key = bytes(range(32))

    assert parse_master_key(key.hex() + "\n") == parse_master_key(base64.b64encode(key).decode()) == key


@pytest.mark.parametrize("text", ["", "short", "00" * 31, "g" * 64, base64.b64encode(bytes(33)).decode(), "ümlaut"])
def test_what_is_no_master_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_master_key(text)

    assert caught.value.code == "master_key_malformed"
    assert not text or text not in caught.value.detail


def test_a_key_is_made_once_even_if_two_processes_make_it(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "keys"), opened(tmp_path / "keys")

    assert first.create("pseudonym/graph/1") == second.create("pseudonym/graph/1") == first.load("pseudonym/graph/1")
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["master.key", "pseudonym.graph.1.wrapped"]


def test_no_key_lies_in_the_clear_beside_the_master_key(tmp_path: Path) -> None:
    provider = opened(tmp_path / "keys")
    keys = [provider.create(f"epoch/{number}") for number in range(1, 4)]
    lying = b"".join(path.read_bytes() for path in (tmp_path / "keys").iterdir())

    assert len(set(keys)) == 3
    assert not any(key in lying or base64.b64encode(key)[:40] in lying or key.hex().encode() in lying for key in keys)


def test_a_wrapped_key_under_another_name_does_not_open(tmp_path: Path) -> None:
    provider = opened(tmp_path / "keys")
    provider.create("epoch/1")
    (tmp_path / "keys/epoch.1.wrapped").rename(tmp_path / "keys/epoch.2.wrapped")

    assert code_of(provider.load, "epoch/2") == "wrong_master_key"


@pytest.mark.parametrize("content", ["", "!!!", "AAAA"])
def test_a_damaged_key_file_does_not_open(tmp_path: Path, content: str) -> None:
    provider = opened(tmp_path / "keys")
    provider.create("epoch/1")
    (tmp_path / "keys/epoch.1.wrapped").write_text(content)

    assert code_of(provider.load, "epoch/1") == "wrong_master_key"


def test_a_key_that_is_being_wiped_counts_as_gone(tmp_path: Path) -> None:
    provider = opened(tmp_path / "keys")
    provider.create("epoch/1")
    path = tmp_path / "keys/epoch.1.wrapped"
    path.write_bytes(b"\0" * path.stat().st_size)

    assert code_of(provider.load, "epoch/1") == "root_key_missing"


def test_a_destroyed_key_is_gone_for_good_and_destroying_it_again_is_no_error(tmp_path: Path) -> None:
    provider = opened(tmp_path / "keys")
    provider.create("epoch/1")
    kept = (tmp_path / "keys/epoch.1.wrapped").open("rb")  # somebody still holds the file

    provider.destroy("epoch/1")
    provider.destroy("epoch/1")

    assert set(kept.read()) == {0}
    assert provider.names() == frozenset()
    assert code_of(provider.load, "epoch/1") == "root_key_missing"


@pytest.mark.parametrize("name", ["", "../x", "/x", "x/", "X", "a.b", "a//b", "a b"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        opened(tmp_path / "keys").create(name)


def test_check_values_tell_keys_and_names_apart_and_are_not_keys() -> None:
    values = {check_value(key, name) for key in (b"a" * 32, b"b" * 32) for name in ("epoch/1", "epoch/2")}

    assert len(values) == 4
    assert {len(value) for value in values} == {16}


def test_the_fingerprint_names_the_master_key(tmp_path: Path) -> None:
    store = StateFolder(tmp_path)
    one, same = LocalFileProvider(store, b"k" * 32), LocalFileProvider(store, b"k" * 32)

    assert one.fingerprint() == same.fingerprint() != LocalFileProvider(store, b"l" * 32).fingerprint()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_every_folder_above_the_keys_is_made_private(tmp_path: Path, umask: int) -> None:
    """With a database of its own server, the keys are the first that a start writes into CDP_HOME."""
    before = os.umask(umask)
    try:
        opened(tmp_path / "made" / "home" / "keys")
    finally:
        os.umask(before)
    for folder in ("made", "made/home", "made/home/keys"):
        assert stat.S_IMODE((tmp_path / folder).stat().st_mode) == 0o700


def test_a_master_key_that_never_ends_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "keys")
    path = tmp_path / "keys" / "master.key"
    os.truncate(path, 100_000_000_000)
    assert code_of(open_local_provider, tmp_path / "keys", None, may_create=False) == "file_too_large"
    path.unlink()
    os.mkfifo(path, 0o600)
    assert code_of(open_local_provider, tmp_path / "keys", None, may_create=False) == "not_a_file"
