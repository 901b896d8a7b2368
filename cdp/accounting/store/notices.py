"""SQL of notices: counts of irregularities in messages, appended per batch and summed on reading."""

from collections.abc import Collection, Mapping
from datetime import datetime

from cdp.accounting.model import NoticeEntry, NoticeKind, PropertyNotice, PropertyNoticeEntry, PropertyNoticeKind
from cdp.kit.db import Transaction
from cdp.schema.ids import SourceId


def add_notices(tx: Transaction, hour: datetime, counts: Mapping[tuple[SourceId, NoticeKind, str], int]) -> None:
    """Append the notices of a batch: (source, kind, subject) to number of messages, each above zero.

    `subject` is a name from policy or `other`, never a value that was sent. One statement; none when there are none.
    """
    if not counts:
        return
    tx.execute(
        """
        INSERT INTO accounting.notice (source_id, hour, kind, subject, messages)
        SELECT source_id, %(hour)s, kind, subject, messages
        FROM unnest(%(sources)s::integer[], %(kinds)s::text[], %(subjects)s::text[], %(messages)s::integer[])
            AS counted (source_id, kind, subject, messages)
        """,
        {
            "hour": hour,
            "sources": [source for source, _, _ in counts],
            "kinds": [kind.value for _, kind, _ in counts],
            "subjects": [subject for _, _, subject in counts],
            "messages": list(counts.values()),
        },
    )


def notices(
    tx: Transaction, since: datetime, until: datetime, *, source_ids: Collection[SourceId] | None = None
) -> list[NoticeEntry]:
    """Notices of the hours that begin in [since, until), of all sources or of the given ones, in order."""
    rows = tx.execute(
        """
        SELECT source_id, hour, kind, subject, sum(messages)::bigint
        FROM accounting.notice
        WHERE hour >= %(since)s AND hour < %(until)s
          AND (%(sources)s::integer[] IS NULL OR source_id = ANY(%(sources)s::integer[]))
        GROUP BY source_id, hour, kind, subject
        ORDER BY hour, source_id, kind, subject
        """,
        {"since": since, "until": until, "sources": None if source_ids is None else list(source_ids)},
    )
    return [
        NoticeEntry(SourceId(source_id), hour, NoticeKind(kind), subject, messages)
        for source_id, hour, kind, subject, messages in rows
    ]


def add_property_notices(
    tx: Transaction, hour: datetime, counts: Mapping[tuple[SourceId, PropertyNotice], int]
) -> None:
    """Append faults of planned properties: (source, fault) to number of messages, each above zero.

    Every name is one of the policy, never one that was sent. One statement; none when there are none.
    """
    if not counts:
        return
    tx.execute(
        """
        INSERT INTO accounting.property_notice (source_id, hour, kind, event, property, expected, messages)
        SELECT source_id, %(hour)s, kind, event, property, expected, messages
        FROM unnest(%(sources)s::integer[], %(kinds)s::text[], %(events)s::text[], %(properties)s::text[],
                    %(expected)s::text[], %(messages)s::integer[])
            AS counted (source_id, kind, event, property, expected, messages)
        """,
        {
            "hour": hour,
            "sources": [source for source, _ in counts],
            "kinds": [notice.kind.value for _, notice in counts],
            "events": [notice.event for _, notice in counts],
            "properties": [notice.property for _, notice in counts],
            "expected": [notice.expected for _, notice in counts],
            "messages": list(counts.values()),
        },
    )


def property_notices(
    tx: Transaction, since: datetime, until: datetime, *, source_ids: Collection[SourceId] | None = None
) -> list[PropertyNoticeEntry]:
    """Faults of planned properties in the hours that begin in [since, until), of all sources or of these, in order."""
    rows = tx.execute(
        """
        SELECT source_id, hour, kind, event, property, expected, sum(messages)::bigint
        FROM accounting.property_notice
        WHERE hour >= %(since)s AND hour < %(until)s
          AND (%(sources)s::integer[] IS NULL OR source_id = ANY(%(sources)s::integer[]))
        GROUP BY source_id, hour, kind, event, property, expected
        ORDER BY hour, source_id, kind, event, property, expected
        """,
        {"since": since, "until": until, "sources": None if source_ids is None else list(source_ids)},
    )
    return [
        PropertyNoticeEntry(
            SourceId(source_id), hour, PropertyNotice(PropertyNoticeKind(kind), event, name, expected), messages
        )
        for source_id, hour, kind, event, name, expected, messages in rows
    ]
