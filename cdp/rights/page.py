"""The page of an access archive: what is held about somebody, in words for that person. Pure.

It needs nothing else: no script, no picture, no network. The person's own data comes first, then what the law adds to
it (purposes, recipients, storage, sources, rights: GDPR Art. 15(1)), then what is held and not shown.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c1c1c }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid #ccc }
table { border-collapse: collapse; width: 100%; font-size: .9rem } th, td { text-align: left; vertical-align: top;
padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e5e5e5 } td { overflow-wrap: anywhere; min-width: 4rem }
th { white-space: nowrap } p { max-width: 45rem } .none, .count { color: #666 } nav li { margin: .15rem 0 }
summary { cursor: pointer; color: #666; margin: .5rem 0 }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #eee } th, td { border-color: #333 }
a { color: #9cf } }
"""


class Chapter(NamedTuple):
    """What a part of the page is called, and what it is, in a sentence for somebody who knows nothing of us."""

    title: str
    text: str


DATA: Final[Mapping[str, Chapter]] = {
    "identity.identifier": Chapter("What you are known by", "Addresses, numbers and devices that we take to be yours."),
    "behavior.trait": Chapter("What was stated about you", "Facts that you gave, or that a shop or site passed on."),
    "behavior.event": Chapter(
        "What you did",
        "Each visit, click and order, with everything that came with it, the purposes that it may count for, and when we "
        "stop reading it.",
    ),
    "behavior.bucket": Chapter(
        "What was worked out from it",
        "Counts and sums per day, computed from what you did. Totals of values that fade are weighed against a fixed day.",
    ),
    "consent.permitted": Chapter("What your data may be used for today", "Purposes that are allowed, since when."),
    "consent.refused": Chapter("What your data may not be used for", "Purposes that are refused, and why."),
    "consent.record": Chapter("Each yes and no that we recorded", "Who said it, by which device or address, and how."),
    "consent.repetition": Chapter("Answers that were repeated", "When you said again what was recorded before."),
    "consent.withdrawal": Chapter(
        "Withdrawals that are being carried out", "Removed as soon as every reader has let go."
    ),
    "segments.membership": Chapter(
        "Groups you are in",
        "A group is a question that is asked of everybody who agreed to its purpose; it stands beside.",
    ),
    "segments.membership_change": Chapter("When you entered and left groups", "With the question as it was then."),
    "destinations.outbox": Chapter(
        "What was sent to others", "Each message about you to a recipient, and its receipt."
    ),
    "identity.evidence": Chapter(
        "Why these are taken to be one person", "Each link between two of the above, and the rule that made it."
    ),
    "identity.link": Chapter("Since when they are linked", ""),
    "identity.edge": Chapter("Links that a table gave us", "From lists of pairs that a source handed over."),
    "identity.never": Chapter("Links that are ruled out", "Pairs that must never again be taken to be one person."),
    "identity.resolution": Chapter("Messages that taught us a link", "In the order in which they came."),
    "identity.anchor": Chapter("Combinations in which you were named", "When each combination was first seen."),
    "identity.anchor_source": Chapter("Who named you", "The sources of those combinations."),
    "identity.profile": Chapter("Your record", "When it began, and whether it waits for a person to look at it."),
    "rights.request": Chapter("Your requests", "What you asked for, and by when it is due."),
    "rights.request_identifier": Chapter("What your requests named", ""),
}
"""Every section of the export, in the order of the page."""

_ABOUT: Final[Mapping[str, Chapter]] = {
    "purposes": Chapter("What data is used for here, and on which legal basis", "All purposes, agreed to or not."),
    "recipients": Chapter("Who received yours", ""),
    "retention": Chapter("How long it is kept, and why", ""),
    "sources": Chapter("Where yours came from", ""),
    "your_rights": Chapter(
        "What you can ask for",
        "Any time, free of charge. You can withdraw a yes as easily as you gave it. Complaints go to:",
    ),
    "held_but_not_shown": Chapter(
        "What is held but not shown",
        "Mostly numbers of ours that mean nothing elsewhere. What the law forbids to print is named in its place.",
    ),
}

_COLUMN_TITLES: Final[Mapping[str, str]] = {
    "occurred_at": "when",
    "received_at": "reached us",
    "expires_at": "not read after",
    "because": "the question",
    "retention_class": "kept as",
    "is_shared": "used by several people",
    "is_rectified": "corrected",
    "is_quarantined": "waits for a person",
    "is_two_step": "confirmed twice",
    "keep_for_days": "days",
    "signal_hash": "hash of the signal",
    "at": "when",
}
_INSTANT: Final = re.compile(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)")


def page(document: Mapping[str, Any], *, data_file: str) -> str:
    """The document as one page; `data_file` is the name of the one for machines beside it."""
    request, data = document["request"], document["data"]
    names = [*(each for each in DATA if each in data), *(each for each in data if each not in DATA)]
    full, empty = [name for name in names if data[name]], [name for name in names if not data[name]]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Your data</title><style>{_STYLE}</style><h1>Your data</h1>",
        (
            f"<p>What is held about you, as of {_text(_readable(document['made_at']))}, for your request {_text(request['id'])}. "
            f"The file {_text(data_file)} beside this page holds the same for machines, to the last digit.</p>"
        ),
        f"<p>You were found by: {_identifiers_text(document['about'])}.</p>",
        _contents([(name, _chapter(name).title, len(data[name])) for name in full]),
    ]
    parts += [_section(name, _chapter(name), _collapsible(data[name])) for name in full]
    if empty:
        nothing = ", ".join(_text(_chapter(name).title) for name in empty)
        parts.append(f"<h2>Of these there is nothing</h2><p class=none>{nothing}.</p>")
    for name, chapter in _ABOUT.items():
        rows = _by_reason(document[name]) if name == "held_but_not_shown" else document[name]
        added = f"<p><strong>{_text(document['complain_to'])}</strong></p>" if name == "your_rights" else ""
        parts.append(_section(name, chapter, added + (_collapsible(rows) if rows else "<p class=none>Nobody.</p>")))
    return "".join(parts) + "</html>\n"


def _chapter(name: str) -> Chapter:
    known = DATA.get(name)
    if known is not None:
        return known
    room, _, table = name.partition(".")
    return Chapter(f"{table.replace('_', ' ').capitalize()} ({room})", "")


def _identifiers_text(about: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{_text(each['type'].replace('_', ' '))} {_text(each['value'])}" for each in about) or "nothing"


def _contents(entries: Iterable[tuple[str, str, int]]) -> str:
    lines = (
        f"<li><a href='#{_text(name)}'>{_text(title)}</a> <span class=count>{count:,}</span></li>"
        for name, title, count in entries
    )
    return f"<nav><ul>{''.join(lines)}</ul></nav>"


def _section(name: str, chapter: Chapter, body: str) -> str:
    text = f"<p>{_text(chapter.text)}</p>" if chapter.text else ""
    return f"<h2 id='{_text(name)}'>{_text(chapter.title)}</h2>{text}{body}"


def _collapsible(rows: Sequence[Mapping[str, Any]]) -> str:
    table = _table(rows)
    return table if len(rows) <= 3 else f"<details open><summary>{len(rows):,} rows</summary>{table}</details>"


def _by_reason(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a reason: forty columns that are hidden for the same one need not be read one by one."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row["reason"], []).append(row["what"])
    return [{"why": reason, "what": what} for reason, what in reasons.items()]


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if any(row.get(name) not in (None, {}, []) for row in rows)
    ]
    head = "".join(f"<th>{_text(_COLUMN_TITLES.get(name, name.replace('_', ' ')))}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        if value.keys() == {"type", "value"}:
            return f"{_text(str(value['type']).replace('_', ' '))} {_cell(value['value'])}"
        return "<br>".join(f"{_text(name)}: {_cell(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _text(_readable(value) if isinstance(value, str) else value)


def _readable(text: str) -> str:
    """An instant as people write it; anything else as it is. Before 1970 stands for what was so from the beginning."""
    found = _INSTANT.fullmatch(text)
    if found is None:
        return text
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return text
    if instant.year < 1970:
        return "from the beginning"
    return f"{instant.day} {instant:%b %Y, %H:%M:%S} UTC"


def _text(value: Any) -> str:
    return html.escape(str(value))
