"""No personal plaintext reaches the server's files: not the heap, not the log of changes, not statistics, not its words.

Values of many kinds go in by every door of the flows, good messages and refused ones, and by every journey that takes a
person's words; then every file of the server and of CDP_HOME is searched for each value in many spellings.
"""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cdp.accounting.model import State
from cdp.flows.identifiers import read_identifier
from cdp.flows.rights import requests
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from cdp.postgres.server import EmbeddedPostgres
from tests.flows.test_scrub import files_of
from tests.support.messages import alias, identify, order, page, track
from tests.support.people import WEB
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

VALUES = {
    "user id of digits": "490171230099812",
    "user id of letters": "zq-vanterpool-77x",
    "e-mail": "zoe.vanterpool+kite@mail.example.org",
    "phone": "+4917612309987",
    "device": "0d3f7a52-9c1e-4b7e-8f6a-5b2d9c7e1a44",
    "name": "Zoë Vanterpool-Nguyễn",
    "name in kanji": "佐藤花子九十九",
    "emoji": "🦩🪁🦩🪁🦩",
    "decomposed": "Zoe\u0308-decomposed-vant",
    "address": "17 Quiet Vanterpool Lane",
    "ip": "203.0.113.197",
    "url": "https://shop.example/track?who=vanterpool-zoe",
    "user agent": "Mozilla/5.0 (VanterpoolPhone 17,3)",
    "unplanned number": 77123456789.25,
    "unplanned long number": 9007199254740881,
    "unknown trait name": "vanterpool_shoe_size",
    "unknown event name": "Vanterpool Sneezed Loudly",
    "long text": "vanterpool says " * 700,
    "group": "vanterpool-family-group",
    "message id": "msg-of-vanterpool-000017",
    "refused address": "refused.vanterpool@mail.example.org",
    "quoted": "O'Vanter\"pool\\backslash",
    "asked about": "asked.vanterpool@mail.example.org",
}


def messages() -> list[dict[str, Any]]:
    """Every value, as clients send them."""
    v = VALUES
    context = {"ip": v["ip"], "userAgent": v["user agent"], "page": {"url": v["url"], "title": v["name"]}}
    traits = {
        "email": v["e-mail"],
        "phone": v["phone"],
        "name": v["name"],
        "address": {"street": v["address"]},
        str(v["unknown trait name"]): 43,
        "kana": v["name in kanji"],
        "quoted": v["quoted"],
    }
    properties = {"order_id": v["user id of letters"], "revenue": 5, "note": v["long text"], "mood": v["emoji"]}
    numbers = {"account": v["unplanned number"], "card": v["unplanned long number"], "by": v["decomposed"]}
    return [
        identify(userId=v["user id of digits"], anonymousId=v["device"], traits=traits),
        order(userId=v["user id of digits"], properties=properties, context=context, messageId=v["message id"]),
        track(str(v["unknown event name"]), userId=v["user id of letters"], properties=numbers),
        page(name=v["name"], userId=v["user id of letters"], properties={"url": v["url"]}),
        {"type": "group", "groupId": v["group"], "userId": v["user id of letters"], "traits": {"name": v["address"]}},
        alias(userId=v["user id of letters"], previousId=v["device"]),
        track(anonymousId=v["device"], properties={"category": "Clocks"}),
    ]


def refused() -> list[dict[str, Any]]:
    """Values that come in messages which are not stored."""
    v = VALUES
    return [
        identify(traits={"email": v["refused address"]}),
        identify(userId=f"{v['refused address']}\0", traits={"name": v["refused address"]}),
        identify(userId=v["refused address"], timestamp="1970-01-02T00:00:00+00:00"),
        order(userId="null", properties={"note": v["refused address"]}),
    ]


def spellings(value: object) -> Iterator[tuple[str, bytes]]:
    """The bytes by which a value could be found again."""
    text = str(value)
    raw = text.encode()
    yield "as it is", raw
    yield "lower", text.lower().encode()
    yield "upper", text.upper().encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "URL", quote(text).encode()
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for shift in range(3):  # base64 of any text that holds it
        coded = base64.b64encode(b"\0" * shift + raw)
        yield f"base64 from {shift}", coded[4 if shift else 0 : len(coded) - 4]
    for name in ("md5", "sha1", "sha256"):
        digest = hashlib.new(name, raw, usedforsecurity=False).digest()
        yield name, digest
        yield f"{name} in hex", digest.hex().encode()


def needles() -> dict[str, bytes]:
    found = {f"{name}, {how}": needle for name, value in VALUES.items() for how, needle in spellings(value)}
    digits = str(VALUES["phone"])[1:]
    number = int(str(VALUES["user id of digits"]))
    found |= {f"phone without plus, {how}": needle for how, needle in spellings(digits)}
    found |= {
        "user id as a number": number.to_bytes(8, "big"),
        "user id as a little number": number.to_bytes(8, "little"),
    }
    assert all(len(needle) >= 8 for needle in found.values())
    return found


def found_in(paths: Iterator[Path], wanted: dict[str, bytes]) -> set[str]:
    return {
        f"{name} in {path.name}"
        for path in paths
        for content in [path.read_bytes().rstrip(b"\0")]
        for name, needle in wanted.items()
        if needle in content
    }


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


def live(rights: RequestPipeline) -> None:
    """Let her words come in by every journey."""
    assert {each.state for each in rights.pipeline.send_each(messages())} == {State.STORED}
    rights.pipeline.send(*messages())  # duplicates, some with another body
    assert State.STORED not in {each.state for each in rights.pipeline.send_each(refused(), source=WEB)[1:]}
    for kind in ("access", "erasure"):
        request = rights.ask(kind, ("email", str(VALUES["asked about"])), ("user_id", str(VALUES["user id of digits"])))
        if kind == "access":
            rights.opened(request)
    with pytest.raises(Fault) as caught:
        read_identifier(rights.context.policy, "phone", f"{VALUES['refused address']}")
    assert str(VALUES["refused address"]) not in str(caught.value.detail)
    rights.sequence()


def test_no_value_is_found_in_any_file(
    rights: RequestPipeline, server: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of changes is searched before the checkpoint that lets go of it, the heap after the one that writes it."""
    began = time.time() - 2
    live(rights)
    with rights.context.database.transaction() as tx:
        tx.execute("ANALYZE")
        assert int(tx.execute("SELECT count(*) FROM behavior.event")[0][0]) >= len(messages()) - 1
    assert found_in(written_since(server, began), needles()) == set()
    with rights.context.database.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")
    assert found_in(written_since(server, began), {"a planned word": b"Clocks"}), "the search finds nothing at all"
    assert found_in(written_since(server, began), needles()) == set()
    for request in requests.listing(rights.context, "verified"):
        requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    rights.pipeline.send(*messages())
    assert found_in(written_since(server, began), needles()) == set()
    assert found_in((path for path in rights.home.rglob("*") if path.is_file()), needles()) == set()
    assert not [name for name, value in VALUES.items() if str(value) in caplog.text]


def written_since(server: EmbeddedPostgres, began: float) -> Iterator[Path]:
    return (path for path in files_of(server) if path.stat().st_mtime >= began)


def test_a_statement_that_fails_tells_the_server_log_nothing(rights: RequestPipeline, server: EmbeddedPostgres) -> None:
    """The values of a failing statement, its rows and its parameters stay out of the server's log."""
    secret = str(VALUES["user id of letters"])
    for query in (
        "SELECT %(secret)s::int",
        (
            "INSERT INTO sources.source (source_id, name, kind, write_key_hash, scopes, jurisdiction, request_bytes_max, "
            "created_at) VALUES (1, %(secret)s, 'browser', %(secret)s, '{}', 'eu', 5, now())"
        ),
        "SELECT %(secret)s FROM nowhere",
    ):
        with pytest.raises(Exception, match=r".+"), rights.context.database.transaction() as tx:
            tx.execute(query, {"secret": secret})
    place = server._place
    assert place is not None
    assert secret.encode() not in place.log.read_bytes()
