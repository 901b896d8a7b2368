"""The plans computed from the dictionary: nothing declared is left out, and a new table cannot be forgotten."""

import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, Text

from cdp.rights.model import Verb
from cdp.rights.plan import Space, Tie, erased_columns, erasure_plan, export_plan, personal_columns
from cdp.rights.replay_file import REPLAY_FILE
from cdp.schema.all import tables
from cdp.schema.dictionary import PERSONAL_FILES, impersonal, personal


def a_table(name: str, *columns: Column[object]) -> Table:
    return Table(name, MetaData(), *columns, schema="house")


def personal_info(via: str = "anchor", erase: str = "delete", export: str | None = "note") -> dict[str, object]:
    return personal(
        erase=erase,
        retention="traits",
        export=export,
        category="trait",
        via=via,
        why_kept="a law" if erase == "keep" else None,
        why_not_exported=None if export else "a number of ours",
    )


def test_every_personal_column_is_accounted_for() -> None:
    assert personal_columns() - erased_columns(erasure_plan()) == set()


def test_the_map_and_the_keys_go_last() -> None:
    finals = [step.is_final for step in erasure_plan()]
    assert finals == sorted(finals)
    doing = [step for step in erasure_plan() if step.verb is not Verb.KEEP]
    assert doing[-1].table == "vault.subject_key"
    order = [step.table for step in doing]
    assert order.index("behavior.duplicate") < order.index("behavior.event")
    assert order.index("consent.permitted") < order.index("behavior.event")


def test_every_tie_is_served_by_an_index() -> None:
    leading: dict[str, set[str]] = {}
    for table in tables():
        keys = [list(table.primary_key.columns), *(list(index.columns) for index in table.indexes)]
        leading[table.fullname] = {columns[0].name for columns in keys if columns}
    unserved = {
        f"{step.table}.{tie.column}"
        for step in erasure_plan()
        for tie in step.ties
        if tie.column not in leading[step.table]
    }
    assert unserved == set()


def test_a_new_personal_table_without_a_way_to_a_person_is_refused() -> None:
    lost = a_table(
        "lost",
        Column("note_id", BigInteger, primary_key=True, info=impersonal()),
        Column("note", Text, info=personal_info()),
    )
    with pytest.raises(ValueError, match=r"house\.lost"):
        erasure_plan([lost])
    with pytest.raises(ValueError, match=r"house\.lost"):
        export_plan([lost])
    astray = a_table("astray", Column("anchor_id", BigInteger, info=personal_info("moon")))
    with pytest.raises(ValueError, match="moon"):
        erasure_plan([astray])


def test_a_new_personal_table_with_one_joins_both_plans() -> None:
    notes = a_table(
        "notes",
        Column("anchor_id", BigInteger, primary_key=True, info=personal_info(export=None)),
        Column("note", Text, info=personal_info()),
    )
    (step,) = erasure_plan([notes])
    assert (step.verb, step.ties) == (Verb.DELETE, (Tie("anchor_id", Space.ANCHOR),))
    (section,) = export_plan([notes])
    assert [column.field for column in section.columns] == ["note"]
    assert section.hidden == (("anchor_id", "a number of ours"),)


def test_severing_names_its_columns_and_keeping_gives_its_reason() -> None:
    log = a_table(
        "log",
        Column("profile_id", BigInteger, info=personal_info("profile", "sever")),
        Column("what", Text, info=impersonal()),
    )
    (step,) = erasure_plan([log])
    assert (step.verb, step.columns) == (Verb.SEVER, ("profile_id",))
    kept = a_table("kept", Column("profile_id", BigInteger, info=personal_info("profile", "keep")))
    (step,) = erasure_plan([kept])
    assert (step.verb, step.reason, step.ties) == (Verb.KEEP, "a law", ())


def test_an_export_shows_or_explains_every_personal_column_of_its_tables() -> None:
    sections = {section.table: section for section in export_plan()}
    for name in personal_columns():
        table, _, column = name.rpartition(".")
        if table in sections:
            shown = {each.column for each in sections[table].columns} | {each for each, _ in sections[table].hidden}
            assert column in shown
    assert all(reason for section in sections.values() for _, reason in section.hidden)


def test_every_declared_file_is_a_step_that_states_why_it_is_kept() -> None:
    kept = {step.table: step.reason for step in erasure_plan() if step.verb is Verb.KEEP}
    assert {file.name: file.declaration.why_kept for file in PERSONAL_FILES}.items() <= kept.items()
    assert [file.name for file in PERSONAL_FILES] == [REPLAY_FILE]
