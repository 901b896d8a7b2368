"""Rotating the pseudonym key and the epoch, beside live traffic."""

import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

from cdp.flows.identifiers import find_identifiers, find_profile
from cdp.flows.identity.lookup import look_up
from cdp.flows.ingest.batch import Ingest
from cdp.flows.operations.key_destruction import destroy_keys, plan_destruction
from cdp.flows.operations.key_rotation import rotate_epoch, rotate_pseudonyms
from cdp.identity.model import Identifier
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.vault.keyed_hashes import KeyedHashes
from cdp.vault.keys import KeyProvider
from cdp.vault.providers.file import open_local_provider
from cdp.vault.pseudonym import GRAPH, Domain
from cdp.vault.root_keys import RootKeys
from cdp.vault.vault import Vault
from tests.flows.test_identity_races import crowd
from tests.generative.test_identity_batches import check_map
from tests.support.messages import track
from tests.support.people import NOON
from tests.support.pipeline import Pipeline, open_pipeline
from tests.support.policies import permit_all

pytestmark = pytest.mark.postgres


@pytest.fixture
def pipeline(database: Database, tmp_path: Path) -> Pipeline:
    return open_pipeline(database, permit_all(), tmp_path)


def names_of_keys(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "keys").iterdir()}


def test_every_pseudonym_changes_and_the_old_key_is_kept_until_it_is_destroyed(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    pipeline.send(*crowd(1, 30))
    before = {row[0] for row in _rows(pipeline, "SELECT pseudonym FROM identity.identifier")}
    people = pipeline.people()
    rotated = rotate_pseudonyms(pipeline.context, chunk=7)
    after = {row[0] for row in _rows(pipeline, "SELECT pseudonym FROM identity.identifier")}
    assert rotated.moved == len(before)
    assert not before & after
    assert rotated.retired == ("pseudonym/graph/1",)
    assert [name for name in names_of_keys(tmp_path) if "graph.1" in name]
    assert pipeline.context.vault.root_keys.versions(GRAPH) == (2,)
    plan = plan_destruction(pipeline.context)
    assert (plan.to_destroy, plan.unreadable_before) == (("pseudonym/graph/1",), NOON)
    assert destroy_keys(pipeline.context)[1] == ("pseudonym/graph/1",)
    assert not [name for name in names_of_keys(tmp_path) if "graph.1" in name]
    assert pipeline.people() == people
    pipeline.send(*[{**body, "messageId": body["messageId"] + "-again"} for body in crowd(1, 30)])
    assert {each for each, _ in _flat(pipeline)} == {each for each, _ in _flat_of(people)}
    check_map(pipeline)


class InterruptedHashes(KeyedHashes):
    """Keyed hashes that call something after some of the times that identifiers were hashed."""

    def __init__(self, root_keys: RootKeys, on: Collection[int], happens: Callable[[], object]) -> None:
        super().__init__(root_keys)
        self._on, self._happens = on, happens
        self._calls = 0

    def pseudonyms(
        self, domain: Domain, identifiers: Iterable[tuple[str, str]], *, version: int | None = None
    ) -> list[bytes]:
        found = super().pseudonyms(domain, identifiers, version=version)
        self._calls += 1
        if self._calls in self._on:
            self._happens()
        return found


def interrupted(provider: KeyProvider, on: Collection[int], happens: Callable[[], object]) -> Vault:
    vault = Vault(provider)
    vault.hashes = InterruptedHashes(vault.root_keys, on, happens)
    return vault


def keys_of(tmp_path: Path) -> KeyProvider:
    return open_local_provider(tmp_path / "keys", None, may_create=False)[0]


@pytest.mark.parametrize("rotations", [1, 2, 5])
def test_a_look_up_survives_whole_rotations_between_its_steps(
    pipeline: Pipeline, database_url: str, tmp_path: Path, rotations: int
) -> None:
    pipeline.send(*crowd(1, 10))
    ((name, *_), *_) = pipeline.partition()
    other = open_pipeline(Database(database_url), pipeline.context.policy, tmp_path)
    vault = interrupted(keys_of(tmp_path), range(1, rotations + 1), lambda: rotate_pseudonyms(other.context))
    with pipeline.context.database.transaction() as tx:
        find_profile(tx, vault, Identifier(*name))
        assert vault.root_keys.active_versions(tx, GRAPH) == (rotations + 1,)
    other.context.database.close()


@pytest.mark.parametrize("call", [1, 2])
def test_a_look_up_finds_who_moves_to_the_next_key_while_it_asks(
    pipeline: Pipeline, database_url: str, tmp_path: Path, call: int
) -> None:
    pipeline.send(*crowd(1, 10))
    names = [Identifier(*name) for group in pipeline.partition() for name in group]
    other = open_pipeline(Database(database_url), pipeline.context.policy, tmp_path)

    def kill(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate_pseudonyms(other.context, chunk=1, progress=kill)
    vault = interrupted(keys_of(tmp_path), {call}, lambda: rotate_pseudonyms(other.context, chunk=1))
    with pipeline.context.database.transaction() as tx:
        assert vault.root_keys.active_versions(tx, GRAPH) == (1, 2)
        assert find_identifiers(tx, vault, names).keys() == set(names)
    other.context.database.close()


def test_look_ups_and_messages_are_right_while_a_rotation_runs(
    pipeline: Pipeline, database_url: str, tmp_path: Path
) -> None:
    pipeline.send(*crowd(2, 120))
    shared = frozenset(name for group in pipeline.partition() for name in group)
    wrong: list[str] = []
    finished = threading.Event()

    def write() -> None:
        """Another process: its own connections, its own vault."""
        other = open_pipeline(Database(database_url), pipeline.context.policy, tmp_path)
        ingest = Ingest(
            other.context.database,
            other.context.vault,
            other.context.policy,
            clock=TestClock(NOON),
            replay=other.context.replay,
        )
        number = 0
        while not finished.is_set():
            bodies = [{**body, "messageId": f"w{number}-{body['messageId']}"} for body in crowd(2, 120)[:20]]
            ingest.process([pipeline.message(body) for body in bodies])
            for type_, value in list(shared)[:5]:
                try:
                    look_up(other.context, Identifier(type_, value), actor="privacy")
                except Fault as fault:
                    wrong.append(fault.code)
            number += 1
        other.context.database.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(3):
            rotate_pseudonyms(pipeline.context, chunk=5)
    finally:
        finished.set()
        writer.join()
    assert not wrong
    assert not [name for name in shared if name not in {each for group in pipeline.partition() for each in group}]
    assert pipeline.one("SELECT count(DISTINCT pseudonym_version) FROM identity.identifier") == 1
    check_map(pipeline)


def test_a_killed_rotation_is_finished_by_the_next(pipeline: Pipeline) -> None:
    pipeline.send(*crowd(3, 20))

    class Killed(BaseException):
        pass

    def kill(_done: int, _total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        rotate_pseudonyms(pipeline.context, chunk=4, progress=kill)
    assert pipeline.one("SELECT count(DISTINCT pseudonym_version) FROM identity.identifier") == 2
    pipeline.send(*[{**body, "messageId": body["messageId"] + "-again"} for body in crowd(3, 20)])
    assert pipeline.one("SELECT count(*) FROM identity.identifier") == len(_flat(pipeline)) + pipeline.one(
        "SELECT count(*) FROM identity.identifier i LEFT JOIN identity.link l USING (identifier_id) "
        "WHERE l.identifier_id IS NULL"
    )
    rotated = rotate_pseudonyms(pipeline.context, chunk=4)
    assert rotated.version == 2
    assert pipeline.one("SELECT count(DISTINCT pseudonym_version) FROM identity.identifier") == 1


def test_an_epoch_ends_when_no_living_key_hangs_on_it(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.send(track(userId="u1"))
    with pytest.raises(Fault, match="no_retired_key"):
        destroy_keys(pipeline.context)
    rotate_pseudonyms(pipeline.context)
    with pytest.raises(Fault, match="no_retired_key"):
        destroy_keys(pipeline.context, only_epochs=True)
    keys = pipeline.one("SELECT count(*) FROM vault.subject_key")
    assert rotate_epoch(pipeline.context).moved == keys
    assert destroy_keys(pipeline.context, only_epochs=True)[1] == ("epoch/1",)
    assert not [name for name in names_of_keys(tmp_path) if name.startswith("epoch.1")]
    pipeline.context.vault.subject_keys.evict_all()
    assert pipeline.people().popitem()[1] == {"user_id": {"u1"}}


def test_the_plan_of_a_destruction_names_what_an_interrupted_rotation_left(pipeline: Pipeline) -> None:
    pipeline.send(*crowd(3, 20))

    class Killed(BaseException):
        pass

    def kill(_done: int, _total: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        rotate_epoch(pipeline.context, chunk=4, progress=kill)
    left = pipeline.one("SELECT count(*) FROM vault.subject_key WHERE epoch_id = 1")
    assert left > 0
    plan = plan_destruction(pipeline.context)
    assert (plan.to_destroy, plan.in_use) == (("epoch/1",), left)
    with pytest.raises(Fault, match="epoch_in_use"):
        destroy_keys(pipeline.context)
    keys = pipeline.one("SELECT count(*) FROM vault.subject_key")
    assert rotate_epoch(pipeline.context, chunk=keys - 1).moved == keys
    assert plan_destruction(pipeline.context).in_use == 0


def _flat(pipeline: Pipeline) -> set[tuple[tuple[str, str], int]]:
    return _flat_of(pipeline.people())


def _flat_of(people: dict[int, dict[str, set[str]]]) -> set[tuple[tuple[str, str], int]]:
    return {
        ((type_, value), profile)
        for profile, each in people.items()
        for type_, values in each.items()
        for value in values
    }


def _rows(pipeline: Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.context.database.transaction(read_only=True) as tx:
        return tx.execute(query)
