"""At every entry, what is no identifier links nobody, and what is one identifier is one."""

from pathlib import Path
from typing import Any

import pytest

from cdp.accounting.model import Outcome, State
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.lookup import look_up
from cdp.flows.identifiers import read_identifier
from cdp.flows.imports.links import import_link_file, try_link_file
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.operations.accounting import count_messages
from cdp.kit.db import Database
from cdp.kit.errors import Fault
from tests.support.messages import identify, track
from tests.support.people import NOON, SHOP, WEB
from tests.support.pipeline import Pipeline
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

CARDS = "links: [{type: email, column: mail}, {type: loyalty_id, column: card}]"
MAILS = "type: identify\nidentifiers: {email: mail}\ntraits: {name: name}\n"
CUSTOMERS = "type: identify\nidentifiers: {user_id: customer, email: mail}\n"


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, permit_all(), tmp_path)


@pytest.fixture
def pipeline(rights: RequestPipeline) -> Pipeline:
    return rights.pipeline


def given(folder: Path, text: str, mapping: str, *, name: str = "rows.csv") -> tuple[Path, Any]:
    file, rules = folder / name, folder / "mapping.yaml"
    file.write_text(text, encoding="utf-8")
    rules.write_text(mapping, encoding="utf-8")
    return file, load_mapping(rules)


def noticed(pipeline: Pipeline) -> dict[tuple[str, str], int]:
    """The notices of all sources, by kind and subject."""
    found = count_messages(pipeline.context, NOON.replace(hour=0), NOON.replace(hour=23), actor="auditor")
    counts: dict[tuple[str, str], int] = {}
    for notice in found.notices:
        counts[notice.kind, notice.subject] = counts.get((notice.kind, notice.subject), 0) + notice.messages
    return counts


@pytest.mark.parametrize("placeholder", ["N/A", "#N/A", "n.a.", "(not set)", "NULL", "-", "{{card}}"])
def test_a_placeholder_in_a_link_table_joins_nobody(pipeline: Pipeline, tmp_path: Path, placeholder: str) -> None:
    rows = "".join(f"k{at}@x.example,{placeholder}\n" for at in range(9))
    file = given(tmp_path, "mail,card\n" + rows + "l1@x.example,C-1\nl2@x.example,C-1\n", CARDS)
    assert try_link_file(pipeline.context.policy, *file).tally.states == {"stored": 2, "invalid": 9}
    done = import_link_file(pipeline.context, *file, source_name=SHOP.name)
    assert done.tally.states == {"stored": 2, "invalid": 9}
    assert done.tally.rows == {"invalid: no_identifier": list(range(1, 10))}
    assert pipeline.partition() == {
        frozenset({("email", "l1@x.example"), ("email", "l2@x.example"), ("loyalty_id", "C-1")})
    }


def test_placeholders_in_messages_join_nobody_and_are_counted(pipeline: Pipeline) -> None:
    pipeline.send(
        *(identify(userId=f"u{at}", traits={"loyalty_id": "(not set)", "phone": "99"}) for at in range(3)),
        track(anonymousId="#N/A"),
        track(userId="1.23457E+11"),
    )
    assert pipeline.partition() == {frozenset({("user_id", f"u{at}")}) for at in range(3)}
    assert {key: count for key, count in noticed(pipeline).items() if key[0].endswith("_identifier")} == {
        ("blocked_identifier", "loyalty_id"): 3,
        ("malformed_identifier", "phone"): 3,
        ("blocked_identifier", "anonymous_id"): 1,
        ("malformed_identifier", "user_id"): 1,
    }


def test_a_cell_is_the_address_it_means_or_nobodys(rights: RequestPipeline, tmp_path: Path) -> None:
    pipeline = rights.pipeline
    rows = (
        "mail,name\nann@x.example;ann@y.example,Ann\nmailto:bo@x.example,Bo\nbo@x.example,Bo\n"
        '"Bo Lee <bo@x.example>",Bo\ncy@x.example.,Cy\ncy@x.example,Cy\ndi@@x.example,Di\n'
    )
    done = import_file(pipeline.context, *given(tmp_path, rows, MAILS), source_name=SHOP.name)
    assert done.tally.states == {"stored": 5, "invalid": 2}
    assert done.tally.rows == {"invalid: no_identifier": [1, 7]}
    assert pipeline.partition() == {frozenset({("email", "bo@x.example")}), frozenset({("email", "cy@x.example")})}
    assert noticed(pipeline)["malformed_identifier", "email"] == 2
    rights.erase(("email", "Bo <bo@x.example>"))
    assert pipeline.partition() == {frozenset({("email", "cy@x.example")})}


def test_a_withdrawal_names_the_person_in_any_form(rights: RequestPipeline) -> None:
    pipeline = rights.pipeline
    pipeline.send(identify(userId="bo", traits={"email": "mailto:bo@x.example"}))
    record(pipeline.context, ConsentStatement(("email", "<BO@x.example.>"), "email_marketing", "withdraw"))
    found = look_up(pipeline.context, ("user_id", "bo"), now=NOON, actor="privacy")
    assert [stated["act"] for stated in found.records] == ["withdraw"]


def test_numbers_that_no_telephone_has_join_nobody(pipeline: Pipeline, tmp_path: Path) -> None:
    numbers = ["99", "123456789", "111-111-1111", "415 555 0123"]
    rows = "".join(f"{number},p{at}{who}@x.example\n" for at, number in enumerate(numbers) for who in "ab")
    mapping = "type: identify\nidentifiers: {phone: phone, email: mail}\n"
    import_file(pipeline.context, *given(tmp_path, "phone,mail\n" + rows, mapping), source_name=SHOP.name)
    alone = {frozenset({("email", f"p{at}{who}@x.example")}) for at in range(3) for who in "ab"}
    joined = frozenset({("phone", "+14155550123"), ("email", "p3a@x.example"), ("email", "p3b@x.example")})
    assert pipeline.partition() == alone | {joined}
    counted = noticed(pipeline)
    assert (counted["malformed_identifier", "phone"], counted["blocked_identifier", "phone"]) == (4, 2)


@pytest.mark.parametrize("mapping", [CUSTOMERS, CUSTOMERS.replace("customer,", "{column: customer, type: integer},")])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("people.csv", "customer,mail\n12347.0,f4@x.example\n12347,f5@x.example\n"),
        (
            "people.jsonl",
            '{"customer": 12347.0, "mail": "f4@x.example"}\n{"customer": 12347, "mail": "f5@x.example"}\n',
        ),
    ],
)
def test_a_customer_number_that_became_a_fraction_is_one_customer(
    pipeline: Pipeline, tmp_path: Path, name: str, text: str, mapping: str
) -> None:
    import_file(pipeline.context, *given(tmp_path, text, mapping, name=name), source_name=SHOP.name)
    pipeline.send(track(userId="12347.0"), track(userId=12347.0), track(userId=12347))
    assert pipeline.partition() == {
        frozenset({("user_id", "12347"), ("email", "f4@x.example"), ("email", "f5@x.example")})
    }


def test_a_number_in_json_lines_is_one_message_id(pipeline: Pipeline, tmp_path: Path) -> None:
    mapping = 'event: Order Completed\nmessage_id: {template: "o-{order}"}\nidentifiers: {user_id: customer}\n'
    text = '{"order": 7.0, "customer": 1}\n{"order": 7, "customer": 1}\n'
    done = import_file(pipeline.context, *given(tmp_path, text, mapping, name="orders.jsonl"), source_name=SHOP.name)
    assert done.tally.states == {"stored": 1, "duplicate": 1}


@pytest.mark.parametrize(
    ("type_", "value"), [("email", "ann@x.example;ann@y.example"), ("user_id", "#N/A"), ("phone", "111-111-1111")]
)
def test_a_look_up_or_a_request_for_nobody_is_refused(rights: RequestPipeline, type_: str, value: str) -> None:
    for ask in (
        lambda: read_identifier(rights.context.policy, type_, value),
        lambda: rights.ask("erasure", (type_, value)),
        lambda: look_up(rights.context, (type_, value), now=NOON, actor="privacy"),
    ):
        with pytest.raises(Fault) as refused:
            ask()
        assert refused.value.code == "invalid_identifier"
        assert value not in f"{refused.value.title} {refused.value.detail}"


def test_a_message_with_nothing_but_placeholders_is_not_stored(pipeline: Pipeline) -> None:
    assert pipeline.send(track(userId="N/A", anonymousId="(none)"), source=WEB) == [
        Outcome(State.BLOCKED, "blocked_value")
    ]
