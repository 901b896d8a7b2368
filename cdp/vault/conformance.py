"""What a key provider promises, tried out: for authors of providers, before anybody trusts one with a key.

Each promise is tried on keys of its own, under names beginning with `conformance/`, and destroyed at the end. Run it
against a place for trials: `cdp keys check-provider URL`.
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
_RACERS: Final = 8


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the protocol; `broken` says how it was broken, None when it was kept."""

    text: str
    broken: str | None


@dataclass(frozen=True, slots=True)
class _Trial:
    """A provider, how another process would open it, and the folder in which it may keep what is wrapped."""

    provider: KeyProvider
    open_again: Callable[[], KeyProvider]
    folder: Path

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


def check_provider(open_again: Callable[[], KeyProvider], folder: Path) -> list[Promise]:
    """Try every promise; `open_again` gives a provider as another process would open it, on the same folder."""
    on = _Trial(open_again(), open_again, folder)
    tried = (_makes, _repeats, _remembers, _races, _misses, _hides, _binds, _names_itself, _destroys)
    try:
        return [Promise(each.__doc__ or "", _told(each, on)) for each in tried]
    finally:
        for name in (ONE, OTHER, RACED):
            on.provider.destroy(name)


def _told(tried: Callable[[_Trial], Iterator[str]], on: _Trial) -> str | None:
    try:
        return next(tried(on), None)
    except Exception as error:  # noqa: BLE001 - a provider that fails in any way has broken its promise
        return f"it failed with {type(error).__name__}"


def _makes(on: _Trial) -> Iterator[str]:
    """`create` makes 32 random bytes, another key for each name, and `names` lists them."""
    one, other = on.provider.create(ONE), on.provider.create(OTHER)
    if {len(one), len(other)} != {KEY_BYTES}:
        yield f"a key is {KEY_BYTES} bytes"
    if one == other or len(set(one)) < 8:
        yield "the keys are not random"
    if not {ONE, OTHER} <= on.provider.names():
        yield "`names` does not list what was made"


def _repeats(on: _Trial) -> Iterator[str]:
    """`create` of a key that exists gives that key, and `load` gives it again."""
    before = on.provider.load(ONE)
    if {on.provider.create(ONE), on.provider.load(ONE)} != {before}:
        yield "the same name gave different keys"


def _remembers(on: _Trial) -> Iterator[str]:
    """What one process made another one loads: it was kept durably before `create` returned."""
    another = on.open_again()
    if another.load(ONE) != on.provider.load(ONE) or another.names() != on.provider.names():
        yield "another process sees other keys"


def _races(on: _Trial) -> Iterator[str]:
    """Processes that make the same key at once all get the same one."""
    with ThreadPoolExecutor(_RACERS) as pool:
        made = list(pool.map(lambda each: each.create(RACED), [on.open_again() for _ in range(_RACERS)]))
    if len({*made, on.open_again().load(RACED)}) != 1:
        yield "they got different keys: what one of them sealed nobody will open"


def _misses(on: _Trial) -> Iterator[str]:
    """`load` of a key that is not there raises the fault `root_key_missing`, and makes none."""
    found = _code(lambda: on.provider.load(NEVER))
    if found != "root_key_missing":
        yield f"it gave {found}"
    if NEVER in on.provider.names():
        yield "it made a key: a service would go on with one that opens nothing"


def _hides(on: _Trial) -> Iterator[str]:
    """No key lies in the folder in the clear, nor in hexadecimal or base64."""
    content = b"".join(on.files().values())
    for name in (ONE, OTHER):
        key = on.provider.load(name)
        if any(form in content for form in (key, key.hex().encode(), base64.b64encode(key).rstrip(b"=")[:-1])):
            yield f"{name} can be read from it"


def _binds(on: _Trial) -> Iterator[str]:
    """A wrapped key that is put in another one's place does not open."""
    before = on.files()
    on.provider.destroy(OTHER)
    theirs = [path for path in before if not path.exists()]
    others = [path for path in before if path.exists() and theirs and len(before[path]) == len(before[theirs[0]])]
    for moved in others:
        theirs[0].write_bytes(before[moved])
        found = _code(lambda: on.open_again().load(OTHER))
        theirs[0].unlink(missing_ok=True)
        if found not in ("wrong_master_key", "root_key_missing"):
            yield f"it gave {found}"
    on.provider.create(OTHER)


def _names_itself(on: _Trial) -> Iterator[str]:
    """`fingerprint` is 16 bytes, the same in each process, and tells nothing of a key."""
    found = on.provider.fingerprint()
    if len(found) != CHECK_BYTES or found != on.open_again().fingerprint():
        yield f"it must be {CHECK_BYTES} bytes that stay the same: a service that sees others does not start"
    if any(found in on.provider.load(name) for name in (ONE, OTHER)):
        yield "it is a part of a key"


def _destroys(on: _Trial) -> Iterator[str]:
    """`destroy` makes a key unrecoverable for every process, may be repeated, and its name gets another key afterwards."""
    gone = on.provider.load(ONE)
    on.provider.destroy(ONE)
    on.provider.destroy(ONE)
    for each in (on.provider, on.open_again()):
        if ONE in each.names() or _code(lambda each=each: each.load(ONE)) != "root_key_missing":  # type: ignore[misc]
            yield "it is still there"
    if on.provider.create(ONE) == gone:
        yield "the same key came back"


def _code(load: Callable[[], bytes]) -> str:
    """What came of a `load`: the code of its fault, or that it gave a key."""
    try:
        load()
    except Fault as fault:
        return fault.code
    except Exception as error:  # noqa: BLE001 - told to the author as what it is
        return f"{type(error).__name__}, which is no fault of cdp"
    return "a key"
