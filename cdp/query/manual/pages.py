"""The manual of the segment language as Markdown, and the published JSON Schema of its JSON form."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from cdp.query.language.jsonform import json_schema, to_json
from cdp.query.language.parse import parse
from cdp.query.language.rejection import Rejection
from cdp.query.manual.chapters import CHAPTERS, Chapter
from cdp.query.manual.people import NAMES, NOW, PEOPLE, PURPOSE
from cdp.query.reference.history import Profile, StatedValue

_INTRODUCTION: Final = f"""# The segment language

<!-- Written by `cdp docs` from cdp/query/manual; each example is a test. -->

A segment has a key, a name, one purpose and a text in this language. `cdp segment check FILE` checks a text;
`cdp segment preview --where TEXT --purpose P` shows its size.

All examples are evaluated at {NOW:%Y-%m-%d %H:%M} UTC for the purpose `{PURPOSE}`, on five people:
"""


def pages() -> Mapping[str, str]:
    """File name and text of every generated file, relative to docs/reference."""
    return {"segment-language.md": manual(), "schemas/segment-condition.schema.json": schema()}


def manual() -> str:
    """The manual as Markdown."""
    parts = [_INTRODUCTION, "\n".join(_people()), *("\n".join(_chapter(chapter)) for chapter in CHAPTERS), _json_form()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def schema() -> str:
    """The published JSON schema of the JSON form."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _people() -> Iterator[str]:
    yield "| | permitted | traits | events |"
    yield "|---|---|---|---|"
    for profile in PEOPLE:
        traits = next(iter(profile.traits.values()))
        stated = ", ".join(f"{name} {_shown(value)}" for name, value in traits.items())
        permitted = ", ".join(f"`{purpose}`" for purpose in profile.permitted)
        yield f"| **{NAMES[profile.profile_id]}** | {permitted} | {stated} | {'; '.join(_events(profile))} |"


def _events(profile: Profile) -> Iterator[str]:
    for event in profile.events:
        properties = ", ".join(_fields(event.properties))
        days = (NOW - event.occurred_at).total_seconds() / 86_400
        unpermitted = "" if PURPOSE in event.purposes else f", not permitted for `{PURPOSE}`"
        lists = "".join(
            f"; {name}: {' + '.join(' '.join(_fields(entry)) for entry in entries)}"
            for name, entries in event.lists.items()
        )
        yield f"{event.name}, {days:g} days ago ({properties}{lists}{unpermitted})"


def _fields(values: Mapping[str, StatedValue]) -> Iterator[str]:
    return (f"{name} {_shown(value)}" for name, value in values.items())


def _shown(value: StatedValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.date().isoformat() if isinstance(value, datetime) else str(value)


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {chapter.title}\n"
    yield chapter.text + "\n"
    if chapter.examples:
        yield "| Program | Members | |"
        yield "|---|---|---|"
    for example in chapter.examples:
        who = ", ".join(NAMES[profile_id] for profile_id in example.members) or "none"
        yield f"| `{example.program}` | {who} | {example.remark} |"
    if chapter.wrong:
        yield "\nRejected:\n\n```text"
        for at, wrong in enumerate(chapter.wrong):
            position = wrong.program.index(wrong.marked) if wrong.marked else len(wrong.program)
            pointed = Rejection(position, wrong.message, wrong.hint).pointed(wrong.program)
            yield ("\n" if at else "") + pointed
        yield "```"


def _json_form() -> str:
    example = 'trait.age >= 18 and count("Order Completed" where category = "shoes", within 30 days) >= 2'
    condition = parse(example)
    assert not isinstance(condition, Rejection)
    form = json.dumps(to_json(condition), indent=2, default=lambda number: float(Decimal(number)))
    return (
        "## JSON form\n\nEvery text has an exact JSON form, and every JSON form has a text; nothing is lost. The schema is "
        "[schemas/segment-condition.schema.json](schemas/segment-condition.schema.json).\n\n"
        f"```text\n{example}\n```\n\n```json\n{form}\n```"
    )
