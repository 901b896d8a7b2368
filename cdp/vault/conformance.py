"""Conformance tests for key providers: run them before a provider keeps any real key.

`check_provider` tests every promise of `cdp.vault.keys.KeyProvider` and returns one result for each, in order. A test of
a provider needs one assertion:

    results = check_provider(lambda: open_provider(url, folder), folder)
    assert [(result.text, result.broken) for result in results if result.broken] == []

All keys used have names that begin with `conformance/` and are destroyed at the end, so a provider that is in use is not
disturbed; a test key of the service is still the better choice. `cdp keys check-provider URL` runs the same tests.
"""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cdp.kit.errors import Fault
from cdp.vault.keys import KeyProvider
from cdp.vault.providers.master_key import CHECK_BYTES
from cdp.vault.seal import KEY_BYTES

ONE: Final = "conformance/one/1"
OTHER: Final = "conformance/other_key/1"
RACED: Final = "conformance/raced/1"
NEVER: Final = "conformance/never-made/1"
_PROCESSES: Final = 8


@dataclass(frozen=True, slots=True)
class Promise:
    """The result of one promise: its text, and in `broken` how it was broken, None when it was kept."""

    text: str
    broken: str | None


@dataclass(frozen=True, slots=True)
class _Trial:
    """The provider under test, how another process would open it, and the folder of its wrapped keys."""

    provider: KeyProvider
    open_again: Callable[[], KeyProvider]
    folder: Path

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


def check_provider(open_again: Callable[[], KeyProvider], folder: Path) -> list[Promise]:
    """Test every promise and return the results, kept ones included.

    `open_again` opens the provider as a new process would, each time on the same `folder`, where it keeps its wrapped
    keys. A provider that raises breaks the promise under test; the other promises are still tested.
    """
    trial = _Trial(open_again(), open_again, folder)
    checks = (
        _creates_random_keys,
        _returns_the_same_key,
        _stores_durably,
        _creates_once_under_concurrency,
        _reports_missing_keys,
        _stores_no_key_in_the_clear,
        _binds_keys_to_their_names,
        _has_a_stable_fingerprint,
        _destroys_for_good,
    )
    try:
        return [Promise(check.__doc__ or "", _first_violation(check, trial)) for check in checks]
    finally:
        for name in (ONE, OTHER, RACED):
            trial.provider.destroy(name)


def _first_violation(check: Callable[[_Trial], Iterator[str]], trial: _Trial) -> str | None:
    try:
        return next(check(trial), None)
    except Exception as error:  # noqa: BLE001 - a provider that raises anything has broken its promise
        return f"it failed with {type(error).__name__}"


def _creates_random_keys(trial: _Trial) -> Iterator[str]:
    """`create` makes 32 random bytes, a different key for each name, and `names` lists them."""
    one, other = trial.provider.create(ONE), trial.provider.create(OTHER)
    if {len(one), len(other)} != {KEY_BYTES}:
        yield f"a key must be {KEY_BYTES} bytes"
    if one == other or len(set(one)) < 8:
        yield "the keys are not random"
    if not {ONE, OTHER} <= trial.provider.names():
        yield "`names` does not list the keys that were created"


def _returns_the_same_key(trial: _Trial) -> Iterator[str]:
    """`create` of an existing key returns that key, and so does `load`."""
    before = trial.provider.load(ONE)
    if {trial.provider.create(ONE), trial.provider.load(ONE)} != {before}:
        yield "different keys were returned for the same name"


def _stores_durably(trial: _Trial) -> Iterator[str]:
    """A key created by one process can be loaded by another: it is stored durably before `create` returns."""
    another = trial.open_again()
    if another.load(ONE) != trial.provider.load(ONE) or another.names() != trial.provider.names():
        yield "another process sees different keys"


def _creates_once_under_concurrency(trial: _Trial) -> Iterator[str]:
    """Processes that create the same key at the same time all receive the same key."""
    with ThreadPoolExecutor(_PROCESSES) as pool:
        providers = [trial.open_again() for _ in range(_PROCESSES)]
        created = list(pool.map(lambda provider: provider.create(RACED), providers))
    if len({*created, trial.open_again().load(RACED)}) != 1:
        yield "they received different keys: what one of them seals can never be opened"


def _reports_missing_keys(trial: _Trial) -> Iterator[str]:
    """`load` of a key that does not exist raises the fault `root_key_missing` and creates no key."""
    outcome = _outcome_of(lambda: trial.provider.load(NEVER))
    if outcome != "root_key_missing":
        yield f"the outcome was {outcome}"
    if NEVER in trial.provider.names():
        yield "it created a key: the service would continue with a key that opens nothing"


def _stores_no_key_in_the_clear(trial: _Trial) -> Iterator[str]:
    """The folder contains no key in the clear, in hexadecimal or in base64."""
    content = b"".join(trial.files().values())
    for name in (ONE, OTHER):
        key = trial.provider.load(name)
        if any(form in content for form in (key, key.hex().encode(), base64.b64encode(key).rstrip(b"=")[:-1])):
            yield f"{name} can be read from a file"


def _binds_keys_to_their_names(trial: _Trial) -> Iterator[str]:
    """A wrapped key stored in place of another one cannot be loaded under the other name."""
    before = trial.files()
    trial.provider.destroy(OTHER)
    removed = [path for path in before if not path.exists()]
    replacements = [
        path for path in before if path.exists() and removed and len(before[path]) == len(before[removed[0]])
    ]
    for replacement in replacements:
        removed[0].write_bytes(before[replacement])
        outcome = _outcome_of(lambda: trial.open_again().load(OTHER))
        removed[0].unlink(missing_ok=True)
        if outcome not in ("wrong_master_key", "root_key_missing"):
            yield f"the outcome was {outcome}"
    trial.provider.create(OTHER)


def _has_a_stable_fingerprint(trial: _Trial) -> Iterator[str]:
    """`fingerprint` is 16 bytes, equal in every process, and reveals nothing of a key."""
    fingerprint = trial.provider.fingerprint()
    if len(fingerprint) != CHECK_BYTES or fingerprint != trial.open_again().fingerprint():
        yield f"it must be {CHECK_BYTES} bytes that never change: the service does not start with a different one"
    if any(fingerprint in trial.provider.load(name) for name in (ONE, OTHER)):
        yield "it is part of a key"


def _destroys_for_good(trial: _Trial) -> Iterator[str]:
    """`destroy` makes a key unrecoverable for every process and may be repeated; `create` then makes a different key."""
    destroyed = trial.provider.load(ONE)
    trial.provider.destroy(ONE)
    trial.provider.destroy(ONE)
    for provider in (trial.provider, trial.open_again()):
        if ONE in provider.names() or _outcome_of_load(provider, ONE) != "root_key_missing":
            yield "the key still exists"
    if trial.provider.create(ONE) == destroyed:
        yield "the same key was created again"


def _outcome_of_load(provider: KeyProvider, name: str) -> str:
    return _outcome_of(lambda: provider.load(name))


def _outcome_of(load: Callable[[], bytes]) -> str:
    """The outcome of a `load`: the code of its fault, the type of another exception, or that it returned a key."""
    try:
        load()
    except Fault as fault:
        return fault.code
    except Exception as error:  # noqa: BLE001 - reported to the author of the provider
        return f"{type(error).__name__}, which is not a fault of cdp"
    return "a key"
