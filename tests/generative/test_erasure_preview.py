"""Over random stores, the preview of an erasure states exactly the rows that the run then deletes, shreds and keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import Phase, event, given, settings
from hypothesis import strategies as st

from cdp.flows.rights import requests
from cdp.flows.rights.erase import erase
from cdp.flows.rights.review import review
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.model import Request, StepCount, Verb
from cdp.sources.model import Source
from tests.support.databases import temporary_database
from tests.support.folders import FOLDERS
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import NOON, SHOP, WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

PEOPLE = ("ada", "bob")
DEVICES = ("phone", "tablet", None)
HELD_DAYS = permit_all().retention.classes["transactions"].keep_for_days


@dataclass(frozen=True)
class Sent:
    """One message: whose, what, on which device, how many days ago, and what it says about consent."""

    person: str | None
    device: str | None
    is_order: bool
    days_ago: int
    states_email: bool
    consents: bool | None

    @property
    def source(self) -> Source:
        return SHOP if self.person is not None else WEB

    def body(self, number: int) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "messageId": f"m{number}",
            "timestamp": (NOON - timedelta(days=self.days_ago, seconds=number)).isoformat(),
        }
        if self.person is not None:
            fields["userId"] = self.person
        if self.device is not None or self.person is None:
            fields["anonymousId"] = self.device or "kiosk"
        if self.consents is not None:
            fields["context"] = consent_context(analytics=self.consents, advertising=self.consents)
        if self.states_email and self.person is not None:
            return identify(traits={"email": f"{self.person}@example.com", "name": self.person}, **fields)
        if self.is_order:
            return order(properties={"order_id": f"o-{number}", "revenue": number}, **fields)
        return track(properties={"sku": "s-1"}, **fields)


@dataclass(frozen=True)
class Store:
    """What was sent, in which batches, whom the request names, and how the run is divided."""

    messages: tuple[Sent, ...]
    batch_size: int
    names: tuple[tuple[str, str], ...]
    rows_max: int
    days_until_run: int


messages = st.builds(
    Sent,
    person=st.sampled_from((*PEOPLE, None)),
    device=st.sampled_from(DEVICES),
    is_order=st.booleans(),
    days_ago=st.sampled_from((0, 1, 40, 300)),
    states_email=st.booleans(),
    consents=st.sampled_from((None, None, True, False)),
)
stores = st.builds(
    Store,
    messages=st.lists(messages, min_size=1, max_size=18).map(tuple),
    batch_size=st.integers(1, 6),
    names=st.lists(
        st.sampled_from(
            (("user_id", "ada"), ("email", "ada@example.com"), ("anonymous_id", "phone"), ("anonymous_id", "tablet"),
             ("email", "nobody@example.com"))
        ),
        min_size=1,
        max_size=3,
        unique=True,
    ).map(tuple),
    rows_max=st.sampled_from((1, 3, 10_000)),
    days_until_run=st.sampled_from((0, 2)),
)  # fmt: skip


def rows_of(steps: tuple[StepCount, ...]) -> Mapping[tuple[str, Verb], int]:
    return {(step.table, step.verb): step.rows for step in steps}


def fill(rights: RequestPipeline, store: Store) -> Request:
    """Send the messages, and open a verified erasure; the clock has moved on since some of it was planned."""
    for begin in range(0, len(store.messages), store.batch_size):
        part = store.messages[begin : begin + store.batch_size]
        for source in (SHOP, WEB):
            bodies = [sent.body(begin + at) for at, sent in enumerate(part) if sent.source is source]
            if bodies:
                rights.pipeline.send(*bodies, source=source)
    request = rights.ask("erasure", *store.names)
    rights.later(days=store.days_until_run)
    return request


@settings(max_examples=12, phases=(Phase.explicit, Phase.generate))  # a database per example: shrinking takes too long
@given(store=stores)
def test_the_preview_is_the_run(server: EmbeddedPostgres, template: str, store: Store) -> None:
    with temporary_database(server, template) as url, TemporaryDirectory(dir=FOLDERS) as home:
        database = Database(url)
        try:
            rights = open_request_pipeline(database, permit_all(), Path(home))
            request = fill(rights, store)
            now = rights.pipeline.clock.now()
            review(rights.context, request.request_id, excludes_rest=True, now=now)
            before = rights.counts()
            planned = requests.run(rights.context, request.request_id, now, dry_run=True)
            assert rights.counts() == before
            try:
                done = erase(rights.context, request.request_id, rows_max=store.rows_max)
            except Fault:
                assert planned.waiting, "only what waits for a review keeps a verified erasure from running"
                return
            assert planned.is_nothing_held == done.is_nothing_held
            assert rows_of(planned.steps) == rows_of(done.steps)
            assert planned.waiting == done.waiting
            if done.is_nothing_held:
                assert done.steps == ()
                return
            kept = rows_of(done.steps)
            held = rights.pipeline.one("SELECT count(*) FROM rights.hold")
            standing = rights.pipeline.one("SELECT count(*) FROM rights.suppression")
            assert (kept["rights.hold", Verb.KEEP], kept["rights.suppression", Verb.KEEP]) == (held, standing)
            assert kept["rights.request", Verb.KEEP] == 1
            event("something is held" if held else "nothing is held")
        finally:
            database.close()
