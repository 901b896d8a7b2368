"""The definition of done: for people who share nothing with the erased, the world is one in which she never came."""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.plan import personal_columns
from cdp.sources.model import Source
from tests.support.messages import consent_context, identify, track
from tests.support.people import SHOP, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

EVENTS = ("Product Viewed", "Product Added", "Order Completed", "Email Opened", "Nobody Planned This")
OTHERS = ("bob", "cy", "dee")


@pytest.fixture
def another_database(server: EmbeddedPostgres, template: str) -> Iterator[Database]:
    """A second database, in which she never comes."""
    name = f"never_{os.getpid()}"
    admin = server.url_for("cdp_admin", "postgres").replace("+psycopg", "")
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER cdp")
        other = Database(server.url_for("cdp", name))
        try:
            yield other
        finally:
            other.close()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def message(dice: random.Random, person: str, number: int) -> tuple[Mapping[str, Any], Source]:
    """One message of a person, who has a customer number, an address, a phone and two devices of their own."""
    body: dict[str, Any] = {
        "messageId": f"{person}-{number}",
        # No two at one instant: the order of equals hangs on keyed digests, and each of the two worlds has its own key.
        "timestamp": f"2026-05-{dice.randint(1, 28):02d}T10:{number // 60:02d}:{number % 60:02d}Z",
    }
    if dice.random() < 0.7:
        body["userId"] = person
    if "userId" not in body or dice.random() < 0.5:
        body["anonymousId"] = f"{person}-device-{dice.randint(1, 2)}"
    if dice.random() < 0.3:
        traits = {"email": f"{person}@example.com", "age": 20 + number % 50, "name": f"{person} Example"}
        body |= identify(traits=traits)
    else:
        properties = {"revenue": number / 4, "sku": f"SKU-{number % 7}", "order_id": f"{person}-{number}"}
        body |= track(dice.choice(EVENTS), properties=properties)
    if dice.random() < 0.15:
        body["context"] = consent_context(analytics=dice.random() < 0.6)
    return body, WEB if "userId" not in body else SHOP


def history(seed: int) -> list[tuple[str, Mapping[str, Any], Source]]:
    """What four people did, in one order."""
    dice = random.Random(seed)
    people = [dice.choice(("ada", *OTHERS)) for _ in range(80)]
    return [(person, *message(dice, person, number)) for number, person in enumerate(people)]


def live(rights: RequestPipeline, seed: int, *, with_ada: bool) -> None:
    """Let the history happen, with her or without her."""
    for person, body, source in history(seed):
        if with_ada or person != "ada":
            rights.pipeline.send(body, source=source)


def rows_without_ids(rights: RequestPipeline) -> dict[str, Counter[str]]:
    """Every row that says something about people, without random ids, sealed bytes and the numbers of the sequence."""
    found = {}
    with rights.context.database.transaction(read_only=True) as tx:
        for table in sorted({column.rpartition(".")[0] for column in personal_columns()}):
            if table.startswith(("rights.", "vault.")):
                continue
            query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(*table.split(".")))
            found[table] = Counter(json.dumps(_told(row), sort_keys=True) for (row,) in tx.execute(query))
    return found


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    # Numbers of interned words (`plain`) differ by who said a word first; answers() compares the words.
    random_ = ("plain", "_id", "_into", "pseudonym", "digest", "sealed", "sequence", "generation", "total", "salt")
    return {name: value for name, value in row.items() if not name.endswith(random_)}


def answers(rights: RequestPipeline) -> dict[str, Any]:
    """What the others get when they ask for their data."""
    found = {}
    for person in OTHERS:
        data = rights.export(("user_id", person))
        del data["request"]
        for each in data["data"]["behavior.bucket"]:
            del each["total"]  # weighed against a landmark that is another one where others began
        data["data"] = {
            table: sorted(json.dumps(row, sort_keys=True) for row in rows)
            for table, rows in data["data"].items()
            if not table.startswith("rights.")
        }
        found[person] = data
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_others_live_in_a_world_in_which_she_never_came(
    seed: int, database: Database, another_database: Database, tmp_path: Path
) -> None:
    came, never = (
        open_request_pipeline(database, permit_all(), tmp_path / "a"),
        open_request_pipeline(another_database, permit_all(), tmp_path / "b"),
    )
    live(came, seed, with_ada=True)
    live(never, seed, with_ada=False)
    assert rows_without_ids(came) != rows_without_ids(never)
    came.erase(*[("user_id", "ada"), ("anonymous_id", "ada-device-1"), ("anonymous_id", "ada-device-2")])
    assert came.pipeline.partition() == never.pipeline.partition()
    assert rows_without_ids(came) == rows_without_ids(never)
    assert answers(came) == answers(never)


@pytest.mark.parametrize("seed", [4])
def test_the_same_holds_for_what_happens_afterwards(
    seed: int, database: Database, another_database: Database, tmp_path: Path
) -> None:
    came, never = (
        open_request_pipeline(database, permit_all(), tmp_path / "a"),
        open_request_pipeline(another_database, permit_all(), tmp_path / "b"),
    )
    live(came, seed, with_ada=True)
    live(never, seed, with_ada=False)
    came.erase(*[("user_id", "ada"), ("anonymous_id", "ada-device-1"), ("anonymous_id", "ada-device-2")])
    for rights in (came, never):
        live(rights, seed + 100, with_ada=rights is came)
    assert came.pipeline.partition() == never.pipeline.partition()
    assert rows_without_ids(came) == rows_without_ids(never)
