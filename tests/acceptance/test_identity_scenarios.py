"""Public identity scenarios, message by message through the HTTP API (data from tests/data/scenarios)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cdp.behavior.store import batch as behavior_store
from cdp.kit.clock import TestClock
from cdp.kit.db import Database
from cdp.policy.model import Policy
from cdp.sources.model import SourceKind
from cdp.vault.vault import Item
from tests.generative.test_identity_batches import empty
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.people import NOON
from tests.support.pipeline import people_of
from tests.support.policies import permit_all, segment_unify
from tests.support.waits import PATIENCE_SECONDS

pytestmark = pytest.mark.postgres
SCENARIOS = {
    each["id"]: each
    for each in json.loads((Path(__file__).parents[1] / "data" / "scenarios" / "identity.json").read_text())["identity"]
}
OF_OURS = frozenset({"policy:default-block-list", "policy:alias-merges", "universal"})


def policy_of(scenario: Mapping[str, Any]) -> Policy:
    if scenario["tier"] in OF_OURS:
        return permit_all()
    config = scenario["config"]
    return segment_unify() if config == "default" else segment_unify(config["limit"])


@contextmanager
def open_world(database: Database, policy: Policy, folder: Path) -> Iterator[tuple[IngestEndpoint, TestClock]]:
    clock = TestClock(NOON)
    with open_ingest_endpoint(database, policy, folder, {"WK": SourceKind.SERVER}, clock=clock) as endpoint:
        yield endpoint, clock


def send(endpoint: IngestEndpoint, clock: TestClock, steps: Sequence[Mapping[str, Any]]) -> None:
    with httpx.Client(base_url=endpoint.url, auth=("WK", ""), timeout=PATIENCE_SECONDS) as client:
        for step in steps:
            body = {name: value for name, value in step.items() if not name.startswith("_")}
            if "_received_at" in step:
                clock.instant = datetime.fromisoformat(step["_received_at"])
            path = "/v1/batch" if "batch" in body else f"/v1/{body['type']}"
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()) == (200, {"success": True})


def expected(scenario: Mapping[str, Any]) -> list[dict[str, set[str]]]:
    return [{type_: set(values) for type_, values in each.items()} for each in scenario["expect"]["profiles"]]


def as_written(people: Mapping[int, Mapping[str, set[str]]]) -> list[dict[str, set[str]]]:
    """Scenarios write telephone numbers and advertising ids as they were sent; we hold them normalized."""
    spelled = {"+11234567890": "123-456-7890", "idfa-1": "IDFA-1"}
    return [
        {type_: {spelled.get(each, each) for each in values} for type_, values in one.items()}
        for one in people.values()
    ]


def same(one: list[dict[str, set[str]]], other: list[dict[str, set[str]]]) -> bool:
    def order(each: Mapping[str, set[str]]) -> list[tuple[str, list[str]]]:
        return sorted((type_, sorted(values)) for type_, values in each.items())

    return sorted(map(order, one)) == sorted(map(order, other))


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_gives_its_profiles(name: str, database: Database, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    orders = (
        list(permutations(scenario["steps"]))[::12] if scenario["expect"].get("permute_steps") else [scenario["steps"]]
    )
    with open_world(database, policy_of(scenario), tmp_path) as (endpoint, clock):
        for steps in orders:
            empty_but_sources(database)
            send(endpoint, clock, steps)
            found = as_written(people_of(endpoint.context))
            assert same(found, expected(scenario)), (found, expected(scenario))
        hold_to_the_rest(scenario["expect"], endpoint)


def hold_to_the_rest(expect: Mapping[str, Any], endpoint: IngestEndpoint) -> None:
    """What a scenario expects beside the partition."""
    events = stored_events(endpoint)
    if "events_on_profile" in expect:
        assert len(events) == expect["events_on_profile"]
    assert len(events) >= expect.get("events_on_profile_min", 0)
    if "kept_property" in expect:
        assert [each["properties"] for each in events] == [expect["kept_property"]]
    if "stored_timestamp" in expect:
        assert [each["occurred_at"] for each in events] == [datetime.fromisoformat(expect["stored_timestamp"])]
    if expect.get("raw_event_keeps_value"):
        assert all(each["as_sent"]["userId"] for each in events)
    if expect.get("persistent_id_stable"):
        with endpoint.context.database.transaction(read_only=True) as tx:
            assert tx.execute("SELECT count(*) FROM identity.profile") == [(1,)]


def stored_events(endpoint: IngestEndpoint) -> list[dict[str, Any]]:
    """Every stored event with its sealed part opened."""
    vault = endpoint.context.vault
    with endpoint.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT anchor_id, event_id, occurred_at, sealed FROM behavior.event")
        keys = vault.subject_keys.keys_for(tx, [row[0] for row in rows])
        opened = vault.open_many(keys, behavior_store.EVENT, [Item(row[0], row[1].bytes, row[3]) for row in rows])
    return [
        {**msgspec.json.decode(content or b""), "occurred_at": row[2]}
        for row, content in zip(rows, opened, strict=True)
    ]


def empty_but_sources(database: Database) -> None:
    empty(database, keep=("source",))
