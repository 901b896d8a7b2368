"""Write docs/reference/segment-language.md and the published JSON schema from the examples that the tests hold true.

`python -m tests.spec.segments.reference` writes both.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from cdp.query.language.jsonform import json_schema, to_json
from cdp.query.language.rejection import Rejection
from cdp.query.reference.interpret import Given, Profile
from tests.spec.segments.chapters import CHAPTERS, Chapter
from tests.spec.segments.people import NAMES, NOW, PEOPLE, PURPOSE
from tests.support.segment_histories import meaning

ROOT = Path(__file__).resolve().parents[3]
MANUAL = ROOT / "docs" / "reference" / "segment-language.md"
SCHEMA = ROOT / "docs" / "reference" / "schemas" / "segment-condition.schema.json"

_INTRODUCTION = f"""# The segment language

<!-- Written by `python -m tests.spec.segments.reference` from tests/spec/segments; each example is a test. -->

A segment has a key, a name, one purpose and a text in this language. `cdp segment check FILE` checks a text,
`cdp segment preview --where TEXT --purpose P` shows what it would give.

All examples are asked at {NOW:%Y-%m-%d %H:%M} UTC for the purpose `{PURPOSE}`, of five people:
"""


def manual() -> str:
    """The manual as Markdown."""
    parts = [_INTRODUCTION, "\n".join(_people()), *("\n".join(_chapter(each)) for each in CHAPTERS), _json_form()]
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
    for happened in profile.events:
        properties = ", ".join(f"{name} {_shown(value)}" for name, value in happened.properties.items())
        days = (NOW - happened.occurred_at).total_seconds() / 86_400
        unpermitted = "" if PURPOSE in happened.purposes else f", not permitted for `{PURPOSE}`"
        yield f"{happened.name}, {days:g} days ago ({properties}{unpermitted})"


def _shown(value: Given) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.date().isoformat() if isinstance(value, datetime) else str(value)


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {chapter.title}\n"
    yield chapter.text + "\n"
    if chapter.examples:
        yield "| Program | Who is in | |"
        yield "|---|---|---|"
    for example in chapter.examples:
        who = ", ".join(NAMES[each] for each in example.members) or "nobody"
        yield f"| `{example.program}` | {who} | {example.remark} |"
    if chapter.wrong:
        yield "\nRefused:\n\n```text"
        for at, wrong in enumerate(chapter.wrong):
            position = wrong.program.index(wrong.marked) if wrong.marked else len(wrong.program)
            pointed = Rejection(position, wrong.message, wrong.hint).pointed(wrong.program)
            yield ("\n" if at else "") + pointed
        yield "```"


def _json_form() -> str:
    example = 'trait.age >= 18 and count("Order Completed" where category = "shoes", within 30 days) >= 2'
    form = json.dumps(to_json(meaning(example)), indent=2, default=lambda number: float(Decimal(number)))
    return (
        "## JSON form\n\nEvery text has an exact JSON form and the other way round; nothing is lost. The schema is "
        "[schemas/segment-condition.schema.json](schemas/segment-condition.schema.json).\n\n"
        f"```text\n{example}\n```\n\n```json\n{form}\n```"
    )


if __name__ == "__main__":
    MANUAL.write_text(manual(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
