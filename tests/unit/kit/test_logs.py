"""Logs: whatever a record holds, the line it becomes holds no value of a person and no line break."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp.kit.errors import Fault
from cdp.kit.logs import FIELDS, SafeFormatter, start_logging

PERSON = "ada@example.com"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What this process logs in the block, as JSON lines."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    start_logging("info", stream=stream)
    try:
        yield stream
    finally:
        root.handlers[:] = before
        root.setLevel(level)


def read(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_code_with_listed_fields_is_written_as_it_is(lines: io.StringIO) -> None:
    logging.getLogger("cdp.flows.ingest.batch").info(
        "batch_stored", extra={"stored": 99, "milliseconds": 12.5, "state": "ok"}
    )
    (entry,) = read(lines)
    assert entry["event"] == "batch_stored"
    assert (entry["stored"], entry["milliseconds"], entry["state"]) == (99, 12.5, "ok")
    assert entry["level"] == "info"


def test_a_message_that_is_no_code_becomes_the_place_that_logged_it(lines: io.StringIO) -> None:
    logging.getLogger("urllib3").warning("retrying for %s", PERSON)
    (entry,) = read(lines)
    assert str(entry["event"]).startswith("urllib3:test_a_message_that_is_no_code")
    assert PERSON not in lines.getvalue()


def test_fields_off_the_list_and_texts_in_listed_fields_are_withheld(lines: io.StringIO) -> None:
    logging.getLogger("cdp").info("looked_up", extra={"email": PERSON, "reason": PERSON, "count": [PERSON]})
    (entry,) = read(lines)
    assert "email" not in entry
    assert entry["reason"] == "withheld"
    assert entry["count"] == "withheld"
    assert PERSON not in lines.getvalue()


def test_a_fault_is_written_with_what_it_tells_operators_and_with_nothing_that_clients_get(lines: io.StringIO) -> None:
    for told in (None, "Come again."):
        fault = Fault("database_unavailable", "Away", "Raise max_connections.", status=503, caller_detail=told)
        logging.getLogger("t").warning("failed", exc_info=fault)
    plain, split = map(json.loads, lines.getvalue().splitlines())
    assert (plain["error_code"], plain.get("detail")) == ("database_unavailable", None)
    assert split["detail"] == "Raise max_connections."


def test_an_exception_is_written_by_type_code_and_place_only(lines: io.StringIO) -> None:
    try:
        try:
            raise ValueError(f"no such person: {PERSON}")
        except ValueError as error:
            raise Fault("unknown_profile", PERSON, PERSON) from error
    except Fault:
        logging.getLogger("cdp.web").exception("request_failed")
    (entry,) = read(lines)
    assert entry["error"] == "cdp.kit.errors.Fault"
    assert entry["error_code"] == "unknown_profile"
    assert entry["cause"] == "builtins.ValueError"
    assert "test_an_exception_is_written" in str(entry["where"])
    assert PERSON not in lines.getvalue()


def test_the_level_is_kept_and_chatty_libraries_are_quiet(lines: io.StringIO) -> None:
    logging.getLogger("cdp").debug("too_fine")
    logging.getLogger("httpx").info("request_sent")
    assert lines.getvalue() == ""


@given(
    message=st.text(),
    arguments=st.lists(st.text(), max_size=2),
    extra=st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(min_size=1), st.text() | st.binary() | st.floats()),
    style=st.sampled_from(["json", "console"]),
)
def test_no_record_breaks_the_line_or_smuggles_free_text(
    message: str, arguments: list[str], extra: dict[str, object], style: str
) -> None:
    record = logging.makeLogRecord(
        {"name": "cdp", "levelname": "INFO", "msg": message, "args": tuple(arguments), "funcName": "f", "lineno": 1}
    )
    for name, value in extra.items():
        if name not in vars(record):
            setattr(record, name, value)
    line = SafeFormatter("json" if style == "json" else "console").format(record)
    assert len(line.splitlines()) == 1
    assert "@" not in line
    assert " " not in line or style == "console"
    assert line.isascii()
