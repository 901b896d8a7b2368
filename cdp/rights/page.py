"""The page of an access archive: a person's data in plain language. Pure.

It needs no script, image or network. The person's own data comes first, then the information that the law requires
(purposes, recipients, storage periods, sources, rights: GDPR Art. 15(1)), then what is held but not shown.
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


class PageSection(NamedTuple):
    """The title of a part of the page, and a sentence that explains it to a reader without prior knowledge."""

    title: str
    text: str


DATA: Final[Mapping[str, PageSection]] = {
    "identity.identifier": PageSection(
        "Your identifiers", "Addresses, numbers and devices that we have associated with you."
    ),
    "behavior.trait": PageSection(
        "Information about you", "Information that you provided, or that a shop or website passed on to us."
    ),
    "behavior.stated_age": PageSection(
        "Your age",
        "The latest day on which you can have been born, as it follows from an age or a month of birth that was stated, and by "
        "whom. Some purposes have a minimum age.",
    ),
    "behavior.event": PageSection(
        "Your activity",
        "Page views, clicks, orders and other activity, with the details recorded for each, the purposes for which it may "
        "be used, and the date after which we no longer use it.",
    ),
    "behavior.restricted_event": PageSection(
        "Activity that is kept because you asked us to restrict its use",
        "Activity whose retention period ended while the use of your data was restricted. Nobody uses it, and it is deleted "
        "when the restriction ends.",
    ),
    "behavior.bucket": PageSection(
        "Figures calculated from your activity",
        "Daily counts and totals, calculated from your activity. Totals that decrease over time are stated relative to a "
        "fixed date.",
    ),
    "behavior.former_age": PageSection(
        "Ages that were stated before", "And from when until when each of them counted."
    ),
    "consent.permitted": PageSection(
        "Purposes for which your data may be used", "Purposes that are currently permitted, and since when."
    ),
    "consent.refused": PageSection(
        "Purposes for which your data may not be used", "Purposes that are currently refused, and the reason."
    ),
    "consent.record": PageSection(
        "Your consents and refusals",
        "Each consent, refusal, withdrawal or objection that we recorded, and how we received it.",
    ),
    "consent.repetition": PageSection(
        "Repeated refusals", "When you last repeated a refusal that we had already recorded."
    ),
    "consent.deferred_message": PageSection(
        "Messages that wait for your answer",
        "They are locked away and used for nothing. They are deleted unlooked at when you refuse, or when their time ends.",
    ),
    "consent.deferred_device": PageSection(
        "Devices that have not answered", "The sources for which messages of your device wait for your answer."
    ),
    "consent.withdrawal": PageSection(
        "Withdrawals in progress", "Withdrawals for which the deletion of earlier data is not yet complete."
    ),
    "segments.membership": PageSection(
        "Groups that include you",
        "A group is defined by conditions that are applied to everyone who may be included for its purpose. The conditions "
        "are shown.",
    ),
    "segments.membership_change": PageSection(
        "Changes to your groups", "When you were added to or removed from a group, with its conditions at that time."
    ),
    "destinations.outbox": PageSection(
        "Data sent to others", "Each message about you to a recipient, and when the recipient confirmed it."
    ),
    "identity.evidence": PageSection(
        "Why we associate these identifiers with you",
        "Each link between two identifiers, and the rule that created it.",
    ),
    "identity.link": PageSection("When your identifiers were linked", ""),
    "identity.edge": PageSection("Links from tables", "Links between identifiers in tables that a source provided."),
    "identity.never": PageSection(
        "Excluded links", "Pairs of identifiers that must not be treated as the same person again."
    ),
    "identity.rejected_case": PageSection(
        "Reviews of your identifiers", "Proposals to change how we read or link an identifier that a reviewer rejected."
    ),
    "identity.resolution": PageSection("Messages that created links", "In the order in which we received them."),
    "identity.anchor": PageSection(
        "Combinations of your identifiers", "When a message first contained each combination of identifiers."
    ),
    "identity.anchor_source": PageSection(
        "Sources of these combinations", "The sources that sent messages with these combinations of identifiers."
    ),
    "identity.former_link": PageSection("Earlier links of your identifiers", ""),
    "identity.former_canonical": PageSection("Earlier profiles of these combinations", ""),
    "identity.former_sharing": PageSection("Earlier findings about shared identifiers", ""),
    "identity.former_quarantine": PageSection("Earlier reviews of your profile", ""),
    "identity.profile": PageSection("Your profile", "When it was created, and whether it is waiting for a review."),
    "rights.request": PageSection("Your requests", "What you requested, and when the answer is due."),
    "rights.request_identifier": PageSection("Identifiers in your requests", ""),
    "rights.request_value": PageSection("Corrections in your requests", ""),
}
"""Every section of the export, in the order of the page."""

_ABOUT: Final[Mapping[str, PageSection]] = {
    "responsible": PageSection(
        "Who is responsible for your data", "Write to them about your rights, or with questions about this archive."
    ),
    "purposes": PageSection(
        "Purposes and legal bases", "All purposes for which we process data, whether or not they apply to you."
    ),
    "recipients": PageSection("Recipients of your data", ""),
    "read_by": PageSection(
        "Who looked at your data",
        "Each time that somebody who works with the store, or a command on the server, was shown data about you.",
    ),
    "retention": PageSection("How long data is kept, and why", ""),
    "sources": PageSection("Sources of your data", ""),
    "your_rights": PageSection(
        "Your rights",
        "You can exercise these rights at any time, free of charge. You can withdraw consent as easily as you gave it. You "
        "can lodge a complaint with:",
    ),
    "held_but_not_shown": PageSection(
        "Data that is held but not shown",
        "Mostly internal numbers that have no meaning elsewhere. Values that the law does not allow us to disclose are "
        "named instead of shown.",
    ),
}
_NOT_NAMED: Final = PageSection(
    "Who is responsible for your data",
    "The operator of this store has not named the organization that is responsible for your data yet.",
)

_COLUMN_TITLES: Final[Mapping[str, str]] = {
    "occurred_at": "when",
    "received_at": "received by us",
    "expires_at": "not used after",
    "because": "conditions",
    "retention_class": "kept as",
    "is_shared": "used by several people",
    "is_rectified": "corrected",
    "is_quarantined": "waiting for a review",
    "is_two_step": "confirms an earlier request",
    "is_subject_initiated": "begun by you",
    "is_undated": "date not known",
    "keep_for_days": "days",
    "signal_hash": "hash of the signal",
    "at": "when",
}
_INSTANT: Final = re.compile(r"(\d{4})-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|\+00:00)")


def page(document: Mapping[str, Any], *, data_file: str) -> str:
    """The export document as one HTML page; `data_file` is the name of the machine-readable file in the archive."""
    request, data = document["request"], document["data"]
    names = [*(name for name in DATA if name in data), *(name for name in data if name not in DATA)]
    full, empty = [name for name in names if data[name]], [name for name in names if not data[name]]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Your data</title><style>{_STYLE}</style><h1>Your data</h1>",
        "<p><strong>Draft for a review. This is not the answer to the request: do not hand it over.</strong></p>"
        if document["is_draft"]
        else "",
        (
            f"<p>The data we hold about you as of {_text(_readable(document['made_at']))}, for your request "
            f"{_text(request['id'])}. The file {_text(data_file)} in this archive contains the same data in a "
            f"machine-readable format.</p>"
        ),
        f"<p>Identifiers used to find your data: {_identifiers_text(document['about'])}.</p>",
        _contents([(name, _chapter(name).title, len(data[name])) for name in full]),
    ]
    parts += [_section(name, _chapter(name), _collapsible(data[name])) for name in full]
    if empty:
        nothing = ", ".join(_text(_chapter(name).title) for name in empty)
        parts.append(f"<h2>Sections without data</h2><p class=none>{nothing}.</p>")
    for name, chapter in _ABOUT.items():
        if name == "responsible" and not document[name]:
            parts.append(_section(name, _NOT_NAMED, ""))
            continue
        rows = _by_reason(document[name]) if name == "held_but_not_shown" else document[name]
        added = f"<p><strong>{_text(document['complain_to'])}</strong></p>" if name == "your_rights" else ""
        parts.append(_section(name, chapter, added + (_collapsible(rows) if rows else "<p class=none>None.</p>")))
    return "".join(parts) + "</html>\n"


def _chapter(name: str) -> PageSection:
    known = DATA.get(name)
    if known is not None:
        return known
    schema, _, table = name.partition(".")
    return PageSection(f"{table.replace('_', ' ').capitalize()} ({schema})", "")


def _identifiers_text(about: Sequence[Mapping[str, Any]]) -> str:
    named = (f"{_text(named['type'].replace('_', ' '))} {_text(named['value'])}" for named in about)
    return ", ".join(named) or "none"


def _contents(entries: Iterable[tuple[str, str, int]]) -> str:
    lines = (
        f"<li><a href='#{_text(name)}'>{_text(title)}</a> <span class=count>{count:,}</span></li>"
        for name, title, count in entries
    )
    return f"<nav><ul>{''.join(lines)}</ul></nav>"


def _section(name: str, chapter: PageSection, body: str) -> str:
    text = f"<p>{_text(chapter.text)}</p>" if chapter.text else ""
    return f"<h2 id='{_text(name)}'>{_text(chapter.title)}</h2>{text}{body}"


def _collapsible(rows: Sequence[Mapping[str, Any]]) -> str:
    table = _table(rows)
    return table if len(rows) <= 3 else f"<details open><summary>{len(rows):,} rows</summary>{table}</details>"


def _by_reason(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per reason, so that columns hidden for the same reason are listed together."""
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
    """An instant in a readable form; other text unchanged. An instant before 1970 means "from the beginning"."""
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
